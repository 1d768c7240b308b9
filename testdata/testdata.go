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
	files, err := fs.Sub(TinyPhi3, "tiny-phi3")
	if err != nil {
		return fmt.Errorf("tiny-phi3: %w", err)
	}
	if err := os.CopyFS(dir, files); err != nil {
		return fmt.Errorf("write tiny-phi3: %w", err)
	}
	return nil
}
