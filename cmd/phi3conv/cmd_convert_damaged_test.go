package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/phi3conv/phi3conv/internal/testmodel"
)

// damage changes a copy of the tiny model.
type damage func(t *testing.T, dir string)

// inFile replaces a text in one of the model's files.
func inFile(name, old, new string) damage {
	return func(t *testing.T, dir string) {
		path := filepath.Join(dir, name)
		data := testmodel.Read(t, path)
		if !bytes.Contains(data, []byte(old)) {
			t.Fatalf("%s does not contain %q", name, old)
		}
		testmodel.Write(t, path, bytes.Replace(data, []byte(old), []byte(new), 1))
	}
}

// inIndex makes the weights a split set whose index names a shard.
func inIndex(shard string) damage {
	return func(t *testing.T, dir string) {
		from, to := filepath.Join(dir, "model.safetensors"), filepath.Join(dir, "model-00001-of-00002.safetensors")
		if err := os.Rename(from, to); err != nil {
			t.Fatal(err)
		}
		index := `{"metadata":{},"weight_map":{"model.norm.weight":"` + shard + `"}}`
		testmodel.Write(t, filepath.Join(dir, "model.safetensors.index.json"), []byte(index))
	}
}

// without removes files of the model.
func without(names ...string) damage {
	return func(t *testing.T, dir string) {
		for _, name := range names {
			if err := os.Remove(filepath.Join(dir, name)); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func truncated(t *testing.T, dir string) {
	if err := os.Truncate(filepath.Join(dir, "model.safetensors"), 100_000); err != nil {
		t.Fatal(err)
	}
}

// Every damaged model is refused with the code of bad input and a message that names the damage, and leaves no output.
func TestDamagedModels(t *testing.T) {
	for name, c := range map[string]struct {
		damage damage
		want   string
	}{
		"architecture": {inFile("config.json", "Phi3ForCausalLM", "OPTForCausalLM"),
			"OPTForCausalLM is not supported"},
		"shape": {inFile("config.json", `"intermediate_size": 512`, `"intermediate_size": 1024`),
			"has shape [1024 256], expected [2048 256]"},
		"more layers": {inFile("config.json", `"num_hidden_layers": 4`, `"num_hidden_layers": 5`),
			"tensors are missing: model.layers.4."},
		"fewer layers": {inFile("config.json", `"num_hidden_layers": 4`, `"num_hidden_layers": 3`),
			"does not belong to a Phi3ForCausalLM"},
		"no config":     {without("config.json"), "config.json"},
		"no weights":    {without("model.safetensors"), "model.safetensors"},
		"missing shard": {inIndex("model-00002-of-00002.safetensors"), "model-00002-of-00002.safetensors"},
		"wrong shard":   {inIndex("model-00001-of-00002.safetensors"), "model-00001-of-00002.safetensors"},
		"shard outside": {inIndex("../model.safetensors"), "../model.safetensors"},
		"truncated":     {truncated, "model.safetensors"},
		"no tokenizer":  {without("tokenizer.model", "tokenizer.json"), "tokenizer"},
	} {
		t.Run(name, func(t *testing.T) {
			model, dir := testmodel.Phi3(t), t.TempDir()
			c.damage(t, model)
			_, stderr, code := phi3conv(t, "convert", model, "-o", filepath.Join(dir, "out.gguf"))
			if code != exitBadInput || !strings.Contains(stderr, c.want) {
				t.Errorf("exit %d, expected %d with %q\n%s", code, exitBadInput, c.want, stderr)
			}
			if left, _ := os.ReadDir(dir); len(left) > 0 {
				t.Errorf("left: %v", left)
			}
		})
	}
}
