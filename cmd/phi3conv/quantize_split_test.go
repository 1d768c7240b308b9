package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/phi3conv/phi3conv/formats/gguf"
)

// tensorBytes returns a file's tensors and its matrices' types by name.
func tensorBytes(t *testing.T, path string) (data map[string][]byte, types map[string]string) {
	t.Helper()
	f, err := gguf.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	data, types = map[string][]byte{}, map[string]string{}
	for _, x := range f.Tensors {
		b := make([]byte, x.Size())
		if _, err := x.ReadAt(b, 0); err != nil {
			t.Fatal(err)
		}
		data[x.Name], types[x.Name] = b, x.Type.String()
	}
	return data, types
}

// With the same types, every method gives q, k and v apart the blocks that they have together.
func TestSplitQKV(t *testing.T) {
	model, dir := tinyModel(t), t.TempDir()
	stats, whole, apart := tinyStats(t, model), filepath.Join(dir, "whole.gguf"), filepath.Join(dir, "apart.gguf")
	for _, method := range []string{"--method rtn", "--method imatrix --stats " + stats, "--method awq --stats " + stats, "--method gptq --refine 1 --stats " + stats,
		"--method gptq --refine 1 --split --asymmetric 0.5 --stats " + stats} {
		for _, out := range []string{whole, apart} {
			args := append([]string{"quantize", "--pure"}, strings.Fields(method)...)
			if out == apart {
				args = append(args, "--split-qkv")
			}
			if _, stderr, code := phi3conv(t, append(args, model, out, "Q4_K_S")...); code != exitOK || stderr != "" {
				t.Fatalf("%s: exit %d: %s", method, code, stderr)
			}
		}
		want, _ := tensorBytes(t, whole)
		got, _ := tensorBytes(t, apart)
		for name, b := range want {
			a := got[name]
			if blk, ok := strings.CutSuffix(name, "attn_qkv.weight"); ok {
				a = bytes.Join([][]byte{got[blk+"attn_q.weight"], got[blk+"attn_k.weight"], got[blk+"attn_v.weight"]}, nil)
			}
			if !bytes.Equal(a, b) {
				t.Errorf("%s: %s differs", method, name)
			}
		}
	}
	// llama.cpp's rules for attn_v, overrides by the names of parts, and what is made is a model like others.
	if _, stderr, code := phi3conv(t, "quantize", "--split-qkv", "--tensor-type", "attn_k=Q4_0", "--tensor-type", `blk\.1\.attn_q=F16`, "--stats", stats, "--method", "gptq", "--refine", "1", model, apart, "Q4_K_M"); code != exitOK || stderr != "" {
		t.Fatal(stderr)
	}
	_, types := tensorBytes(t, apart)
	for name, want := range map[string]string{"blk.3.attn_v.weight": "Q6_K", "blk.0.attn_k.weight": "Q4_0", "blk.0.attn_q.weight": "Q4_K", "blk.1.attn_q.weight": "F16", "blk.0.attn_qkv.weight": ""} {
		if types[name] != want {
			t.Errorf("%s is %q, expected %q", name, types[name], want)
		}
	}
	if stdout, stderr, code := phi3conv(t, "lint", apart); code != exitOK {
		t.Errorf("lint: %s%s", stdout, stderr)
	}
	for _, pair := range [][]string{{model, apart}, {apart, model}} {
		if stdout, stderr, code := phi3conv(t, "inspect", "--diff", pair[0], pair[1]); code != exitOK || !strings.Contains(stdout, "35 tensors compared") || !strings.Contains(stdout, "blk.0.attn_v.weight") {
			t.Errorf("diff: %s%s", stdout, stderr)
		}
	}
	if stdout, stderr, code := phi3conv(t, "reproduce", apart, "--model", model, "--stats", stats); code != exitOK {
		t.Errorf("reproduce: %s%s", stdout, stderr)
	}
	r, _ := verifyJSON(t, apart, "--base", model, "-c", "256", "--chunks", "8", "--by-tensor", "--by-layer-chunks", "2")
	if kld := r.Summary.KLD.Value; !(kld > 0 && kld < 0.1) {
		t.Errorf("mean KLD %g", kld)
	}
	named := false
	for _, l := range r.Layers {
		named = named || l.Name == "blk.2.attn_qkv.weight" && l.Type == "Q4_K Q6_K Q4_0"
		if strings.Contains(l.Name, "attn_v") {
			t.Errorf("by tensor: %+v", l)
		}
	}
	if !named {
		t.Errorf("by tensor: %+v", r.Layers)
	}
	if _, stderr, code := phi3conv(t, "calibrate", apart, "--text", "../../testdata/tiny-phi3-calib.txt", "-o", filepath.Join(dir, "s")); code != exitBadInput || !strings.Contains(stderr, "attn_qkv.weight in parts") {
		t.Errorf("calibrate: exit %d: %s", code, stderr)
	}
}

// A budget keeps together what gets one type, costs no more than without the choice, and its recipe makes the same file.
func TestBudgetSplitQKV(t *testing.T) {
	model, dir := tinyModel(t), t.TempDir()
	stats, out, recipe, again := tinyStats(t, model), filepath.Join(dir, "out.gguf"), filepath.Join(dir, "r.yaml"), filepath.Join(dir, "again.gguf")
	args := []string{model, out, "--bpw", "4.2", "--stats", stats, "--refine", "1", "--types", "Q3_K,Q4_K,Q5_K,Q6_K"}
	plain, _ := budgetRun(t, out, args...)
	p, _ := budgetRun(t, out, append(args, "--split-qkv", "--write-recipe", recipe)...)
	if b := p.Budget; b.BPW > 4.2 || b.Cost >= plain.Budget.Cost {
		t.Errorf("%g bits, cost %g, %g with q, k and v together", b.BPW, b.Cost, plain.Budget.Cost)
	}
	_, types := tensorBytes(t, out)
	apart, together := 0, 0
	for name, q := range types {
		if blk, ok := strings.CutSuffix(name, "attn_q.weight"); ok {
			apart++
			if k, v := types[blk+"attn_k.weight"], types[blk+"attn_v.weight"]; q == k && k == v {
				t.Errorf("%s: q, k and v are all %s", blk, q)
			}
		} else if strings.HasSuffix(name, "attn_qkv.weight") {
			together++
		}
	}
	if apart == 0 || apart+together != 4 {
		t.Errorf("%d apart, %d together", apart, together)
	}
	if _, stderr, code := phi3conv(t, "quantize", model, again, "1", "--recipe", recipe, "--stats", stats); code != exitOK {
		t.Fatal(stderr)
	}
	if !bytes.Equal(read(t, out), read(t, again)) {
		t.Error("the recipe makes another file")
	}
	plainStats := filepath.Join(dir, "plain.gguf")
	if _, stderr, code := phi3conv(t, "calibrate", model, "--text", "../../testdata/tiny-phi3-calib.txt", "--chunks", "2", "--ctx-size", "64", "-o", plainStats); code != exitOK {
		t.Fatal(stderr)
	}
	both := filepath.Join(dir, "both.yaml")
	write(t, both, []byte("recipe: 1\nfile-type: Q8_0\nmethod: rtn\ntensors:\n  blk.0.attn_qkv.weight: Q8_0\n  blk.0.attn_v.weight: Q4_0\n"))
	for _, c := range []struct {
		args string
		code int
		want string
	}{
		{"--bpw 4.2 --split-qkv --stats " + plainStats, exitUsage, "--split-qkv needs statistics of calibrate --fisher"},
		{"--recipe " + recipe + " --split-qkv --stats " + stats, exitUsage, "--split-qkv does not go with --recipe"},
		{"--recipe " + both, exitBadInput, "blk.0.attn_qkv.weight, and parts of it"},
	} {
		if _, stderr, code := phi3conv(t, append(append([]string{"quantize"}, strings.Fields(c.args)...), model, again+".none")...); code != c.code || !strings.Contains(stderr, c.want) {
			t.Errorf("%s: exit %d: %s", c.args, code, stderr)
		}
	}
	if _, err := os.Stat(again + ".none"); err == nil {
		t.Error("a file was written")
	}
}
