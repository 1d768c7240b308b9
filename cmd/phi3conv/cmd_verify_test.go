package main

import (
	"encoding/json"
	"encoding/xml"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/phi3conv/phi3conv/internal/testmodel"
	"github.com/phi3conv/phi3conv/verify"
)

const evalText = "../../testdata/tiny-phi3-eval.txt"

// verifyArgs is a verification of four small windows.
func verifyArgs(base string, more ...string) []string {
	return append([]string{"verify", "--base", base, "--text", evalText, "-c", "64", "--chunks", "4"}, more...)
}

// verifyJSON runs verify with --json on the text and returns the report and the exit code.
func verifyJSON(t *testing.T, args ...string) (r verify.Report, code int) {
	t.Helper()
	stdout, stderr, code := phi3conv(t, append([]string{"verify", "--json", "--text", evalText}, args...)...)
	if err := json.Unmarshal([]byte(stdout), &r); err != nil {
		t.Fatalf("exit %d, %v\n%s%s", code, err, stdout, stderr)
	}
	return r, code
}

// suites is what the tests read of a JUnit file.
type suites struct {
	Suites []struct {
		Failures int `xml:"failures,attr"`
	} `xml:"testsuite"`
}

// Flags, forms of the report and exit codes.
func TestVerify(t *testing.T) {
	model := testmodel.Phi3(t)
	dir := t.TempDir()
	file := func(name string) string { return filepath.Join(dir, name) }
	limits, report := file("limits.yaml"), file("v.json")
	testmodel.Write(t, limits, []byte("max-kld: 1e-6\nmin-top1: 0.2\n"))
	args := verifyArgs(model, converted(t, model, "Q4_K_M"), "--thresholds", limits, "--max-kld-p99", "100", "--json",
		"--report", report, "--junit", file("v.xml"), "--markdown", file("v.md"), "--html", file("v.html"))
	stdout, stderr, code := phi3conv(t, args...)
	var r verify.Report
	if err := json.Unmarshal([]byte(stdout), &r); code != exitFailed || err != nil || len(r.Verdict.Checks) != 3 {
		t.Fatalf("exit %d, %v, %+v\n%s", code, err, r.Verdict, stderr)
	}
	want := map[string]verify.Outcome{"max-kld": verify.Fail, "min-top1": verify.Pass}
	for _, c := range r.Verdict.Checks {
		if o, ok := want[c.Name]; ok && c.Outcome != o {
			t.Errorf("%s: %s", c.Name, c.Outcome)
		}
	}
	if r.Conventions.Context != 64 || r.Summary.Count != 4*31 || len(r.Worst) != 10 || r.Worst[0].Piece == "" {
		t.Errorf("%+v, worst %+v", r.Conventions, r.Worst)
	}
	var s suites
	if err := xml.Unmarshal(testmodel.Read(t, file("v.xml")), &s); err != nil || len(s.Suites) != 1 ||
		s.Suites[0].Failures == 0 {
		t.Errorf("%v: %+v", err, s)
	}
	for name, want := range map[string]string{"v.md": "| max-kld", "v.html": "<svg"} {
		if !strings.Contains(string(testmodel.Read(t, file(name))), want) {
			t.Errorf("no %q in %s", want, name)
		}
	}
	list, err := verify.ReadReports(report, testmodel.Read(t, report))
	if err != nil || len(list[0].Positions) != 4*31 {
		t.Errorf("report file: %v", err)
	}
	if _, err := os.Stat(report + ".partial"); !os.IsNotExist(err) {
		t.Errorf("progress is left: %v", err)
	}
}

func TestVerifySeveral(t *testing.T) {
	model := testmodel.Phi3(t)
	junit := filepath.Join(t.TempDir(), "v.xml")
	stdout, stderr, code := phi3conv(t, verifyArgs(model, converted(t, model, "Q4_K_M"), converted(t, model, "Q8_0"),
		"--max-kld", "1e-4", "--junit", junit)...)
	if code != exitFailed {
		t.Fatalf("exit %d\n%s", code, stderr)
	}
	for _, want := range []string{
		"2 models against tiny-phi3\n", "Q4_K_M.gguf  fail ", "Q8_0.gguf    pass ",
		"== Q8_0.gguf against tiny-phi3 ==", "Pareto front\n",
	} {
		if !strings.Contains(stdout, want) {
			t.Errorf("no %q in\n%s", want, stdout)
		}
	}
	var s suites
	if err := xml.Unmarshal(testmodel.Read(t, junit), &s); err != nil || len(s.Suites) != 2 ||
		s.Suites[0].Failures != 1 ||
		s.Suites[1].Failures != 0 {
		t.Errorf("%v: %+v", err, s)
	}
}

// Parts, a baseline, layers and strided windows, by their flags.
func TestVerifyParts(t *testing.T) {
	model := testmodel.Phi3(t)
	quant := converted(t, model, "Q8_0")
	dir := t.TempDir()
	var parts []string
	for _, shard := range []string{"1/2", "2/2"} {
		parts = append(parts, filepath.Join(dir, strings.ReplaceAll(shard, "/", "-")))
		_, stderr, code := phi3conv(t, verifyArgs(model, quant, "--shard", shard, "--report", parts[len(parts)-1])...)
		if code != exitOK {
			t.Fatal(stderr)
		}
	}
	all, page := filepath.Join(dir, "all.json"), filepath.Join(dir, "all.html")
	stdout, stderr, code := phi3conv(t, "verify", "merge", parts[1], parts[0], "--report", all, "--max-kld", "10")
	if code != exitOK || !strings.Contains(stdout, "124 tokens") {
		t.Errorf("exit %d\n%s%s", code, stdout, stderr)
	}
	stdout, stderr, code = phi3conv(t, verifyArgs(model, quant, "--baseline", all, "--max-regression", "kld=0.1",
		"--by-tensor", "--by-layer-chunks", "1", "--one-at-a-time", "--html", page)...)
	if code != exitOK || !strings.Contains(stderr, "phi3conv: note: the original's logits take ") {
		t.Errorf("exit %d\n%s", code, stderr)
	}
	for _, section := range []string{"Against the baseline", "each layer alone"} {
		if !strings.Contains(stdout, section) {
			t.Errorf("no %q in\n%s", section, stdout)
		}
	}
	if !strings.Contains(string(testmodel.Read(t, page)), "Since the baseline") {
		t.Error("the page does not have the baseline")
	}
	_, stderr, code = phi3conv(t, verifyArgs(model, quant, "--baseline", all, "--stride", "32")...)
	if code != exitBadInput || !strings.Contains(stderr, "all.json: a stale baseline: other conventions") {
		t.Errorf("exit %d\n%s", code, stderr)
	}
}

// The same command continues after the program was killed.
func TestVerifyKilled(t *testing.T) {
	model := testmodel.Phi3(t)
	report := filepath.Join(t.TempDir(), "r.json")
	args := verifyArgs(model, converted(t, model, "Q4_K_M"), "--report", report)
	// With --speed it does not end by itself soon.
	cmd := exec.Command(os.Args[0], append(args, "--speed", "-r", "1000")...)
	cmd.Env = append(os.Environ(), asProgram+"=1")
	var stderr strings.Builder
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		if _, err := os.Stat(report + ".partial"); err == nil {
			break
		}
		if time.Now().After(deadline) {
			t.Error("no progress is kept")
			break
		}
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	const note = "phi3conv: note: continuing after "
	if _, stderr, code := phi3conv(t, args...); code != exitOK || !strings.Contains(stderr, note) {
		t.Fatalf("exit %d\n%s", code, stderr)
	}
	if _, err := os.Stat(report + ".partial"); !os.IsNotExist(err) {
		t.Errorf("progress is left: %v", err)
	}
}

func TestVerifyMistakes(t *testing.T) {
	model := testmodel.Phi3(t)
	short := filepath.Join(t.TempDir(), "short.txt")
	testmodel.Write(t, short, []byte("The ball."))
	full := []string{model, "--base", model, "--text", evalText}
	and := func(more ...string) []string { return append(full[:5:5], more...) }
	for _, c := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{model, "--text", evalText}, exitUsage, "--base"},
		{[]string{model, "--base", model}, exitUsage, "--text"},
		{[]string{"--base", model, "--text", evalText}, exitUsage, "one or more QUANTs"},
		{and("--min-top1", "2"), exitUsage, "min-top1"},
		{and("--stride", "600"), exitUsage, "--stride is 600"},
		{and("--stride", "0"), exitUsage, "--stride is 0"},
		{and("-c", "3"), exitUsage, "-c is 3"},
		{and("--chunks", "-1"), exitUsage, "--chunks is -1, expected 0 or more"},
		{and("--worst", "-1"), exitUsage, "--worst is -1, expected 0 or more"},
		{and("--shard", "1/2"), exitUsage, "--shard needs --report"},
		{and("--shard", "3/2", "--report", "x"), exitUsage, `--shard is "3/2"`},
		{and("--shard", "0/2", "--report", "x"), exitUsage, `--shard is "0/2"`},
		{and("--shard", "1/2x", "--report", "x"), exitUsage, `--shard is "1/2x"`},
		{and("--shard", "1/5", "--chunks", "4", "--report", "x"), exitUsage, "--shard has 5 parts, but"},
		{and("--shard", "1/2", "--baseline", "x", "--report", "x"), exitUsage, "verify merge"},
		{and("--shard", "1/2", "--by-layer", "--report", "x"), exitUsage, "cannot be shared"},
		{and("--max-rss", "much"), exitUsage, `--max-rss is "much", want a size such as 2GiB`},
		{and("--max-size", "0"), exitUsage, "--max-size is 0"},
		{and("-r", "0"), exitUsage, "-r is 0"},
		{and("--by-layer", "--by-layer-chunks", "0"), exitUsage, "--by-layer-chunks is 0"},
		{and("--baseline", "x", "--max-regression", "ppl=1"), exitUsage, "ln-ppl"},
		{and("--max-regression", "kld=1"), exitUsage, "--max-regression needs --baseline"},
		{and("-c", "600"), exitBadInput, "a context of 600 tokens"},
		{[]string{model, "--base", model, "--text", short}, exitBadInput, "too few"},
		{[]string{model, "--base", model, "--text", short + "x"}, exitBadInput, "short.txtx"},
		{[]string{"merge"}, exitUsage, "takes the REPORTs"},
		{[]string{"merge", evalText, "--worst", "-1"}, exitUsage, "--worst is -1, expected 0 or more"},
		{[]string{"merge", "absent"}, exitBadInput, "absent"},
		{[]string{"merge", evalText}, exitBadInput, "not a report of verify"},
	} {
		_, stderr, code := phi3conv(t, append([]string{"verify"}, c.args...)...)
		if code != c.code || !strings.Contains(stderr, c.want) {
			t.Errorf("%q: exit %d, expected %d with %q:\n%s", c.args, code, c.code, c.want, stderr)
		}
	}
}
