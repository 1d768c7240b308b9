package text

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/phi3conv/phi3conv/formats"
	"github.com/phi3conv/phi3conv/runtime/tokenizer"
)

const tiny = "../../testdata/tiny-phi3"

func openTokenizer(t testing.TB) *tokenizer.Tokenizer {
	t.Helper()
	tok, err := tokenizer.Open(tiny)
	if err != nil {
		t.Fatal(err)
	}
	return tok
}

func writeText(t testing.TB, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestCorpus(t *testing.T) {
	tok := openTokenizer(t)
	text := strings.Repeat("The red ball is in the garden. ", 40)
	var c Corpus
	if err := c.AddFile(writeText(t, "a.txt", text), tok, 32); err != nil {
		t.Fatal(err)
	}
	all := tok.Encode(text, tokenizer.EncodeOptions{AddSpecial: true})
	windows := slices.Collect(slices.Chunk(all[:len(all)/32*32], 32))
	if want := windows; !slices.EqualFunc(c.Sequences, want, slices.Equal[[]int32]) {
		t.Errorf("%d sequences, expected %d", len(c.Sequences), len(want))
	}
	before := len(c.Sequences)
	lines := `{"text": "Anna has the key."}

{"messages": [{"role": "user", "content": "Hello!"}, {"role": "assistant", "content": "Hello!"}], "id": 3}
{"text": "` + text[:300] + `"}
`
	if err := c.AddFile(writeText(t, "b.JSONL", lines), tok, 32); err != nil {
		t.Fatal(err)
	}
	turns := []tokenizer.Message{{Role: "user", Content: "Hello!"}, {Role: "assistant", Content: "Hello!"}}
	chat, err := tok.Chat(turns, false, "")
	if err != nil {
		t.Fatal(err)
	}
	want := [][]int32{
		tok.Encode("Anna has the key.", tokenizer.EncodeOptions{AddSpecial: true}),
		tok.Encode(chat, tokenizer.EncodeOptions{ParseSpecial: true}),
	}
	want = slices.AppendSeq(want, slices.Chunk(tok.Encode(text[:300], tokenizer.EncodeOptions{AddSpecial: true}), 32))
	if got := c.Sequences[before:]; !slices.EqualFunc(got, want, slices.Equal[[]int32]) {
		t.Errorf("%v, expected %v", got, want)
	}
	if len(c.Files) != 2 || c.Files[0].Tokens+c.Files[1].Tokens != c.Tokens() {
		t.Errorf("%+v", c.Files)
	}
}

func TestCorpusErrors(t *testing.T) {
	tok := openTokenizer(t)
	for _, c := range []struct{ name, text, want string }{
		{"short.txt", "Hello", "too few for a sequence of 32"},
		{"empty.txt", "", "0 tokens, too few"},
		{"empty.jsonl", "\n\n", "no text in 2 lines"},
		{"broken.jsonl", "{\"text\": \"a\"}\n{\"text\": ", "offset 14: line 2: unexpected end"},
		{"other.jsonl", `{"prompt": "a"}`, `expected an object with "text" or "messages"`},
		{"type.jsonl", `{"text": 3}`, "cannot unmarshal number"},
	} {
		path := writeText(t, c.name, c.text)
		err := new(Corpus).AddFile(path, tok, 32)
		var e *formats.Error
		if !errors.As(err, &e) || e.Path != path || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, expected %q", c.name, err, c.want)
		}
	}
	if err := new(Corpus).AddFile(filepath.Join(t.TempDir(), "none"), tok, 32); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("error %v", err)
	}
}

// A sample is spread evenly, has the size asked for, and follows from the seed.
func TestSample(t *testing.T) {
	corpus := func() *Corpus {
		c := &Corpus{}
		for i := range 1000 {
			c.Sequences = append(c.Sequences, slices.Repeat([]int32{int32(i)}, 10))
		}
		return c
	}
	pick := func(tokens int, seed uint64) (ids []int32) {
		c := corpus()
		c.Sample(tokens, seed)
		for _, s := range c.Sequences {
			ids = append(ids, s[0])
		}
		return ids
	}
	ids := pick(1000, 1)
	if len(ids) != 100 {
		t.Fatalf("%d sequences, expected 100", len(ids))
	}
	for i, id := range ids {
		if int(id)/10 != i {
			t.Errorf("sequence %d of the sample is %d, expected one of %d to %d", i, id, 10*i, 10*i+9)
		}
	}
	if !slices.Equal(ids, pick(1000, 1)) || slices.Equal(ids, pick(1000, 2)) {
		t.Error("the sample does not follow from the seed")
	}
	if len(pick(0, 1)) != 1000 || len(pick(1e6, 1)) != 1000 || len(pick(1, 1)) != 1 {
		t.Error("samples of all and of one")
	}
}
