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
	"github.com/phi3conv/phi3conv/formats"
	"github.com/phi3conv/phi3conv/internal/convert"
	"github.com/phi3conv/phi3conv/runtime"
	"github.com/urfave/cli/v2"
)

// methodFlags are the flags of calibrated quantization.
var methodFlags = []cli.Flag{
	&cli.StringFlag{Name: "method", Usage: "how codes and scales are chosen: " + methodNames() + " (default: rtn, with --stats imatrix)"},
	&cli.StringFlag{Name: "stats", Aliases: []string{"imatrix"}, Usage: "statistics `FILE` of calibrate, or of llama-imatrix"},
	&cli.StringFlag{Name: "damp", Value: "0.1", Usage: "gptq: added to the diagonal of the second moments, as a share of its mean; of several, with commas between, each layer takes the best"},
	&cli.Float64Flag{Name: "shrink", Value: 0.1, Usage: "gptq: share by which second moments off the diagonal are made smaller, 0 to 1"},
	&cli.Float64Flag{Name: "asymmetric", Usage: "gptq: share of the correction that aims at the original's activations, 0 to 1 (default: 0)"},
	&cli.BoolFlag{Name: "split", Usage: "gptq: weigh tokens for q, k and v, gate and up each by its own gradients; for statistics of calibrate --fisher"},
	&cli.BoolFlag{Name: "awq", Usage: "gptq: scale channels first, as method awq does"},
	&cli.IntFlag{Name: "refine", Value: 4, Usage: "gptq: `PASSES` of refinement at most; 0 for none"},
}

func methodNames() string {
	var names []string
	for _, m := range calib.Methods() {
		names = append(names, m.Name)
	}
	return strings.Join(names, ", ")
}

// method is a method and what it works with.
type method struct {
	*calib.Method
	stats *calib.Stats
	solve calib.SolveOptions
	split bool
	awq   bool
	// SHA-256 of the statistics file and of the model's weights, in hexadecimal.
	hash, weights string
}

func (m *method) close() {
	if m.stats != nil {
		_ = m.stats.Close()
	}
}

// quantizeMethod reads the flags and the statistics.
func quantizeMethod(c *cli.Context) (*method, error) {
	name := c.String("method")
	switch {
	case name != "":
	case c.IsSet("stats"):
		name = "imatrix"
	default:
		name = "rtn"
	}
	found, err := calib.MethodByName(name)
	if err != nil {
		return nil, usagef("--method: %w", err)
	}
	m := &method{Method: found}
	switch {
	case !m.Importance && c.IsSet("stats"):
		return nil, usagef("--method %s uses no --stats", name)
	case m.Importance && !c.IsSet("stats"):
		return nil, usagef("--method %s needs --stats", name)
	case c.Bool("awq") && !m.Sequential:
		return nil, usagef("--awq goes with --method gptq; --method awq is imatrix with it")
	case !m.Importance:
		return m, nil
	}
	for _, s := range strings.Split(c.String("damp"), ",") {
		v, err := strconv.ParseFloat(s, 64)
		if err != nil || !(v >= 0 && v <= 100) {
			return nil, usagef("--damp %q, expected numbers from 0 to 100", s)
		}
		m.solve.Damp = append(m.solve.Damp, v)
	}
	m.solve.Shrink, m.solve.Asymmetric, m.solve.Sweeps, m.split = c.Float64("shrink"), c.Float64("asymmetric"), c.Int("refine"), c.Bool("split")
	m.solve.Encoder, m.awq = m.Scaled, m.Scaled || c.Bool("awq")
	switch s := &m.solve; {
	case !(s.Shrink >= 0 && s.Shrink < 1):
		return nil, usagef("--shrink is %g, expected 0 to less than 1", s.Shrink)
	case !(s.Asymmetric >= 0 && s.Asymmetric <= 1):
		return nil, usagef("--asymmetric is %g, expected 0 to 1", s.Asymmetric)
	case s.Sweeps < 0 || s.Sweeps > 100:
		return nil, usagef("--refine is %d, expected 0 to 100", s.Sweeps)
	}
	path := c.String("stats")
	if m.hash, err = hashFile(path); err != nil {
		return nil, err
	}
	m.stats, err = calib.Open(path)
	return m, err
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

// describe puts into the plan's metadata how its tensors come about.
func (m *method) describe(c *cli.Context, p *convert.Plan) error {
	if m.stats == nil {
		return nil
	}
	var err error
	if m.weights, err = p.Source.SHA256(c.Context); err != nil {
		return err
	}
	// Names and shapes agree, as the plan has found out. A GGUF file of the same model has
	// another hash, so this is no error.
	if o := m.stats.Origin; o != nil && o.Weights != m.weights {
		_, _ = fmt.Fprintf(c.App.ErrWriter, "note: %s was made from another file or other weights than %s\n", m.stats.Path, p.Source.Path)
	}
	md := p.Metadata
	md.Set("phi3conv.quantize.method", m.Name)
	md.Set("phi3conv.quantize.source_sha256", m.weights)
	md.Set("phi3conv.quantize.stats_sha256", m.hash)
	if m.Sequential {
		md.Set("phi3conv.quantize.awq", m.awq)
		md.Set("phi3conv.quantize.split", m.split)
	}
	if m.Sequential && !m.Scaled {
		md.Set("phi3conv.quantize.damp", m.solve.Damp)
		md.Set("phi3conv.quantize.shrink", m.solve.Shrink)
		md.Set("phi3conv.quantize.refine", uint32(m.solve.Sweeps))
		md.Set("phi3conv.quantize.asymmetric", m.solve.Asymmetric)
	}
	return nil
}

// run makes the blocks that the method makes itself. What it returns must be closed, or
// removed when the output is complete; it may be nil.
func (m *method) run(c *cli.Context, p *convert.Plan, out string, threads int) (*calib.Encoded, error) {
	if !m.Sequential {
		return nil, nil
	}
	if m.stats.Origin == nil {
		return nil, &formats.Error{Path: m.stats.Path, Off: -1, What: "it does not hold the tokens that it was made from, as files of llama-imatrix do not: --method " + m.Name + " runs the model on them; make it with phi3conv calibrate"}
	}
	var targets []calib.Target
	for i := range p.Tensors {
		if t := &p.Tensors[i]; t.Original() {
			targets = append(targets, calib.Target{Tensor: t.Name, Type: t.Type})
		}
	}
	l, err := runtime.OpenLayers(p.Source.Path, runtime.Options{Threads: threads, Batch: calib.BatchTokens})
	if err != nil {
		return nil, err
	}
	defer func() { _ = l.Close() }()
	opt := calib.QuantizeOptions{SolveOptions: m.solve, Split: m.split, AWQ: m.awq, Identity: m.weights + m.hash, Work: out + ".work"}
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
