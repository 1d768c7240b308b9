package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/phi3conv/phi3conv/formats"
	"github.com/phi3conv/phi3conv/internal/atomicfile"
	"github.com/phi3conv/phi3conv/internal/source"
	"github.com/phi3conv/phi3conv/runtime"
	"github.com/phi3conv/phi3conv/runtime/tokenizer"
	"github.com/phi3conv/phi3conv/verify"
	"github.com/urfave/cli/v2"
)

var verifyCommand = &cli.Command{
	Name:      "verify",
	Usage:     "measure how far a quantized model is from the original",
	ArgsUsage: "QUANT",
	Description: `Runs both models on the same tokens and compares their predictions: perplexity, KL
divergence, agreement on the likeliest token, change in probability; by text and by
position. Windows, scored tokens and BOS are llama-perplexity's, or with --stride those of
transformers' documentation. Logits are compared in float32.

A limit passes or fails with 95 % confidence. Exits with 1 if one fails, or if there
are not enough tokens to tell; the report says how many would be. Example:

   phi3conv verify phi-3-mini-Q4_K_M.gguf --base Phi-3-mini-4k-instruct \
       --text wiki.txt --text code.txt --max-kld 0.05 --min-top1 0.9 --junit verify.xml`,
	Flags: append([]cli.Flag{
		&cli.StringFlag{Name: "seal", Usage: "`FILE` that \"phi3conv seal\" made of the original; instead of --base and --text"},
		&cli.StringFlag{Name: "base", Usage: "the original: a checkpoint `DIR` or a GGUF file"},
		&cli.StringSliceFlag{Name: "text", Aliases: []string{"f"}, Usage: "`FILE` with text to predict; may be given several times"},
		&cli.IntFlag{Name: "ctx-size", Aliases: []string{"c"}, Value: 512, Usage: "tokens in a window"},
		&cli.IntFlag{Name: "stride", Usage: "tokens from one window to the next; windows overlap and every token is scored once (default: off, windows follow each other and their second halves are scored)"},
		&cli.IntFlag{Name: "chunks", Usage: "windows of each text at most (default: all)"},
		&cli.IntFlag{Name: "worst", Value: 10, Usage: "number of tokens to show whose predictions changed most"},
		&cli.StringFlag{Name: "thresholds", Usage: "YAML `FILE` with limits, such as max-kld: 0.05; flags go before it"},
		&cli.BoolFlag{Name: "json", Usage: "print the report as JSON"},
		&cli.StringFlag{Name: "markdown", Usage: "write the report to `FILE` as Markdown"},
		&cli.StringFlag{Name: "junit", Usage: "write the limits to `FILE` as JUnit XML"},
		modelThreadsFlag(),
		&cli.StringFlag{Name: "cache-type", Value: runtime.CacheF16.String(), Usage: "`TYPE` of QUANT's keys and values: f16, f32 or q8_0; the base model's are f32"},
		&cli.BoolFlag{Name: "f32", Usage: "compute QUANT in float32 too, which leaves only what its weights lost"},
	}, limitFlags()...),
	Action: verifyAction,
}

// limitFlags are one flag for each metric.
func limitFlags() []cli.Flag {
	var flags []cli.Flag
	for _, m := range verify.Metrics() {
		flags = append(flags, &cli.Float64Flag{Name: m.Name, Usage: "limit of the " + m.Usage, DefaultText: "none"})
	}
	return flags
}

func verifyAction(c *cli.Context) error {
	if c.NArg() != 1 {
		return usagef("verify takes one QUANT, got %d arguments", c.NArg())
	}
	if c.IsSet("seal") {
		return verifySeal(c)
	}
	if !c.IsSet("base") || !c.IsSet("text") {
		return usagef("verify needs --base and --text, or --seal")
	}
	thresholds, err := limits(c)
	if err != nil {
		return err
	}
	conv, err := conventions(c)
	if err != nil {
		return err
	}
	opt := runtime.Options{Float32: c.Bool("f32"), Batch: min(conv.Context, defaultBatch)}
	if opt.Threads, err = modelThreads(c); err != nil {
		return err
	}
	if opt.Cache, err = cacheType(c); err != nil {
		return err
	}
	quantPath, basePath := c.Args().First(), c.String("base")
	tok, texts, windows, err := readTexts(c, quantPath, basePath, &conv)
	if err != nil {
		return err
	}
	baseOpt := opt
	baseOpt.Float32, baseOpt.Cache = true, runtime.CacheF32
	base, err := openPredictor(c, basePath, baseOpt, conv.Context)
	if err != nil {
		return err
	}
	defer base.close()
	quant, err := openPredictor(c, quantPath, opt, conv.Context)
	if err != nil {
		return err
	}
	defer quant.close()

	bar := newProgress(c.App.ErrWriter, "verifying", int64(len(windows)))
	positions, err := verify.Run(c.Context, base, quant, windows, func(done int) { bar.set(int64(done)) })
	bar.done()
	if err != nil {
		return err
	}
	r := verify.NewReport(positions, texts, c.Int("worst"))
	r.Tool, r.Conventions = "phi3conv "+versionString(), conv
	describeWorst(r, tok, windows)
	if r.Base, err = describeModel(basePath); err != nil {
		return err
	}
	if r.Quant, err = describeModel(quantPath); err != nil {
		return err
	}
	if len(thresholds) > 0 {
		v, err := verify.Judge(positions, thresholds)
		if err != nil {
			return err
		}
		r.Verdict = &v
	}
	return writeReport(c, r)
}

// writeReport writes every form that was asked for.
func writeReport(c *cli.Context, r *verify.Report) error {
	for _, f := range []struct {
		flag  string
		write func(io.Writer) error
	}{{"markdown", r.WriteMarkdown}, {"junit", r.WriteJUnit}} {
		if path := c.String(f.flag); path != "" {
			var b bytes.Buffer
			if err := f.write(&b); err != nil {
				return err
			}
			if err := atomicfile.WriteFile(path, b.Bytes()); err != nil {
				return err
			}
		}
	}
	write := r.WriteText
	if c.Bool("json") {
		write = r.WriteJSON
	}
	if err := write(c.App.Writer); err != nil {
		return err
	}
	if r.Verdict != nil && r.Verdict.Outcome != verify.Pass {
		return errCheckFailed
	}
	return nil
}

// limits collects the thresholds of flags and file; a flag replaces the file's.
func limits(c *cli.Context) ([]verify.Threshold, error) {
	var all []verify.Threshold
	for _, m := range verify.Metrics() {
		if c.IsSet(m.Name) {
			t := verify.Threshold{Name: m.Name, Limit: c.Float64(m.Name)}
			if err := t.Validate(); err != nil {
				return nil, usagef("--%w", err)
			}
			all = append(all, t)
		}
	}
	if path := c.String("thresholds"); path != "" {
		data, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		file, err := verify.ReadThresholds(path, data)
		if err != nil {
			return nil, err
		}
		for _, t := range file {
			if !slices.ContainsFunc(all, func(a verify.Threshold) bool { return a.Name == t.Name }) {
				all = append(all, t)
			}
		}
	}
	return all, nil
}

func conventions(c *cli.Context) (verify.Conventions, error) {
	n := c.Int("ctx-size")
	if n < 4 {
		return verify.Conventions{}, usagef("--ctx-size is %d, expected at least 4", n)
	}
	if c.Int("chunks") < 0 || c.Int("worst") < 0 {
		return verify.Conventions{}, usagef("--chunks and --worst cannot be negative")
	}
	if !c.IsSet("stride") {
		return verify.Conventions{Name: verify.LlamaPerplexity, Context: n, Stride: n, First: n / 2}, nil
	}
	if s := c.Int("stride"); s < 1 || s > n {
		return verify.Conventions{}, usagef("--stride is %d, expected 1 to --ctx-size, %d", s, n)
	}
	return verify.Conventions{Name: verify.Strided, Context: n, Stride: c.Int("stride")}, nil
}

// readTexts reads the texts, checks that both tokenizers agree on them, and cuts them in windows.
func readTexts(c *cli.Context, quantPath, basePath string, conv *verify.Conventions) (*tokenizer.Tokenizer, []verify.Text, []verify.Window, error) {
	base, err := tokenizer.Open(basePath)
	if err != nil {
		return nil, nil, nil, err
	}
	quant, err := tokenizer.Open(quantPath)
	if err != nil {
		return nil, nil, nil, err
	}
	var texts []verify.Text
	var windows []verify.Window
	for i, path := range c.StringSlice("text") {
		data, err := os.ReadFile(path)
		if err != nil {
			return nil, nil, nil, err
		}
		enc := tokenizer.EncodeOptions{AddSpecial: true}
		tokens := base.Encode(string(data), enc)
		other := quant.Encode(string(data), enc)
		if at := firstDifference(tokens, other); at >= 0 {
			return nil, nil, nil, &formats.Error{Path: quantPath, Off: -1, What: fmt.Sprintf(
				"its tokenizer is another than the original's: token %d of %s is %s, expected %s", at, path, tokenAt(quant, other, at), tokenAt(base, tokens, at))}
		}
		sum := sha256.Sum256(data)
		texts = append(texts, verify.Text{Name: filepath.Base(path), Bytes: int64(len(data)), SHA256: hex.EncodeToString(sum[:]), Tokens: len(tokens)})
		bos, has := base.BOS()
		conv.BOS = has && len(tokens) > 0 && tokens[0] == bos && conv.Name == verify.LlamaPerplexity
		w := verify.Windows(i, tokens, *conv, bos)
		if n := c.Int("chunks"); n > 0 {
			w = w[:min(n, len(w))]
		}
		if len(w) == 0 {
			return nil, nil, nil, &formats.Error{Path: path, Off: -1, What: fmt.Sprintf("%d tokens, too few for a window of %d", len(tokens), conv.Context)}
		}
		windows = append(windows, w...)
	}
	return base, texts, windows, nil
}

// firstDifference returns the first index at which a and b differ, or -1.
func firstDifference(a, b []int32) int {
	for i := range max(len(a), len(b)) {
		if i >= len(a) || i >= len(b) || a[i] != b[i] {
			return i
		}
	}
	return -1
}

func tokenAt(t *tokenizer.Tokenizer, tokens []int32, i int) string {
	if i >= len(tokens) {
		return "the end"
	}
	return fmt.Sprintf("%d %q", tokens[i], t.Token(tokens[i]))
}

// describeWorst fills in the text of the worst tokens and what came before them.
func describeWorst(r *verify.Report, t *tokenizer.Tokenizer, windows []verify.Window) {
	const before = 12 // tokens
	for i := range r.Worst {
		p := &r.Worst[i]
		for _, w := range windows {
			if at := p.Index - w.Start; w.Text == p.Text && p.Context == at && at < len(w.Tokens) {
				p.Before, _ = t.Decode(w.Tokens[max(0, at-before):at], true)
				p.Piece = t.Token(p.Token)
			}
		}
	}
}

// predictor is a model for verify.Run.
type predictor struct {
	model *runtime.Model
	seq   *runtime.Sequence
}

func openPredictor(c *cli.Context, path string, opt runtime.Options, context int) (*predictor, error) {
	m, err := open(c, path, opt)
	if err != nil {
		return nil, err
	}
	s, err := m.NewSequence(context)
	if err != nil {
		_ = m.Close() // only read from
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return &predictor{m, s}, nil
}

func (p *predictor) close() { _ = p.model.Close() }

func (p *predictor) VocabSize() int { return p.model.VocabSize() }

func (p *predictor) Logits(ctx context.Context, tokens []int32, first int, emit func(i int, logits []float32) error) error {
	p.seq.Truncate(0)
	return p.model.Eval(ctx, runtime.Request{Seq: p.seq, Tokens: tokens, All: true, First: first, Logits: emit})
}

// describeModel names a model by the type that most of its weights have, and pins its
// weights: the SHA-256 of the file, or of the list of the checksums of all files with weights.
func describeModel(path string) (verify.Model, error) {
	m, err := source.Open(path)
	if err != nil {
		return verify.Model{}, err
	}
	defer func() { _ = m.Close() }()
	d := verify.Model{Name: filepath.Base(filepath.Clean(path))}
	weights := map[string]int64{}
	var files []string
	for i := range m.Tensors {
		t := &m.Tensors[i]
		weights[t.TypeName()] += t.Elems()
		d.Bytes += int64(t.Rows()) * int64(t.RowBytes())
		if !slices.Contains(files, t.Path) {
			files = append(files, t.Path)
		}
	}
	for name, n := range weights {
		if most := weights[d.Format]; n > most || n == most && name < d.Format {
			d.Format = name
		}
	}
	slices.Sort(files)
	var list strings.Builder
	for _, f := range files {
		if d.SHA256, err = fileSHA256(f); err != nil {
			return d, err
		}
		fmt.Fprintf(&list, "%s  %s\n", d.SHA256, filepath.Base(f))
	}
	if len(files) > 1 {
		sum := sha256.Sum256([]byte(list.String()))
		d.SHA256 = hex.EncodeToString(sum[:])
	}
	return d, nil
}

func fileSHA256(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer func() { _ = f.Close() }()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}
