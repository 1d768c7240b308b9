package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/phi3conv/phi3conv/internal/job/quantize"
	"github.com/phi3conv/phi3conv/testdata"
)

// phi3conv runs the program and returns what it printed and its exit code.
func phi3conv(t *testing.T, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	var out, err bytes.Buffer
	code = run(context.Background(), append([]string{"phi3conv"}, args...), &out, &err)
	return out.String(), err.String(), code
}

// tinyModel writes the embedded model to a directory named tiny-phi3 and returns its path.
func tinyModel(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "tiny-phi3")
	if err := testdata.WriteTinyPhi3(dir); err != nil {
		t.Fatal(err)
	}
	return dir
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func write(t *testing.T, path string, data []byte) {
	t.Helper()
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestConvert(t *testing.T) {
	model := tinyModel(t)
	dir := t.TempDir()
	out := filepath.Join(dir, "out.gguf")
	stdout, stderr, code := phi3conv(t, "convert", model, "-o", out, "--type", "q4_k_m")
	if code != exitOK || stderr != "" || !strings.Contains(stdout, "Q4_K_M: 27 tensors") {
		t.Fatalf("exit %d\n%s%s", code, stdout, stderr)
	}
	// llama-quantize's argument order, and a GGUF as source.
	bf16, again := filepath.Join(dir, "bf16.gguf"), filepath.Join(dir, "again.gguf")
	if _, stderr, code := phi3conv(t, "convert", "--outtype=bf16", "--output", bf16, model); code != exitOK {
		t.Fatal(stderr)
	}
	if _, stderr, code := phi3conv(t, "quantize", bf16, again, "Q4_K_M", "1"); code != exitOK {
		t.Fatal(stderr)
	}
	if !bytes.Equal(read(t, out), read(t, again)) {
		t.Error("through a BF16 file the result is another")
	}
	// The default name, in the current directory.
	t.Chdir(dir)
	if _, stderr, code := phi3conv(t, "convert", model); code != exitOK {
		t.Fatal(stderr)
	}
	if !bytes.Equal(read(t, out), read(t, "tiny-phi3-Q4_K_M.gguf")) {
		t.Error("the default type or name is another")
	}
}

// llama.cpp goes by the model's name, so a name that misleads it is pointed out.
func TestNameNote(t *testing.T) {
	out := filepath.Join(t.TempDir(), "x.gguf")
	if _, stderr, code := phi3conv(t, "convert", tinyModel(t), "-o", out, "--model-name", "Phi 3 Tiny"); code != exitOK || !strings.Contains(stderr, `it is "Phi 3 Tiny"`) {
		t.Errorf("exit %d: %s", code, stderr)
	}
	if _, stderr, code := phi3conv(t, "convert", tinyModel(t), "-o", out, "--model-name", "Phi-3 Tiny"); code != exitOK || stderr != "" {
		t.Errorf("exit %d: %s", code, stderr)
	}
}

func TestDryRun(t *testing.T) {
	model := tinyModel(t)
	out := filepath.Join(t.TempDir(), "out.gguf")
	stdout, stderr, code := phi3conv(t, "convert", model, "-o", out, "--dry-run", "--json", "--split-max-size", "1MB")
	if code != exitOK {
		t.Fatal(stderr)
	}
	var plan quantize.Result
	if err := json.Unmarshal([]byte(stdout), &plan); err != nil {
		t.Fatal(err)
	}
	if len(plan.Tensors) != 27 || len(plan.Files) < 2 || plan.FileType != "Q4_K_M" {
		t.Errorf("%+v", plan)
	}
	if _, err := os.Stat(plan.Files[0].Path); err == nil {
		t.Error("a dry run wrote a file")
	}
	if _, stderr, code := phi3conv(t, "convert", model, "-o", out, "--split-max-size", "1MB"); code != exitOK {
		t.Fatal(stderr)
	}
	for _, f := range plan.Files {
		if info, err := os.Stat(f.Path); err != nil || info.Size() != f.Bytes {
			t.Errorf("%s: %v, planned %d bytes", f.Path, err, f.Bytes)
		}
	}
	stdout, _, _ = phi3conv(t, "convert", model, "-o", out, "--dry-run")
	for _, want := range []string{"blk.0.attn_qkv.weight", "bits per weight", out} {
		if !strings.Contains(stdout, want) {
			t.Errorf("%q is missing in\n%s", want, stdout)
		}
	}
}

// Every mistake has its exit code and a message that names it, and leaves no output.
func TestMistakes(t *testing.T) {
	edit := func(name, old, new string) func(dir string) {
		return func(dir string) {
			path := filepath.Join(dir, name)
			data := read(t, path)
			if !bytes.Contains(data, []byte(old)) {
				t.Fatalf("%s does not contain %q", name, old)
			}
			write(t, path, bytes.Replace(data, []byte(old), []byte(new), 1))
		}
	}
	index := func(shard string) func(dir string) {
		return func(dir string) {
			if err := os.Rename(filepath.Join(dir, "model.safetensors"), filepath.Join(dir, "model-00001-of-00002.safetensors")); err != nil {
				t.Fatal(err)
			}
			write(t, filepath.Join(dir, "model.safetensors.index.json"), []byte(`{"metadata":{},"weight_map":{"model.norm.weight":"`+shard+`"}}`))
		}
	}
	for name, c := range map[string]struct {
		damage func(dir string)
		args   []string
		code   int
		want   string
	}{
		"type":               {nil, []string{"--type", "Q9"}, exitUsage, `unknown file type "Q9"`},
		"flag":               {nil, []string{"--typ", "Q4_0"}, exitUsage, "not defined: -typ"},
		"two models":         {nil, []string{"other"}, exitUsage, "takes one MODEL"},
		"threads":            {nil, []string{"--threads", "0"}, exitUsage, "0 threads"},
		"memory":             {nil, []string{"--max-ram", "1MB"}, exitUsage, "expected at least 320 MiB"},
		"memory unit":        {nil, []string{"--max-ram", "lots"}, exitUsage, `--max-ram "lots"`},
		"tensor type":        {nil, []string{"--tensor-type", "ffn=Q9"}, exitUsage, `"Q9"`},
		"tensor type syntax": {nil, []string{"--tensor-type", "ffn"}, exitUsage, "REGEX=TYPE"},
		"pattern":            {nil, []string{"--tensor-type", "(=Q4_0"}, exitUsage, "missing closing )"},
		"output directory":   {nil, []string{"-o", "/nonexistent/x.gguf"}, exitBadInput, "/nonexistent"},
		"architecture":       {edit("config.json", "Phi3ForCausalLM", "Phi3SmallForCausalLM"), nil, exitBadInput, "Phi3SmallForCausalLM is not supported"},
		"shape":              {edit("config.json", `"intermediate_size": 512`, `"intermediate_size": 1024`), nil, exitBadInput, "has shape [1024 256], expected [2048 256]"},
		"more layers":        {edit("config.json", `"num_hidden_layers": 4`, `"num_hidden_layers": 5`), nil, exitBadInput, "tensors are missing: model.layers.4."},
		"fewer layers":       {edit("config.json", `"num_hidden_layers": 4`, `"num_hidden_layers": 3`), nil, exitBadInput, "does not belong to a Phi3ForCausalLM"},
		"no config":          {func(dir string) { _ = os.Remove(filepath.Join(dir, "config.json")) }, nil, exitBadInput, "config.json"},
		"no weights":         {func(dir string) { _ = os.Remove(filepath.Join(dir, "model.safetensors")) }, nil, exitBadInput, "model.safetensors"},
		"missing shard":      {index("model-00002-of-00002.safetensors"), nil, exitBadInput, "model-00002-of-00002.safetensors"},
		"wrong shard":        {index("model-00001-of-00002.safetensors"), nil, exitBadInput, "model-00001-of-00002.safetensors"},
		"shard outside":      {index("../model.safetensors"), nil, exitBadInput, "../model.safetensors"},
		"truncated":          {func(dir string) { _ = os.Truncate(filepath.Join(dir, "model.safetensors"), 100_000) }, nil, exitBadInput, "model.safetensors"},
		"no tokenizer": {func(dir string) {
			_ = os.Remove(filepath.Join(dir, "tokenizer.model"))
			_ = os.Remove(filepath.Join(dir, "tokenizer.json"))
		}, nil, exitBadInput, "tokenizer"},
	} {
		t.Run(name, func(t *testing.T) {
			model := tinyModel(t)
			if c.damage != nil {
				c.damage(model)
			}
			out := filepath.Join(t.TempDir(), "out.gguf")
			args := append([]string{"convert", model, "-o", out}, c.args...)
			stdout, stderr, code := phi3conv(t, args...)
			if code != c.code || !strings.Contains(stderr, c.want) {
				t.Errorf("exit %d, want %d with %q\n%s%s", code, c.code, c.want, stdout, stderr)
			}
			if left, _ := os.ReadDir(filepath.Dir(out)); len(left) > 0 {
				t.Errorf("%s was left behind", left[0].Name())
			}
		})
	}
}

func TestRefusesItself(t *testing.T) {
	out := filepath.Join(t.TempDir(), "x.gguf")
	if _, stderr, code := phi3conv(t, "convert", tinyModel(t), "-o", out, "--type", "F32"); code != exitOK {
		t.Fatal(stderr)
	}
	if _, stderr, code := phi3conv(t, "quantize", out, out, "Q4_0"); code != exitUsage || !strings.Contains(stderr, "is a file of the input") {
		t.Errorf("exit %d: %s", code, stderr)
	}
}

func TestOverwritingSources(t *testing.T) {
	model := tinyModel(t)
	if _, stderr, code := phi3conv(t, "convert", model, "-o", filepath.Join(model, "config.json")); code != exitUsage {
		t.Errorf("config.json: exit %d, %s", code, stderr)
	}
	out := filepath.Join(t.TempDir(), "m.gguf")
	if _, stderr, code := phi3conv(t, "convert", model, "-o", out, "--type", "F16", "--split-max-size", "2MB"); code != exitOK {
		t.Fatal(stderr)
	}
	parts, _ := filepath.Glob(strings.TrimSuffix(out, ".gguf") + "-*")
	if len(parts) != 3 {
		t.Fatalf("parts %v", parts)
	}
	if _, stderr, code := phi3conv(t, "convert", parts[0], "-o", out, "--type", "Q8_0", "--split-max-size", "1MB"); code != exitUsage {
		t.Errorf("a part of the source: exit %d, %s", code, stderr)
	}
}

func TestTensorType(t *testing.T) {
	model := tinyModel(t)
	stdout, stderr, code := phi3conv(t, "convert", model, "--dry-run", "--tensor-type", `blk\.[0-9]{1,2}\.ffn_up=Q8_0`, "--tensor-type", "nothing=Q8_0")
	if code != exitOK || strings.Count(stdout, "Q8_0") != 4 || !strings.Contains(stderr, `"nothing" matches no tensor`) {
		t.Errorf("exit %d\n%s%s", code, stdout, stderr)
	}
}
