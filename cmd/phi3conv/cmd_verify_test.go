package main

import (
	"encoding/json"
	"encoding/xml"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/phi3conv/phi3conv/verify"
)

const evalText = "../../testdata/tiny-phi3-eval.txt"

// verifyJSON runs verify with --json and returns the report and the exit code.
func verifyJSON(t *testing.T, args ...string) (r verify.Report, code int) {
	t.Helper()
	stdout, stderr, code := phi3conv(t, append([]string{"verify", "--json", "--text", evalText}, args...)...)
	if err := json.Unmarshal([]byte(stdout), &r); err != nil {
		t.Fatalf("exit %d, %v\n%s%s", code, err, stdout, stderr)
	}
	return r, code
}

// converted makes a GGUF of the model and returns its path.
func converted(t *testing.T, model, fileType string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), fileType+".gguf")
	if _, stderr, code := phi3conv(t, "convert", model, "-o", path, "--type", fileType); code != exitOK {
		t.Fatal(stderr)
	}
	return path
}

// A model against itself; perplexity is transformers' (testdata/golden/perplexity.json).
func TestVerifyItself(t *testing.T) {
	model := tinyModel(t)
	r, code := verifyJSON(t, converted(t, model, "BF16"), "--base", model, "--f32", "--cache-type", "f32", "-c", "256", "--max-kld", "1e-9")
	if code != exitOK || r.Verdict.Outcome != verify.Pass {
		t.Errorf("exit %d, %+v", code, r.Verdict)
	}
	if r.Summary.KLDMax != 0 || r.Summary.SameTop.Value != 1 || r.Summary.LnPPLRatio.Value != 0 {
		t.Errorf("a model differs from itself: %+v", r.Summary)
	}
	// Positions 128 to 254 of 122 windows, where the golden file has 127 and 122 of them too.
	if want := 1.5467329361593738; r.Summary.Count != 15494 || math.Abs(r.Summary.PPL.Value/want-1) > 1e-5 {
		t.Errorf("perplexity %.7f of %d tokens, expected %.7f of 15494", r.Summary.PPL.Value, r.Summary.Count, want)
	}
	if r.Base.Format != "BF16" || r.Conventions.Name != verify.LlamaPerplexity || len(r.Texts) != 1 || r.Texts[0].Tokens != 31327 {
		t.Errorf("%+v", r)
	}
}

func TestVerifyQuantized(t *testing.T) {
	model := tinyModel(t)
	dir := t.TempDir()
	junit, markdown, limits := filepath.Join(dir, "v.xml"), filepath.Join(dir, "v.md"), filepath.Join(dir, "limits.yaml")
	write(t, limits, []byte("max-kld: 1e-6\nmin-top1: 0.2\n"))
	quant := converted(t, model, "Q4_K_M")
	r, code := verifyJSON(t, quant, "--base", model, "-c", "128", "--chunks", "20", "--thresholds", limits, "--max-kld-p99", "100", "--junit", junit, "--markdown", markdown)
	if code != exitFailed || r.Verdict.Outcome != verify.Fail || len(r.Verdict.Checks) != 3 {
		t.Errorf("exit %d, %+v", code, r.Verdict)
	}
	for _, c := range r.Verdict.Checks {
		if want := map[string]verify.Outcome{"max-kld": verify.Fail, "min-top1": verify.Pass, "max-kld-p99": verify.Pass}[c.Name]; c.Outcome != want {
			t.Errorf("%s: %s, expected %s", c.Name, c.Outcome, want)
		}
	}
	if r.Summary.Count != 20*63 || !(r.Summary.KLD.Value > 0 && r.Summary.KLD.Value < 1) {
		t.Errorf("%+v", r.Summary)
	}
	if len(r.Worst) != 10 || r.Worst[0].Piece == "" || r.Worst[0].Before == "" {
		t.Errorf("the worst tokens have no text: %+v", r.Worst)
	}
	var suites struct {
		Suites []struct {
			Failures int `xml:"failures,attr"`
		} `xml:"testsuite"`
	}
	if err := xml.Unmarshal(read(t, junit), &suites); err != nil || len(suites.Suites) != 1 || suites.Suites[0].Failures != 1 {
		t.Errorf("%v: %+v", err, suites)
	}
	if md := string(read(t, markdown)); !strings.Contains(md, "| max-kld") {
		t.Errorf("no limit in the Markdown:\n%s", md)
	}

	strided, code := verifyJSON(t, quant, "--base", model, "-c", "128", "--stride", "64", "--chunks", "3")
	if code != exitOK || strided.Verdict != nil || strided.Summary.Count != 127+64+64 || strided.Conventions.Name != verify.Strided {
		t.Errorf("exit %d, %+v", code, strided)
	}
	if stdout, _, code := phi3conv(t, "verify", quant, "--base", model, "--text", evalText, "--chunks", "1"); code != exitOK || !strings.Contains(stdout, "PPL, quantized") {
		t.Errorf("exit %d\n%s", code, stdout)
	}
}

func TestVerifyMistakes(t *testing.T) {
	model := tinyModel(t)
	short := filepath.Join(t.TempDir(), "short.txt")
	write(t, short, []byte("The ball."))
	other := tinyModel(t)
	if err := os.Remove(filepath.Join(other, "tokenizer.model")); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(other, "tokenizer.json")
	data := read(t, file)
	swapped := strings.Replace(string(data), `"▁the"`, `"▁thX"`, 1)
	if swapped == string(data) {
		t.Fatal("the tokenizer has no such token")
	}
	write(t, file, []byte(strings.ReplaceAll(string(data), `"▁the"`, `"▁thX"`)))
	for _, c := range []struct {
		name string
		args []string
		code int
		want string
	}{
		{"no base", []string{model, "--text", evalText}, exitUsage, "base"},
		{"no text", []string{model, "--base", model}, exitUsage, "text"},
		{"no model", []string{"--base", model, "--text", evalText}, exitUsage, "one or more QUANTs"},
		{"limit", []string{model, "--base", model, "--text", evalText, "--min-top1", "2"}, exitUsage, "min-top1"},
		{"stride", []string{model, "--base", model, "--text", evalText, "--stride", "600"}, exitUsage, "stride"},
		{"context", []string{model, "--base", model, "--text", evalText, "-c", "3"}, exitUsage, "ctx-size"},
		{"context of the model", []string{model, "--base", model, "--text", evalText, "-c", "600"}, exitBadInput, "context"},
		{"short text", []string{model, "--base", model, "--text", short}, exitBadInput, "too few"},
		{"missing text", []string{model, "--base", model, "--text", short + "x"}, exitBadInput, "short.txtx"},
		{"tokenizer", []string{other, "--base", model, "--text", evalText}, exitBadInput, "tokenizer"},
	} {
		if _, stderr, code := phi3conv(t, append([]string{"verify"}, c.args...)...); code != c.code || !strings.Contains(stderr, c.want) {
			t.Errorf("%s: exit %d, expected %d with %q:\n%s", c.name, code, c.code, c.want, stderr)
		}
	}
}
