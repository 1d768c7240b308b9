package eval_test

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/phi3conv/phi3conv/runtime/tokenizer"
	"github.com/phi3conv/phi3conv/verify/eval"
)

// scripted is a model that predicts its script token by token, whatever it is asked.
type scripted struct {
	vocab  int
	script []int32
	calls  int
}

func (m *scripted) VocabSize() int { return m.vocab }

func (m *scripted) Logits(
	_ context.Context, tokens []int32, first int, emit func(i int, logits []float32) error,
) error {
	for i := first; i < len(tokens); i++ {
		logits := make([]float32, m.vocab)
		logits[m.script[min(m.calls, len(m.script)-1)]] = 1
		if err := emit(i, logits); err != nil {
			return err
		}
	}
	m.calls++
	return nil
}

func tiny(t *testing.T) *tokenizer.Tokenizer {
	t.Helper()
	tok, err := tokenizer.Open("../../testdata/tiny-phi3")
	if err != nil {
		t.Fatal(err)
	}
	return tok
}

// after returns the tokens that text has after before.
func after(t *testing.T, tok *tokenizer.Tokenizer, before, text string) []int32 {
	t.Helper()
	start := tok.Encode(before, tokenizer.EncodeOptions{AddSpecial: true})
	all := tok.Encode(before+text, tokenizer.EncodeOptions{AddSpecial: true})
	if len(all) <= len(start) || !slices.Equal(all[:len(start)], start) {
		t.Fatalf("%q adds no tokens to %q", text, before)
	}
	return all[len(start):]
}

func choices(n int) []eval.Record {
	var all []eval.Record
	for i := range n {
		all = append(all, eval.Record{
			Path: "x.jsonl", Line: i + 1, Kind: eval.Choice, Subject: fmt.Sprintf("s%d", i%2),
			Question: "Which one?", Choices: []string{"a ball", "a box", "a cat"}, Right: 1,
		})
	}
	return all
}

func newTask(t *testing.T, records, examples []eval.Record, o eval.Options) *eval.Task {
	t.Helper()
	o.Context = max(o.Context, 512)
	task, err := eval.NewTask(tiny(t), records, examples, o)
	if err != nil {
		t.Fatal(err)
	}
	return task
}

// Questions of a subject follow each other, and its first records are examples.
func TestNewTask(t *testing.T) {
	o := eval.Options{Kind: eval.Choice, Shots: 1}
	var lines []int
	for _, q := range newTask(t, choices(6), nil, o).Questions {
		lines = append(lines, q.Line)
		if q.Shots != 1 {
			t.Errorf("line %d has %d examples", q.Line, q.Shots)
		}
	}
	if !slices.Equal(lines, []int{3, 5, 4, 6}) {
		t.Errorf("questions of lines %d", lines)
	}
	if n := len(newTask(t, choices(6), choices(2), o).Questions); n != 6 {
		t.Errorf("%d questions with examples of another file", n)
	}
	tok := tiny(t)
	o.Context = 512
	if _, err := eval.NewTask(tok, choices(6), choices(1), o); err == nil ||
		!strings.Contains(err.Error(), `0 examples of subject "s1", expected 1`) {
		t.Errorf("error %v", err)
	}
	other := newTask(t, choices(5), nil, eval.Options{Kind: eval.Choice, Shots: 1})
	err := newTask(t, choices(6), nil, o).Same(other)
	if err == nil || !strings.Contains(err.Error(), "line 6 of x.jsonl") {
		t.Errorf("error %v", err)
	}
}

// The likeliest letter is the answer. Letters that differ in their last token only are evaluated together.
func TestChooseLetter(t *testing.T) {
	records := choices(1)
	records[0].Choices, records[0].Right = []string{"a ball", "a box", "a cat", "a dog"}, 0
	task := newTask(t, records, nil, eval.Options{Kind: eval.Choice})
	// In the tiny vocabulary " A" and " C" are one token, " B" and " D" two, of which the first is the same.
	letter := after(t, tiny(t), task.Prompt(task.Questions[0].Record, nil), " A")
	m := &scripted{vocab: 600, script: letter}
	done := 0
	answers, err := task.Run(t.Context(), m, func(n int) { done = n })
	if err != nil || len(letter) != 1 || m.calls != 2 || done != 1 {
		t.Fatalf("%v, %d tokens, %d evaluations, %d done", err, len(letter), m.calls, done)
	}
	sum := math.Log(599 + math.E)
	want := []float64{1 - sum, -2 * sum, -sum, -2 * sum}
	a := answers[0]
	if a.Text != "A" || !slices.Equal(a.Scores, []float64{1}) || a.Path != "x.jsonl" || a.Line != 1 ||
		!slices.EqualFunc(a.LogLikelihoods, want, func(x, y float64) bool { return math.Abs(x-y) < 1e-6 }) {
		t.Errorf("%+v, expected ln p %v", a, want)
	}
}

// Texts of choices are sums over their tokens, for acc_norm by their lengths.
func TestChooseText(t *testing.T) {
	task := newTask(t, choices(1), nil, eval.Options{Kind: eval.Choice, ByText: true})
	answers, err := task.Run(t.Context(), &scripted{vocab: 600, script: []int32{0}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	a := answers[0]
	prompt := task.Prompt(task.Questions[0].Record, nil)
	for i, choice := range task.Questions[0].Choices {
		n := float64(len(after(t, tiny(t), prompt, " "+choice)))
		if want := -n * math.Log(599+math.E); math.Abs(a.LogLikelihoods[i]-want) > 1e-6 {
			t.Errorf("%s: ln p %v, expected %v", choice, a.LogLikelihoods[i], want)
		}
	}
	if len(a.Scores) != 2 {
		t.Errorf("%+v", a)
	}
}

// A generated answer ends with the line, a stop id or after so many tokens.
func TestGenerate(t *testing.T) {
	tok := tiny(t)
	records := []eval.Record{{
		Path: "x.jsonl", Line: 7, Kind: eval.ShortAnswer, Question: "Where?", Answers: []string{"the ball"},
	}}
	task := newTask(t, records, nil, eval.Options{Kind: eval.ShortAnswer, Predict: 9})
	prompt := task.Prompt(task.Questions[0].Record, nil)
	ball := after(t, tok, prompt, " the ball")
	for _, c := range []struct {
		name   string
		script []int32
		text   string
		calls  int
		exact  float64
	}{
		{"line", append(after(t, tok, prompt, " the ball\n"), ball...), "the ball", len(ball) + 1, 1},
		{"stop id", append(slices.Clone(ball), tok.StopIDs()[0]), "the ball", len(ball) + 1, 1},
		{"so many", ball[:1], strings.TrimSpace(strings.Repeat(" the", 9)), 9, 0},
	} {
		m := &scripted{vocab: 600, script: c.script}
		answers, err := task.Run(t.Context(), m, nil)
		if err != nil || answers[0].Text != c.text || m.calls != c.calls || answers[0].Scores[0] != c.exact {
			t.Errorf("%s: %v, %+v after %d evaluations", c.name, err, answers, m.calls)
		}
	}
	_, err := task.Run(t.Context(), notANumber{}, nil)
	if err == nil || !strings.Contains(err.Error(), "x.jsonl: line 7: the logit of token 1 is NaN") {
		t.Errorf("error %v", err)
	}
}

type notANumber struct{}

func (notANumber) VocabSize() int { return 2 }

func (notANumber) Logits(_ context.Context, tokens []int32, _ int, emit func(i int, logits []float32) error) error {
	return emit(len(tokens)-1, []float32{0, float32(math.NaN())})
}
