package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"github.com/phi3conv/phi3conv/calib"
	"github.com/phi3conv/phi3conv/calib/solve"
	"github.com/phi3conv/phi3conv/calib/stats"
	"github.com/phi3conv/phi3conv/formats"
	"github.com/phi3conv/phi3conv/internal/convert"
	"github.com/phi3conv/phi3conv/quant"
	"github.com/phi3conv/phi3conv/runtime"
	"github.com/urfave/cli/v2"
)

// methodFlags are the flags of calibrated quantization.
var methodFlags = []cli.Flag{
	&cli.StringFlag{Name: "method", Usage: "how codes and scales are chosen: " + methodNames() + " (default: rtn; with --stats imatrix; with a budget and statistics of calibrate gptq)"},
	statsFlag(),
	&cli.StringFlag{Name: "damp", Value: fmt.Sprint(solve.DefaultOptions().Damp[0]), Usage: "gptq: added to the diagonal of the second moments, as a share of its mean; of several, with commas between, each layer takes the best"},
	&cli.Float64Flag{Name: "shrink", Value: solve.DefaultOptions().Shrink, Usage: "gptq: share by which second moments off the diagonal are made smaller, 0 to 1"},
	&cli.Float64Flag{Name: "asymmetric", Usage: "gptq: share of the correction that aims at the original's activations, 0 to 1 (default: 0)"},
	&cli.BoolFlag{Name: "split", Usage: "gptq: weigh tokens for q, k and v, gate and up each by its own gradients; for statistics of calibrate --fisher"},
	&cli.BoolFlag{Name: "awq", Value: true, Usage: "gptq: scale channels first, as method awq does; --awq=false for not"},
	&cli.IntFlag{Name: "refine", Value: solve.DefaultOptions().Sweeps, Usage: "gptq: `PASSES` of refinement at most; 0 for none"},
}

func statsFlag() cli.Flag {
	return &cli.StringFlag{Name: "stats", Aliases: []string{"imatrix"}, Usage: "statistics `FILE` of calibrate, or of llama-imatrix"}
}

func methodNames() string {
	var names []string
	for _, m := range calib.Methods() {
		names = append(names, m.Name)
	}
	return strings.Join(names, ", ")
}

// method is a recipe's way to choose blocks and what it works with.
type method struct {
	calib.Recipe
	stats *stats.File
	// recorded says that the output's metadata tells how it was made.
	recorded bool
	// SHA-256 of the statistics file and of the model's weights, in hexadecimal.
	hash, weights string
}

func (m *method) close() {
	if m.stats != nil {
		_ = m.stats.Close()
	}
}

// quantizeMethod reads the flags, or the recipe if there is one, and the statistics.
func quantizeMethod(c *cli.Context, recipe *calib.Recipe) (*method, error) {
	m := &method{recorded: c.IsSet("method") || c.IsSet("stats") || recipe != nil || budgeted(c)}
	if err := m.open(c); err != nil {
		return nil, err
	}
	if recipe != nil {
		m.Recipe = *recipe
	} else if err := m.readFlags(c); err != nil {
		m.close()
		return nil, err
	}
	switch {
	case !m.Method.Importance && m.stats != nil && !budgeted(c):
		m.close()
		return nil, usagef("--method %s uses no --stats", m.Method.Name)
	case m.Method.Importance && m.stats == nil:
		return nil, usagef("--method %s needs --stats", m.Method.Name)
	}
	return m, nil
}

// open opens the statistics, if there are any.
func (m *method) open(c *cli.Context) (err error) {
	if !c.IsSet("stats") {
		return nil
	}
	if m.hash, err = hashFile(c.String("stats")); err != nil {
		return err
	}
	m.stats, err = stats.Open(c.String("stats"))
	return err
}

// readFlags reads the method and its options.
func (m *method) readFlags(c *cli.Context) error {
	name := c.String("method")
	switch {
	case name != "":
	case budgeted(c) && m.stats != nil && m.stats.Origin != nil:
		name = "gptq"
	case m.stats != nil:
		name = "imatrix"
	default:
		name = "rtn"
	}
	found, err := calib.MethodByName(name)
	if err != nil {
		return usagef("--method: %w", err)
	}
	m.Method = found
	m.Solve = solve.Options{Shrink: c.Float64("shrink"), Asymmetric: c.Float64("asymmetric"), Sweeps: c.Int("refine")}
	m.Split, m.AWQ = c.Bool("split"), c.Bool("awq") && found.Solves()
	if c.IsSet("awq") && !found.Solves() {
		return usagef("--awq goes with --method gptq; --method awq is imatrix with it")
	}
	for _, s := range strings.Split(c.String("damp"), ",") {
		v, err := strconv.ParseFloat(s, 64)
		if err != nil {
			return usagef("--damp %q, expected numbers from 0 to 100", s)
		}
		m.Solve.Damp = append(m.Solve.Damp, v)
	}
	if err := m.Solve.Check(); err != nil {
		return usagef("--%w", err)
	}
	return nil
}

func hashFile(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer func() { _ = f.Close() }()
	h := sha256.New()
	_, err = io.Copy(h, f)
	return hex.EncodeToString(h.Sum(nil)), err
}

// importance is what conversion takes of statistics.
func importance(s *stats.File) *convert.Imatrix {
	m := &convert.Imatrix{Path: s.Path, Datasets: s.Datasets, Chunks: s.ChunkCount}
	for i := range s.Entries {
		m.Tensors = append(m.Tensors, convert.Importance{Tensor: s.Entries[i].Name, Columns: s.Entries[i].Importance()})
	}
	return m
}

// describe puts into the plan's metadata how its tensors come about.
func (m *method) describe(c *cli.Context, p *convert.Plan) error {
	md := p.Metadata
	for _, key := range []string{keyMethod, keyRecipe, keySource, keyStats, keyTexts} {
		md.Delete(key) // a source that was quantized has them
	}
	if !m.recorded {
		return nil
	}
	var err error
	if m.weights == "" {
		if m.weights, err = p.Source.SHA256(c.Context); err != nil {
			return err
		}
		// Names and shapes agree, as the plan has found out. A GGUF file of the same model has
		// another hash, so this is no error.
		if m.stats != nil && m.stats.Origin != nil && m.stats.Origin.Weights != m.weights {
			_, _ = fmt.Fprintf(c.App.ErrWriter, "note: %s was made from another file or other weights than %s\n", m.stats.Path, p.Source.Path)
		}
	}
	recipe, err := m.Compact()
	if err != nil {
		return err
	}
	md.Set(keyMethod, m.Method.Name)
	md.Set(keyRecipe, recipe)
	md.Set(keySource, m.weights)
	if m.Method.Importance {
		md.Set(keyStats, m.hash)
		if o := m.stats.Origin; o != nil && len(o.Texts) > 0 {
			md.Set(keyTexts, o.Texts)
		}
	}
	return nil
}

// Keys of the output's metadata that tell how it was made: the method, the recipe in its compact form,
// and SHA-256 of the source's weights, of the statistics file and of the texts that these are from.
const (
	keyMethod = "phi3conv.quantize.method"
	keyRecipe = "phi3conv.quantize.recipe"
	keySource = "phi3conv.quantize.source_sha256"
	keyStats  = "phi3conv.quantize.stats_sha256"
	keyTexts  = "phi3conv.quantize.texts_sha256"
)

// run makes the blocks that the method makes itself. What it returns must be closed, or
// removed when the output is complete; it may be nil.
func (m *method) run(c *cli.Context, p *convert.Plan, out string, threads int) (*calib.Encoded, error) {
	if !m.Method.Sequential {
		return nil, nil
	}
	if m.stats.Origin == nil {
		return nil, &formats.Error{Path: m.stats.Path, Off: -1, What: "it does not hold the tokens that it was made from, as files of llama-imatrix do not: --method " + m.Method.Name + " runs the model on them; make it with phi3conv calibrate"}
	}
	var targets []quant.Target
	for i := range p.Tensors {
		if t := &p.Tensors[i]; t.Original() {
			targets = append(targets, quant.Target{Tensor: t.Name, Type: t.Type})
		}
	}
	l, err := runtime.OpenLayers(p.Source.Path, runtime.Options{Threads: threads, Batch: calib.BatchTokens})
	if err != nil {
		return nil, err
	}
	defer func() { _ = l.Close() }()
	opt := calib.QuantizeOptions{Options: m.Solve, Split: m.Split, AWQ: m.AWQ || m.Method.Scaled, Identity: m.weights + m.hash, Work: out + ".work"}
	opt.Encoder = m.Method.Scaled
	opt.Resumed = func(blocks int) {
		_, _ = fmt.Fprintf(c.App.ErrWriter, "continuing behind block %d of %d, from %s\n", blocks, l.Count(), opt.Work)
	}
	bar := newCounter(c.App.ErrWriter, "quantizing", int64(l.Count()+1))
	opt.Progress = func(done, _ int) { bar.set(int64(done)) }
	enc, err := calib.Quantize(c.Context, l, m.stats, targets, opt)
	bar.done()
	if errors.Is(err, context.Canceled) {
		return nil, fmt.Errorf("interrupted, %s was not written; the same command continues: %w", out, err)
	}
	if err != nil {
		return nil, err
	}
	for i := range p.Tensors {
		if r := enc.Tensor(p.Tensors[i].Name); r != nil {
			p.Tensors[i].SetEncoded(r)
		}
	}
	return enc, nil
}
