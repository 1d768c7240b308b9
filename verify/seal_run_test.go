package verify

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"math"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/phi3conv/phi3conv/formats/seal"
)

// fakeModel gives rows of logits: row i after token i of any window, none after the last.
type fakeModel [][]float32

func (m fakeModel) VocabSize() int { return len(m[0]) }

func (m fakeModel) Logits(_ context.Context, tokens []int32, first int,
	emit func(i int, logits []float32) error) error {
	for i := first; i < min(len(tokens), len(m)); i++ {
		if err := emit(i, m[i]); err != nil {
			return err
		}
	}
	return nil
}

// sealOf makes a seal of one window whose predictions are all scored.
func sealOf(t *testing.T, base fakeModel, topK int, minP float64, full int) []byte {
	t.Helper()
	digest := strings.Repeat("0", 64)
	n := len(base)
	tokens := make([]int32, n+1)
	for i := range tokens {
		tokens[i] = int32(i * 37 % base.VocabSize())
	}
	h := seal.Header{
		Model: "fake", WeightsSHA256: digest, Tokenizer: seal.Tokenizer{TokensSHA256: digest, MergesSHA256: digest},
		VocabSize: base.VocabSize(), TopK: topK, MinP: minP,
		Conventions: seal.Conventions{Name: Strided, Context: n + 1, Stride: n + 1, BOS: -1},
		Texts:       []seal.Text{{Name: "a", SHA256: digest, Tokens: n + 1}}, Positions: n, Full: full,
	}
	var b bytes.Buffer
	w, err := seal.NewWriter(&b, h, [][]int32{tokens})
	if err != nil {
		t.Fatal(err)
	}
	windows := Windows(0, tokens, Conventions{Name: Strided, Context: n + 1, Stride: n + 1}, 0)
	if err := RunSeal(context.Background(), base, windows, w, nil); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func openSeal(t *testing.T, b []byte) *seal.Reader {
	t.Helper()
	s, err := seal.NewReader(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// testdata/golden/seal.json comes from numpy and docs/format-seal.md.
func TestSealGolden(t *testing.T) {
	text, err := os.ReadFile("../testdata/golden/seal.json")
	if err != nil {
		t.Fatal(err)
	}
	var g struct {
		Positions []struct {
			IDs    []int32
			Codes  []uint16
			Tail   uint16
			Drawn  []uint16
			Full   bool
			Bound  float64
			Beyond float64
			KLD    float64
		}
		Bound, Share, KLD, Least, PPL float64
		ShareSE                       float64 `json:"share_se"`
		KLDSE                         float64 `json:"kld_se"`
		PPLBase                       float64 `json:"ppl_base"`
	}
	if err := json.Unmarshal(text, &g); err != nil {
		t.Fatal(err)
	}
	var base, quant fakeModel
	r := rows(1)
	for i := range g.Positions {
		b, q := r.pair(300, i%7)
		base, quant = append(base, b), append(quant, q)
	}
	b := sealOf(t, base, 24, 0.004, 20)
	s := openSeal(t, b)
	for i, want := range g.Positions {
		e, err := s.Next()
		if err != nil {
			t.Fatal(err)
		}
		if len(e.Top) != len(want.IDs) || e.Tail != want.Tail || (e.Full != nil) != want.Full ||
			e.Drawn != (seal.Drawn{ID: int32(want.Drawn[0]), Code: want.Drawn[1]}) {
			t.Fatalf("position %d: %+v, want %+v", i, e, want)
		}
		for j, l := range e.Top {
			if l.ID != want.IDs[j] || l.Code != want.Codes[j] {
				t.Errorf("position %d: likely token %+v, want %d %d", i, l, want.IDs[j], want.Codes[j])
			}
		}
	}
	s = openSeal(t, b)
	p, err := RunSealed(context.Background(), s, quant, nil)
	if err != nil {
		t.Fatal(err)
	}
	near := func(what string, got, want, tolerance float64) {
		t.Helper()
		if !(math.Abs(got-want) <= tolerance) {
			t.Errorf("%s: %v, want %v", what, got, want)
		}
	}
	again, err := runSealed(context.Background(), openSeal(t, b), quant, 5000, nil) // the window in parts
	if err != nil || !reflect.DeepEqual(again, p) {
		t.Errorf("in parts the result is another: %v", err)
	}
	for i, want := range g.Positions {
		near("bound", p[i].KLD, want.Bound, 1e-10)
		near("beyond", p[i].Drawn, want.Beyond, 1e-10)
		near("KLD", p[i].Estimated, want.KLD, 1e-10)
	}
	u := NewSealedReport(p, s.Header, 3)
	near("mean bound", u.Seal.Bound.Value, g.Bound, 1e-10)
	near("share", u.Seal.Share.Value, g.Share, 1e-8)
	near("SE of the share", u.Seal.Share.SE, g.ShareSE, 1e-8)
	near("KLD", u.Seal.KLD.Value, g.KLD, 1e-8)
	near("SE of the KLD", u.Seal.KLD.SE, g.KLDSE, 1e-8)
	near("least KLD", u.Seal.Least, g.Least, 1e-8)
	near("PPL of the base", u.Summary.PPLBase.Value, g.PPLBase, 1e-9*g.PPLBase)
	near("PPL", u.Summary.PPL.Value, g.PPL, 1e-9*g.PPL)
}

func TestRunSealedErrors(t *testing.T) {
	base, quant := randomRows(30, 100, 2, 0.1)
	b := sealOf(t, base, 16, 0, 2)
	if _, err := RunSealed(context.Background(), openSeal(t, b), fakeModel{make([]float32, 101)}, nil); err == nil ||
		!strings.Contains(err.Error(), "the seal has 100 tokens, the quantized model 101") {
		t.Errorf("vocabulary: %v", err)
	}
	quant[7][5] = float32(math.NaN())
	if _, err := RunSealed(context.Background(), openSeal(t, b), fakeModel(quant), nil); err == nil ||
		!strings.Contains(err.Error(), "prediction of token 8: quantized model: the logit of token 5 is NaN") {
		t.Errorf("NaN: %v", err)
	}
	if _, err := RunSealed(context.Background(), openSeal(t, b[:len(b)-20]), fakeModel(base), nil); !errors.Is(err,
		seal.ErrTruncated) {
		t.Errorf("truncated: %v", err)
	}
}

// A verdict needs tokens.
func TestJudgeSealed(t *testing.T) {
	p := make([]Bounded, 1000)
	for i := range p {
		kld := 0.1 + 0.05*math.Sin(float64(i))
		p[i] = Bounded{Estimated: kld, Position: Position{KLD: 0.9 * kld, Base: 1, Quant: 1, SameTop: true}}
	}
	for _, c := range []struct {
		name    string
		limit   float64
		p       []Bounded
		outcome Outcome
		note    string
		enough  bool
	}{
		{"max-kld", 0.12, p, Pass, "", false},
		{"max-kld", 0.08, p, Fail, "proven", false},
		{"max-kld", 0.095, p, Fail, "", false},
		{"max-kld", 0.1001, p, Undecided, "", true},
		{"max-kld", 0.12, p[1:9], Undecided, "", true},
		{"max-kld-p99", 1, p, Undecided, "not applicable", false},
		{"max-kld-p99", 0.01, p, Fail, "proven", false},
		{"min-top1", 0.9, p, Pass, "", false},
	} {
		v, err := JudgeSealed(c.p, []Threshold{{c.name, c.limit}})
		if err != nil {
			t.Fatal(err)
		}
		got := v.Checks[0]
		if v.Outcome != c.outcome || got.Outcome != c.outcome || !strings.Contains(got.Note, c.note) ||
			(got.Note == "") != (c.note == "") || (got.Enough > len(c.p)) != c.enough {
			t.Errorf("%s %v: %+v, want %s", c.name, c.limit, got, c.outcome)
		}
	}
}
