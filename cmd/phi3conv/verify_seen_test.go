package main

import (
	"bytes"
	"encoding/json"
	"html"
	"path/filepath"
	"strings"
	"testing"

	"github.com/phi3conv/phi3conv/formats/gguf"
	"github.com/phi3conv/phi3conv/internal/testmodel"
)

// verify says in every form when a text is what the model was calibrated with, whole or in part, and --strict fails
// then. A text that is not gets no warning, and neither do files that do not tell.
func TestVerifySeen(t *testing.T) {
	base := testmodel.Phi3(t)
	dir := t.TempDir()
	quant := filepath.Join(dir, "quant.gguf")
	calibration := testmodel.Read(t, calibText)[:1500]
	other := testmodel.Read(t, "../../testdata/tiny-phi3-eval.txt")[:800]
	seen := testmodel.Write(t, filepath.Join(dir, "seen.txt"), calibration)
	unseen := testmodel.Write(t, filepath.Join(dir, "unseen.txt"), other)
	stats := filepath.Join(dir, "stats.gguf")
	for _, args := range [][]string{
		{"calibrate", base, "--text", seen, "--ctx-size", "64", "-o", stats},
		{"quantize", "--stats", stats, base, quant, "Q8_0"},
	} {
		if _, stderr, code := phi3conv(t, args...); code != exitOK {
			t.Fatal(stderr)
		}
	}
	mixed := testmodel.Write(t, filepath.Join(dir, "mixed.txt"), append(bytes.Clone(other), calibration...))
	silent := withoutKey(t, quant, "phi3conv.quantize.texts_sha256", "phi3conv.quantize.texts_sketch")
	hashOnly := withoutKey(t, quant, "phi3conv.quantize.texts_sketch") // as earlier versions wrote
	for _, c := range []struct {
		quant, text, want string
	}{
		{quant, seen, "was calibrated with"},
		{hashOnly, seen, "was calibrated with"},
		{quant, mixed, " % of mixed.txt or of the text"},
		{quant, unseen, ""},
		{hashOnly, mixed, ""},
		{silent, seen, ""},
	} {
		checkSeenForms(t, base, c.quant, c.text, c.want)
	}
}

// checkSeenForms runs verify with all forms, which must have what is wanted, or nothing.
func checkSeenForms(t *testing.T, base, quant, text, want string) {
	t.Helper()
	dir := t.TempDir()
	page, markdown, junit := filepath.Join(dir, "r.html"), filepath.Join(dir, "r.md"), filepath.Join(dir, "r.xml")
	args := []string{"verify", quant, "--base", base, "--text", text, "--ctx-size", "64"}
	stdout, stderr, code := phi3conv(t, append(args, "--html", page, "--markdown", markdown, "--junit", junit)...)
	if code != exitOK {
		t.Fatalf("%s: exit %d: %s", text, code, stderr)
	}
	asJSON, _, _ := phi3conv(t, append(args, "--json")...)
	var r struct {
		Seen []struct {
			Same  bool
			Share float64
		}
	}
	if err := json.Unmarshal([]byte(asJSON), &r); err != nil || (len(r.Seen) > 0) != (want != "") {
		t.Errorf("%s: JSON has %+v, %v", text, r, err)
	}
	forms := map[string]string{"text": stdout}
	for form, path := range map[string]string{"HTML": page, "Markdown": markdown, "JUnit": junit} {
		forms[form] = string(testmodel.Read(t, path))
	}
	for form, content := range forms {
		content = html.UnescapeString(content) // Markdown and HTML escape some characters
		if strings.Contains(content, "Warning:") != (want != "") || !strings.Contains(content, want) {
			t.Errorf("%s: %s without %q, or with a warning", text, form, want)
		}
	}
	wantCode := exitOK
	if want != "" {
		wantCode = exitFailed
	}
	stdout, _, code = phi3conv(t, append(args, "--strict", "--junit", junit)...)
	failed := strings.Contains(string(testmodel.Read(t, junit)), "<failure")
	if code != wantCode || failed != (want != "") {
		t.Errorf("%s: --strict exits with %d, expected %d; JUnit fails: %v\n%s", text, code, wantCode, failed, stdout)
	}
}

// withoutKey copies a GGUF file without some keys.
func withoutKey(t *testing.T, path string, keys ...string) string {
	t.Helper()
	f, err := gguf.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	md := f.Metadata.Clone()
	for _, key := range keys {
		md.Delete(key)
	}
	out := filepath.Join(t.TempDir(), "quant.gguf")
	var infos []gguf.TensorInfo
	for _, x := range f.Tensors {
		infos = append(infos, x.TensorInfo)
	}
	w, err := gguf.Create(out, md, infos, gguf.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for i, x := range f.Tensors {
		data := make([]byte, x.Size())
		if _, err := x.ReadAt(data, 0); err != nil {
			t.Fatal(err)
		}
		if err := w.WriteTensorAt(i, data, 0); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out
}
