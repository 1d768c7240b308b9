package main

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/phi3conv/phi3conv/formats/gguf"
	"github.com/phi3conv/phi3conv/internal/testmodel"
)

// Every command names what is no model of an architecture that it knows, and at once: neither the tokenizer nor a
// number of the configuration may be what it stumbles over.
func TestOtherArchitectures(t *testing.T) {
	dir := testmodel.Phi3(t)
	testmodel.Write(t, filepath.Join(dir, "config.json"), []byte(`{"architectures":["Qwen2ForCausalLM"]}`))
	file := filepath.Join(t.TempDir(), "qwen.gguf")
	md := new(gguf.Metadata)
	md.Set("general.architecture", "qwen2")
	w, err := gguf.Create(file, md, nil, gguf.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	adapter := t.TempDir()
	testmodel.Write(t, filepath.Join(adapter, "adapter_config.json"),
		[]byte(`{"peft_type":"LORA","base_model_name_or_path":"microsoft/phi-4","lora_alpha":8}`))
	out := filepath.Join(t.TempDir(), "out")
	text := testmodel.Write(t, filepath.Join(t.TempDir(), "a.txt"), []byte("a b c"))
	good := testmodel.Phi3(t)
	for model, want := range map[string]string{
		dir:     "Qwen2ForCausalLM",
		file:    "qwen2",
		adapter: "a LoRA adapter of microsoft/phi-4",
	} {
		for _, args := range [][]string{
			{"convert", model, "-o", out + ".gguf"}, {"quantize", model, out + ".gguf", "Q8_0"},
			{"run", model, "-p", "a"}, {"tokenize", model, "-p", "a"}, {"detokenize", model, "1"},
			{"logits", model, "--tokens", "1,2"},
			{"bench", model, "-p", "1", "-n", "1"}, {"calibrate", model, "--text", text, "-o", out + ".stats.gguf"},
			{"verify", model, "--base", good, "--text", text}, {"verify", good, "--base", model, "--text", text},
			{"seal", model, "--text", text, "-o", out + ".seal"}, {"lint", model, "--fast"},
		} {
			stdout, stderr, code := phi3conv(t, args...)
			if code == exitOK || !strings.Contains(stdout+stderr, want) {
				t.Errorf("%q: exit %d\n%s%s", args, code, stdout, stderr)
			}
		}
	}
}

// convert --lora refuses what it cannot do.
func TestConvertLora(t *testing.T) {
	model, adapter, out := testmodel.Phi3(t), t.TempDir(), filepath.Join(t.TempDir(), "o.gguf")
	for want, args := range map[string][]string{
		"with --lora no method can run the model": {model, "--size", "1MB"},
		"adapter_config.json":                     {model},
		"expected a checkpoint directory":         {tinyGGUF(t, "F16"), "--type", "Q8_0"},
	} {
		_, stderr, code := phi3conv(t, append([]string{"convert", "--lora", adapter, "-o", out}, args...)...)
		if code != exitUsage && code != exitBadInput || !strings.Contains(stderr, want) {
			t.Errorf("%q: exit %d, expected %q\n%s", args, code, want, stderr)
		}
	}
}
