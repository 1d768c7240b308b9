package main

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"

	"github.com/phi3conv/phi3conv/internal/testmodel"
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

// Flags, forms of the report and exit codes.
func TestEval(t *testing.T) {
	model := testmodel.Phi3(t)
	dir := t.TempDir()
	junit, markdown := filepath.Join(dir, "e.xml"), filepath.Join(dir, "e.md")
	quant := converted(t, model, "Q2_K")
	r, code := evalJSON(t, quant, model, "--base", model, "--task", choiceTask, "--score", "text", "--shots", "2",
		"--max-flips", "0.9", "--junit", junit, "--markdown", markdown)
	if code != exitFailed || r.Verdict.Outcome != verify.Undecided || len(r.Verdict.Checks) != 2 || len(r.Models) != 2 {
		t.Errorf("exit %d, %+v", code, r.Verdict)
	}
	if !r.Task.ByText || r.Task.Shots != 2 || r.Task.Predict != 32 {
		t.Errorf("%+v", r.Task)
	}
	if x := string(testmodel.Read(t, junit)); strings.Count(x, "<failure") != 2 {
		t.Errorf("%s", x)
	}
	md := string(testmodel.Read(t, markdown))
	if !strings.Contains(md, "not enough questions") || !strings.Contains(md, "flipped") {
		t.Errorf("%s", md)
	}
	stdout, _, code := phi3conv(t, "eval", quant, "--base", model, "--task", answerTask, "--shots-file", answerTask,
		"--shots", "1", "--limit", "4")
	if code != exitOK || !strings.Contains(stdout, "exact_match difference") {
		t.Errorf("exit %d\n%s", code, stdout)
	}
}

func TestEvalMistakes(t *testing.T) {
	model := testmodel.Phi3(t)
	and := func(more ...string) []string { return append([]string{model, "--task", choiceTask}, more...) }
	for _, c := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"--task", choiceTask}, exitUsage, "MODEL"},
		{[]string{model}, exitUsage, "--task"},
		{and("--kind", "essay"), exitUsage, "--kind"},
		{and("--score", "word"), exitUsage, "--score"},
		{and("--shots", "-1"), exitUsage, "--shots"},
		{and("-n", "0"), exitUsage, "-n is 0"},
		{and("--limit", "-1"), exitUsage, "--limit and --ctx-size"},
		{and("--max-flips", "0.1"), exitUsage, "--max-flips needs --base"},
		{and("--base", model, "--max-flips", "7"), exitUsage, "max-flips"},
		{and("--kind", "answer"), exitBadInput, "line 1"},
		{[]string{model, "--task", choiceTask + "x"}, exitBadInput, "choice.jsonlx"},
		{and("-c", "600"), exitBadInput, "context"},
	} {
		_, stderr, code := phi3conv(t, append([]string{"eval"}, c.args...)...)
		if code != c.code || !strings.Contains(stderr, c.want) {
			t.Errorf("%q: exit %d, expected %d with %q:\n%s", c.args, code, c.code, c.want, stderr)
		}
	}
}
