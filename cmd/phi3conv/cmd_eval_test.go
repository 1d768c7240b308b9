package main

import (
	"encoding/json"
	"math"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/phi3conv/phi3conv/verify"
	"github.com/phi3conv/phi3conv/verify/eval"
)

const (
	choiceTask = "../../testdata/eval/choice.jsonl"
	answerTask = "../../testdata/eval/answer.jsonl"
)

// evalJSON runs eval with --json and returns the report and the exit code.
func evalJSON(t *testing.T, args ...string) (r eval.Report, code int) {
	t.Helper()
	stdout, stderr, code := phi3conv(t, append([]string{"eval", "--json"}, args...)...)
	if err := json.Unmarshal([]byte(stdout), &r); err != nil {
		t.Fatalf("exit %d, %v\n%s%s", code, err, stdout, stderr)
	}
	return r, code
}

// Likelihoods, answers and scores are those of transformers.
func TestEvalGolden(t *testing.T) {
	var golden struct {
		Runs []struct {
			Score   string `json:"score"` // letter, text, or answer for generated ones
			Shots   int    `json:"shots"`
			Chat    bool   `json:"chat"`
			Answers []struct {
				eval.Answer
				Tokens int `json:"tokens"`
			} `json:"answers"`
		} `json:"runs"`
	}
	if err := json.Unmarshal(read(t, "../../testdata/golden/eval.json"), &golden); err != nil || len(golden.Runs) == 0 {
		t.Fatal(err)
	}
	model := tinyModel(t)
	for _, run := range golden.Runs {
		args := []string{model, "--f32", "--cache-type", "f32", "--shots", strconv.Itoa(run.Shots)}
		if run.Score == "answer" {
			args = append(args, "--task", answerTask)
		} else {
			args = append(args, "--task", choiceTask, "--score", run.Score)
		}
		if run.Chat {
			args = append(args, "--chat")
		}
		r, code := evalJSON(t, args...)
		got := r.Models[0].Answers
		if code != exitOK || len(got) != len(run.Answers) || r.Task.Shortened != 0 {
			t.Fatalf("%v: exit %d, %d answers, expected %d", args, code, len(got), len(run.Answers))
		}
		sums := make([]float64, len(r.Task.Metrics))
		for i, want := range run.Answers {
			a := got[i]
			if a.Line != want.Line || a.Text != want.Text || len(a.Scores) != len(want.Scores) || len(a.LogLikelihoods) != len(want.LogLikelihoods) {
				t.Errorf("%v: %+v, expected %+v", args, a, want)
				continue
			}
			for j, l := range want.LogLikelihoods {
				if math.Abs(a.LogLikelihoods[j]-l) > 1e-4 {
					t.Errorf("%v, line %d: ln p %v, expected %v", args, a.Line, a.LogLikelihoods, want.LogLikelihoods)
					break
				}
			}
			for j, s := range want.Scores {
				sums[j] += s
				if math.Abs(a.Scores[j]-s) > 1e-12 {
					t.Errorf("%v, line %d: scores %v, expected %v", args, a.Line, a.Scores, want.Scores)
				}
			}
		}
		for j, s := range sums {
			if math.Abs(r.Models[0].Metrics[j].Value-s/float64(len(got))) > 1e-12 {
				t.Errorf("%v: %s is %v, expected the mean %v", args, r.Task.Metrics[j], r.Models[0].Metrics[j], s/float64(len(got)))
			}
		}
	}
}

// The same question gets the same answer whatever was asked before, by one model or several.
func TestEvalAgainstBase(t *testing.T) {
	model := tinyModel(t)
	dir := t.TempDir()
	junit, markdown := filepath.Join(dir, "e.xml"), filepath.Join(dir, "e.md")
	quant := converted(t, model, "Q2_K")
	r, code := evalJSON(t, quant, model, "--base", model, "--f32", "--cache-type", "f32", "--task", choiceTask, "--score", "text", "--shots", "2",
		"--max-flips", "0.9", "--junit", junit, "--markdown", markdown)
	if code != exitFailed || r.Verdict.Outcome != verify.Undecided || len(r.Verdict.Checks) != 2 || len(r.Models) != 2 {
		t.Errorf("exit %d, %+v", code, r.Verdict)
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
	if x := string(read(t, junit)); strings.Count(x, "<failure") != 2 {
		t.Errorf("%s", x)
	}
	if md := string(read(t, markdown)); !strings.Contains(md, "not enough questions") || !strings.Contains(md, "flipped") {
		t.Errorf("%s", md)
	}

	// The records in another order and a file of examples give the same prompts.
	lines := strings.SplitAfter(string(read(t, choiceTask)), "\n")
	examples, rest := lines[0]+lines[1]+lines[11]+lines[12], append(slices.Clone(lines[2:11]), lines[13:24]...)
	slices.Reverse(rest)
	dev, test := filepath.Join(dir, "dev.jsonl"), filepath.Join(dir, "test.jsonl")
	write(t, dev, []byte(examples))
	write(t, test, []byte(strings.Join(rest, "")))
	other, code := evalJSON(t, model, "--f32", "--cache-type", "f32", "--task", test, "--shots-file", dev, "--score", "text", "--shots", "2")
	if code != exitOK || len(other.Models[0].Answers) != 20 || other.Task.Examples[0].Records != 4 {
		t.Fatalf("exit %d, %+v", code, other.Task)
	}
	for _, a := range other.Models[0].Answers {
		if !slices.ContainsFunc(r.Base.Answers, func(b eval.Answer) bool { return slices.Equal(a.LogLikelihoods, b.LogLikelihoods) }) {
			t.Errorf("line %d has other likelihoods", a.Line)
		}
	}

	short, code := evalJSON(t, model, "--task", choiceTask, "--shots", "3", "-c", "200", "--limit", "11")
	if code != exitOK || short.Task.Shortened == 0 || short.Task.Dropped < short.Task.Shortened || short.Task.Questions != 8 {
		t.Errorf("exit %d, %+v", code, short.Task)
	}
	if stdout, _, code := phi3conv(t, "eval", quant, "--base", model, "--task", answerTask, "--shots", "3"); code != exitOK || !strings.Contains(stdout, "exact_match difference") {
		t.Errorf("exit %d\n%s", code, stdout)
	}
}

func TestEvalMistakes(t *testing.T) {
	model := tinyModel(t)
	dir := t.TempDir()
	bad := filepath.Join(dir, "bad.jsonl")
	write(t, bad, []byte("{\"question\": \"Why?\", \"choices\": [\"a\", \"b\"], \"answer\": 0}\n{\"question\": \"Why?\", \"answer\": 3}\n"))
	long := filepath.Join(dir, "long.jsonl")
	write(t, long, []byte(`{"question": "`+strings.Repeat("why ", 600)+`", "answer": "x"}`))
	empty := filepath.Join(dir, "empty.jsonl")
	write(t, empty, []byte(`{"question": "q", "choices": ["x", " "], "answer": 0}`))
	for _, c := range []struct {
		name string
		args []string
		code int
		want string
	}{
		{"no model", []string{"--task", choiceTask}, exitUsage, "MODEL"},
		{"no task", []string{model}, exitUsage, "--task"},
		{"kind", []string{model, "--task", choiceTask, "--kind", "essay"}, exitUsage, "--kind"},
		{"score", []string{model, "--task", choiceTask, "--score", "word"}, exitUsage, "--score"},
		{"shots", []string{model, "--task", choiceTask, "--shots", "-1"}, exitUsage, "--shots"},
		{"predict", []string{model, "--task", answerTask, "-n", "0"}, exitUsage, "--predict"},
		{"limit of nothing", []string{model, "--task", choiceTask, "--max-flips", "0.1"}, exitUsage, "--base"},
		{"limit", []string{model, "--base", model, "--task", choiceTask, "--max-flips", "7"}, exitUsage, "max-flips"},
		{"other kind", []string{model, "--task", choiceTask, "--kind", "answer"}, exitBadInput, "line 1"},
		{"two kinds", []string{model, "--task", choiceTask, "--task", answerTask}, exitBadInput, "answer.jsonl: line 1"},
		{"record", []string{model, "--task", bad}, exitBadInput, "bad.jsonl: line 2"},
		{"missing", []string{model, "--task", bad + "x"}, exitBadInput, "bad.jsonlx"},
		{"too few records", []string{model, "--task", choiceTask, "--shots", "11"}, exitBadInput, "leave no question"},
		{"too few examples", []string{model, "--task", choiceTask, "--shots-file", choiceTask, "--shots", "12"}, exitBadInput, "11 examples of subject"},
		{"context", []string{model, "--task", choiceTask, "-c", "600"}, exitBadInput, "context"},
		{"long question", []string{model, "--task", long, "--shots", "0"}, exitBadInput, "long.jsonl: line 1"},
		{"empty choice", []string{model, "--task", empty, "--shots", "0", "--score", "text"}, exitBadInput, "choice B has no text"},
	} {
		if _, stderr, code := phi3conv(t, append([]string{"eval"}, c.args...)...); code != c.code || !strings.Contains(stderr, c.want) {
			t.Errorf("%s: exit %d, expected %d with %q:\n%s", c.name, code, c.code, c.want, stderr)
		}
	}
}
