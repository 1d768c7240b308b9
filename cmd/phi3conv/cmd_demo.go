package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/phi3conv/phi3conv/testdata"
	"github.com/urfave/cli/v2"
)

var demoCommand = &cli.Command{
	Name:  "demo",
	Usage: "run every stage on a tiny model that is part of the program",
	Description: `Needs no files and no network. The model is a Phi-3 of 2.7 million weights, trained
on text from a small grammar. Each stage is a command that you could type.`,
	Flags: []cli.Flag{
		&cli.StringFlag{Name: "dir", Usage: "work in `DIR` and keep what is written there (default: a temporary directory, removed at the end)"},
	},
	Action: func(c *cli.Context) (err error) {
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
		model := filepath.Join(dir, "tiny-phi3")
		if err := testdata.WriteTinyPhi3(model); err != nil {
			return err
		}
		quantized, text := filepath.Join(dir, "tiny-phi3-Q4_K_M.gguf"), filepath.Join(dir, "text.txt")
		if err := os.WriteFile(text, testdata.EvalText, 0o666); err != nil {
			return err
		}
		for _, stage := range []struct {
			why  string
			args []string
		}{
			{"Is the published checkpoint in order?", []string{"lint", model}},
			{"Make it 4-bit, in one pass.", []string{"convert", model, "-o", quantized, "--type", "Q4_K_M"}},
			{"Is the result in order?", []string{"lint", quantized}},
			{"What is in it?", []string{"inspect", quantized}},
			{"How far are its weights from the original's?", []string{"inspect", "--diff", model, quantized}},
			{"Does it still know where things are?", []string{"run", quantized, "--prompt", "Where is the red ball?", "--temp", "0"}},
			{"Is it still the model?", []string{"verify", quantized, "--base", model, "--text", text, "--ctx-size", "256", "--chunks", "16", "--max-kld", "0.02", "--min-top1", "0.9", "--max-ppl-ratio", "1.02"}},
		} {
			if _, err := fmt.Fprintf(c.App.Writer, "# %s\n$ phi3conv %s\n", stage.why, quoted(stage.args)); err != nil {
				return err
			}
			args := append([]string{c.App.Name}, stage.args...)
			if err := c.App.RunContext(c.Context, flagsFirst(args, c.App.Commands)); err != nil {
				return fmt.Errorf("%s: %w", stage.args[0], err)
			}
			if _, err := fmt.Fprintln(c.App.Writer); err != nil {
				return err
			}
		}
		return nil
	},
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
