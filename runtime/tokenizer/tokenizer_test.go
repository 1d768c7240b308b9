package tokenizer

import (
	"bytes"
	"encoding/json"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/phi3conv/phi3conv/formats/gguf"
	"github.com/phi3conv/phi3conv/internal/vocab"
)

const tiny = "../../testdata/tiny-phi3"

// kinds are the directories of testdata.
var kinds = []string{
	"phi-2", "phi-2-files", "phi3small", "smollm", "cl100k", "o200k", "sentencepiece", "sentencepiece-first",
	"sentencepiece-always", "sentencepiece-none",
}

type goldenCase struct {
	Text    string
	Words   []int
	IDs     []int32
	Plain   []int32
	Decoded *string
	Special *string
}

type golden struct {
	Kinds map[string][]goldenCase
	Chats []struct {
		Template string
		Messages []Message
		Prompt   bool
		Text     string
		Error    bool
	}
}

func readJSON(t testing.TB, path string, into any) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(data, into)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func open(t testing.TB, path string) *Tokenizer {
	t.Helper()
	tok, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	return tok
}

// asGGUF writes the vocabulary of a directory into a file without tensors.
func asGGUF(t testing.TB, dir string) string {
	t.Helper()
	var md gguf.Metadata
	md.Set("general.architecture", "phi3")
	size, err := vocabSize(dir)
	if err != nil {
		t.Fatal(err)
	}
	v, err := vocab.Load(dir, size)
	if err != nil {
		t.Fatal(err)
	}
	for k, x := range v.All() {
		md.Set(k, x)
	}
	path := filepath.Join(t.TempDir(), "vocab.gguf")
	w, err := gguf.Create(path, &md, nil, gguf.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}

// Words are those of the tokenizers library.
func TestWords(t *testing.T) {
	var g golden
	readJSON(t, "testdata/golden.json", &g)
	for kind, pre := range map[string]string{
		"phi-2": "phi-2", "phi-2-files": "phi-2", "smollm": "smollm", "cl100k": "dbrx", "o200k": "gpt-4o",
	} {
		for _, c := range g.Kinds[kind] {
			var got []int
			for i := 0; i < len(c.Text); {
				end := splitters[pre](c.Text, i)
				got = append(got, end-i)
				i = end
			}
			if !slices.Equal(got, c.Words) {
				t.Errorf("%s: %q has words of %d bytes, expected %d", kind, c.Text, got, c.Words)
			}
		}
	}
}

// Ids and texts are those of the tokenizers library, from a checkpoint directory
// and from the GGUF file that is made of it.
func TestGolden(t *testing.T) {
	var g golden
	readJSON(t, "testdata/golden.json", &g)
	if len(g.Kinds) != len(kinds) {
		t.Errorf("golden.json has %d kinds, expected %d", len(g.Kinds), len(kinds))
	}
	for _, kind := range kinds {
		dir := filepath.Join("testdata", kind)
		for name, tok := range map[string]*Tokenizer{kind: open(t, dir), kind + ".gguf": open(t, asGGUF(t, dir))} {
			for _, c := range g.Kinds[kind] {
				if c.Plain == nil {
					c.Plain = c.IDs
				}
				if c.Decoded == nil {
					c.Decoded = &c.Text
				}
				if c.Special == nil {
					c.Special = c.Decoded
				}
				if got := tok.Encode(c.Text, EncodeOptions{ParseSpecial: true}); !slices.Equal(got, c.IDs) {
					t.Errorf("%s: %q: ids %d, expected %d", name, c.Text, got, c.IDs)
				}
				if got := tok.Encode(c.Text, EncodeOptions{}); !slices.Equal(got, c.Plain) {
					t.Errorf("%s: %q, special tokens taken for text: ids %d, expected %d", name, c.Text, got, c.Plain)
				}
				// The library returns "▁Zebra" for the added token "Zebra" here.
				if kind == "sentencepiece" && slices.ContainsFunc(
					c.IDs, func(id int32) bool { return slices.Contains(tok.v.Normalized, int(id)) },
				) {
					continue
				}
				for special, want := range map[bool]string{false: *c.Decoded, true: *c.Special} {
					if got, err := tok.Decode(c.IDs, special); got != want || err != nil {
						t.Errorf("%s: decode %d, special %t: %q, %v, expected %q", name, c.IDs, special, got, err, want)
					}
				}
			}
		}
	}
}

func TestTinyModel(t *testing.T) {
	tok := open(t, tiny)
	var tokens struct {
		Cases []struct {
			Text       string
			IDs, Plain []int32
			Decoded    string
		}
	}
	readJSON(t, "../../testdata/golden/tokens.json", &tokens)
	for _, c := range tokens.Cases {
		if got := tok.Encode(c.Text, EncodeOptions{AddSpecial: true, ParseSpecial: true}); !slices.Equal(got, c.IDs) {
			t.Errorf("%q: ids %d, expected %d", c.Text, got, c.IDs)
		}
		if got, err := tok.Decode(c.IDs, false); got != c.Decoded || err != nil {
			t.Errorf("decode %d: %q, %v, expected %q", c.IDs, got, err, c.Decoded)
		}
		if strings.Contains(c.Text, "</s>") { // not special, so never taken for text
			continue
		}
		if got := tok.Encode(c.Text, EncodeOptions{}); !slices.Equal(got, c.Plain) {
			t.Errorf("%q, special tokens taken for text: ids %d, expected %d", c.Text, got, c.Plain)
		}
	}
	if id, ok := tok.BOS(); id != 1 || !ok || tok.VocabSize() != 576 || !tok.HasTemplate() || tok.Token(299) != "▁H" ||
		tok.Token(-1) != "" || tok.Token(576) != "" {
		t.Errorf("BOS %d %t, %d tokens, template %t, token 299 %q",
			id, ok, tok.VocabSize(), tok.HasTemplate(), tok.Token(299))
	}
}

// Prompts and answers of chats, as transformers has them.
func TestTinyChats(t *testing.T) {
	tok := open(t, tiny)
	var chat struct {
		StopIDs []int32 `json:"stop_ids"`
		Cases   []struct {
			Messages  []Message
			Prompt    string
			PromptIDs []int32 `json:"prompt_ids"`
			AnswerIDs []int32 `json:"answer_ids"`
			Answer    string
		}
	}
	readJSON(t, "../../testdata/golden/chat.json", &chat)
	if !slices.Equal(tok.StopIDs(), chat.StopIDs) {
		t.Errorf("stop ids %d, expected %d", tok.StopIDs(), chat.StopIDs)
	}
	for _, c := range chat.Cases {
		text, err := tok.Chat(c.Messages, true, "")
		if text != c.Prompt || err != nil {
			t.Errorf("prompt %q, %v, expected %q", text, err, c.Prompt)
		}
		if got := tok.Encode(text, EncodeOptions{ParseSpecial: true}); !slices.Equal(got, c.PromptIDs) {
			t.Errorf("%q: ids %d, expected %d", text, got, c.PromptIDs)
		}
		if got, err := tok.Decode(c.AnswerIDs, false); got != c.Answer || err != nil {
			t.Errorf("answer %q, %v, expected %q", got, err, c.Answer)
		}
	}
}

// Merges that are recovered from ranks make every token of its bytes.
func TestRecoveredMerges(t *testing.T) {
	tok := open(t, "testdata/phi3small")
	m := tok.model.(*byteLevel)
	var s scratch
	for id, text := range tok.v.Tokens {
		if tok.v.Types[id] != vocab.Normal {
			continue
		}
		var symbols []int32
		for _, b := range appendBytes(nil, text) {
			symbols = append(symbols, m.bytes[b])
		}
		if got := m.merges.apply(&s, symbols); !slices.Equal(got, []int32{int32(id)}) {
			t.Errorf("the bytes of token %d, %q, become %d", id, text, got)
		}
	}
}

// Phi-3-small has nothing but its own files: special tokens, stop ids and the template work.
func TestPhi3SmallChat(t *testing.T) {
	for name, tok := range map[string]*Tokenizer{
		"directory": open(t, "testdata/phi3small"), "GGUF": open(t, asGGUF(t, "testdata/phi3small")),
	} {
		text, err := tok.Chat([]Message{{"user", "the"}}, true, "")
		if want := "<|endoftext|><|user|>\nthe<|end|>\n<|assistant|>\n"; text != want || err != nil {
			t.Errorf("%s: %q, %v, expected %q", name, text, err, want)
		}
		r := int32(tok.VocabSize() - 96)
		ids := tok.Encode(text, EncodeOptions{AddSpecial: true, ParseSpecial: true})
		for _, i := range []struct{ at, want int32 }{{0, r + 1}, {1, r + 6}, {int32(len(ids)) - 2, r + 7}} {
			if ids[i.at] != i.want {
				t.Errorf("%s: id %d of %q is %d, expected %d", name, i.at, text, ids[i.at], i.want)
			}
		}
		stops := tok.StopIDs()
		if slices.Sort(stops); !slices.Equal(stops, []int32{r + 1, r + 10}) {
			t.Errorf("%s: stop ids %d", name, stops)
		}
	}
}

func TestAddSpecial(t *testing.T) {
	yes, no := true, false
	for name, c := range map[string]struct {
		bos, eos *bool
		want     []int32
	}{
		"nothing said": {nil, nil, []int32{1, 299}},
		"both":         {&yes, &yes, []int32{1, 299, 512}},
		"none":         {&no, &no, []int32{299}},
	} {
		v, err := vocab.Load(tiny, 576)
		if err != nil {
			t.Fatal(err)
		}
		v.AddBOS, v.AddEOS = c.bos, c.eos
		tok, err := newTokenizer(v)
		if err != nil {
			t.Fatal(err)
		}
		if got := tok.Encode("H", EncodeOptions{AddSpecial: true}); !slices.Equal(got, c.want) {
			t.Errorf("%s: %d, expected %d", name, got, c.want)
		}
	}
}

// A file by another writer has no place to say which tokens swallow white space.
func TestForeignGGUF(t *testing.T) {
	f, err := gguf.Open(asGGUF(t, tiny))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	md := f.Metadata.Clone()
	md.Delete("phi3conv.rstrip_token_ids")
	path := filepath.Join(t.TempDir(), "foreign.gguf")
	w, err := gguf.Create(path, md, nil, gguf.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	const text = "<|user|>\n\n H<|endoftext|>\n</s> \n<|end|>\t<s> "
	want := open(t, tiny).Encode(text, EncodeOptions{ParseSpecial: true})
	if got := open(t, path).Encode(text, EncodeOptions{ParseSpecial: true}); !slices.Equal(got, want) {
		t.Errorf("%d, expected %d", got, want)
	}
}

func TestOpenErrors(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for path, want := range map[string]string{
		filepath.Join(dir, "missing"):    "no such file",
		dir:                              "config.json",
		write("not.gguf", "not a model"): "not.gguf",
	} {
		if _, err := Open(path); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, expected %q", path, err, want)
		}
	}
	write("config.json", "{}")
	if _, err := Open(dir); err == nil || !strings.Contains(err.Error(), "vocab_size is missing") {
		t.Error(err)
	}

	byteLevel := func(change func(*vocab.Vocab)) *vocab.Vocab {
		v, err := vocab.Load("testdata/o200k", 600)
		if err != nil {
			t.Fatal(err)
		}
		change(v)
		return v
	}
	for want, v := range map[string]*vocab.Vocab{
		`pre-tokenizer "other", expected one of dbrx, gpt-2, gpt-4o, phi-2, smollm`: byteLevel(
			func(v *vocab.Vocab) { v.Pre = "other" },
		),
		`tokenizer model "bert"`:   byteLevel(func(v *vocab.Vocab) { v.Model = "bert" }),
		`merge 0, "x" with "none"`: byteLevel(func(v *vocab.Vocab) { v.Merges[0] = "x none" }),
		`lower case`:               byteLevel(func(v *vocab.Vocab) { v.Lowercase = new(bool); *v.Lowercase = true }),
		`expected at most 1048576`: {Tokens: make([]string, maxVocab+1)},
		`token 0 has 257 bytes`: {
			Model: vocab.SentencePiece, Tokens: []string{
				strings.Repeat("a", maxPiece+1),
			}, Scores: make([]float32, 1), Types: []vocab.TokenType{vocab.Normal},
		},
	} {
		if _, err := newTokenizer(v); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, expected %q", err, want)
		}
	}
}

func TestDecodeBroken(t *testing.T) {
	ids := func(tok *Tokenizer, text string) []int32 { // a token for each byte
		var out []int32
		for _, b := range []byte(text) {
			switch m := tok.model.(type) {
			case *sentencePiece:
				out = append(out, m.bytes[b])
			case *byteLevel:
				out = append(out, m.bytes[b])
			}
		}
		return out
	}
	spm, bytes := open(t, tiny), open(t, "testdata/o200k")
	for _, c := range []struct{ text, spm, bytes string }{
		{"é日🙂", "é日🙂", "é日🙂"},
		{"\xe6\x97", "\ufffd\ufffd", "\ufffd"},
		{"a\xf0\x9f\x99b", "a\ufffd\ufffd\ufffdb", "a\ufffdb"},
		{"\xff\xfe", "\ufffd\ufffd", "\ufffd\ufffd"},
		{"\xed\xa0\x80", "\ufffd\ufffd\ufffd", "\ufffd\ufffd\ufffd"},
		{"é\xc3", "é\ufffd", "é\ufffd"},
		{"\xf0\x9f\xc3\xa9", "\ufffd\ufffdé", "\ufffdé"},
		{" a", "a", " a"}, // the space in front
	} {
		for tok, want := range map[*Tokenizer]string{spm: c.spm, bytes: c.bytes} {
			if got, err := tok.Decode(ids(tok, c.text), false); got != want || err != nil {
				t.Errorf("%s: %q becomes %q, %v, expected %q", tok.v.Model, c.text, got, err, want)
			}
		}
	}
	for _, id := range []int32{-1, 576} {
		if text, err := spm.Decode([]int32{299, id}, true); err == nil || text != "" {
			t.Errorf("id %d: %q, %v", id, text, err)
		}
	}
	if got, err := spm.Decode([]int32{299, 575}, true); got != "H" || err != nil { // no token
		t.Errorf("%q, %v", got, err)
	}
	if got := spm.Encode("a\xff\xe6\x97b", EncodeOptions{}); !slices.Equal(
		got, spm.Encode("a\ufffd\ufffdb", EncodeOptions{}),
	) {
		t.Errorf("broken text: %d", got)
	}
}

// A decoder gives whole characters as soon as they are there.
func TestDecoder(t *testing.T) {
	d := open(t, tiny).NewDecoder(true)
	var got []string
	for range 2 { // Flush makes it ready for another text
		for _, id := range []int32{438, 299, 243, 162, 156, 133, 513, 243, 600, -1, 445, 243} {
			got = append(got, d.Next(id))
		}
		got = append(got, d.Flush())
	}
	want := []string{"", " H", "", "", "", "🙂", "<|assistant|>", "", "", "", "\ufffdo", "", "\ufffd"}
	if !slices.Equal(got, append(want, want...)) {
		t.Errorf("%q, expected twice %q", got, want)
	}
}

func TestClasses(t *testing.T) {
	// Go's tables may be of another version of Unicode, in which fewer or more
	// characters are assigned.
	for r := rune(0); r <= unicode.MaxRune; r++ {
		want := other
		for c, table := range map[class]*unicode.RangeTable{
			upper: unicode.Lu, title: unicode.Lt, lower: unicode.Ll, modifier: unicode.Lm, letter: unicode.Lo,
			mark: unicode.M, number: unicode.N,
		} {
			if unicode.Is(table, r) {
				want = c
			}
		}
		if unicode.IsSpace(r) {
			want = white
		}
		if got := classes()[r]; got != want && got != other && want != other && (got != newDigit || want != number) {
			t.Errorf("%U has class %d, expected %d", r, got, want)
		}
	}
	for r, want := range map[rune]class{
		'A': upper, 'z': lower, 'ǅ': title, 'ʰ': modifier, 'ª': letter, '日': letter,
		'\u0301': mark, '७': number, '½': number, '\u3000': white,
		// the last three are of Unicode 16 and 17
		'\u200b': other, '🙂': other, 0x10D50: upper, 0x105C0: letter, 0x11DE1: newDigit,
	} {
		if got := classes()[r]; got != want {
			t.Errorf("%U has class %d, expected %d", r, got, want)
		}
	}
}

// A text is cut where no token reaches across, also with tokens that have spaces
// inside.
func TestInnerSpaces(t *testing.T) {
	v := &vocab.Vocab{Model: vocab.SentencePiece, BOS: vocab.None, EOS: vocab.None, Unk: vocab.None}
	for _, token := range []string{"a", "b", "▁", "a▁", "a▁b", "b▁▁", "▁a", "▁▁", "ab"} {
		v.Scores = append(v.Scores, -float32(len(v.Tokens)))
		v.Tokens, v.Types = append(v.Tokens, token), append(v.Types, vocab.Normal)
	}
	tok, err := newTokenizer(v)
	if err != nil {
		t.Fatal(err)
	}
	m := tok.model.(*sentencePiece)
	r := rand.New(rand.NewPCG(1, 2))
	for range 500 {
		text := make([]byte, r.IntN(20))
		whole := []int32{m.chars[space]}
		for i := range text {
			text[i] = "ab "[r.IntN(3)]
			whole = append(whole, []int32{0, 1, m.chars[space]}[strings.IndexByte("ab ", text[i])])
		}
		if len(text) == 0 {
			whole = nil
		}
		if got, want := tok.Encode(
			string(text), EncodeOptions{},
		), m.merges.applyShort(whole); !slices.Equal(got, want) {
			t.Fatalf("%q: %d, expected %d", text, got, want)
		}
	}
}

// Tokens that are empty or not UTF-8 stand for nothing, not for U+FFFD.
func TestOddPieces(t *testing.T) {
	v := &vocab.Vocab{Model: vocab.SentencePiece, AddSpacePrefix: new(bool), BOS: vocab.None, EOS: vocab.None, Unk: 0,
		Tokens: []string{"<unk>", "", "\xff", "a"}, Scores: make([]float32, 4), Types: []vocab.TokenType{
			vocab.Unknown, vocab.Normal, vocab.Normal, vocab.Normal,
		}}
	tok, err := newTokenizer(v)
	if err != nil {
		t.Fatal(err)
	}
	if got := tok.Encode("a\ufffda\xff", EncodeOptions{}); !slices.Equal(got, []int32{3, 0, 3, 0}) {
		t.Errorf("%d, expected [3 0 3 0]", got)
	}
}

// Merging with a heap and by search are the same.
func TestMergeOrder(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 300 {
		m, err := newMerges(40)
		if err != nil {
			t.Fatal(err)
		}
		for id := int32(4); id < 44; id++ {
			m.add(r.Int32N(id), r.Int32N(id), id)
		}
		word := make([]int32, r.IntN(shortWord+1))
		for i := range word {
			word[i] = r.Int32N(4)
		}
		var s scratch
		short := m.applyShort(slices.Clone(word))
		if long := m.applyLong(&s, slices.Clone(word)); !slices.Equal(short, long) {
			t.Fatalf("%d becomes %d and %d", word, short, long)
		}
	}
}

// hard are texts that a careless search takes quadratic time for.
var hard = []string{
	"a", " ", "\n", "\t ", "'", "\u0301A", "ªA", "\u0301", "日", "1", "A", "aB", "\n ", " \n", "▁", "<", "<|", "<|end|",
	"!", "!\n", "/", "the ", "🙂", "\u3000", "x",
}

func TestLinearTime(t *testing.T) {
	for _, kind := range kinds {
		tok := open(t, filepath.Join("testdata", kind))
		for _, unit := range hard {
			took := func(size int) time.Duration {
				text := strings.Repeat(unit, size/len(unit)) + "end"
				start := time.Now()
				tok.Encode(text, EncodeOptions{ParseSpecial: true})
				return time.Since(start)
			}
			// Other programs may slow some runs down, but not all of 30.
			const small, times = 8 << 10, 16
			a, b := time.Hour, time.Hour
			for try := 0; try < 3 || try < 30 && b > 100*max(a, 100*time.Microsecond); try++ {
				a, b = min(a, took(small)), min(b, took(small*times))
			}
			if b > 100*max(a, 100*time.Microsecond) { // 256 times as long if quadratic
				t.Errorf("%s: %q takes %v, %d times as much %v", kind, unit, a, times, b)
			}
		}
	}
}

// Goroutines share a tokenizer.
func TestConcurrent(t *testing.T) {
	for _, path := range []string{tiny, "testdata/o200k"} {
		tok := open(t, path)
		text := strings.Repeat("Where is the red ball? 日本 🙂 1234\n", 20) + strings.Join(hard, " ")
		want := tok.Encode(text, EncodeOptions{})
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				for range 20 {
					if !slices.Equal(tok.Encode(text, EncodeOptions{}), want) {
						t.Error("ids differ")
					}
				}
			})
		}
		wg.Wait()
	}
}

func FuzzEncode(f *testing.F) {
	toks := make([]*Tokenizer, len(kinds))
	for i, kind := range kinds {
		toks[i] = open(f, filepath.Join("testdata", kind))
	}
	for i, text := range hard {
		f.Add(uint8(i), i%2 == 0, text+text+"\xff<|user|> \xe6\x97")
	}
	f.Fuzz(func(t *testing.T, kind uint8, parse bool, text string) {
		tok := toks[int(kind)%len(toks)]
		ids := tok.Encode(text, EncodeOptions{AddSpecial: true, ParseSpecial: parse})
		whole, err := tok.Decode(ids, true)
		if err != nil {
			t.Fatal(err)
		}
		var parts strings.Builder
		d := tok.NewDecoder(true)
		for _, id := range ids {
			s := d.Next(id)
			if !utf8.ValidString(s) {
				t.Fatalf("%q is part of a character", s)
			}
			parts.WriteString(s)
		}
		parts.WriteString(d.Flush())
		if parts.String() != whole {
			t.Fatalf("decoded one by one %q, as a whole %q", parts.String(), whole)
		}
		// Where no token swallows white space, the text comes back.
		valid := string(appendValid(nil, []byte(text)))
		if tok.v.Model == vocab.ByteLevel && (!parse || tok.v.RStrip == nil) && whole != valid {
			t.Fatalf("%q comes back as %q", valid, whole)
		}
		if want := bytes.ToValidUTF8([]byte(text), []byte("\ufffd")); utf8.ValidString(text) && string(want) != valid {
			t.Fatalf("%q is read as %q", text, valid)
		}
	})
}

func FuzzDecode(f *testing.F) {
	toks := []*Tokenizer{open(f, tiny), open(f, "testdata/phi-2")}
	f.Add([]byte{3, 0, 100, 0, 255, 255, 1, 1, 2})
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, tok := range toks {
			var ids []int32
			bad := false
			for i := 0; i+1 < len(data); i += 2 {
				id := int32(int16(data[i]) | int16(data[i+1])<<8)
				bad = bad || id < 0 || int(id) >= tok.VocabSize()
				ids = append(ids, id)
			}
			text, err := tok.Decode(ids, len(data)%2 == 0)
			if (err != nil) != bad || !utf8.ValidString(text) {
				t.Fatalf("%d: %q, %v", ids, text, err)
			}
		}
	})
}

// The bytes of a text's tokens are the text's, whatever characters tokens cut.
func TestBytes(t *testing.T) {
	const text = "two 日本 🙂 é\n\x00end"
	for _, model := range []string{"tiny-phi2", "tiny-phi3", "tiny-phi3small", "tiny-phimoe"} {
		tok, err := Open("../../testdata/" + model)
		if err != nil {
			t.Fatal(err)
		}
		var got []byte
		for _, id := range tok.Encode(text, EncodeOptions{}) {
			got = append(got, tok.Bytes(id)...)
		}
		if string(got) != text && string(got) != " "+text { // SentencePiece begins with a space
			t.Errorf("%s: %q", model, got)
		}
		if b := tok.Bytes(-1); b != nil {
			t.Errorf("%s: id -1 is %q", model, b)
		}
	}
}
