package main

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"

	"github.com/dustin/go-humanize"
	"github.com/phi3conv/phi3conv/formats"
	"github.com/phi3conv/phi3conv/formats/seal"
	"github.com/phi3conv/phi3conv/runtime"
	"github.com/phi3conv/phi3conv/runtime/tokenizer"
	"github.com/phi3conv/phi3conv/verify"
	"github.com/urfave/cli/v2"
)

var sealCommand = &cli.Command{
	Name:      "seal",
	Usage:     "keep what a model predicts for a text, to verify quantized models without it",
	ArgsUsage: "ORIGINAL",
	Description: `Evaluates ORIGINAL, a checkpoint directory or a GGUF file, in float32 and writes for each
scored token the likely tokens with their probabilities, the probability of all others
together with one of them drawn at random, and for a few tokens the whole vocabulary. With the
seal, "verify QUANT --seal FILE" needs neither the original nor the text: it gives a
proven lower bound of the KL divergence, a higher one that the drawn tokens prove but for one
chance in a million, and an estimate of it.

A seal is the same, byte for byte, on every machine. docs/format-seal.md is the format.
Windows, scored tokens and BOS are those of verify. Example:

   phi3conv seal Phi-3-mini-4k-instruct --text wiki.txt -o phi-3-mini.seal
   phi3conv verify phi-3-mini-Q4_K_M.gguf --seal phi-3-mini.seal --max-kld 0.05`,
	Flags: append([]cli.Flag{
		&cli.StringFlag{Name: "output", Aliases: []string{"o"}, Usage: "`FILE` to write"},
		&cli.IntFlag{Name: "top-k", Value: 1024, Usage: "likely tokens of a position at most"},
		&cli.Float64Flag{Name: "min-p", Value: 2.5e-4, Usage: "least probability of a likely token; the five likeliest are always kept"},
		&cli.IntFlag{Name: "full", Value: 24, Usage: "number of tokens with the whole vocabulary"},
		&cli.BoolFlag{Name: "json", Usage: "print a summary as JSON"},
		modelThreadsFlag(),
	}, windowFlags()...),
	Action: sealAction,
}

// windowFlags say which tokens are scored, and after what.
func windowFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringSliceFlag{Name: "text", Aliases: []string{"f"}, Usage: "`FILE` with text to predict; may be given several times"},
		&cli.IntFlag{Name: "ctx-size", Aliases: []string{"c"}, Value: 512, Usage: "tokens in a window"},
		&cli.IntFlag{Name: "stride", Usage: "tokens from one window to the next; windows overlap and every token is scored once (default: off, windows follow each other and their second halves are scored)"},
		&cli.IntFlag{Name: "chunks", Usage: "windows of each text at most (default: all)"},
	}
}

// sealSummary is what seal --json prints.
type sealSummary struct {
	Path      string `json:"path"`
	Bytes     int64  `json:"bytes"`
	SHA256    string `json:"sha256"`
	Positions int    `json:"positions"`
	Full      int    `json:"full"`
	Model     string `json:"model"`
	Weights   string `json:"weights_sha256"`
}

func sealAction(c *cli.Context) error {
	if c.NArg() != 1 {
		return usagef("seal takes one ORIGINAL, got %d arguments", c.NArg())
	}
	if !c.IsSet("output") || !c.IsSet("text") {
		return usagef("seal needs --text and --output")
	}
	conv, err := conventions(c)
	if err != nil {
		return err
	}
	opt := runtime.Options{Float32: true, Cache: runtime.CacheF32, Batch: min(conv.Context, defaultBatch)}
	if opt.Threads, err = modelThreads(c); err != nil {
		return err
	}
	path := c.Args().First()
	h, texts, windows, err := sealHeader(c, path, &conv)
	if err != nil {
		return err
	}
	base, err := openPredictor(c, path, opt, conv.Context)
	if err != nil {
		return err
	}
	defer base.close()
	h.VocabSize = base.VocabSize()
	h.TopK = min(h.TopK, h.VocabSize)
	model, err := describeModel(c.Context, path)
	if err != nil {
		return err
	}
	h.Model, h.WeightsSHA256 = model.Name, model.SHA256

	out := c.String("output")
	w, err := seal.Create(out, h, texts)
	if err != nil {
		return err
	}
	defer w.Abort()
	bar := newCounter(c.App.ErrWriter, "sealing", int64(len(windows)))
	err = verify.RunSeal(c.Context, base, windows, w, func(done int) { bar.set(int64(done)) })
	bar.done()
	if err != nil {
		return formats.WithPath(err, path)
	}
	if err := w.Close(); err != nil {
		return err
	}
	s := sealSummary{Path: out, Positions: h.Positions, Full: h.Full, Model: h.Model, Weights: h.WeightsSHA256}
	if s.SHA256, s.Bytes, err = fileSHA256(c.Context, out); err != nil {
		return err
	}
	if c.Bool("json") {
		return printJSON(c.App.Writer, s)
	}
	_, err = fmt.Fprintf(c.App.Writer, "%s: %d positions of %s, %d with the whole vocabulary, %s (%.0f bytes each)\nSHA-256 %s\n",
		out, s.Positions, printable(s.Model), s.Full, humanize.Bytes(uint64(s.Bytes)), float64(s.Bytes)/float64(s.Positions), s.SHA256)
	return err
}

// sealHeader reads the texts, cuts them in windows, and makes a header but for the model.
func sealHeader(c *cli.Context, path string, conv *verify.Conventions) (h seal.Header, all [][]int32, windows []verify.Window, err error) {
	k, minP := c.Int("top-k"), c.Float64("min-p")
	if k < seal.MinTopK || k > seal.MaxTopK {
		return h, nil, nil, usagef("--top-k is %d, expected %d to %d", k, seal.MinTopK, seal.MaxTopK)
	}
	if !(minP >= 0 && minP < 1) {
		return h, nil, nil, usagef("--min-p is %v, expected at least 0 and less than 1", minP)
	}
	if c.Int("full") < 0 {
		return h, nil, nil, usagef("--full is %d, expected 0 or more", c.Int("full"))
	}
	tok, err := tokenizer.Open(path)
	if err != nil {
		return h, nil, nil, err
	}
	h = seal.Header{TopK: k, MinP: minP, Tokenizer: seal.Tokenizer(tok.Digest())}
	bos, has := tok.BOS()
	for i, text := range c.StringSlice("text") {
		data, err := os.ReadFile(text)
		if err != nil {
			return h, nil, nil, err
		}
		tokens := tok.Encode(string(data), tokenizer.EncodeOptions{AddSpecial: true})
		conv.BOS = has && len(tokens) > 0 && tokens[0] == bos && conv.Name == verify.LlamaPerplexity
		w := verify.Windows(i, tokens, *conv, bos)
		if n := c.Int("chunks"); n > 0 {
			w = w[:min(n, len(w))]
		}
		if len(w) == 0 {
			return h, nil, nil, &formats.Error{Path: text, Off: -1, What: fmt.Sprintf("%d tokens, too few for a window of %d", len(tokens), conv.Context)}
		}
		last := w[len(w)-1]
		tokens = tokens[:last.Start+len(last.Tokens)] // what no window has is not pinned
		for _, w := range w {
			h.Positions += w.Scored()
		}
		sum := sha256.Sum256(data)
		h.Texts = append(h.Texts, seal.Text{Name: filepath.Base(text), Bytes: int64(len(data)), SHA256: hex.EncodeToString(sum[:]), Tokens: len(tokens)})
		all = append(all, tokens)
		windows = append(windows, w...)
	}
	h.Full = min(c.Int("full"), h.Positions)
	h.Conventions = seal.Conventions{Name: conv.Name, Context: conv.Context, Stride: conv.Stride, First: conv.First, BOS: -1}
	if conv.BOS {
		h.Conventions.BOS = bos
	}
	return h, all, windows, nil
}
