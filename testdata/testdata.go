// Package testdata embeds the tiny models that the tests and the demo use, and makes random ones of every variant.
package testdata

import (
	"embed"
	"fmt"
	"io/fs"
	"os"
)

// Models holds a tiny trained model of each architecture, as a checkpoint directory like those on the hub: config.json,
// generation_config.json, model.safetensors and the tokenizer's files. README.md says how they were made.
//
//go:embed tiny-phi3 tiny-phi2 tiny-phi3small tiny-phimoe
var Models embed.FS

// EvalText is running text that the tiny model was not trained on, from the same grammar.
//
//go:embed tiny-phi3-eval.txt
var EvalText []byte

// Questions are multiple-choice questions about the tiny model's world, as JSON lines.
//
//go:embed eval/choice.jsonl
var Questions []byte

// Write writes the files of a model of [Models], such as tiny-phi3, into the directory dir, which is created if needed.
// A file that exists already is an error, and so is a name that Models does not have.
func Write(model, dir string) error {
	if _, err := Models.ReadDir(model); err != nil {
		return fmt.Errorf("testdata: %w", err)
	}
	files, err := fs.Sub(Models, model)
	if err != nil {
		return fmt.Errorf("%s: %w", model, err)
	}
	if err := os.CopyFS(dir, files); err != nil {
		return fmt.Errorf("write %s: %w", model, err)
	}
	return nil
}
