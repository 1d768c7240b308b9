package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/phi3conv/phi3conv/formats/gguf"
	"github.com/phi3conv/phi3conv/verify"
)

// flipped returns the path of a copy of a GGUF file in which one exponent bit of the scale of the
// first block of a Q4_K tensor is another.
func flipped(t *testing.T, path, tensor string) string {
	t.Helper()
	data := bytes.Clone(read(t, path))
	f, err := gguf.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	for i := range f.Tensors {
		if x := f.Tensors[i]; x.Name == tensor {
			data[x.Offset+1] ^= 1 << 5 // bit 13 of the float16 d: 2^8 times as much
			out := filepath.Join(t.TempDir(), "flipped.gguf")
			write(t, out, data)
			return out
		}
	}
	t.Fatalf("no tensor %s", tensor)
	return ""
}

// A regression fails against a baseline, and the damaged tensor is named.
func TestVerifyBaseline(t *testing.T) {
	const damaged = "blk.2.ffn_down.weight"
	model := tinyModel(t)
	quant := converted(t, model, "Q4_K_S")
	baseline := filepath.Join(t.TempDir(), "baseline.json")
	args := []string{"--base", model, "-c", "128", "--chunks", "40", "--by-tensor", "--by-layer-chunks", "2"}
	first, code := verifyJSON(t, append([]string{quant, "--report", baseline}, args...)...)
	if code != exitOK || first.Baseline != nil || len(first.Layers) != 18 || first.LayerTokens != 2*63 || first.AllLayers == nil {
		t.Fatalf("exit %d, %d layers of %d tokens", code, len(first.Layers), first.LayerTokens)
	}
	sum := 0.0
	for i, l := range first.Layers {
		sum += l.KLD.Value
		if !(l.KLD.Value > 0) || i > 0 && l.KLD.Value > first.Layers[i-1].KLD.Value || l.Type == "" || l.Bytes == 0 {
			t.Errorf("%d: %+v", i, l)
		}
	}
	if all := first.AllLayers.KLD.Value; !(all > sum/2 && all < 2*sum) {
		t.Errorf("all at once %v, one at a time %v", all, sum)
	}
	args = append(args, "--baseline", baseline)

	again, code := verifyJSON(t, append([]string{quant}, args...)...)
	if b := again.Baseline; code != exitOK || b.Outcome != verify.Pass || len(b.Checks) != 4 || b.Layers != nil {
		t.Errorf("exit %d, %+v", code, b)
	}
	for _, c := range again.Baseline.Checks {
		if c.Change != verify.Same || c.Difference.Value != 0 {
			t.Errorf("a model differs from itself: %+v", c)
		}
	}

	bad, code := verifyJSON(t, append([]string{flipped(t, quant, damaged)}, args...)...)
	if b := bad.Baseline; code != exitFailed || b.Outcome != verify.Fail || b.Checks[0].Change != verify.Worse {
		t.Errorf("one flipped bit: exit %d, %+v", code, b)
	}
	if c := bad.Baseline.Layers; len(c) != 1 || c[0].Name != damaged || !(c[0].Now > c[0].Baseline) {
		t.Errorf("%+v, expected a change of %s alone", c, damaged)
	}
	if bad.Layers[0].Name != damaged {
		t.Errorf("%s ranks first, expected %s", bad.Layers[0].Name, damaged)
	}

	// In parts it is the same.
	var parts []string
	for _, shard := range []string{"1/2", "2/2"} {
		parts = append(parts, filepath.Join(t.TempDir(), "part.json"))
		if _, stderr, code := phi3conv(t, "verify", quant, "--text", evalText, "--base", model, "-c", "128", "--chunks", "40", "--shard", shard, "--report", parts[len(parts)-1]); code != exitOK {
			t.Fatal(stderr)
		}
	}
	page := filepath.Join(t.TempDir(), "v.html")
	if stdout, stderr, code := phi3conv(t, "verify", "merge", parts[0], parts[1], "--baseline", baseline, "--html", page); code != exitOK || !strings.Contains(stdout, "Against the baseline") {
		t.Errorf("exit %d\n%s%s", code, stdout, stderr)
	}

	if !strings.Contains(string(read(t, page)), "Since the baseline") {
		t.Error("the page does not have the baseline")
	}

	sealed := filepath.Join(t.TempDir(), "sealed.json")
	data, err := os.ReadFile(baseline)
	if err != nil {
		t.Fatal(err)
	}
	write(t, sealed, bytes.Replace(data, []byte(`"quant":`), []byte(`"seal":{"name":"x"},"quant":`), 1))

	short := []string{quant, "--base", model, "-c", "128", "--chunks", "2"}
	withoutPositions := filepath.Join(t.TempDir(), "summary.json")
	stdout, _, _ := phi3conv(t, append([]string{"verify", "--json", "--text", evalText}, short...)...)
	write(t, withoutPositions, []byte(stdout))
	for _, c := range []struct {
		name string
		args []string
		code int
		want string
	}{
		{"another original", []string{quant, "--base", quant, "-c", "128", "--chunks", "40", "--baseline", baseline}, exitBadInput, "stale baseline: another original"},
		{"other windows", append(short, "--baseline", baseline), exitBadInput, "stale baseline: another number of windows"},
		{"other conventions", []string{quant, "--base", model, "-c", "64", "--chunks", "40", "--baseline", baseline}, exitBadInput, "stale baseline: other conventions"},
		{"other computation", []string{quant, "--base", model, "-c", "128", "--chunks", "40", "--f32", "--baseline", baseline}, exitBadInput, "stale baseline: computed in another way"},
		{"no positions", append(short, "--baseline", withoutPositions), exitBadInput, "no positions"},
		{"a seal", append(short, "--baseline", sealed), exitBadInput, "with a seal has lower bounds"},
		{"no file", append(short, "--baseline", baseline+"x"), exitBadInput, "baseline.jsonx"},
		{"no report", append(short, "--baseline", evalText), exitBadInput, "not a report"},
		{"no such figure", append(short, "--baseline", baseline, "--max-regression", "ppl=1"), exitUsage, "ln-ppl"},
		{"no baseline", append(short, "--max-regression", "kld=1"), exitUsage, "needs --baseline"},
		{"a part", append(short, "--baseline", baseline, "--shard", "1/2", "--report", baseline+"1"), exitUsage, "verify merge"},
		{"no windows", append(short, "--by-layer", "--by-layer-chunks", "0"), exitUsage, "by-layer-chunks"},
		{"two models", append([]string{model}, append(short, "--baseline", baseline)...), exitBadInput, "no report on"},
	} {
		if _, stderr, code := phi3conv(t, append([]string{"verify", "--text", evalText}, c.args...)...); code != c.code || !strings.Contains(stderr, c.want) {
			t.Errorf("%s: exit %d, expected %d with %q:\n%s", c.name, code, c.code, c.want, stderr)
		}
	}
	if other := filepath.Join(t.TempDir(), "tiny-phi3-eval.txt"); os.WriteFile(other, append(read(t, evalText), '.'), 0o644) == nil {
		_, stderr, code := phi3conv(t, append([]string{"verify", quant, "--text", other}, args...)...)
		if code != exitBadInput || !strings.Contains(stderr, "stale baseline: another text") {
			t.Errorf("another text: exit %d\n%s", code, stderr)
		}
	}
}

// Layers are ranked whole, and several models each.
func TestVerifyByLayer(t *testing.T) {
	model := tinyModel(t)
	q4, q8 := converted(t, model, "Q4_K_M"), converted(t, model, "Q8_0")
	report := filepath.Join(t.TempDir(), "r.json")
	if _, stderr, code := phi3conv(t, "verify", q4, q8, "--base", model, "--text", evalText, "-c", "64", "--chunks", "3", "--by-layer", "--by-layer-chunks", "1", "--report", report); code != exitOK {
		t.Fatal(stderr)
	}
	list, err := verify.ReadReports(report, read(t, report))
	if err != nil || len(list) != 2 {
		t.Fatalf("%d reports, error %v", len(list), err)
	}
	for _, r := range list {
		names := map[string]bool{}
		for _, l := range r.Layers {
			names[l.Name] = true
		}
		if len(names) != 6 || !names["blk.0"] || !names["blk.3"] || !names["token_embd"] || !names["output"] {
			t.Errorf("%s: %v", r.Quant.Name, names) // the norms are the original's
		}
	}
	if a, b := list[0].AllLayers, list[1].AllLayers; a.Type != "Q4_K Q6_K" || b.Type != "Q8_0" || !(a.KLD.Value > b.KLD.Value) {
		t.Errorf("%+v and %+v", a, b)
	}
}
