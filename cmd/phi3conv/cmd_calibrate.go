package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/phi3conv/phi3conv/calib"
	"github.com/phi3conv/phi3conv/calib/stats"
	"github.com/phi3conv/phi3conv/calib/text"
	"github.com/phi3conv/phi3conv/formats"
	"github.com/phi3conv/phi3conv/runtime"
	"github.com/phi3conv/phi3conv/runtime/tokenizer"
	"github.com/urfave/cli/v2"
)

var calibrateCommand = &cli.Command{
	Name:      "calibrate",
	Usage:     "gather statistics of a model's activations, for quantize and convert --imatrix",
	ArgsUsage: "MODEL",
	Description: `Runs the model over text, one layer at a time, and writes an importance matrix that
llama-quantize reads too: the mean square of every column of each linear layer's input.
An output that ends in .dat gets llama.cpp's older form.

Without --text, or with --self, the model writes the text itself: many samples from the beginning of a text,
from random tokens, and of questions with their answers in its chat format. Such statistics
fit text of any kind; those from given text fit text of its kind better, and other text worse.

Texts are plain, or, with names that end in .jsonl, an object in each line with a "text" or
with "messages", a conversation that the model's chat template renders. Computed in float32:
the file is the same on every machine. An interrupted run is continued by the same
command, from OUT.work.

With --fisher, the default without --text, each token counts in a layer's statistics as much as the loss depends on the layer's
output there (the Fisher information). The file is an importance matrix still, for llama-quantize too,
and holds the squared gradients besides. Examples:

   phi3conv calibrate Phi-3-mini-4k-instruct -o phi-3-mini.imatrix.gguf
   phi3conv calibrate Phi-3-mini-4k-instruct --text calibration.txt --self -o phi-3-mini.imatrix.gguf
   phi3conv calibrate --show phi-3-mini.imatrix.gguf`,
	Flags: []cli.Flag{
		&cli.StringSliceFlag{Name: "text", Aliases: []string{"f"}, Usage: "`FILE` with calibration text; may be given several times"},
		&cli.StringFlag{Name: "output", Aliases: []string{"o"}, Usage: "output `FILE`"},
		&cli.IntFlag{Name: "ctx-size", Aliases: []string{"c"}, Value: 512, Usage: "tokens in a sequence"},
		&cli.IntFlag{Name: "chunks", Usage: "use as many tokens as `N` sequences of --ctx-size have, spread evenly over the texts (default: all text)"},
		&cli.IntFlag{Name: "tokens", Usage: "use about `N` tokens, spread evenly over the texts (default: all text; 65536 without text)"},
		&cli.BoolFlag{Name: "self", Usage: "let the model write text itself, beside --text"},
		&cli.Float64Flag{Name: "self-share", Value: 0.5, Usage: "share of the tokens that the model writes, with --self and --text"},
		&cli.Float64Flag{Name: "temperature", Value: 1, Usage: "of the model's own text; 1 samples as the model predicts"},
		&cli.Uint64Flag{Name: "seed", Value: 1, Usage: "of the model's own text, and of the choice of sequences when not all are used"},
		&cli.BoolFlag{Name: "fisher", Usage: "weigh each token by the squared gradient of the model's own loss at the layer's output, up to 20 times the mean; takes about 4 times as long (default: without --text; --fisher=false for not)"},
		&cli.StringFlag{Name: "max-ram", Value: "4GiB", Usage: "bound on memory as a `SIZE`; activations beyond it go through OUT.work; does not change the result"},
		&cli.StringFlag{Name: "show", Usage: "print what is in the statistics `FILE` of either form, and gather nothing"},
		&cli.StringFlag{Name: "against", Usage: "warn if the evaluation text in `FILE` occurs in the calibration text; with --show it needs MODEL for its tokenizer"},
		&cli.BoolFlag{Name: "json", Usage: "print the summary as JSON"},
		modelThreadsFlag(),
	},
	Action: func(c *cli.Context) error {
		if path := c.String("show"); path != "" {
			return showStats(c, path)
		}
		if c.NArg() != 1 {
			return usagef("calibrate takes one MODEL, got %d arguments", c.NArg())
		}
		return calibrate(c, c.Args().First())
	},
}

func calibrate(c *cli.Context, model string) error {
	out := c.String("output")
	if out == "" {
		return usagef("calibrate needs --output")
	}
	ram, err := size(c, "max-ram")
	if err != nil {
		return err
	}
	threads, err := modelThreads(c)
	if err != nil {
		return err
	}
	tok, err := tokenizer.Open(model)
	if err != nil {
		return err
	}
	l, err := runtime.OpenLayers(model, runtime.Options{Threads: threads, Batch: calib.BatchTokens})
	if err != nil {
		return err
	}
	defer func() { _ = l.Close() }()
	files, err := l.Files()
	if err != nil {
		return err
	}
	if isOneOf(out, append(files, c.StringSlice("text")...)) {
		return usagef("output %s is an input", out)
	}
	weights, err := l.SHA256(c.Context)
	if err != nil {
		return err
	}
	st, err := calibrationText(c, tok, selfSource{model, l.Bytes(), weights, out + ".work.text", threads, ram - overhead}, l.Config().Context)
	if err != nil {
		return err
	}
	opt := calib.Options{Work: out + ".work", Memory: ram - overhead - calib.Need(l)}
	if opt.Memory < 0 {
		return usagef("--max-ram is %s, expected at least %s for this model", humanize.IBytes(uint64(ram)), humanize.IBytes(uint64(ram-opt.Memory)))
	}
	if opt.Fisher = c.Bool("fisher") || !c.IsSet("fisher") && !c.IsSet("text"); opt.Fisher {
		opt.GradientMemory = ram - overhead
		longest := int(slices.Max(st.Origin.Lengths))
		if need := l.GradientBytes(longest, longest); need > opt.GradientMemory {
			return usagef("--max-ram is %s, expected at least %s for the gradients of this model, or --fisher=false", humanize.IBytes(uint64(ram)), humanize.IBytes(uint64(need+overhead)))
		}
	}
	debug.SetMemoryLimit(ram)
	opt.Resumed = func(blocks int) {
		_, _ = fmt.Fprintf(c.App.ErrWriter, "continuing behind block %d of %d, from %s\n", blocks, l.Count(), opt.Work)
	}
	tokens := int64(len(st.Origin.Tokens))
	bar := newCounter(c.App.ErrWriter, "calibrating", tokens)
	opt.Progress = func(done, total int64) { bar.set(tokens * done / total) }
	start := time.Now()
	err = calib.Calibrate(c.Context, l, st, out, opt)
	bar.done()
	if errors.Is(err, context.Canceled) {
		return fmt.Errorf("interrupted, %s was not written; the same command continues: %w", out, err)
	}
	if err != nil {
		return err
	}
	_ = os.Remove(out + ".work.text") // if the model wrote any
	took := time.Since(start)
	sum := st.Summarize()
	if err := against(c, sum, st.Origin, tok); err != nil {
		return err
	}
	for _, w := range sum.Warnings {
		_, _ = fmt.Fprintf(c.App.ErrWriter, "warning: %s\n", w)
	}
	if c.Bool("json") {
		return printJSON(c.App.Writer, struct {
			Output  string  `json:"output"`
			Seconds float64 `json:"seconds"`
			*stats.Summary
		}{out, took.Seconds(), sum})
	}
	_, err = fmt.Fprintf(c.App.Writer, "%s: %d linear layers, %s in %s, %.1f s, %.0f tok/s\n", out, len(st.Entries),
		plural(len(st.Origin.Tokens), "token"), plural(len(st.Origin.Lengths), "sequence"), took.Seconds(), float64(tokens)/took.Seconds())
	return err
}

// calibrationText reads the texts, chooses sequences, and lets the model write its share.
func calibrationText(c *cli.Context, tok *tokenizer.Tokenizer, self selfSource, longest int) (*stats.File, error) {
	n := c.Int("ctx-size")
	if n < 2 || n > longest {
		return nil, usagef("--ctx-size is %d, expected 2 to %d", n, longest)
	}
	want := c.Int("tokens")
	if c.IsSet("chunks") {
		if c.IsSet("tokens") {
			return nil, usagef("give --chunks or --tokens, not both")
		}
		want = c.Int("chunks") * n
	}
	if (c.IsSet("tokens") || c.IsSet("chunks")) && want < 1 {
		return nil, usagef("--chunks and --tokens must be at least 1")
	}
	share := c.Float64("self-share")
	switch {
	case !(share > 0 && share < 1):
		return nil, usagef("--self-share is %g, expected a number between 0 and 1", share)
	case !c.IsSet("text"):
		share = 1
	case !c.Bool("self"):
		share = 0
	}
	var corpus text.Corpus
	for _, path := range c.StringSlice("text") {
		if err := corpus.AddFile(path, tok, n); err != nil {
			return nil, err
		}
	}
	if want == 0 {
		want = selfTokens
		if given := corpus.Tokens(); given > 0 {
			want = int(float64(given) / (1 - share))
		}
	}
	written := int(share * float64(want))
	if want > written {
		corpus.Sample(want-written, c.Uint64("seed"))
	}
	if written > 0 {
		if err := self.add(c, &corpus, tok, written); err != nil {
			return nil, err
		}
	}
	s := &stats.File{ChunkSize: n, Origin: &stats.Origin{Weights: self.weights, Tokenizer: text.TokenizerHash(tok), Seed: c.Uint64("seed")}}
	for _, f := range corpus.Files {
		s.Datasets = append(s.Datasets, f.Name)
		s.Origin.Texts = append(s.Origin.Texts, f.SHA256)
	}
	s.Origin.Tokens, s.Origin.Lengths = corpus.Flat()
	return s, nil
}

// against adds to a summary how much of --against is in the calibration text.
func against(c *cli.Context, sum *stats.Summary, o *stats.Origin, tok *tokenizer.Tokenizer) error {
	path := c.String("against")
	if path == "" {
		return nil
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	sum.Against(o, path, tok.Encode(string(data), tokenizer.EncodeOptions{}))
	return nil
}

var yesNo = map[bool]string{true: "yes", false: "no"}

// showStats prints what a statistics file holds.
func showStats(c *cli.Context, path string) error {
	if c.NArg() > 1 {
		return usagef("calibrate --show takes at most one MODEL, got %d arguments", c.NArg())
	}
	s, err := stats.Open(path)
	if err != nil {
		return err
	}
	defer func() { _ = s.Close() }()
	sum := s.Summarize()
	if c.String("against") != "" {
		switch {
		case c.NArg() == 0:
			return usagef("--show with --against needs MODEL, for its tokenizer")
		case s.Origin == nil:
			return &formats.Error{Path: path, Off: -1, What: "it does not say which text it was made from, as files of llama-imatrix do not: --against is impossible"}
		}
		tok, err := tokenizer.Open(c.Args().First())
		if err != nil {
			return err
		}
		if text.TokenizerHash(tok) != s.Origin.Tokenizer {
			return &formats.Error{Path: path, Off: -1, What: "it was made with another tokenizer than that of " + c.Args().First()}
		}
		if err := against(c, sum, s.Origin, tok); err != nil {
			return err
		}
	}
	if c.Bool("json") {
		return printJSON(c.App.Writer, sum)
	}
	t := newTable(c.App.Writer, "tensor", "tokens", "columns", "mean square", "outliers", "greatest/median", "top 1 %", "always 0", "Fisher")
	for _, e := range sum.Entries {
		tokens := "unknown"
		if sum.ChunkSize > 0 {
			tokens = fmt.Sprint(e.Tokens)
		}
		t.row(e.Name, decimal(tokens), e.Columns, decimal(fmt.Sprintf("%.4g", e.Energy)), len(e.Outliers),
			decimal(fmt.Sprintf("%.1f", e.Ratio)), decimal(fmt.Sprintf("%.1f %%", 100*e.Share)), e.Dead, yesNo[e.Weighted])
	}
	if err := t.flush(); err != nil {
		return err
	}
	chunks := plural(sum.Chunks, "chunk")
	if sum.ChunkSize > 0 {
		chunks = fmt.Sprintf("%d tokens, %s of %d", sum.Tokens, chunks, sum.ChunkSize)
	}
	if _, err := fmt.Fprintf(c.App.Writer, "%d linear layers, %s, from: %s\n", len(sum.Entries), chunks, strings.Join(sum.Datasets, ", ")); err != nil {
		return err
	}
	if sum.Sequences > 0 {
		if _, err := fmt.Fprintf(c.App.Writer, "%d sequences, %d different tokens\n", sum.Sequences, sum.Vocabulary); err != nil {
			return err
		}
	}
	for _, w := range sum.Warnings {
		if _, err := fmt.Fprintf(c.App.Writer, "warning: %s\n", w); err != nil {
			return err
		}
	}
	return nil
}
