package serve

import (
	"bufio"
	"encoding/json"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	conversion "github.com/phi3conv/phi3conv/internal/convert"
	"github.com/phi3conv/phi3conv/internal/job/model"
	"github.com/phi3conv/phi3conv/internal/serve/compare"
	"github.com/phi3conv/phi3conv/internal/source"
	"github.com/phi3conv/phi3conv/internal/testmodel"
	"github.com/phi3conv/phi3conv/quant/policy"
	"github.com/phi3conv/phi3conv/runtime"
	"github.com/phi3conv/phi3conv/runtime/engine"
	"github.com/phi3conv/phi3conv/runtime/tokenizer"
	"github.com/phi3conv/phi3conv/verify"
)

// startSeveral serves models under names, the first of which answers by default.
func startSeveral(t *testing.T, paths map[string]string, names ...string) *httptest.Server {
	t.Helper()
	var all []*Model
	for _, name := range names {
		path := paths[name]
		m, err := runtime.Open(t.Context(), path, runtime.Options{Batched: true})
		if err != nil {
			t.Fatal(err)
		}
		e, err := engine.New(m, engine.Options{Parallel: 2, Context: 256})
		if err != nil {
			t.Fatal(err)
		}
		tok, err := tokenizer.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { e.Close(); _ = m.Close() })
		all = append(all, &Model{ID: name, Engine: e, Tokenizer: tok, VocabSize: m.VocabSize(), Parallel: 2, Queue: 1})
	}
	s := httptest.NewServer(New(all, Options{}))
	t.Cleanup(s.Close)
	return s
}

// quantized converts the tiny model.
func quantized(t *testing.T, path, name string) string {
	t.Helper()
	m, err := source.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = m.Close() }()
	ft, err := policy.FileTypeByName(name)
	if err != nil {
		t.Fatal(err)
	}
	plan, err := conversion.NewPlan(m, conversion.Options{Policy: policy.Policy{FileType: ft}})
	if err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(t.TempDir(), name+".gguf")
	if err := plan.Run(t.Context(), out, conversion.Limits{Threads: 1, Memory: 1 << 30}); err != nil {
		t.Fatal(err)
	}
	return out
}

// compared is what a comparison gave.
type compared struct {
	begin     compareBegin
	tokens    map[string][]compare.Token
	positions map[string][]compare.Position
	ends      map[string]compare.End
}

func runCompare(t *testing.T, s *httptest.Server, body string) compared {
	t.Helper()
	r, err := http.Post(s.URL+"/compare", "application/json", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Body.Close() }()
	if r.StatusCode != http.StatusOK {
		b, _ := io.ReadAll(r.Body)
		t.Fatalf("%s: %s", body, b)
	}
	c := compared{tokens: map[string][]compare.Token{}, positions: map[string][]compare.Position{},
		ends: map[string]compare.End{}}
	for lines := bufio.NewScanner(r.Body); lines.Scan(); {
		data, ok := strings.CutPrefix(lines.Text(), "data: ")
		if !ok || data == "[DONE]" {
			continue
		}
		var e struct {
			compare.Event
			Begin *compareBegin
			Error any
		}
		if err := json.Unmarshal([]byte(data), &e); err != nil || e.Error != nil {
			t.Fatalf("%s: %v", data, err)
		}
		switch {
		case e.Begin != nil:
			c.begin = *e.Begin
		case e.Token != nil:
			c.tokens[e.Token.Writer] = append(c.tokens[e.Token.Writer], *e.Token)
		case e.Position != nil:
			c.positions[e.Position.Model] = append(c.positions[e.Position.Model], *e.Position)
		case e.End != nil:
			c.ends[e.End.Model] = *e.End
		}
	}
	return c
}

// The figures of a comparison are those of verify for the same tokens, to the bit.
func TestCompare(t *testing.T) {
	original := testmodel.Phi3(t)
	paths := map[string]string{"original": original, "q4": quantized(t, original, "Q4_K_M"),
		"q2": quantized(t, original, "Q2_K")}
	s := startSeveral(t, paths, "original", "q4", "q2")
	predictors := map[string]*model.Predictor{}
	for name, path := range paths {
		p, err := model.OpenPredictor(t.Context(), path, runtime.Options{Batched: true}, 256, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close()
		predictors[name] = p
	}
	tok, err := tokenizer.Open(original)
	if err != nil {
		t.Fatal(err)
	}
	const rest = `,"original":"original","quantized":["q4","q2"],"max_tokens":40,"temperature":0.8,"seed":7,"top":4}`
	for _, body := range []string{
		`{"prompt":"The little dog"` + rest,
		`{"messages":[{"role":"user","content":"Where is the red ball?"}]` + rest,
		`{"prompt":"The little dog","force":false` + rest,
	} {
		c := runCompare(t, s, body)
		chat := c.begin.Prompt[0] == '<'
		prompt := tok.Encode(c.begin.Prompt, tokenizer.EncodeOptions{AddSpecial: !chat, ParseSpecial: true})
		if len(prompt) != c.begin.PromptTokens {
			t.Fatalf("%d tokens of the prompt, expected %d", len(prompt), c.begin.PromptTokens)
		}
		for _, name := range []string{"q4", "q2"} {
			writer := "original"
			if !c.begin.Force {
				writer = name
			}
			text := slices.Clone(prompt)
			for i, token := range c.tokens[writer] {
				if text = append(text, token.ID); token.Index != i {
					t.Errorf("token %d has index %d", i, token.Index)
				}
			}
			w := verify.Window{Tokens: text, First: len(prompt) - 1}
			want, err := verify.Run(t.Context(), predictors["original"], predictors[name], []verify.Window{w}, nil)
			if err != nil {
				t.Fatal(err)
			}
			checkPositions(t, c, name, writer, want)
		}
	}
}

// checkPositions compares the figures of a quantized model with those of verify.
func checkPositions(t *testing.T, c compared, name, writer string, want []verify.Position) {
	t.Helper()
	got := c.positions[name]
	if len(got) != len(want) || len(got) < 5 {
		t.Fatalf("%s: %d positions, expected %d", name, len(got), len(want))
	}
	mean, same := 0.0, 0.0
	for i, p := range got {
		v := want[i]
		if p.KLD != v.KLD || p.SameTop != v.SameTop || p.Original != -v.Base || p.Quantized != -v.Quant ||
			p.Index != i || p.Writer != writer {
			t.Errorf("%s, token %d: %+v, verify says %+v", name, i, p, v)
		}
		mean += p.KLD / float64(len(got))
		if p.SameTop {
			same += 1 / float64(len(got))
		}
		checkCandidates(t, p)
	}
	m := c.ends[name].Compare
	if m == nil || math.Abs(m.KLD-mean) > 1e-12 || math.Abs(m.SameTop-same) > 1e-12 {
		t.Errorf("means %+v, expected %v and %v", m, mean, same)
	}
}

// checkCandidates looks at the likeliest tokens of a place: 4 of each model, in order, with the token's own number.
func checkCandidates(t *testing.T, p compare.Position) {
	t.Helper()
	if n := len(p.Candidates); n < 4 || n > 8 {
		t.Errorf("%d candidates", n)
	}
	sum := 0.0
	for i, c := range p.Candidates {
		sum += math.Exp(c.Original)
		ordered := i == 0 || i >= 4 || c.Original <= p.Candidates[i-1].Original
		if !ordered || c.Original > 1e-9 || c.Quantized > 1e-9 || c.Token == "" {
			t.Errorf("candidates %+v", p.Candidates)
		}
	}
	if sum > 1+1e-9 {
		t.Errorf("the candidates' probabilities add up to %v", sum)
	}
}

// What ends a comparison: the limit, the context, a stop id. Without a seed one is drawn, and said.
func TestCompareEnds(t *testing.T) {
	original := testmodel.Phi3(t)
	s := startSeveral(t, map[string]string{"a": original, "b": original}, "a", "b")
	for _, c := range []struct {
		body, finish string
		written      int // 0 for any
	}{
		{`{"prompt":"The","quantized":["b"],"max_tokens":0}`, "length", 0},
		{`{"prompt":"The","quantized":["b"],"max_tokens":17}`, "length", 17},
		{`{"prompt":"The","quantized":["b"],"max_tokens":-1,"force":false}`, "length", 256},
		{`{"messages":[{"role":"user","content":"Where is the red ball?"}],"quantized":["b"]}`, "stop", 0},
	} {
		got := runCompare(t, s, c.body)
		a, b := got.ends["a"], got.ends["b"]
		if a.Finish != c.finish || c.written > 0 && a.Written != c.written {
			t.Errorf("%s: %+v", c.body, a)
		}
		m := b.Compare
		if m != nil && (m.KLD != 0 || m.SameTop != 1) || (m == nil) != (a.Written == 0) {
			t.Errorf("%s: a model compared with itself: %+v", c.body, m)
		}
		for _, p := range got.positions["b"] {
			if len(p.Candidates) != 5 {
				t.Errorf("%d candidates, expected 5", len(p.Candidates))
			}
		}
	}
	const drawn = `{"prompt":"The","quantized":["b"],"temperature":2,"max_tokens":20`
	one := runCompare(t, s, drawn+"}")
	again, _ := json.Marshal(one.begin.Seed)
	if two := runCompare(t, s, drawn+`,"seed":`+string(again)+"}"); !slices.Equal(one.tokens["a"], two.tokens["a"]) {
		t.Error("the seed that was drawn gives other tokens")
	}
}

// What cannot be compared is refused, by name.
func TestCompareRefused(t *testing.T) {
	original := testmodel.Phi3(t)
	paths := map[string]string{"a": original, "b": original, "phi2": testmodel.Copy(t, "tiny-phi2")}
	s := startSeveral(t, paths, "a", "b", "phi2")
	long := strings.Repeat("word ", 300)
	for _, c := range []struct {
		body   string
		status int
		says   string
	}{
		{`{"original":"a","prompt":"x"}`, 400, "quantized: names 0 models"},
		{`{"original":"a","prompt":"x","quantized":["a"]}`, 400, "quantized: names a"},
		{`{"original":"a","prompt":"x","quantized":["b","b"]}`, 400, "quantized: names b"},
		{`{"original":"none","prompt":"x","quantized":["b"]}`, 404, `no model "none"`},
		{`{"original":"a","prompt":"x","quantized":["none"]}`, 404, `no model "none"`},
		{`{"original":"a","prompt":"x","quantized":["phi2"]}`, 400, "phi2 has another vocabulary than a: its kind is"},
		{`{"original":"a","quantized":["b"]}`, 400, "either messages or prompt"},
		{`{"original":"a","quantized":["b"],"prompt":"x","messages":[]}`, 400, "either messages or prompt"},
		{`{"original":"a","quantized":["b"],"messages":[]}`, 400, "messages: is missing"},
		{`{"original":"phi2","quantized":["b"],"messages":[{"role":"user","content":"x"}]}`, 400, "another vocabulary"},
		{`{"original":"a","quantized":["b"],"prompt":"x","max_tokens":-2}`, 400, "max_tokens"},
		{`{"original":"a","quantized":["b"],"prompt":"x","top":99}`, 400, "top"},
		{`{"original":"a","quantized":["b"],"prompt":"x","temperature":-1}`, 400, "temperature"},
		{`{"original":"a","quantized":["b"],"prompt":"` + long + `"}`, 400, "256"},
	} {
		status, a := post(t, s, "/compare", c.body)
		if message, _ := at(a, "error", "message").(string); status != c.status || !strings.Contains(message, c.says) {
			t.Errorf("%.90s: %d %q, expected %d and %q", c.body, status, message, c.status, c.says)
		}
	}
}
