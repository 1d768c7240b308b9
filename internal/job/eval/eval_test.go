package eval

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/phi3conv/phi3conv/internal/convert"
	"github.com/phi3conv/phi3conv/internal/source"
	"github.com/phi3conv/phi3conv/internal/usage"
	"github.com/phi3conv/phi3conv/quant/policy"
	"github.com/phi3conv/phi3conv/runtime"
	"github.com/phi3conv/phi3conv/verify"
	"github.com/phi3conv/phi3conv/verify/eval"
)

const (
	tiny       = "../../../testdata/tiny-phi3"
	choiceTask = "../../../testdata/eval/choice.jsonl"
	answerTask = "../../../testdata/eval/answer.jsonl"
)

// exact is how all machines compute alike.
var exact = runtime.Options{Float32: true, Cache: runtime.CacheF32}

func evaluated(t *testing.T, o Options) *eval.Report {
	t.Helper()
	r, err := Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// quantized makes a Q2_K file of the tiny model.
func quantized(t *testing.T) string {
	t.Helper()
	m, err := source.Open(tiny)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = m.Close() }() // only read from
	p, err := convert.NewPlan(m, convert.Options{Policy: policy.Policy{FileType: policy.MostlyQ2_K}})
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "q2.gguf")
	if err := p.Run(context.Background(), path, convert.Limits{Threads: 2, Memory: 1 << 30}); err != nil {
		t.Fatal(err)
	}
	return path
}

// goldenRun is what transformers answers.
type goldenRun struct {
	Score   string        `json:"score"` // letter, text, or answer for generated ones
	Shots   int           `json:"shots"`
	Chat    bool          `json:"chat"`
	Answers []eval.Answer `json:"answers"`
}

// Likelihoods, answers and scores are those of transformers.
func TestGolden(t *testing.T) {
	data, err := os.ReadFile("../../../testdata/golden/eval.json")
	if err != nil {
		t.Fatal(err)
	}
	var golden struct {
		Runs []goldenRun `json:"runs"`
	}
	if err := json.Unmarshal(data, &golden); err != nil || len(golden.Runs) == 0 {
		t.Fatal(err)
	}
	for _, run := range golden.Runs {
		t.Run(fmt.Sprintf("%s, %d shots, chat %v", run.Score, run.Shots, run.Chat), func(t *testing.T) {
			o := Options{Models: []string{tiny}, Tasks: []string{choiceTask}, Compute: exact}
			o.How = eval.Options{ByText: run.Score == "text", Shots: run.Shots, Chat: run.Chat}
			if run.Score == "answer" {
				o.Tasks = []string{answerTask}
			}
			r := evaluated(t, o)
			if r.Task.Shortened != 0 || r.Task.Context != 512 || r.Task.Predict != 32 {
				t.Errorf("%+v", r.Task)
			}
			sameAnswers(t, r, run.Answers)
		})
	}
}

func sameAnswers(t *testing.T, r *eval.Report, want []eval.Answer) {
	t.Helper()
	got := r.Models[0].Answers
	if len(got) != len(want) {
		t.Fatalf("%d answers, expected %d", len(got), len(want))
	}
	sums := make([]float64, len(r.Task.Metrics))
	for i, w := range want {
		g := got[i]
		if g.Line != w.Line || g.Text != w.Text || !near(g.LogLikelihoods, w.LogLikelihoods, 1e-4) ||
			!near(g.Scores, w.Scores, 1e-12) {
			t.Errorf("%+v, expected %+v", g, w)
		}
		for j, s := range w.Scores {
			sums[j] += s
		}
	}
	for j, s := range sums {
		if m := r.Models[0].Metrics[j]; math.Abs(m.Value-s/float64(len(got))) > 1e-12 {
			t.Errorf("%s is %v, expected the mean %v", r.Task.Metrics[j], m.Value, s/float64(len(got)))
		}
	}
}

func near(a, b []float64, tolerance float64) bool {
	return slices.EqualFunc(a, b, func(x, y float64) bool { return math.Abs(x-y) <= tolerance })
}

// The same question gets the same answer whatever was asked before, by one model or several.
func TestAgainstBase(t *testing.T) {
	o := Options{
		Models: []string{quantized(t), tiny}, Base: tiny, Tasks: []string{choiceTask}, Compute: exact, Tool: "test",
		How:        eval.Options{ByText: true, Shots: 2},
		Thresholds: []verify.Threshold{{Name: "max-flips", Limit: 0.9}},
	}
	r := evaluated(t, o)
	if r.Tool != "test" || r.Verdict.Outcome != verify.Undecided || len(r.Verdict.Checks) != 2 || len(r.Models) != 2 {
		t.Errorf("%+v", r.Verdict)
	}
	if q := r.Models[0].Paired; q.Changed == 0 || q.Changed < q.RightWrong+q.WrongRight {
		t.Errorf("Q2_K changes nothing: %+v", q)
	}
	same := r.Models[1].Paired
	if same.Changed != 0 || same.McNemar != 1 || same.Differences[0].Value != 0 || same.Flips.Value != 0 {
		t.Errorf("a model differs from itself: %+v", same)
	}
	for i, a := range r.Models[1].Answers {
		if !slices.Equal(a.LogLikelihoods, r.Base.Answers[i].LogLikelihoods) {
			t.Errorf("%+v, and the base model %+v", a, r.Base.Answers[i])
		}
	}
	if r.Models[0].Name != "q2.gguf" || r.Base.Name != "tiny-phi3" || r.Task.Files[0].Records != 24 {
		t.Errorf("%+v, %+v, %+v", r.Models[0].Model, r.Base.Model, r.Task.Files)
	}

	// The records in another order and a file of examples give the same prompts.
	dev, test := otherOrder(t)
	other := evaluated(t, Options{
		Models: []string{tiny}, Tasks: []string{test}, Examples: []string{dev}, Compute: exact, How: o.How,
	})
	if len(other.Models[0].Answers) != 20 || other.Task.Examples[0].Records != 4 {
		t.Fatalf("%+v", other.Task)
	}
	for _, a := range other.Models[0].Answers {
		if !slices.ContainsFunc(r.Base.Answers, func(b eval.Answer) bool {
			return slices.Equal(a.LogLikelihoods, b.LogLikelihoods)
		}) {
			t.Errorf("line %d has other likelihoods", a.Line)
		}
	}
}

// otherOrder writes the first two records of each subject of choiceTask to one file, the others in reverse
// to another.
func otherOrder(t *testing.T) (dev, test string) {
	t.Helper()
	data, err := os.ReadFile(choiceTask)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.SplitAfter(string(data), "\n")
	rest := append(slices.Clone(lines[2:11]), lines[13:24]...)
	slices.Reverse(rest)
	dev = write(t, "dev.jsonl", lines[0]+lines[1]+lines[11]+lines[12])
	return dev, write(t, "test.jsonl", strings.Join(rest, ""))
}

func write(t *testing.T, name, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// Examples that do not fit are left out, and counted.
func TestShortContext(t *testing.T) {
	o := Options{Models: []string{tiny}, Tasks: []string{choiceTask}, Limit: 11}
	o.How = eval.Options{Shots: 3, Context: 200}
	if i := evaluated(t, o).Task; i.Shortened == 0 || i.Dropped < i.Shortened || i.Questions != 8 {
		t.Errorf("%+v", i)
	}
}

func TestRefuses(t *testing.T) {
	bad := write(t, "bad.jsonl", `{"question": "Why?", "choices": ["a", "b"], "answer": 0}`+"\n"+
		`{"question": "Why?", "answer": 3}`+"\n")
	long := write(t, "long.jsonl", `{"question": "`+strings.Repeat("why ", 600)+`", "answer": "x"}`)
	empty := write(t, "empty.jsonl", `{"question": "q", "choices": ["x", " "], "answer": 0}`)
	for _, c := range []struct {
		change  func(o *Options)
		mistake bool
		want    string
	}{
		{func(o *Options) { o.Models = nil }, true, "needs models and tasks"},
		{func(o *Options) { o.Tasks = nil }, true, "needs models and tasks"},
		{func(o *Options) { o.Limit = -1 }, true, "cannot be negative"},
		{func(o *Options) { o.How.Shots = -1 }, true, "cannot be negative"},
		{func(o *Options) { o.Thresholds = []verify.Threshold{{Name: "max-flips"}} }, true, "need an original"},
		{func(o *Options) { o.How.Kind = eval.ShortAnswer }, false, "line 1"},
		{func(o *Options) { o.Tasks = []string{choiceTask, answerTask} }, false, "answer.jsonl: line 1"},
		{func(o *Options) { o.Tasks = []string{bad} }, false, "bad.jsonl: line 2"},
		{func(o *Options) { o.Tasks = []string{bad + "x"} }, false, "bad.jsonlx"},
		{func(o *Options) { o.How.Shots = 11 }, false, "leave no question"},
		{func(o *Options) { o.How.Shots, o.Examples = 12, o.Tasks }, false, "11 examples of subject"},
		{func(o *Options) { o.How.Context = 600 }, false, "a context of 600 tokens"},
		{func(o *Options) { o.Tasks = []string{long} }, false, "long.jsonl: line 1"},
		{func(o *Options) { o.Tasks, o.How.ByText = []string{empty}, true }, false, "choice B has no text"},
	} {
		o := Options{Models: []string{tiny}, Tasks: []string{choiceTask}}
		c.change(&o)
		_, err := Run(t.Context(), o)
		var u *usage.Error
		if err == nil || !strings.Contains(err.Error(), c.want) || errors.As(err, &u) != c.mistake {
			t.Errorf("error %v, expected one with %q; a mistake in the options: %v", err, c.want, c.mistake)
		}
	}
}
