// Package demo runs every stage of the program on a tiny model that is part of it.
package demo

import (
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/phi3conv/phi3conv/internal/atomicfile"
	"github.com/phi3conv/phi3conv/internal/usage"
	"github.com/phi3conv/phi3conv/testdata"
)

// Options say what the demo shows, and where.
type Options struct {
	Model string // the architecture
	Dir   string // a temporary directory if ""
	Force bool   // replace files of an earlier demo in Dir
	Out   io.Writer
	Run   func(args []string) error // runs a command of the program
}

// models are those that the demo can show, with the tokens of its first prompt.
var models = map[string]string{
	"phi3":      "399 263 262 354 272 395 467",
	"phi2":      "54 256 269 260 259 220 269 67 268 285 75 30",
	"phi3small": "573 260 259 352 435 30",
	"phimoe":    "399 263 262 354 272 395 467",
}

// A Stage is a command of the demo. In Line, names that begin with ./ are in its directory, ./MODEL is the model's, and
// IDS are the tokens of the first prompt; Text is the last argument, if there is one.
type Stage struct{ Why, Line, Text string }

// Stages are those of the demo, in their order.
var Stages = []Stage{
	{"Which program is this?", "version", ""},
	{"Is the published checkpoint in order?", "lint ./MODEL", ""},
	{"Which tokens does a text have?", "tokenize ./MODEL --ids --prompt", "Where is the red ball?"},
	{"And back.", "detokenize ./MODEL IDS", ""},
	{"Which token comes next?", "logits ./MODEL --prompt", "Where is the red"},

	{"Make it 4-bit, in one pass.", "convert ./MODEL -o ./Q4_K_M.gguf --type Q4_K_M", ""},
	{"Is the result in order?", "lint ./Q4_K_M.gguf", ""},
	{"What is in it?", "inspect ./Q4_K_M.gguf", ""},
	{"How far are its weights from the original's?", "inspect --diff ./MODEL ./Q4_K_M.gguf", ""},
	{"Does it still know where things are?", "run ./Q4_K_M.gguf --temp 0 --prompt", "Where is the red ball?"},
	{"Is it still the model?", "verify ./Q4_K_M.gguf --base ./MODEL --text ./text.txt --ctx-size 256 --chunks 16 " +
		"--max-kld 0.02 --min-top1 0.9 --max-ppl-ratio 1.02", ""},

	{"Which inputs matter? The model writes the text for it.",
		"calibrate ./MODEL -o ./stats.gguf --tokens 2048", ""},
	{"3-bit, with those inputs in mind.",
		"quantize ./MODEL ./gptq.gguf Q3_K_M --method gptq --stats ./stats.gguf", ""},
	{"The best types for a size.",
		"quantize ./MODEL ./budget.gguf --bpw 3.9 --stats ./stats.gguf --write-recipe ./recipe.yaml", ""},
	{"Can others make the same file?", "reproduce ./budget.gguf --model ./MODEL --stats ./stats.gguf", ""},
	{"Which one is best?", "verify ./Q4_K_M.gguf ./gptq.gguf ./budget.gguf --base ./MODEL --text ./text.txt " +
		"--ctx-size 256 --chunks 4", ""},
	{"Do they answer as the original does?",
		"eval ./Q4_K_M.gguf --base ./MODEL --task ./questions.jsonl --shots 0 --limit 24", ""},

	{"Keep what the original predicts, for those who do not have it.",
		"seal ./MODEL --text ./text.txt -o ./a.seal --ctx-size 128 --chunks 8", ""},
	{"Is it still the model, without the original?", "verify ./Q4_K_M.gguf --seal ./a.seal", ""},
	{"A file that needs no loading.", "convert ./Q4_K_M.gguf -o ./Q4_K_M.pmap", ""},
	{"Is every byte of it right?", "inspect --check ./Q4_K_M.pmap", ""},
	{"How fast is it?", "bench ./Q4_K_M.pmap --n-prompt 64 --n-gen 16 --repetitions 2", ""},
	{"Pack it for a registry.", "pack ./Q4_K_M.pmap --seal ./a.seal -o ./Q4_K_M.tar", ""},
	{"Take it out again.", "unpack ./Q4_K_M.tar -o ./unpacked", ""},
}

// Models are the names of the models that the demo can show.
func Models() []string { return slices.Sorted(maps.Keys(models)) }

// Run runs the stages and prints each command before it.
func Run(o Options) (err error) {
	ids, ok := models[o.Model]
	if !ok {
		return usage.Errorf("--model is %q, expected one of %s", o.Model, strings.Join(Models(), ", "))
	}
	if o.Dir == "" {
		var remove func()
		if o.Dir, remove, err = atomicfile.MkdirTemp("phi3conv-demo-"); err != nil {
			return err
		}
		defer remove()
	}
	name := "tiny-" + o.Model
	if err := writeInputs(name, o); err != nil {
		return err
	}
	for _, s := range Stages {
		args := strings.Fields(strings.NewReplacer("./MODEL", "./"+name, "IDS", ids).Replace(s.Line))
		for i, a := range args {
			if name, ok := strings.CutPrefix(a, "./"); ok {
				args[i] = filepath.Join(o.Dir, name)
			}
		}
		if s.Text != "" {
			args = append(args, s.Text)
		}
		if _, err := fmt.Fprintf(o.Out, "# %s\n$ phi3conv %s\n", s.Why, quoted(args)); err != nil {
			return err
		}
		if err := o.Run(args); err != nil {
			return fmt.Errorf("%s: %w", args[0], err)
		}
		if _, err := fmt.Fprintln(o.Out); err != nil {
			return err
		}
	}
	return nil
}

// writeInputs writes the model called name, a text and questions.
func writeInputs(name string, o Options) error {
	for _, made := range []string{name, "text.txt", "questions.jsonl"} {
		if path := filepath.Join(o.Dir, made); !o.Force {
			if _, err := os.Lstat(path); err == nil {
				return usage.Errorf("%s exists: choose another --dir, or --force to replace it", path)
			}
		}
	}
	if err := testdata.Write(name, filepath.Join(o.Dir, name)); err != nil {
		return err
	}
	for name, data := range map[string][]byte{"text.txt": testdata.EvalText, "questions.jsonl": testdata.Questions} {
		if err := os.WriteFile(filepath.Join(o.Dir, name), data, 0o666); err != nil {
			return err
		}
	}
	return nil
}

// quoted joins arguments as a shell takes them.
func quoted(args []string) string {
	all := make([]string, len(args))
	for i, a := range args {
		if all[i] = a; strings.Contains(a, " ") {
			all[i] = `"` + a + `"`
		}
	}
	return strings.Join(all, " ")
}
