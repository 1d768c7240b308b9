package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/phi3conv/phi3conv/formats/gguf"
	"github.com/phi3conv/phi3conv/internal/job/quantize"
	"github.com/phi3conv/phi3conv/internal/testmodel"
	"github.com/phi3conv/phi3conv/quant/policy"
)

// The command makes what the job makes, and no other file. quantize_options_test.go tests the other flags.
func TestQuantize(t *testing.T) {
	model, dir := testmodel.Phi3(t), t.TempDir()
	stats, out, want := tinyStats(t, model), filepath.Join(dir, "out.gguf"), filepath.Join(dir, "want.gguf")
	stdout, stderr, code := phi3conv(t, "quantize", model, out, "q3_k_s", "1", "--stats", stats, "--split-qkv",
		"--model-name", "Phi-3 of a test")
	if code != exitOK || stderr != "" || !strings.HasPrefix(stdout, out+": ") ||
		!strings.Contains(stdout, "Q3_K_S: 35 tensors") {
		t.Fatalf("exit %d\n%s%s", code, stdout, stderr)
	}
	_, err := quantize.Run(t.Context(), model, want, quantize.Options{
		Policy: policy.Policy{FileType: policy.MostlyQ3_K_S}, Stats: stats, SplitQKV: true, Name: "Phi-3 of a test",
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(testmodel.Read(t, out), testmodel.Read(t, want)) {
		t.Error("the job makes another file")
	}
	if left, _ := os.ReadDir(dir); len(left) != 2 {
		t.Errorf("left: %v", left)
	}
}

// Parts of the costs give the plan of one run, and are refused where they make no sense.
func TestQuantizeShard(t *testing.T) {
	model, dir := testmodel.Phi3(t), t.TempDir()
	stats, out := tinyStats(t, model), filepath.Join(dir, "out.gguf")
	args := func(out string, more ...string) []string {
		return append([]string{"quantize", model, out, "--bpw", "4.8", "--types", "Q4_K,Q6_K", "--method", "imatrix",
			"--stats", stats}, more...)
	}
	one, two := filepath.Join(dir, "1.shard"), filepath.Join(dir, "2.shard")
	for part, path := range map[string]string{"1/2": one, "2/2": two} {
		stdout, stderr, code := phi3conv(t, args(path, "--shard", part, "--json")...)
		if code != exitOK || !strings.Contains(stdout, `"tensors": `) {
			t.Fatalf("exit %d\n%s%s", code, stdout, stderr)
		}
	}
	want, _, _ := phi3conv(t, args(out, "--dry-run", "--json")...)
	got, stderr, code := phi3conv(t, args(out, "--dry-run", "--json", "--costs", one, "--costs", two)...)
	if code != exitOK || got != want {
		t.Errorf("exit %d\n%s%s\nexpected\n%s", code, got, stderr, want)
	}
	for _, c := range []struct {
		args []string
		code int
		want string
	}{
		{args(out, "--shard", "1/2"), exitUsage, "extension of GGUF"},
		{args(one, "--shard", "3/2"), exitUsage, "--shard"},
		{args(two, "--shard", "1/2", "--costs", one), exitUsage, "--costs"},
		{args(one, "--shard", "1/2", "--dry-run"), exitUsage, "--dry-run"},
		{args(out, "--costs", one), exitBadInput, "part 2 of 2 is missing"},
		{args(out, "--costs", stats), exitBadInput, "no file of quantize --shard"},
		{args(out, "--costs", "none"), exitBadInput, "none"},
		{[]string{"quantize", model, out, "Q8_0", "--costs", one}, exitUsage, "--costs is for --size"},
		{[]string{"quantize", model, one, "Q8_0", "--shard", "1/2"}, exitUsage, "--shard is for --size"},
	} {
		if _, stderr, code := phi3conv(t, c.args...); code != c.code || !strings.Contains(stderr, c.want) {
			t.Errorf("%q: exit %d, expected %d with %q: %s", c.args, code, c.code, c.want, stderr)
		}
	}
}

// A budget's tables, its JSON form, and the recipe that makes the same file.
func TestQuantizeBudget(t *testing.T) {
	model, dir := testmodel.Phi3(t), t.TempDir()
	stats, recipe := tinyStats(t, model, "--fisher"), filepath.Join(dir, "r.yaml")
	out, again := filepath.Join(dir, "out.gguf"), filepath.Join(dir, "again.gguf")
	args := []string{"quantize", model, out, "--size", "1900kB", "--types", "Q4_K,Q6_K", "--method", "imatrix",
		"--stats", stats}
	stdout, stderr, code := phi3conv(t, append(args, "--dry-run", "--write-recipe", recipe)...)
	for _, want := range []string{
		"Estimated cost of each type, as mean KLD:", "Costs are scaled to what was measured", "Best types for a size:",
		"\nFor --size 1900kB: linear layers have ", "blk.0.attn_qkv.weight", "bits per weight",
	} {
		if code != exitOK || stderr != "" || !strings.Contains(stdout, want) {
			t.Errorf("exit %d, expected %q\n%s%s", code, want, stdout, stderr)
		}
	}
	if text := string(testmodel.Read(t, recipe)); !strings.Contains(text, "# For --size 1900kB: ") {
		t.Error(text)
	}
	if _, err := os.Stat(out); err == nil {
		t.Error("a dry run wrote a file")
	}
	stdout, stderr, code = phi3conv(t, append(args, "--json")...)
	var r quantize.Result
	if err := json.Unmarshal([]byte(stdout), &r); err != nil {
		t.Fatalf("exit %d: %v\n%s%s", code, err, stdout, stderr)
	}
	if info, err := os.Stat(out); err != nil || info.Size() > 1_900_000 || r.Files[0].Bytes != info.Size() ||
		r.Budget.Asked != "--size 1900kB" || len(r.Budget.Tensors) != 18 || len(r.Tensors) != 27 || !(r.Seconds > 0) {
		t.Errorf("%v: %s", err, stdout)
	}
	_, stderr, code = phi3conv(t, "quantize", model, again, "2", "--recipe", recipe, "--stats", stats)
	if code != exitOK {
		t.Fatal(stderr)
	}
	if !bytes.Equal(testmodel.Read(t, out), testmodel.Read(t, again)) {
		t.Error("the recipe makes another file")
	}
}

// Mistakes of arguments, of the job and of files each have their exit code, and write nothing.
func TestQuantizeMistakes(t *testing.T) {
	model, dir := testmodel.Phi3(t), t.TempDir()
	stats, out := tinyStats(t, model), filepath.Join(dir, "out.gguf")
	other, recipe := filepath.Join(dir, "other.gguf"), filepath.Join(dir, "r.yaml")
	testmodel.Write(t, other, []byte("nothing"))
	testmodel.Write(t, recipe, []byte("recipe: 1\nfile-type: Q8_0\nmethod: imatrix\n"))
	for args, want := range map[string]struct {
		code int
		text string
	}{
		"":                                   {exitUsage, "quantize takes IN OUT TYPE [THREADS], got 2 arguments"},
		"Q9":                                 {exitUsage, `unknown file type "Q9"`},
		"Q4_0 many":                          {exitUsage, `THREADS is "many", expected a number`},
		"Q4_0 0":                             {exitUsage, `THREADS is "0", expected a number from 1 to 1024`},
		"Q4_0 2000":                          {exitUsage, `THREADS is "2000"`},
		"Q4_0 1 2":                           {exitUsage, "got 5 arguments"},
		"1 2 --bpw 4":                        {exitUsage, "quantize takes IN OUT [THREADS] with --bpw"},
		"Q4_0 --max-ram 1MB":                 {exitUsage, "expected at least 320 MiB"},
		"Q4_0 --method best":                 {exitUsage, "known: rtn imatrix"},
		"Q4_0 --method gptq":                 {exitUsage, "needs --stats"},
		"Q4_0 --method rtn --stats STATS":    {exitUsage, "uses no --stats"},
		"Q4_0 --stats " + other:              {exitBadInput, "other.gguf"},
		"Q4_0 --stats " + other + ".none":    {exitBadInput, "other.gguf.none"},
		"--size 1MB":                         {exitUsage, "--size 1MB needs --stats"},
		"--bpw 1 --types Q4_K --stats STATS": {exitUsage, "--bpw 1 is too small"},
		"--max-kld 0.1 --stats STATS":        {exitUsage, "--fisher"},
		"--recipe " + recipe:                 {exitUsage, "--method imatrix needs --stats"},
		"--recipe " + recipe + ".none":       {exitBadInput, "r.yaml.none"},
		"--recipe STATS":                     {exitBadInput, "stats.gguf"},
	} {
		words := strings.Fields(strings.ReplaceAll(args, "STATS", stats))
		_, stderr, code := phi3conv(t, append([]string{"quantize", model, out}, words...)...)
		if code != want.code || !strings.Contains(stderr, want.text) {
			t.Errorf("%s: exit %d, expected %d with %q\n%s", args, code, want.code, want.text, stderr)
		}
	}
	if left, _ := os.ReadDir(dir); len(left) != 2 {
		t.Errorf("left: %v", left)
	}
}

// fileTypes returns the types of a file's tensors by name.
func fileTypes(t *testing.T, path string) map[string]string {
	t.Helper()
	f, err := gguf.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	types := map[string]string{}
	for _, x := range f.Tensors {
		types[x.Name] = x.Type.String()
	}
	return types
}

// A file with q, k and v apart, where llama.cpp's rules and overrides go by the names of parts, is a model like others
// for all commands but calibrate.
func TestSplitQKV(t *testing.T) {
	model, dir := testmodel.Phi3(t), t.TempDir()
	stats, apart := tinyStats(t, model), filepath.Join(dir, "apart.gguf")
	_, stderr, code := phi3conv(t, "quantize", "--split-qkv", "--tensor-type", "attn_k=Q4_0", "--tensor-type",
		`blk\.1\.attn_q=F16`, "--stats", stats, model, apart, "Q4_K_M")
	if code != exitOK || stderr != "" {
		t.Fatal(stderr)
	}
	types := fileTypes(t, apart)
	for name, want := range map[string]string{
		"blk.3.attn_v.weight": "Q6_K", "blk.0.attn_k.weight": "Q4_0", "blk.0.attn_q.weight": "Q4_K",
		"blk.1.attn_q.weight": "F16", "blk.0.attn_qkv.weight": "",
	} {
		if types[name] != want {
			t.Errorf("%s is %q, expected %q", name, types[name], want)
		}
	}
	for _, c := range []struct{ args, want string }{
		{"lint APART", ""},
		{"inspect --diff MODEL APART", "35 tensors compared"},
		{"inspect --diff APART MODEL", "blk.0.attn_v.weight"},
		{"reproduce APART --model MODEL --stats " + stats, "the same bytes"},
	} {
		args := strings.NewReplacer("MODEL", model, "APART", apart).Replace(c.args)
		stdout, stderr, code := phi3conv(t, strings.Fields(args)...)
		if code != exitOK || !strings.Contains(stdout, c.want) {
			t.Errorf("%s: exit %d\n%s%s", c.args, code, stdout, stderr)
		}
	}
	_, stderr, code = phi3conv(t, "calibrate", apart, "--text", calibText, "-o", filepath.Join(dir, "s"))
	if code != exitBadInput || !strings.Contains(stderr, "attn_qkv.weight in parts") {
		t.Errorf("calibrate: exit %d: %s", code, stderr)
	}
	r, _ := verifyJSON(t, apart, "--base", model, "-c", "256", "--chunks", "4", "--by-tensor", "--by-layer-chunks", "1")
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
}
