package seal

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/phi3conv/phi3conv/formats"
)

var digest = strings.Repeat("0123456789abcdef", 4)

// newHeader is of two texts of 40 tokens and the last 20 positions of both.
func newHeader(vocab, topK int) Header {
	return Header{
		Model: "test \"é\"", WeightsSHA256: digest,
		Tokenizer: Tokenizer{"llama", "default", digest, digest, 1, 2}, VocabSize: vocab, TopK: topK,
		Conventions: Conventions{Name: "llama-perplexity", Context: 40, Stride: 40, First: 20, BOS: 1},
		Texts:       []Text{{"a.txt", 99, digest, 40}, {"b.txt", 98, digest, 40}}, Positions: 40, Full: 3,
	}
}

func newTexts(h *Header) [][]int32 {
	texts := make([][]int32, len(h.Texts))
	for i, t := range h.Texts {
		for j := range t.Tokens {
			texts[i] = append(texts[i], int32((i*1000003+j*7919)%h.VocabSize))
		}
	}
	return texts
}

// newLogits are the logits of a position: some peaked, some flat, some with ties.
func newLogits(vocab, i int) []float32 {
	rng := rand.New(rand.NewPCG(1, uint64(i)))
	scale := []float64{3, 0.1, 20, 0, 200}[i%5]
	logits := make([]float32, vocab)
	for id := range logits {
		logits[id] = float32(math.Round(rng.NormFloat64()*scale*16) / 16)
	}
	return logits
}

// write makes a seal of newLogits.
func write(t testing.TB, h Header) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := NewWriter(&b, h, newTexts(&h))
	if err != nil {
		t.Fatal(err)
	}
	for i := range h.Positions {
		if err := w.Add(i/20, 20+i%20, 20+i%20, newLogits(h.VocabSize, i)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// readAll reads a seal and returns the number of positions before the error,
// which is nil for a whole seal.
func readAll(b []byte) (n int, err error) {
	r, err := NewReader(bytes.NewReader(b))
	if err != nil {
		return 0, err
	}
	defer func() { _ = r.Close() }()
	for ; ; n++ {
		if _, err := r.Next(); err == io.EOF {
			return n, nil
		} else if err != nil {
			return n, err
		}
	}
}

func TestRoundTrip(t *testing.T) {
	for _, c := range []struct {
		name        string
		vocab, topK int
		minP        float64
		full        int
	}{
		{"small", 300, 16, 0, 3},
		{"ids of three bytes", 70000, 64, 0, 2},
		{"least probability", 300, 200, 0.01, 0},
		{"no tail", 16, 16, 0, 3},
		{"all full", 64, 5, 0, 40},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := newHeader(c.vocab, c.topK)
			h.MinP, h.Full = c.minP, c.full
			r, err := NewReader(bytes.NewReader(write(t, h)))
			if err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(*r.Header, h) || !reflect.DeepEqual(r.Texts, newTexts(&h)) {
				t.Errorf("header %+v, texts %v", r.Header, r.Texts)
			}
			full := 0
			for i := range h.Positions {
				e, err := r.Next()
				if err != nil {
					t.Fatal(err)
				}
				if e.Text != i/20 || e.Index != 20+i%20 || e.Context != e.Index || e.Token != r.Texts[e.Text][e.Index] {
					t.Errorf("position %d: %+v", i, e)
				}
				if e.Full != nil {
					full++
				}
				checkEntry(t, e, newLogits(h.VocabSize, i), &h)
			}
			if _, err := r.Next(); err != io.EOF {
				t.Errorf("after the last position: %v", err)
			}
			if full != h.Full {
				t.Errorf("%d full positions, want %d", full, h.Full)
			}
		})
	}
}

// testdata/v2.seal comes from an implementation of docs/format-seal.md that shares
// nothing with this one. Files of version 2 stay readable.
func TestGolden(t *testing.T) {
	text, err := os.ReadFile("testdata/v2.json")
	if err != nil {
		t.Fatal(err)
	}
	var want []struct {
		Text, Index, Context int
		Token                int32
		NLL                  float32
		IDs                  []int32
		Codes                []uint16
		Tail                 uint16
		Drawn                []uint16
		Full                 []int
	}
	if err := json.Unmarshal(text, &want); err != nil {
		t.Fatal(err)
	}
	r, err := Open("testdata/v2.seal")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Close() }()
	if r.Header.Model != "golden – v2" || r.Header.MinP != 0.06 ||
		!reflect.DeepEqual(r.Texts, [][]int32{{0, 3, 6, 9, 0, 3}, {1, 6, 11, 4, 9}}) {
		t.Errorf("header %+v, texts %v", r.Header, r.Texts)
	}
	for _, w := range want {
		x := Entry{
			Text: w.Text, Index: w.Index, Context: w.Context, Token: w.Token, NLL: w.NLL, Tail: w.Tail,
			Drawn: Drawn{int32(w.Drawn[0]), w.Drawn[1]},
		}
		for _, c := range w.Full {
			x.Full = append(x.Full, uint8(c))
		}
		for i, id := range w.IDs {
			x.Top = append(x.Top, Likely{id, w.Codes[i]})
		}
		got, err := r.Next()
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(*got, x) {
			t.Errorf("%+v\nwant %+v", *got, x)
		}
	}
	if _, err := r.Next(); err != io.EOF {
		t.Errorf("after the last position: %v", err)
	}
}

// checkEntry checks that the entry says what the logits do.
func checkEntry(t *testing.T, e *Entry, logits []float32, h *Header) {
	t.Helper()
	greatest := math.Inf(-1)
	for _, x := range logits {
		greatest = max(greatest, float64(x))
	}
	sum := 0.0
	for _, x := range logits {
		sum += math.Exp(float64(x) - greatest)
	}
	lnP := func(id int32) float64 { return float64(logits[id]) - greatest - math.Log(sum) }
	checkTop(t, e, logits, h, lnP)
	if want := -lnP(e.Token); math.Abs(float64(e.NLL)-want) > 1e-7*want+1e-12 {
		t.Errorf("NLL %v, want %v", e.NLL, want)
	}
	inTop := make(map[int32]bool)
	for _, l := range e.Top {
		inTop[l.ID] = true
	}
	tail := 0.0
	last := e.Top[len(e.Top)-1].ID
	for id := range logits {
		if id := int32(id); !inTop[id] {
			tail += math.Exp(lnP(id))
			if logits[id] > logits[last] || len(e.Top) < h.TopK && math.Exp(lnP(id)) >= h.MinP {
				t.Errorf("token %d is missing among the likely", id)
			}
		}
	}
	if low, high := e.TailBounds(); tail > 0 && (tail < low || tail > high) {
		t.Errorf("the tail is %v, not within %v and %v", tail, low, high)
	}
	if d := e.Drawn; tail == 0 {
		if len(e.Top) == len(logits) && d != None {
			t.Errorf("%v was drawn, but there is no tail", d)
		}
	} else if inTop[d.ID] || math.Abs(-lnP(d.ID)-float64(d.Code)*Step) > half*Step && d.Code < maxCode {
		t.Errorf("drawn: %v, its -ln p is %v", d, -lnP(d.ID))
	}
	checkRow(t, e.Full, lnP)
}

// checkRow checks a row of the whole vocabulary.
func checkRow(t *testing.T, row []uint8, lnP func(id int32) float64) {
	t.Helper()
	for id, c := range row {
		if d := math.Abs(-lnP(int32(id)) - float64(c)*RowStep); c < math.MaxUint8 && d > half*RowStep {
			t.Errorf("ln p of token %d is off by %v", id, d)
		}
	}
}

// checkTop checks that the likely tokens are likely, and in their order.
func checkTop(t *testing.T, e *Entry, logits []float32, h *Header, lnP func(id int32) float64) {
	t.Helper()
	for i, l := range e.Top {
		if low, high := l.Bounds(); math.Exp(lnP(l.ID)) < low || math.Exp(lnP(l.ID)) > high {
			t.Errorf("p of token %d is %v, not within %v and %v", l.ID, math.Exp(lnP(l.ID)), low, high)
		}
		if i > 0 {
			a := e.Top[i-1].ID
			if logits[a] < logits[l.ID] || logits[a] == logits[l.ID] && a > l.ID {
				t.Errorf("likely tokens %d and %d are in the wrong order", a, l.ID)
			}
		}
		if i >= MinTopK && math.Exp(lnP(l.ID)) < h.MinP {
			t.Errorf("token %d is not likely", l.ID)
		}
	}
}

func TestSampled(t *testing.T) {
	for _, n := range []int{1, 2, 7, 100, 32640} {
		for _, full := range []int{0, 1, 2, 3, n / 3, n - 1, n} {
			full = min(full, n)
			got := 0
			for i := range n {
				if sampled(i, n, full) {
					got++
				}
			}
			if got != full {
				t.Errorf("%d of %d are sampled, want %d", got, n, full)
			}
		}
	}
}

// Tokens are drawn as often as they are likely: Pearson's χ² over the tail of one prediction.
func TestDrawn(t *testing.T) {
	const n, vocab, k = 5000, 60, 20
	logits := make([]float32, vocab)
	for id := range logits {
		logits[id] = float32(id*7%vocab) / 16
	}
	counts := make([]float64, vocab)
	var tail []int32
	for i := range n {
		e := Entry{}
		if err := e.fill(logits, k, 0, i, false); err != nil {
			t.Fatal(err)
		}
		counts[e.Drawn.ID]++
		if i == 0 {
			for id := range int32(vocab) {
				if !slices.ContainsFunc(e.Top, func(l Likely) bool { return l.ID == id }) {
					tail = append(tail, id)
				}
			}
		}
	}
	sum := 0.0
	for _, id := range tail {
		sum += math.Exp(float64(logits[id]))
	}
	chi2, drawn := 0.0, 0.0
	for _, id := range tail {
		want := n * math.Exp(float64(logits[id])) / sum
		chi2 += (counts[id] - want) * (counts[id] - want) / want
		drawn += counts[id]
	}
	// 39 degrees of freedom: 0.1 % are below 16.3, 0.1 % above 72.1.
	if drawn != n || chi2 < 16.3 || chi2 > 72.1 {
		t.Errorf("%v of %d drawn from the tail, χ² %.1f", drawn, n, chi2)
	}
}

func TestTruncated(t *testing.T) {
	b := write(t, newHeader(300, 16))
	for n := range b {
		_, err := readAll(b[:n])
		var e *formats.Error
		if !errors.As(err, &e) || !errors.Is(err, ErrTruncated) || e.Off < 0 || e.Off > int64(n) {
			t.Fatalf("of %d bytes the first %d: %v", len(b), n, err)
		}
	}
}

func TestFlippedBits(t *testing.T) {
	b := write(t, newHeader(64, 16))
	for i := range 8 * len(b) {
		b[i/8] ^= 1 << (i % 8)
		_, err := readAll(b)
		b[i/8] ^= 1 << (i % 8)
		var e *formats.Error
		if !errors.As(err, &e) || e.Off < 0 {
			t.Fatalf("bit %d of byte %d flipped: %v", i%8, i/8, err)
		}
	}
	if _, err := readAll(append(b, 0)); err == nil || !strings.Contains(err.Error(), "follows the last section") {
		t.Errorf("a byte too many: %v", err)
	}
}

// file puts a seal together.
func file(header string, tokens []byte, blocks ...[]byte) []byte {
	b := le.AppendUint32([]byte(magic), version)
	b = appendSection(b, headerSection, []byte(header))
	b = appendSection(b, tokensSection, tokens)
	enc, err := zstd.NewWriter(nil)
	if err != nil {
		panic(err)
	}
	for _, block := range blocks {
		b = appendSection(b, positionSection, enc.EncodeAll(block, nil))
	}
	return appendSection(b, endSection, nil)
}

const (
	hash        = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
	smallHeader = `{"model":"m","weights_sha256":"` + hash + `","tokenizer":{"model":"llama","pre":"",` +
		`"tokens_sha256":"` + hash + `","merges_sha256":"` + hash + `","bos":-1,"eos":2},` +
		`"vocab_size":8,"top_k":6,"min_p":0,` +
		`"conventions":{"name":"x","context":4,"stride":2,"first":1,"bos":-1},` +
		`"texts":[{"name":"a","bytes":9,"sha256":"` + hash + `","tokens":3}],"positions":1,"full":0}`
)

// smallBlock is the section of one position: token 2 of text 0 after the window
// that begins at token 0, five likely tokens of p = 1/8, a tail of 3/8.
var smallBlock = []byte{1, 0, 0, 0,
	0, 0, // text
	0, 0, 0, 0, // start
	2, 0, 0, 0, // index
	5, 0, // k
	0,          // full
	0, 0, 0, 0, // NLL
	251, 0, // tail: 0.98 nat
	6, 0, 0, 2, // drawn: token 6, 2 nats
	3, 1, 4, 7, 5, 0, 0, 0, 0, 0, // ids
	0xff, 0, 0, 0, 0, 0xdf, 0, 0, 0, 0, // codes
}

var smallTokens = []byte{0, 0, 7, 0, 3, 0}

// patched returns b with bytes replaced from i on.
func patched(b []byte, i int, with ...byte) []byte {
	b = bytes.Clone(b)
	copy(b[i:], with)
	return b
}

// header is a small file whose header has one part replaced.
func header(old, new string) []byte {
	if !strings.Contains(smallHeader, old) {
		panic("no " + old)
	}
	return file(strings.Replace(smallHeader, old, new, 1), smallTokens, smallBlock)
}

// block is a small file whose block of positions has other bytes from byte i on.
func block(i int, with ...byte) []byte {
	return file(smallHeader, smallTokens, patched(smallBlock, i, with...))
}

// beginning is a file that ends after the length of its first section.
func beginning(name string, length uint32) []byte {
	b := append(le.AppendUint32([]byte(magic), version), name...)
	return le.AppendUint32(b, length)
}

// hostile lists files that are refused, and what the error says.
var hostile = []struct {
	name string
	file []byte
	want string
}{
	{"empty", nil, "offset 0: magic and version: 12 bytes needed, 0 left: file is truncated"},
	{"other file", []byte("GGUF\x03\x00\x00\x00\x00\x00\x00\x00"), "offset 0: begins with"},
	{"version", patched(file(smallHeader, nil), 8, 1), "offset 8: version 1, this program reads 2"},
	{"length of header", beginning("HEAD", 1<<31), "offset 16: section HEAD: length 2147483648, must be 2 to 1048576"},
	{"section", beginning("TOKS", 8), `offset 12: section "TOKS", must be "HEAD"`},
	{"no JSON", file("[]", nil), "header: JSON"},
	{"no UTF-8", header(`"m"`, "\"\xff\""), "not valid UTF-8"},
	{"second object", file(smallHeader+"{}", nil), "something follows"},
	{"unknown field", header(`"model"`, `"name":"","model"`), "unknown field"},
	{"hash", header("0123", "012G"), "weights_sha256"},
	{"short hash", header("0123", ""), "weights_sha256"},
	{"vocabulary", header(`"vocab_size":8`, `"vocab_size":1048577`), "vocab_size is 1048577, must be 5 to 1048576"},
	{"top k", header(`"top_k":6`, `"top_k":9`), "top_k is 9, must be 5 to 8"},
	{"min p", header(`"min_p":0`, `"min_p":1`), "min_p is 1"},
	{"context", header(`"context":4`, `"context":0`), "context is 0"},
	{"stride", header(`"stride":2`, `"stride":5`), "stride is 5, must be 1 to 4"},
	{"first", header(`"first":1`, `"first":4`), "first is 4, must be 0 to 3"},
	{"bos", header(`"first":1,"bos":-1`, `"first":1,"bos":8`), "bos is 8, must be -1 to 7"},
	{"no texts", header(`[{"name":"a","bytes":9,"sha256":"`+digest+`","tokens":3}]`, `[]`), "number of texts is 0"},
	{"tokens", header(`"tokens":3`, `"tokens":4611686018427387905`), "tokens of text 0 is 4611686018427387905"},
	{"negative tokens", header(`"tokens":3`, `"tokens":-1`), "tokens of text 0 is -1"},
	{
		"tokens that are not there", header(`"tokens":3}`, `"tokens":67108864}`),
		"section TOKS: length 6, must be 134217728",
	},
	{
		"sum of tokens",
		header(`"tokens":3}`, `"tokens":67108864},{"name":"b","bytes":1,"sha256":"`+digest+`","tokens":1}`),
		"tokens of text 1 is 1, must be 0 to 0",
	},
	{"positions", header(`"positions":1`, `"positions":4`), "positions is 4, must be 1 to 3"},
	{"too few positions", header(`"positions":1`, `"positions":2`), `section "DONE", must be "POSN"`},
	{"full", header(`"full":0`, `"full":2`), "full is 2, must be 0 to 1"},
	{"too few full", header(`"full":0`, `"full":1`), "0 positions have the whole vocabulary, the header says 1"},
	{
		"token", file(smallHeader, patched(smallTokens, 2, 8), smallBlock),
		"token 1 of text 0 is 8, the vocabulary has 8",
	},
	{
		"no zstd",
		appendSection(
			file(smallHeader, smallTokens)[:len(file(smallHeader, smallTokens))-12], positionSection,
			[]byte("zstd"),
		),
		"zstd",
	},
	{"bomb", file(smallHeader, smallTokens, make([]byte, maxBlock+1)), "zstd"},
	{"empty block", file(smallHeader, smallTokens, nil), "section POSN"},
	{"short block", file(smallHeader, smallTokens, []byte{1, 0, 0}), "3 bytes"},
	{"no positions", block(0, 0), "0 positions in"},
	{"count", block(0, 255, 255, 255, 255), "4294967295 positions in"},
	{"second block", file(smallHeader, smallTokens, smallBlock, smallBlock), `section "POSN", must be "DONE"`},
	{"text", block(4, 1), "token 2 of text 1, which there is not"},
	{"window", block(6, 3), "-1 tokens of context"},
	{"no context", block(6, 2), "0 tokens of context, must be 1 to 3"},
	{"index", block(10, 3), "token 3 of text 0, which there is not"},
	{"large index", block(10, 255, 255, 255, 255), "token 4294967295 of text 0"},
	{"few likely", block(14, 4), "has 4 likely tokens, must be 5 to 6"},
	{"many likely", block(14, 6), "must be 24"},
	{"full flag", block(16, 2), "is full: 2"},
	{"full row", block(16, 1), "must be 28"},
	{"NLL NaN", block(17, 0, 0, 0xc0, 0x7f), "-ln p of its token is NaN"},
	{"NLL negative", block(17, 0, 0, 0x80, 0xbf), "-ln p of its token is -1"},
	{"NLL infinite", block(17, 0, 0, 0x80, 0x7f), "-ln p of its token is +Inf"},
	{"id", block(27, 8), "likely token 8, the vocabulary has 8"},
	{"id twice", block(27, 1), "likely token 1 is there twice"},
	{"code", block(37, 0xff, 1, 0, 0, 0, 0xff), "likely token 1 has the code -1"},
	{"drawn is likely", block(23, 7), "the drawn token 7 is not in the tail"},
	{"drawn is no token", block(23, 8), "the drawn token 8 is not in the tail"},
	{
		"drawn is too likely", block(25, 250, 0),
		"the drawn token has the code 250, must be at least the tail's, 251",
	},
	{"sum above 1", block(21, 0, 0), "no probabilities with these codes have the sum 1"},
	{"sum below 1", block(21, 255, 255), "no probabilities with these codes have the sum 1"},
}

func TestHostile(t *testing.T) {
	if n, err := readAll(file(smallHeader, smallTokens, smallBlock)); n != 1 || err != nil {
		t.Fatalf("%d positions, error %v", n, err)
	}
	for _, c := range hostile {
		t.Run(c.name, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			_, err := readAll(c.file)
			runtime.ReadMemStats(&after)
			var e *formats.Error
			if !errors.As(err, &e) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want %s", err, c.want)
			}
			if n := after.TotalAlloc - before.TotalAlloc; n > 3*maxBlock {
				t.Errorf("%d bytes allocated for a file of %d", n, len(c.file))
			}
		})
	}
}

func TestWriterErrors(t *testing.T) {
	h := newHeader(64, 8)
	h.Positions, h.Full = 2, 0
	good := newLogits(64, 0)
	nan := append([]float32(nil), good...)
	nan[5] = float32(math.NaN())
	for _, c := range []struct {
		name                 string
		text, index, context int
		logits               []float32
		want                 string
	}{
		{"text", 2, 20, 20, good, "there is no such token"},
		{"index", 0, 40, 20, good, "there is no such token"},
		{"context", 0, 20, 21, good, "21 tokens of context, must be 1 to 20"},
		{"no context", 0, 20, 0, good, "0 tokens of context"},
		{"order", 0, 10, 5, good, "text 0, token 10: comes after token 10 of text 0"},
		{"vocabulary", 0, 20, 20, good[:63], "63 logits, the header says 64"},
		{"NaN", 0, 20, 20, nan, "text 0, token 20: the logit of token 5 is NaN"},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "x.seal")
			w, err := Create(path, h, newTexts(&h))
			if err != nil {
				t.Fatal(err)
			}
			defer w.Abort()
			if err := w.Add(0, 10, 10, good); err != nil {
				t.Fatal(err)
			}
			if err := w.Add(c.text, c.index, c.context, c.logits); err == nil ||
				!strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want %s", err, c.want)
			}
			if err := w.Close(); err == nil || !strings.Contains(err.Error(), path) {
				t.Errorf("Close after an error: %v", err)
			}
			if list, err := os.ReadDir(filepath.Dir(path)); err != nil || len(list) > 0 {
				t.Errorf("left behind: %v, %v", list, err)
			}
		})
	}
	t.Run("too few positions", func(t *testing.T) {
		w, err := NewWriter(io.Discard, h, newTexts(&h))
		if err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err == nil || !strings.Contains(err.Error(), "0 positions, the header says 2") {
			t.Error(err)
		}
	})
	t.Run("texts", func(t *testing.T) {
		texts := newTexts(&h)
		texts[1][3] = 64
		if _, err := NewWriter(io.Discard, h, texts); err == nil ||
			!strings.Contains(err.Error(), "text 1: token 3 is 64") {
			t.Error(err)
		}
		if _, err := NewWriter(io.Discard, h, texts[:1]); err == nil {
			t.Error("a text is missing, no error")
		}
	})
}

func TestOpenNamesFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.seal")
	b := write(t, newHeader(64, 8))
	if err := os.WriteFile(path, b[:len(b)-1], 0o666); err != nil {
		t.Fatal(err)
	}
	r, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	for err == nil {
		_, err = r.Next()
	}
	if want := fmt.Sprintf("%s: offset %d: ", path, len(b)-4); !strings.HasPrefix(err.Error(), want) {
		t.Errorf("error %v, want %s…", err, want)
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	if _, err := r.Next(); err == nil {
		t.Error("Next after Close: no error")
	}
}

// FuzzReader reads files whose CRCs are right, so that the fuzzer gets past them.
func FuzzReader(f *testing.F) {
	f.Add([]byte(smallHeader), smallTokens, smallBlock)
	f.Fuzz(func(t *testing.T, header, tokens, block []byte) {
		b := file(string(header), tokens, block)
		n, err := readAll(b)
		var e *formats.Error
		if err != nil && !errors.As(err, &e) {
			t.Fatalf("error of type %T: %v", err, err)
		}
		if err == nil && n == 0 {
			t.Fatal("no positions, no error")
		}
		_, _ = readAll(block) // without any of the frame
	})
}

func TestCRC(t *testing.T) {
	// The check value of CRC-32C.
	if got := crc32.Checksum([]byte("123456789"), castagnoli); got != 0xe3069283 {
		t.Errorf("CRC %08x", got)
	}
}
