package main

import (
	"sync"

	"github.com/phi3conv/phi3conv/runtime"
	"github.com/urfave/cli/v2"
)

// computeFlags say how a model computes; names are llama.cpp's.
func computeFlags() []cli.Flag {
	return []cli.Flag{
		&cli.IntFlag{Name: "batch-size", Aliases: []string{"b"}, Value: defaultBatch, Usage: "tokens that go through the model together"},
		&cli.StringFlag{Name: "cache-type", Value: runtime.CacheF16.String(), Usage: "`TYPE` of keys and values: f16, f32 or q8_0"},
		&cli.BoolFlag{Name: "f32", Usage: "compute in float32: slow, and the same result on every machine"},
		&cli.BoolFlag{Name: "no-repack", Usage: "use the weights in the file's own pages: less memory, slow"},
	}
}

// computeOptions reads computeFlags.
func computeOptions(c *cli.Context) (opt runtime.Options, err error) {
	opt = runtime.Options{Batch: c.Int("batch-size"), Float32: c.Bool("f32"), NoRepack: c.Bool("no-repack")}
	if opt.Batch < 1 || opt.Batch > maxBatch {
		return opt, usagef("--batch-size is %d, expected 1 to %d", opt.Batch, maxBatch)
	}
	if opt.Cache, err = runtime.ParseCacheType(c.String("cache-type")); err != nil {
		return opt, usagef("--cache-type: %w", err)
	}
	return opt, nil
}

const (
	defaultBatch = 512
	maxBatch     = 16384
)

// open opens a model with a progress bar.
func open(c *cli.Context, path string, opt runtime.Options) (*runtime.Model, error) {
	var start sync.Once
	var bar progress
	opt.Progress = func(done, total int64) {
		start.Do(func() { bar = newProgress(c.App.ErrWriter, "loading", total) })
		bar.set(done)
	}
	m, err := runtime.Open(c.Context, path, opt)
	bar.done()
	return m, err
}
