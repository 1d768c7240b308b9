package main

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/phi3conv/phi3conv/internal/atomicfile"
	"github.com/phi3conv/phi3conv/testdata"
	"github.com/urfave/cli/v2"
)

func demoCommand() *cli.Command {
	var force bool
	return &cli.Command{
		Name:  "demo",
		Usage: "run every stage on a tiny model that is part of the program",
		Description: `Needs no files and no network, so push and pull are left out. The models have one to three
million weights and were trained on text from a small grammar. Each stage is a command that you
could type.`,
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "model", Value: "phi3",
				Usage: "`NAME` of the model's architecture: phi3, phi2, phi3small or phimoe"},
			&cli.StringFlag{Name: "dir",
				Usage:       "work in `DIR` and keep what is written there",
				DefaultText: "a temporary directory, removed at the end"},
			&cli.BoolFlag{Name: "force", Usage: "replace files of an earlier demo in DIR", Destination: &force},
		},
		Action: func(c *cli.Context) error { return demoAction(c, force) },
	}
}

// models are those that the demo can show, with the tokens of its first prompt.
var models = map[string]string{
	"phi3":      "399 263 262 354 272 395 467",
	"phi2":      "54 256 269 260 259 220 269 67 268 285 75 30",
	"phi3small": "573 260 259 352 435 30",
	"phimoe":    "399 263 262 354 272 395 467",
}

// stages of the demo. Names that begin with ./ are in its directory, ./MODEL is the model's, and IDS are the tokens of
// the first prompt; text is the last argument, if there is one.
var stages = []struct{ why, line, text string }{
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

func demoAction(c *cli.Context, force bool) (err error) {
	if c.Args().Present() {
		return usagef("demo takes no arguments, got %q", c.Args().First())
	}
	name := c.String("model")
	ids, ok := models[name]
	if !ok {
		return usagef("--model is %q, expected one of %s", name, strings.Join(slices.Sorted(maps.Keys(models)), ", "))
	}
	name = "tiny-" + name
	dir := c.String("dir")
	if dir == "" {
		var remove func()
		if dir, remove, err = atomicfile.MkdirTemp("phi3conv-demo-"); err != nil {
			return err
		}
		defer remove()
	}
	for _, made := range []string{name, "text.txt", "questions.jsonl"} {
		if path := filepath.Join(dir, made); !force {
			if _, err := os.Lstat(path); err == nil {
				return usagef("%s exists: choose another --dir, or --force to replace it", path)
			}
		}
	}
	if err := testdata.Write(name, filepath.Join(dir, name)); err != nil {
		return err
	}
	for name, data := range map[string][]byte{"text.txt": testdata.EvalText, "questions.jsonl": testdata.Questions} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o666); err != nil {
			return err
		}
	}
	for _, stage := range stages {
		args := strings.Fields(strings.NewReplacer("./MODEL", "./"+name, "IDS", ids).Replace(stage.line))
		for i, a := range args {
			if name, ok := strings.CutPrefix(a, "./"); ok {
				args[i] = filepath.Join(dir, name)
			}
		}
		if stage.text != "" {
			args = append(args, stage.text)
		}
		if _, err := fmt.Fprintf(c.App.Writer, "# %s\n$ phi3conv %s\n", stage.why, quoted(args)); err != nil {
			return err
		}
		app := newApp() // one for each command line
		if force && takes(app.Command(args[0]), "force") {
			args = append(args, "--force")
		}
		app.Writer, app.ErrWriter = c.App.Writer, c.App.ErrWriter
		if err := app.RunContext(c.Context, flagsFirst(append([]string{app.Name}, args...), app.Commands)); err != nil {
			return fmt.Errorf("%s: %w", args[0], err)
		}
		if _, err := fmt.Fprintln(c.App.Writer); err != nil {
			return err
		}
	}
	return nil
}

// takes reports whether a command has a flag.
func takes(c *cli.Command, flag string) bool {
	return slices.ContainsFunc(c.Flags, func(f cli.Flag) bool { return f.Names()[0] == flag })
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
