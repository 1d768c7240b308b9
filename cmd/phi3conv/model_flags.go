package main

import (
	"github.com/phi3conv/phi3conv/internal/job/bench"
	"github.com/phi3conv/phi3conv/runtime"
	"github.com/urfave/cli/v2"
)

// computeFlags say how a model computes; names are llama.cpp's.
func computeFlags() []cli.Flag {
	return []cli.Flag{
		batchFlag(),
		&cli.StringFlag{Name: "cache-type", Value: runtime.CacheF16.String(),
			Usage: "`TYPE` of the cache of keys and values: f16, f32 or q8_0"},
		&cli.BoolFlag{Name: "f32", Usage: "compute in float32: slow, but the same result on every machine"},
		noRepackFlag(),
	}
}

func batchFlag() cli.Flag {
	return &cli.IntFlag{Name: "batch-size", Aliases: []string{"b"}, Value: defaultBatch,
		Usage: "evaluate `N` tokens of a prompt at a time"}
}

func noRepackFlag() cli.Flag {
	return &cli.BoolFlag{Name: "no-repack",
		Usage: "use the weights as they are in the mapped file: less memory, slower"}
}

// computeOptions reads computeFlags.
func computeOptions(c *cli.Context) (opt runtime.Options, err error) {
	opt = runtime.Options{Float32: c.Bool("f32"), NoRepack: c.Bool("no-repack")}
	if opt.Batch, err = batchSize(c); err != nil {
		return opt, err
	}
	opt.Cache, err = cacheType(c)
	return opt, err
}

// batchSize returns the value of batchFlag.
func batchSize(c *cli.Context) (int, error) {
	n := c.Int("batch-size")
	if n < 1 || n > maxBatch {
		return 0, usagef("--batch-size is %d, expected 1 to %d", n, maxBatch)
	}
	return n, nil
}

// cacheType returns the value of --cache-type.
func cacheType(c *cli.Context) (runtime.CacheType, error) {
	t, err := runtime.ParseCacheType(c.String("cache-type"))
	if err != nil {
		return 0, usagef("--cache-type: %w", err)
	}
	return t, nil
}

const (
	defaultBatch = bench.DefaultBatch
	maxBatch     = 16384
)
