package main

import (
	"bufio"
	"fmt"
	"path/filepath"

	"github.com/phi3conv/phi3conv/formats"
	"github.com/phi3conv/phi3conv/formats/pmap"
	"github.com/phi3conv/phi3conv/formats/seal"
	"github.com/phi3conv/phi3conv/runtime"
	"github.com/phi3conv/phi3conv/runtime/tokenizer"
	"github.com/phi3conv/phi3conv/verify"
	"github.com/urfave/cli/v2"
)

// verifySeal is verify with a seal in place of the original.
func verifySeal(c *cli.Context, path string) error {
	for _, name := range []string{"base", "text", "ctx-size", "stride", "chunks", "shard", "one-at-a-time"} {
		if c.IsSet(name) {
			return usagef("--%s cannot be used with a seal, which pins the original, the tokens and the windows", name)
		}
	}
	for _, name := range []string{"baseline", "max-regression", "by-layer", "by-tensor", "by-layer-chunks"} {
		if c.IsSet(name) {
			return usagef("--%s cannot be used with a seal: it needs exact KL divergences, and so the original", name)
		}
	}
	if c.NArg() != 1 {
		return usagef("verify with a seal takes one QUANT, got %d arguments", c.NArg())
	}
	if c.Int("worst") < 0 {
		return usagef("--worst cannot be negative")
	}
	thresholds, err := limits(c)
	if err != nil {
		return err
	}
	quantPath := c.Args().First()
	s, closeSeal, err := openSeal(path)
	if err != nil {
		return err
	}
	defer closeSeal()
	h := s.Header
	tok, err := tokenizer.Open(quantPath)
	if err != nil {
		return err
	}
	if d := tok.Digest().Difference(tokenizer.Digest(h.Tokenizer)); d != "" {
		return &formats.Error{Path: quantPath, Off: -1, What: fmt.Sprintf("its tokenizer is another than that of the seal %s: %s", path, d)}
	}
	opt := runtime.Options{Float32: c.Bool("f32"), NoRepack: c.Bool("no-repack"), Batch: min(h.Conventions.Context, defaultBatch)}
	if opt.Threads, err = modelThreads(c); err != nil {
		return err
	}
	if opt.Cache, err = cacheType(c); err != nil {
		return err
	}
	quant, err := openPredictor(c, quantPath, opt, h.Conventions.Context)
	if err != nil {
		return err
	}

	bar := newCounter(c.App.ErrWriter, "verifying", int64(h.Positions))
	positions, err := verify.RunSealed(c.Context, s, quant, func(done int) { bar.set(int64(done)) })
	bar.done()
	quant.close() // before its speed is measured
	if err != nil {
		return err
	}
	r := verify.NewSealedReport(positions, h, c.Int("worst"))
	r.Tool, r.Seal.Name = "phi3conv "+versionString(), filepath.Base(path)
	if r.Seal.SHA256, r.Seal.Bytes, err = fileSHA256(c.Context, path); err != nil {
		return err
	}
	describeWorst(r, tok, sealedWindows(s, r.Worst))
	if r.Quant, err = describeModel(c.Context, quantPath); err != nil {
		return err
	}
	r.Compute = verify.Compute{Float32: opt.Float32, Cache: opt.Cache.String()}
	list := verify.Reports{r}
	if err := addSpeed(c, list, thresholds, "", []string{quantPath}, opt); err != nil {
		return err
	}
	if len(thresholds) > 0 {
		if err := r.JudgeSealed(positions, thresholds); err != nil {
			return err
		}
	}
	return finishJudged(c, list, func() error { return nil })
}

// sealedWindows returns a window for each of the worst tokens.
func sealedWindows(s *seal.Reader, worst []verify.Token) []verify.Window {
	var all []verify.Window
	for _, t := range worst {
		start := t.Index - t.Context
		all = append(all, verify.Window{Text: t.Text, Start: start, Tokens: s.Texts[t.Text][start : t.Index+1]})
	}
	return all
}

// sealOf returns the path of the seal to verify with: --seal, or a .pmap file that holds one. It
// is "" if there is none.
func sealOf(c *cli.Context) string {
	if c.IsSet("seal") || c.IsSet("base") || c.NArg() != 1 || !pmap.Is(c.Args().First()) {
		return c.String("seal")
	}
	f, err := pmap.Open(c.Args().First())
	if err != nil {
		return "" // said when the model is opened
	}
	defer func() { _ = f.Close() }() // only read from
	if _, ok := f.Section(pmap.SectionSeal); !ok {
		return ""
	}
	return f.Path
}

// openSeal opens a seal, or the one in a .pmap file.
func openSeal(path string) (s *seal.Reader, closeSeal func(), err error) {
	if !pmap.Is(path) {
		if s, err = seal.Open(path); err != nil {
			return nil, nil, err
		}
		return s, func() { _ = s.Close() }, nil // only read from
	}
	f, err := pmap.Open(path)
	if err != nil {
		return nil, nil, err
	}
	r, err := f.SectionReader(pmap.SectionSeal)
	if err == nil {
		s, err = seal.NewReader(bufio.NewReader(r))
	}
	if err != nil {
		_ = f.Close() // only read from
		return nil, nil, formats.WithPath(err, path)
	}
	return s, func() { _, _ = s.Close(), f.Close() }, nil
}
