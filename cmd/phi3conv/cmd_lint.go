package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/phi3conv/phi3conv/internal/lint"
	"github.com/phi3conv/phi3conv/internal/report"
	"github.com/phi3conv/phi3conv/internal/work"
	"github.com/urfave/cli/v2"
)

var lintCommand = &cli.Command{
	Name:      "lint",
	Usage:     "find what makes a Phi model wrong",
	ArgsUsage: "FILE|DIR",
	Description: `FILE is a GGUF file (or any part of a split one). DIR is a checkpoint directory as
published on the Hugging Face hub; a single .safetensors file of it is refused.

Checks the file format, the configuration, LongRoPE factors and sliding window, the tokenizer,
stop ids and chat template, the list of tensors, and their values. Each finding has an
explanation, a fix, a code that is the same in every release, and a severity:

   error    runtimes refuse the model or give wrong output
   warning  some runtimes go wrong, or something is lost
   info     worth knowing

Exits with 1 if there is an error, else with 0. Example:

   phi3conv lint phi-3-mini-Q4_K_M.gguf`,
	Flags: []cli.Flag{
		&cli.BoolFlag{Name: "fast", Usage: "leave out the checks that read tensor data"},
		&cli.BoolFlag{Name: "json", Usage: "print the report as JSON"},
		threadsFlag(),
	},
	Action: func(c *cli.Context) error {
		if c.NArg() != 1 {
			return usagef("lint takes one FILE or DIR, got %d arguments", c.NArg())
		}
		threads, err := threads(c)
		if err != nil {
			return err
		}
		progress, end := work.Progress(monitor{c.App.ErrWriter}, "checking", work.Bytes)
		r, err := lint.Run(c.Context, c.Args().First(), lint.Options{
			Fast:     c.Bool("fast"),
			Threads:  threads,
			Progress: progress,
		})
		end()
		if err != nil {
			return err
		}
		if c.Bool("json") {
			err = report.WriteJSON(c.App.Writer,
				lintJSON{r.Count(lint.Error), r.Count(lint.Warning), r.Count(lint.Info), r})
		} else {
			err = printFindings(c.App.Writer, r)
		}
		if err != nil {
			return err
		}
		if r.Count(lint.Error) > 0 {
			return errCheckFailed
		}
		return nil
	},
}

type lintJSON struct {
	Errors   int `json:"errors"`
	Warnings int `json:"warnings"`
	Infos    int `json:"infos"`
	*lint.Report
}

// maxSubjects is the number of subjects listed for a check.
const maxSubjects = 10

// printFindings prints each check once, with everything that it found.
func printFindings(out io.Writer, r *lint.Report) error {
	w := &report.Printer{W: out}
	for rest := r.Findings; len(rest) > 0; {
		n := 1
		for n < len(rest) && rest[n].Code == rest[0].Code {
			n++
		}
		f, found := rest[0], rest[:n]
		rest = rest[n:]
		w.Printf("%s %s: %s\n", f.Severity, f.Code, f.Title)
		t := report.NewColumns(out)
		for _, x := range found[:min(n, maxSubjects)] {
			t.Row("  "+report.Printable(x.Subject), report.Printable(x.Message))
		}
		if n > maxSubjects {
			t.Row(fmt.Sprintf("  … and %d more", n-maxSubjects))
		}
		if err := t.Flush(); err != nil {
			return err
		}
		w.Printf("%s%s\n", wrap("  why: ", f.Why), wrap("  fix: ", f.Fix))
	}
	ran := report.Plural(r.Checks, "check")
	if r.Fast {
		ran += ", tensor data not read"
	}
	var counts []string
	for _, s := range lint.Severities() {
		switch n := r.Count(s); {
		case n > 0 && s == lint.Info: // has no plural
			counts = append(counts, fmt.Sprintf("%d %s", n, s))
		case n > 0:
			counts = append(counts, report.Plural(n, string(s)))
		}
	}
	if len(counts) == 0 {
		counts = []string{"no problems found"}
	}
	w.Printf("%s: %s (%s)\n", r.Path, strings.Join(counts, ", "), ran)
	return w.Err
}

// wrap breaks text into lines of at most 80 characters. The first begins with
// label, the others with as many spaces.
func wrap(label, text string) string {
	var b strings.Builder
	b.WriteString(label)
	col := len(label)
	for i, word := range strings.Fields(text) {
		n := len([]rune(word))
		switch {
		case i > 0 && col+1+n > 80:
			b.WriteString("\n" + strings.Repeat(" ", len(label)))
			col = len(label)
		case i > 0:
			b.WriteByte(' ')
			col++
		}
		b.WriteString(word)
		col += n
	}
	b.WriteByte('\n')
	return b.String()
}
