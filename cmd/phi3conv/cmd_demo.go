package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/phi3conv/phi3conv/testdata"
	"github.com/urfave/cli/v2"
)

func demoCommand() *cli.Command {
	return &cli.Command{
		Name:  "demo",
		Usage: "run every stage on a tiny model that is part of the program",
		Description: `Needs no files and no network, so push and pull are left out. The model is a Phi-3 of
2.7 million weights, trained on text from a small grammar. Each stage is a command that you could
type.`,
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "dir",
				Usage:       "work in `DIR` and keep what is written there",
				DefaultText: "a temporary directory, removed at the end"},
		},
		Action: demoAction,
	}
}

// stages of the demo. Names that begin with ./ are in its directory; text is the last argument, if there is one.
var stages = []struct{ why, line, text string }{
	{"Is the published checkpoint in order?", "lint ./tiny-phi3", ""},
	{"Which tokens does a text have?", "tokenize ./tiny-phi3 --ids --prompt", "Where is the red ball?"},
	{"And back.", "detokenize ./tiny-phi3 399 263 262 354 272 395 467", ""},
	{"Which token comes next?", "logits ./tiny-phi3 --prompt", "Where is the red"},

	{"Make it 4-bit, in one pass.", "convert ./tiny-phi3 -o ./Q4_K_M.gguf --type Q4_K_M", ""},
	{"Is the result in order?", "lint ./Q4_K_M.gguf", ""},
	{"What is in it?", "inspect ./Q4_K_M.gguf", ""},
	{"How far are its weights from the original's?", "inspect --diff ./tiny-phi3 ./Q4_K_M.gguf", ""},
	{"Does it still know where things are?", "run ./Q4_K_M.gguf --temp 0 --prompt", "Where is the red ball?"},
	{"Is it still the model?", "verify ./Q4_K_M.gguf --base ./tiny-phi3 --text ./text.txt --ctx-size 256 --chunks 16 " +
		"--max-kld 0.02 --min-top1 0.9 --max-ppl-ratio 1.02", ""},

	{"Which inputs matter? The model writes the text for it.",
		"calibrate ./tiny-phi3 -o ./stats.gguf --tokens 2048", ""},
	{"3-bit, with those inputs in mind.",
		"quantize ./tiny-phi3 ./gptq.gguf Q3_K_M --method gptq --stats ./stats.gguf", ""},
	{"The best types for a size.",
		"quantize ./tiny-phi3 ./budget.gguf --size 1300kB --stats ./stats.gguf --write-recipe ./recipe.yaml", ""},
	{"Can others make the same file?", "reproduce ./budget.gguf --model ./tiny-phi3 --stats ./stats.gguf", ""},
	{"Which one is best?", "verify ./Q4_K_M.gguf ./gptq.gguf ./budget.gguf --base ./tiny-phi3 --text ./text.txt " +
		"--ctx-size 256 --chunks 4", ""},
	{"Do they answer as the original does?",
		"eval ./Q4_K_M.gguf --base ./tiny-phi3 --task ./questions.jsonl --shots 0 --limit 24", ""},

	{"Keep what the original predicts, for those who do not have it.",
		"seal ./tiny-phi3 --text ./text.txt -o ./tiny-phi3.seal --ctx-size 128 --chunks 8", ""},
	{"Is it still the model, without the original?", "verify ./Q4_K_M.gguf --seal ./tiny-phi3.seal", ""},
	{"A file that needs no loading.", "convert ./Q4_K_M.gguf -o ./Q4_K_M.pmap", ""},
	{"Is every byte of it right?", "inspect --check ./Q4_K_M.pmap", ""},
	{"How fast is it?", "bench ./Q4_K_M.pmap --n-prompt 64 --n-gen 16 --repetitions 2", ""},
	{"Pack it for a registry.", "pack ./Q4_K_M.pmap --seal ./tiny-phi3.seal -o ./Q4_K_M.tar", ""},
	{"Take it out again.", "unpack ./Q4_K_M.tar -o ./unpacked", ""},
}

func demoAction(c *cli.Context) (err error) {
	if c.Args().Present() {
		return usagef("demo takes no arguments, got %q", c.Args().First())
	}
	dir := c.String("dir")
	if dir == "" {
		if dir, err = os.MkdirTemp("", "phi3conv-demo-"); err != nil {
			return err
		}
		defer func() { _ = os.RemoveAll(dir) }()
	}
	if err := testdata.WriteTinyPhi3(filepath.Join(dir, "tiny-phi3")); err != nil {
		return err
	}
	for name, data := range map[string][]byte{"text.txt": testdata.EvalText, "questions.jsonl": testdata.Questions} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o666); err != nil {
			return err
		}
	}
	for _, stage := range stages {
		args := strings.Fields(stage.line)
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
