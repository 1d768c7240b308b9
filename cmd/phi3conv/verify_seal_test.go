package main

import (
	"bytes"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/phi3conv/phi3conv/verify"
)

// sealed makes a seal of the model and returns its path and what seal --json printed.
func sealed(t *testing.T, model string, args ...string) (path string, s sealSummary) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "model.seal")
	stdout, stderr, code := phi3conv(t, append([]string{"seal", model, "-o", path, "--text", evalText, "-c", "128", "--json"}, args...)...)
	if code != exitOK {
		t.Fatalf("exit %d\n%s", code, stderr)
	}
	if err := json.Unmarshal([]byte(stdout), &s); err != nil {
		t.Fatal(err)
	}
	return path, s
}

func verifySealJSON(t *testing.T, args ...string) (r verify.Report, code int) {
	t.Helper()
	stdout, stderr, code := phi3conv(t, append([]string{"verify", "--json"}, args...)...)
	if err := json.Unmarshal([]byte(stdout), &r); err != nil {
		t.Fatalf("exit %d, %v\n%s%s", code, err, stdout, stderr)
	}
	return r, code
}

// What a seal gives agrees with what the original gives; the KLD is below, and estimated.
func TestVerifySeal(t *testing.T) {
	model := tinyModel(t)
	quant := converted(t, model, "Q4_K_M")
	path, s := sealed(t, model, "--chunks", "20", "--full", "300", "--top-k", "8", "--min-p", "0")
	if info, err := os.Stat(path); err != nil || info.Size() != s.Bytes || s.Positions != 20*63 || s.Full != 300 {
		t.Errorf("%+v, %v", s, err)
	}
	want, _ := verifyJSON(t, quant, "--base", model, "-c", "128", "--chunks", "20")
	r, code := verifySealJSON(t, quant, "--seal", path, "--max-kld", "10", "--min-top1", "0.2")
	if code != exitOK || r.Verdict.Outcome != verify.Pass || r.Seal == nil || r.Seal.SHA256 != s.SHA256 || r.Base.SHA256 != want.Base.SHA256 {
		t.Errorf("exit %d, %+v", code, r)
	}
	near := func(what string, got, want, tolerance float64) {
		if !(math.Abs(got-want) <= tolerance*math.Abs(want)) {
			t.Errorf("%s: %v, expected %v", what, got, want)
		}
	}
	a, b := r.Summary, want.Summary
	near("PPL of the original", a.PPLBase.Value, b.PPLBase.Value, 1e-7)
	near("PPL", a.PPL.Value, b.PPL.Value, 1e-12)
	near("ln PPL ratio", a.LnPPLRatio.Value, b.LnPPLRatio.Value, 1e-5)
	near("same top", a.SameTop.Value, b.SameTop.Value, 0)
	near("top 5", a.Top5.Value, b.Top5.Value, 0)
	near("KLD estimate", r.Seal.KLD.Value, b.KLD.Value, 0.05)
	if share := a.KLD.Value / b.KLD.Value; !(share <= 1 && share > 0.5) || math.Abs(share-r.Seal.Share.Value) > 0.05 {
		t.Errorf("the bound has %v of the KLD, estimated %v", share, r.Seal.Share.Value)
	}
	if len(r.ByContext) != 8 || r.ByText[0].Name != filepath.Base(evalText) || r.Texts[0].SHA256 != want.Texts[0].SHA256 {
		t.Errorf("%+v", r)
	}
	if len(r.Worst) != 10 || r.Worst[0].Piece == "" || r.Worst[0].Before == "" {
		t.Errorf("the worst tokens have no text: %+v", r.Worst)
	}

	// The lower bound proves a failure; percentiles can only fail.
	r, code = verifySealJSON(t, quant, "--seal", path, "--max-kld", "1e-6", "--max-kld-p99", "100", "--max-kld-median", "1e-9")
	if code != exitFailed || r.Verdict.Outcome != verify.Fail {
		t.Errorf("exit %d, %+v", code, r.Verdict)
	}
	for i, c := range []struct {
		outcome verify.Outcome
		note    string
	}{{verify.Fail, "proven"}, {verify.Fail, "proven"}, {verify.Undecided, "not applicable"}} {
		if got := r.Verdict.Checks[i]; got.Outcome != c.outcome || !strings.Contains(got.Note, c.note) {
			t.Errorf("%+v, expected %s, %s", got, c.outcome, c.note)
		}
	}
	page := filepath.Join(t.TempDir(), "v.html")
	stdout, _, _ := phi3conv(t, "verify", quant, "--seal", path, "--html", page)
	if !strings.Contains(string(read(t, page)), "share of the divergence in that bound") {
		t.Error("the page does not have the seal")
	}
	for _, line := range []string{"proven lower bound", "KLD mean, estimate", "KLD bound p99", "Seal model.seal"} {
		if !strings.Contains(stdout, line) {
			t.Errorf("no %q in\n%s", line, stdout)
		}
	}
}

// A seal of a directory and one of a GGUF file made of it differ in the weights' hash alone, and a
// model agrees with its own seal.
func TestSealOfItself(t *testing.T) {
	model := tinyModel(t)
	gguf := converted(t, model, "BF16")
	for _, m := range []string{model, gguf} {
		path, s := sealed(t, m, "--stride", "64", "--chunks", "5")
		if s.Positions != 5*64+63 {
			t.Errorf("%d positions", s.Positions)
		}
		r, code := verifySealJSON(t, gguf, "--seal", path, "--f32", "--cache-type", "f32", "--max-kld", "1e-3")
		if code != exitOK || r.Summary.KLDMax != 0 || r.Summary.SameTop.Value != 1 || r.Conventions.Name != verify.Strided {
			t.Errorf("exit %d, %+v", code, r.Summary)
		}
	}
	first, _ := sealed(t, model, "--chunks", "3")
	again, _ := sealed(t, model, "--chunks", "3", "-t", "1")
	if string(read(t, first)) != string(read(t, again)) {
		t.Error("a seal depends on the number of threads")
	}
}

// A .pmap file can hold the seal that it is verified by.
func TestSealInPMAP(t *testing.T) {
	model := tinyModel(t)
	path, _ := sealed(t, model, "--chunks", "4")
	file := filepath.Join(t.TempDir(), "m.pmap")
	if _, stderr, code := phi3conv(t, "convert", model, "-o", file, "--type", "Q8_0", "--seal", path); code != exitOK {
		t.Fatal(stderr)
	}
	want, _ := verifySealJSON(t, file, "--seal", path)
	got, _ := verifySealJSON(t, file)
	if got.Summary.KLD != want.Summary.KLD || got.Summary.Count == 0 || got.Seal == nil {
		t.Errorf("KLD %v with the seal inside, %v with the same outside", got.Summary.KLD, want.Summary.KLD)
	}
	gguf := filepath.Join(t.TempDir(), "m.gguf")
	if _, stderr, code := phi3conv(t, "convert", model, "-o", gguf, "--type", "Q8_0", "--seal", path); code != exitUsage || !strings.Contains(stderr, "goes into a .pmap file") {
		t.Errorf("exit %d: %s", code, stderr)
	}
	write(t, path, []byte("no seal"))
	if _, stderr, code := phi3conv(t, "convert", model, "-o", file, "--type", "Q8_0", "--seal", path); code != exitBadInput {
		t.Errorf("exit %d: %s", code, stderr)
	}
}

func TestVerifySealRefuses(t *testing.T) {
	model := tinyModel(t)
	quant := converted(t, model, "Q8_0")
	path, _ := sealed(t, model, "--chunks", "2", "--full", "1")
	good := read(t, path)
	dir := t.TempDir()
	file := func(name string, data []byte) string {
		p := filepath.Join(dir, name)
		write(t, p, data)
		return p
	}
	damaged := append([]byte(nil), good...)
	damaged[len(damaged)/2] ^= 1

	// The same file with two scores swapped, which are the order of the merges, with two tokens
	// swapped, and with another EOS.
	model0 := read(t, quant)
	patched := func(name, key string, skip int, change func(b []byte)) string {
		b := bytes.Clone(model0)
		at := bytes.Index(b, []byte(key))
		if at < 0 {
			t.Fatalf("no %q", key)
		}
		change(b[at+len(key)+skip:])
		return file(name, b)
	}
	const arrayHead = 4 + 4 + 8 // type of the value, type of an element, number
	scores := patched("scores.gguf", "tokenizer.ggml.scores", arrayHead, func(b []byte) {
		x, y := bytes.Clone(b[4*300:4*301]), b[4*301:4*302]
		copy(b[4*300:], y)
		copy(b[4*301:], x)
	})
	tokens := patched("tokens.gguf", "\x04\x00\x00\x00\x00\x00\x00\x00▁", 0, func(b []byte) { b[0] = '~' })
	eos := patched("eos.gguf", "tokenizer.ggml.eos_token_id", 4, func(b []byte) { b[0]++ })
	for _, c := range []struct {
		name string
		args []string
		code int
		want string
	}{
		{"truncated", []string{quant, "--seal", file("t", good[:len(good)-100])}, exitBadInput, "file is truncated"},
		{"altered", []string{quant, "--seal", file("a", damaged)}, exitBadInput, "the file is damaged"},
		{"no seal", []string{quant, "--seal", quant}, exitBadInput, "this is no seal"},
		{"missing", []string{quant, "--seal", filepath.Join(dir, "none")}, exitBadInput, "none"},
		{"merges", []string{scores, "--seal", path}, exitBadInput, "scores.gguf: its tokenizer is another than that of the seal " + path + ": its merges have the SHA-256"},
		{"token", []string{tokens, "--seal", path}, exitBadInput, "its tokens have the SHA-256"},
		{"EOS", []string{eos, "--seal", path}, exitBadInput, "its EOS is"},
		{"base too", []string{quant, "--seal", path, "--base", model}, exitUsage, "--base cannot be used with a seal"},
		{"baseline too", []string{quant, "--seal", path, "--baseline", path}, exitUsage, "--baseline cannot be used with a seal"},
		{"layers too", []string{quant, "--seal", path, "--by-layer"}, exitUsage, "--by-layer cannot be used with a seal"},
		{"text too", []string{quant, "--seal", path, "--text", evalText}, exitUsage, "--text cannot be used with a seal"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, stderr, code := phi3conv(t, append([]string{"verify"}, c.args...)...); code != c.code || !strings.Contains(stderr, c.want) {
				t.Errorf("exit %d, expected %d with %q\n%s", code, c.code, c.want, stderr)
			}
		})
	}
}

func TestSealRefuses(t *testing.T) {
	model := tinyModel(t)
	out := filepath.Join(t.TempDir(), "x.seal")
	short := filepath.Join(t.TempDir(), "short.txt")
	write(t, short, []byte("Hello"))
	for _, c := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{model, "--text", evalText}, exitUsage, "needs --text and --output"},
		{[]string{model, "-o", out}, exitUsage, "needs --text and --output"},
		{[]string{model, model, "-o", out, "--text", evalText}, exitUsage, "takes one ORIGINAL"},
		{[]string{model, "-o", out, "--text", evalText, "--top-k", "4"}, exitUsage, "--top-k is 4"},
		{[]string{model, "-o", out, "--text", evalText, "--min-p", "1"}, exitUsage, "--min-p is 1"},
		{[]string{model, "-o", out, "--text", evalText, "--full", "-1"}, exitUsage, "--full is -1"},
		{[]string{model, "-o", out, "--text", short}, exitBadInput, "too few for a window"},
	} {
		if _, stderr, code := phi3conv(t, append([]string{"seal"}, c.args...)...); code != c.code || !strings.Contains(stderr, c.want) {
			t.Errorf("%q: exit %d, expected %d with %q\n%s", c.args, code, c.code, c.want, stderr)
		}
	}
	if _, err := os.Stat(out); err == nil {
		t.Error("a refused seal was written")
	}
}
