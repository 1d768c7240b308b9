package main

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"

	"github.com/phi3conv/phi3conv/internal/job/batch"
	"github.com/phi3conv/phi3conv/internal/testmodel"
)

// A batch of two types: one passes its limit and is published, one does not. A second run does nothing.
func TestBatch(t *testing.T) {
	t.Setenv(asProgram, "1") // steps are programs of their own
	dir := t.TempDir()
	text, err := filepath.Abs(evalText)
	if err != nil {
		t.Fatal(err)
	}
	jobs := testmodel.Write(t, filepath.Join(dir, "jobs.yaml"), []byte(strings.NewReplacer(
		"MODEL", testmodel.Phi3(t), "TEXT", text).Replace(`batch: 1
store: store
models: [{name: tiny, path: MODEL}]
types: [Q8_0, Q2_K]
verification: {texts: [TEXT], ctx-size: 64, chunks: 8, limits: {max-kld: 0.01}}
publish: ["out/{type}.gguf"]
`)))
	stdout, stderr, code := phi3conv(t, "batch", "run", jobs, "--json", "--log-json")
	var status batch.Status
	if err := json.Unmarshal([]byte(stdout), &status); err != nil || code != exitFailed {
		t.Fatalf("exit %d, %v\n%s", code, err, stderr)
	}
	if c := status.Count; c[batch.Done] != 4 || c[batch.Failed] != 1 || c[batch.Blocked] != 1 {
		t.Errorf("%v, expected 4 done, 1 failed, 1 blocked\n%s", c, stderr)
	}
	lines := strings.Split(strings.TrimSpace(stderr), "\n")
	for _, line := range lines {
		var e batch.Event
		if err := json.Unmarshal([]byte(line), &e); err != nil || e.Name == "" {
			t.Errorf("%q: %v", line, err)
		}
	}
	if len(lines) != 10 { // begun, and done or failed
		t.Errorf("%d events, expected 10\n%s", len(lines), stderr)
	}
	published := testmodel.Read(t, filepath.Join(dir, "out", "Q8_0.gguf"))
	if _, stderr, code := phi3conv(t, "quantize", testmodel.Phi3(t), filepath.Join(dir, "same.gguf"), "Q8_0",
		"--model-name", "tiny"); code != exitOK {
		t.Fatal(stderr)
	}
	if string(published) != string(testmodel.Read(t, filepath.Join(dir, "same.gguf"))) {
		t.Error("the published file is not that of quantize")
	}
	if _, stderr, code := phi3conv(t, "batch", "run", jobs); code != exitFailed || stderr != "" {
		t.Errorf("a second time: exit %d\n%s", code, stderr)
	}
	checkBatchReport(t, dir, jobs)
}

func checkBatchReport(t *testing.T, dir, jobs string) {
	t.Helper()
	page, saved := filepath.Join(dir, "report.html"), filepath.Join(dir, "report.json")
	stdout, stderr, code := phi3conv(t, "batch", "report", jobs, "--html", page, "--report", saved)
	if code != exitOK || !strings.Contains(stdout, "pass") || !strings.Contains(stdout, "fail") {
		t.Errorf("report: exit %d\n%s%s", code, stdout, stderr)
	}
	if html := string(testmodel.Read(t, page)); !strings.Contains(html, "Q2_K") || strings.Contains(html, "ZgotmplZ") {
		t.Error(html)
	}
	stdout, stderr, code = phi3conv(t, "batch", "report", jobs, "--against", saved)
	if code != exitOK || !strings.Contains(stdout, "(+0.0 %)") {
		t.Errorf("report against itself: exit %d\n%s%s", code, stdout, stderr)
	}
}
