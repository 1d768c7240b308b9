package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	verifyjob "github.com/phi3conv/phi3conv/internal/job/verify"
	"github.com/phi3conv/phi3conv/internal/testmodel"
	"github.com/phi3conv/phi3conv/verify"
)

// sealed makes a seal of two windows of the model and returns its path.
func sealed(t *testing.T, model string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "model.seal")
	stdout, stderr, code := phi3conv(t, "seal", model, "-o", path, "--text", evalText, "-c", "64", "--chunks", "2",
		"--full", "1", "--json")
	var s verifyjob.SealSummary
	if err := json.Unmarshal([]byte(stdout), &s); code != exitOK || err != nil {
		t.Fatalf("exit %d, %v\n%s", code, err, stderr)
	}
	if info, err := os.Stat(path); err != nil || info.Size() != s.Bytes || s.Positions != 2*31 || s.Full != 1 ||
		s.Path != path || s.Model != "tiny-phi3" || len(s.SHA256) != 64 {
		t.Errorf("%+v, %v", s, err)
	}
	return path
}

func TestSeal(t *testing.T) {
	model := testmodel.Phi3(t)
	quant, path := converted(t, model, "Q4_K_M"), sealed(t, model)
	page := filepath.Join(t.TempDir(), "v.html")
	stdout, stderr, code := phi3conv(t, "verify", quant, "--seal", path, "--html", page, "--max-kld", "1e-6")
	if code != exitFailed {
		t.Errorf("exit %d\n%s", code, stderr)
	}
	for _, line := range []string{"proven lower bound", "KLD mean, estimate", "KLD bound p99", "Seal model.seal"} {
		if !strings.Contains(stdout, line) {
			t.Errorf("no %q in\n%s", line, stdout)
		}
	}
	if !strings.Contains(string(testmodel.Read(t, page)), "share of the divergence in that bound") {
		t.Error("the page does not have the seal")
	}
	out := filepath.Join(t.TempDir(), "text.seal")
	stdout, _, code = phi3conv(t, "seal", model, "-o", out, "--text", evalText, "-c", "64", "--chunks", "1")
	const want = "text.seal: 31 positions of tiny-phi3, 24 with the whole vocabulary, "
	if code != exitOK || !strings.Contains(stdout, want) {
		t.Errorf("exit %d\n%s", code, stdout)
	}
}

// A .pmap file can hold the seal that it is verified by.
func TestSealInPMAP(t *testing.T) {
	model := testmodel.Phi3(t)
	path := sealed(t, model)
	file := filepath.Join(t.TempDir(), "m.pmap")
	convert := []string{"convert", model, "--type", "Q8_0", "--seal", path, "-o"}
	if _, stderr, code := phi3conv(t, append(convert, file)...); code != exitOK {
		t.Fatal(stderr)
	}
	var reports [2]verify.Report
	for i, args := range [][]string{{file, "--seal", path}, {file}} {
		stdout, stderr, code := phi3conv(t, append([]string{"verify", "--json"}, args...)...)
		if err := json.Unmarshal([]byte(stdout), &reports[i]); code != exitOK || err != nil {
			t.Fatalf("exit %d, %v\n%s", code, err, stderr)
		}
	}
	want, got := reports[0], reports[1]
	if got.Summary.KLD != want.Summary.KLD || got.Summary.Count == 0 || got.Seal == nil {
		t.Errorf("KLD %v with the seal inside, %v with the same outside", got.Summary.KLD, want.Summary.KLD)
	}
	gguf := filepath.Join(t.TempDir(), "m.gguf")
	if _, stderr, code := phi3conv(t, append(convert, gguf)...); code != exitUsage ||
		!strings.Contains(stderr, "goes into a .pmap file") {
		t.Errorf("exit %d: %s", code, stderr)
	}
	testmodel.Write(t, path, []byte("no seal"))
	if _, stderr, code := phi3conv(t, append(convert, file, "--force")...); code != exitBadInput {
		t.Errorf("exit %d: %s", code, stderr)
	}
}

func TestSealMistakes(t *testing.T) {
	model := testmodel.Phi3(t)
	out := filepath.Join(t.TempDir(), "x.seal")
	short := filepath.Join(t.TempDir(), "short.txt")
	testmodel.Write(t, short, []byte("Hello"))
	for _, c := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"seal", model, "--text", evalText}, exitUsage, "needs --text and -"},
		{[]string{"seal", model, "-o", out}, exitUsage, "needs --text and -"},
		{[]string{"seal", model, model, "-o", out, "--text", evalText}, exitUsage, "takes one ORIGINAL"},
		{[]string{"seal", model, "-o", out, "--text", evalText, "--top-k", "4"}, exitUsage, "--top-k is 4"},
		{[]string{"seal", model, "-o", out, "--text", evalText, "--min-p", "1"}, exitUsage, "--min-p is 1"},
		{[]string{"seal", model, "-o", out, "--text", evalText, "--full", "-1"}, exitUsage, "--full is -1"},
		{[]string{"seal", model, "-o", out, "--text", evalText, "--stride", "0"}, exitUsage, "--stride is 0"},
		{[]string{"seal", model, "-o", out, "--text", evalText, "--chunks", "-1"}, exitUsage,
			"phi3conv: --chunks is -1, expected 0 or more\n"},
		{[]string{"seal", model, "-o", out, "--text", short}, exitBadInput, "too few for a window"},
		{[]string{"verify", model, "--seal", evalText}, exitBadInput, "this is no seal"},
		{[]string{"verify", model, "--seal", out + "none"}, exitBadInput, "none"},
		{[]string{"verify", model, model, "--seal", out}, exitUsage, "takes one QUANT"},
		{[]string{"verify", model, "--seal", out, "--worst", "-1"}, exitUsage, "--worst is -1, expected 0 or more"},
		{[]string{"verify", model, "--seal", out, "--base", model}, exitUsage, "--base cannot be used with a seal"},
		{[]string{"verify", model, "--seal", out, "--text", "x"}, exitUsage, "--text cannot be used with a seal"},
		{[]string{"verify", model, "--seal", out, "--shard", "1/2"}, exitUsage, "--shard cannot be used with a seal"},
		{[]string{"verify", model, "--seal", out, "--one-at-a-time"}, exitUsage, "cannot be used with a seal"},
		{[]string{"verify", model, "--seal", out, "--baseline", "x"}, exitUsage, "--baseline cannot be used with a"},
		{[]string{"verify", model, "--seal", out, "--by-layer"}, exitUsage, "--by-layer cannot be used with a seal"},
	} {
		if _, stderr, code := phi3conv(t, c.args...); code != c.code || !strings.Contains(stderr, c.want) {
			t.Errorf("%q: exit %d, expected %d with %q\n%s", c.args, code, c.code, c.want, stderr)
		}
	}
	if _, err := os.Stat(out); err == nil {
		t.Error("a refused seal was written")
	}
}
