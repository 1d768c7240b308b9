package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/phi3conv/phi3conv/formats/gguf"
	"github.com/phi3conv/phi3conv/internal/job/quantize"
)

// budgetRun quantizes the model with a budget and returns what it says and the output's size.
func budgetRun(t *testing.T, out string, args ...string) (*quantize.Result, int64) {
	t.Helper()
	stdout, stderr, code := phi3conv(t, append([]string{"quantize", "--json"}, args...)...)
	if code != exitOK || stderr != "" {
		t.Fatalf("%v: exit %d: %s", args, code, stderr)
	}
	var p quantize.Result
	if err := json.Unmarshal([]byte(stdout), &p); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(out)
	if err != nil {
		t.Fatal(err)
	}
	return &p, info.Size()
}

// Files are never larger than asked and nearly as large; more bytes never have a greater estimate; pins and --types are kept.
func TestBudgetSize(t *testing.T) {
	model, dir := tinyModel(t), t.TempDir()
	stats, out := tinyStats(t, model), filepath.Join(dir, "out.gguf")
	last := 1e9
	for _, size := range []int64{1_050_000, 1_400_000, 2_000_000} {
		p, n := budgetRun(t, out, model, out, "--size", fmt.Sprint(size), "--stats", stats, "--method", "imatrix")
		if n > size || n < size-60_000 {
			t.Errorf("%d bytes, asked for %d", n, size)
		}
		if p.Budget.Unit != "kld" || p.Budget.Cost > last {
			t.Errorf("%d bytes: %s %g, and %g with less", size, p.Budget.Unit, p.Budget.Cost, last)
		}
		last = p.Budget.Cost
	}
	_, n := budgetRun(t, out, model, out, "--size", "1900000", "--stats", stats, "--method", "imatrix", "--types", "Q4_K,q6_k,Q8_0,Q4_0",
		"--token-embedding-type", "F16", "--tensor-type", `blk\.1\.ffn_down=Q8_0`)
	if n > 1_900_000 {
		t.Errorf("%d bytes", n)
	}
	f, err := gguf.Open(out)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	for _, x := range f.Tensors {
		switch s := x.Type.String(); {
		case x.Name == "token_embd.weight" && s != "F16", x.Name == "blk.1.ffn_down.weight" && s != "Q8_0",
			len(x.Dims) == 2 && !strings.Contains("F16 Q4_K Q6_K Q8_0 Q4_0", s):
			t.Errorf("%s is %s", x.Name, s)
		}
	}
}

// --bpw bounds the linear layers' bits, --max-kld the estimate; a recipe that was written makes the same file, and so does
// another number of threads.
func TestBudgetKinds(t *testing.T) {
	model, dir := tinyModel(t), t.TempDir()
	stats, out, recipe, again := tinyStats(t, model), filepath.Join(dir, "out.gguf"), filepath.Join(dir, "r.yaml"), filepath.Join(dir, "again.gguf")
	p, _ := budgetRun(t, out, model, out, "--bpw", "4.3", "--stats", stats, "--refine", "1", "--types", "Q3_K,Q4_K,Q5_K,Q6_K", "--write-recipe", recipe)
	if b := p.Budget.BPW; b > 4.3 || b < 4.1 {
		t.Errorf("%g bits, asked for 4.3", b)
	}
	if text := string(read(t, recipe)); !strings.Contains(text, "method: gptq\n") || !strings.Contains(text, "# For --bpw 4.3: ") {
		t.Error(text)
	}
	if _, stderr, code := phi3conv(t, "quantize", model, again, "1", "--recipe", recipe, "--stats", stats); code != exitOK {
		t.Fatal(stderr)
	}
	if !bytes.Equal(read(t, out), read(t, again)) {
		t.Error("the recipe makes another file")
	}
	small, _ := budgetRun(t, out, model, out, "--max-kld", "0.1", "--stats", stats, "--method", "imatrix", "--types", "Q2_K,Q4_K,Q6_K")
	large, _ := budgetRun(t, out, model, out, "--max-kld", "0.0005", "--stats", stats, "--method", "imatrix", "--types", "Q2_K,Q4_K,Q6_K")
	if small.Budget.Cost > 0.1 || large.Budget.Cost > 0.0005 || small.Bytes >= large.Bytes {
		t.Errorf("%d bytes with %g, %d with %g", small.Bytes, small.Budget.Cost, large.Bytes, large.Budget.Cost)
	}
	// The estimate is of the divergence that there is, within what its assumptions leave.
	r, _ := verifyJSON(t, out, "--base", model, "-c", "256", "--chunks", "8", "--f32")
	if kld := r.Summary.KLD.Value; kld > 4*large.Budget.Cost || kld < large.Budget.Cost/4 {
		t.Errorf("mean KLD %g, estimated %g", kld, large.Budget.Cost)
	}
	// Statistics without gradients have no absolute scale.
	plain := filepath.Join(dir, "plain.gguf")
	if _, stderr, code := phi3conv(t, "calibrate", model, "--text", "../../testdata/tiny-phi3-calib.txt", "--chunks", "2", "--ctx-size", "64", "-o", plain); code != exitOK {
		t.Fatal(stderr)
	}
	p, _ = budgetRun(t, out, model, out, "--bpw", "4.3", "--stats", plain, "--method", "rtn")
	if b := p.Budget; b.BPW > 4.3 || b.Unit != "relative" || !(b.Cost > 0) {
		t.Errorf("%+v", b)
	}
	stdout, _, code := phi3conv(t, "quantize", model, out, "--size", "2.2MB", "--stats", stats, "--types", "Q4_K,Q8_0", "--dry-run")
	if code != exitOK || !strings.Contains(stdout, "Best types for a size:") || !strings.Contains(stdout, "Estimated cost of each type, as mean KLD:") {
		t.Error(stdout)
	}
	for _, c := range []struct {
		args string
		code int
		want string
	}{
		{"--size 1MB", exitUsage, "needs --stats"},
		{"--size 10kB --types Q4_K --stats " + stats, exitUsage, "the least that these types"},
		{"--bpw 0 --stats " + stats, exitUsage, "--bpw is 0"},
		{"--max-kld 1e-9 --types Q4_K --stats " + stats, exitUsage, "too small"},
		{"--max-kld 0.1 --stats " + plain, exitUsage, "--fisher"},
		{"--bpw 4 --size 1MB --stats " + stats, exitUsage, "one of"},
		{"--bpw 4 --pure --stats " + stats, exitUsage, "--pure"},
		{"--bpw 4 --types Q4_K,Q9 --stats " + stats, exitUsage, "Q9"},
		{"--types Q4_K Q4_K_M", exitUsage, "--types goes with"},
		{"--recipe " + recipe + " --refine 2", exitUsage, "--refine"},
		{"--recipe " + recipe + " --size 1MB", exitUsage, "--size"},
		{"--recipe " + recipe, exitUsage, "needs --stats"},
		{"--recipe " + recipe + ".none", exitBadInput, "r.yaml.none"},
		{"--recipe " + stats, exitBadInput, "stats.gguf"},
	} {
		args := append(append([]string{"quantize"}, strings.Fields(c.args)...), model, again)
		if strings.HasSuffix(c.args, "Q4_K_M") {
			args = append([]string{"quantize", model, again}, strings.Fields(c.args)...)
		}
		if _, stderr, code := phi3conv(t, args...); code != c.code || !strings.Contains(stderr, c.want) {
			t.Errorf("%s: exit %d: %s", c.args, code, stderr)
		}
	}
}

// Recipes that do not fit the model are refused by the tensor's name.
func TestRecipeOfAnotherModel(t *testing.T) {
	model, dir := tinyModel(t), t.TempDir()
	out, recipe := filepath.Join(dir, "out.gguf"), filepath.Join(dir, "r.yaml")
	const head = "recipe: 1\nfile-type: Q8_0\nmethod: rtn\ntensors:\n  "
	for line, want := range map[string]string{
		"blk.77.ffn_up.weight: Q8_0":   "blk.77.ffn_up.weight",
		"blk.0.attn_norm.weight: Q8_0": "blk.0.attn_norm.weight",
	} {
		write(t, recipe, []byte(head+line))
		if _, stderr, code := phi3conv(t, "quantize", model, out, "--recipe", recipe); code != exitBadInput || !strings.Contains(stderr, want) {
			t.Errorf("%s: exit %d: %s", line, code, stderr)
		}
	}
	write(t, recipe, []byte(head+"blk.0.ffn_up.weight: Q4_0"))
	if _, stderr, code := phi3conv(t, "convert", model, "-o", out, "--recipe", recipe); code != exitOK {
		t.Fatal(stderr)
	}
	f, err := gguf.Open(out)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	if a, b := f.Tensor("blk.0.ffn_up.weight").Type.String(), f.Tensor("blk.1.ffn_up.weight").Type.String(); a != "Q4_0" || b != "Q8_0" {
		t.Errorf("%s, %s", a, b)
	}
}
