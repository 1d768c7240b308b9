package main

import (
	"encoding/json"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/phi3conv/phi3conv/internal/job/batch"
	"github.com/phi3conv/phi3conv/internal/testmodel"
	"go.yaml.in/yaml/v3"
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

// A calibration in parts makes the file that one in one makes.
func TestBatchShards(t *testing.T) {
	t.Setenv(asProgram, "1")
	model, dir := testmodel.Phi3(t), t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	texts, err := filepath.Abs("../../testdata")
	if err != nil {
		t.Fatal(err)
	}
	jobs := testmodel.Write(t, at("jobs.yaml"), []byte(strings.NewReplacer("MODEL", model, "TEXTS", texts).Replace(`
batch: 1
store: store
models: [{name: tiny, path: MODEL}]
types: [Q4_0]
methods: [imatrix]
calibration: {texts: [TEXTS/tiny-phi3-calib.txt], chunks: 3, shards: 2}
verification: {texts: [TEXTS/tiny-phi3-eval.txt], ctx-size: 64, chunks: 2, shards: 2}
publish: ["out/tiny.gguf"]
`)))
	stdout, stderr, code := phi3conv(t, "batch", "run", jobs, "--json")
	var status batch.Status
	if err := json.Unmarshal([]byte(stdout), &status); err != nil || code != exitOK || status.Count[batch.Done] != 8 {
		t.Fatalf("exit %d, %v of 8 steps, %v\n%s", code, status.Count, err, stderr)
	}
	for _, args := range [][]string{
		{"calibrate", model, "--text", calibText, "--chunks", "3", "-o", at("stats.gguf")},
		{"quantize", model, at("same.gguf"), "Q4_0", "--model-name", "tiny", "--method", "imatrix",
			"--stats", at("stats.gguf")},
	} {
		if _, stderr, code := phi3conv(t, args...); code != exitOK {
			t.Fatal(stderr)
		}
	}
	if string(testmodel.Read(t, at("out/tiny.gguf"))) != string(testmodel.Read(t, at("same.gguf"))) {
		t.Error("another file than without parts")
	}
}

// docs/schema/batch-jobs.json has each field of the form, and takes the manual's example and nothing misspelled.
func TestBatchSchema(t *testing.T) {
	var schema struct{ Properties map[string]any }
	if err := json.Unmarshal(testmodel.Read(t, filepath.Join(schemaDir, "batch-jobs.json")), &schema); err != nil {
		t.Fatal(err)
	}
	for i := range reflect.TypeFor[batch.Spec]().NumField() {
		name := reflect.TypeFor[batch.Spec]().Field(i).Tag.Get("yaml")
		if name != "" && schema.Properties[name] == nil {
			t.Errorf("no %s", name)
		}
	}
	example := ""
	for line := range strings.Lines(string(testmodel.Read(t, filepath.Join(schemaDir, "..", "batch.md")))) {
		if code, ok := strings.CutPrefix(line, "    "); ok {
			example += code
		} else if example != "" && line != "\n" {
			break
		}
	}
	for old, now := range map[string]string{"": "", "shards: 3": "shads: 3", "max-kld: 0.05": "max-kdl: 0.05"} {
		if !strings.Contains(example, old) {
			t.Fatalf("no %q in the example", old)
		}
		var document any
		if err := yaml.Unmarshal([]byte(strings.Replace(example, old, now, 1)), &document); err != nil {
			t.Fatal(err)
		}
		if err := schemaNamed(t, "batch-jobs").Validate(document); (err == nil) != (now == "") {
			t.Errorf("%s: %v", now, err)
		}
	}
}

func checkBatchReport(t *testing.T, dir, jobs string) {
	t.Helper()
	page, saved := filepath.Join(dir, "report.html"), filepath.Join(dir, "report.json")
	stdout, stderr, code := phi3conv(t, "batch", "report", jobs, "--html", page, "--report", saved)
	why := "exit code 1: max-kld 0.01: undecided, it is 0.0"
	if code != exitOK || !strings.Contains(stdout, "pass") || !strings.Contains(stdout, why) {
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
