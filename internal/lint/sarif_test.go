package lint

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/phi3conv/phi3conv/internal/testmodel"
)

// A report in SARIF has what code scanning needs: each result names a rule of the table, a level, a message, a relative
// path and a fingerprint that stays when numbers in the message change.
// (Microsoft's sarif-multitool finds nothing wrong with it.)
func TestSARIF(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	if err := os.Mkdir("a model", 0o777); err != nil {
		t.Fatal(err)
	}
	testmodel.Write(t, "a model/tokenizer.json", []byte("{}"))
	r := &Report{Path: "a model", ran: Checks()}
	for _, f := range []struct{ code, subject, message string }{
		{"PHI401", "tokenizer.json", "is\x1b empty"},
		{"PHI701", "model.layers.0.mlp.down_proj.weight", "2 values"},
		{"PHI701", "model.layers.0.mlp.down_proj.weight", "3 values"},
		{"PHI505", "../tokenizer.json", "a subject that is no file of the model"},
	} {
		for _, c := range Checks() {
			if c.Code == f.code {
				r.Findings = append(r.Findings, Finding{c, f.subject, f.message})
			}
		}
	}
	write := func() (log sarifLog) {
		t.Helper()
		var b bytes.Buffer
		if err := r.WriteSARIF(&b, "v1.2.3"); err != nil {
			t.Fatal(err)
		}
		d := json.NewDecoder(&b)
		d.DisallowUnknownFields()
		if err := d.Decode(&log); err != nil {
			t.Fatal(err)
		}
		return log
	}
	log := write()
	if log.Version != "2.1.0" || log.Schema == "" || len(log.Runs) != 1 || len(log.Runs[0].Results) != len(r.Findings) {
		t.Fatalf("%+v", log)
	}
	checkRules(t, &log.Runs[0].Tool.Driver)
	checkResults(t, &log.Runs[0])
	if text := log.Runs[0].Results[0].Message.Text; regexp.MustCompile(`[\x00-\x1f]`).MatchString(text) {
		t.Errorf("message %q", text)
	}
	r.Findings[1].Message = "4 values"
	if again := write(); again.Runs[0].Results[1].Fingerprints["primaryLocationLineHash"] !=
		log.Runs[0].Results[1].Fingerprints["primaryLocationLineHash"] {
		t.Error("another fingerprint for another message")
	}
	r.Path, r.Findings = filepath.Join(dir, "x.gguf"), nil
	if empty := write(); empty.Runs[0].Results == nil {
		t.Error("no list of results")
	}
	t.Chdir(t.TempDir())
	if uri := r.uri(""); !regexp.MustCompile(`^file:///.*/x\.gguf$`).MatchString(uri) {
		t.Errorf("outside of the working directory: %s", uri)
	}
}

func checkRules(t *testing.T, driver *sarifDriver) {
	t.Helper()
	if driver.Name != "phi3conv" || driver.Version != "v1.2.3" || len(driver.Rules) != len(Checks()) {
		t.Errorf("driver %s %s, %d rules", driver.Name, driver.Version, len(driver.Rules))
	}
	for _, rule := range driver.Rules {
		if rule.ID == "" || rule.Short.Text == "" || rule.Full.Text == "" || rule.Help.Text == "" {
			t.Errorf("%+v", rule)
		}
	}
}

func checkResults(t *testing.T, run *sarifRun) {
	t.Helper()
	rules := run.Tool.Driver.Rules
	prints := map[string]bool{}
	for i, want := range []struct{ uri, level string }{
		{"a%20model/tokenizer.json", "error"}, {"a%20model/config.json", "error"},
		{"a%20model/config.json", "error"}, {"a%20model/config.json", "note"},
	} {
		x := run.Results[i]
		at := x.Locations[0].Physical
		if at.Artifact.URI != want.uri || at.Region.StartLine != 1 || x.Level != want.level ||
			rules[x.RuleIndex].ID != x.RuleID || rules[x.RuleIndex].Default.Level != x.Level {
			t.Errorf("%+v, expected %+v", x, want)
		}
		print := x.Fingerprints["primaryLocationLineHash"]
		if !regexp.MustCompile(`^[0-9a-f]{16}:[0-9]+$`).MatchString(print) || prints[print] {
			t.Errorf("fingerprint %q", print)
		}
		prints[print] = true
	}
}
