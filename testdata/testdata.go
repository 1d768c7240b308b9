// Package testdata embeds the tiny Phi-3 model that the tests and the demo use, and makes random ones of every variant.
package testdata

import (
	"embed"
	"fmt"
	"io/fs"
	"os"
)

// TinyPhi3 holds the checkpoint directory tiny-phi3 as published on the hub: config.json, generation_config.json,
// model.safetensors (bfloat16) and the tokenizer's files. README.md says how it was made.
//
//go:embed tiny-phi3
var TinyPhi3 embed.FS

// Family holds checkpoint directories of the other architectures, at most 2 MB each: tiny-phi2 (PhiForCausalLM, float16),
// tiny-phi3small (Phi3SmallForCausalLM, bfloat16) and tiny-phimoe (PhiMoEForCausalLM, bfloat16).
//
//go:embed tiny-phi2 tiny-phi3small tiny-phimoe
var Family embed.FS

// EvalText is running text that the tiny model was not trained on, from the same grammar.
//
//go:embed tiny-phi3-eval.txt
var EvalText []byte

// Questions are multiple-choice questions about the tiny model's world, as JSON lines.
//
//go:embed eval/choice.jsonl
var Questions []byte

// WriteTinyPhi3 writes the files of [TinyPhi3] into the directory dir, which is created if needed. A file that exists
// already is an error.
func WriteTinyPhi3(dir string) error {
	return write(TinyPhi3, "tiny-phi3", dir)
}

// WriteTiny writes the files of a model of [Family], such as tiny-phi2, as [WriteTinyPhi3] does. A name that Family does
// not have is an error.
func WriteTiny(model, dir string) error {
	return write(Family, model, dir)
}

func write(models embed.FS, model, dir string) error {
	if _, err := models.ReadDir(model); err != nil {
		return fmt.Errorf("testdata: %w", err)
	}
	files, err := fs.Sub(models, model)
	if err != nil {
		return fmt.Errorf("%s: %w", model, err)
	}
	if err := os.CopyFS(dir, files); err != nil {
		return fmt.Errorf("write %s: %w", model, err)
	}
	return nil
}
