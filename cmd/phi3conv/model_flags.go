package main

import (
	"github.com/phi3conv/phi3conv/internal/cmdline"
	"github.com/phi3conv/phi3conv/internal/job/bench"
	"github.com/phi3conv/phi3conv/runtime"
	"github.com/urfave/cli/v2"
)

// computeFlags say how a model computes; names are llama.cpp's.
type computeFlags struct {
	opt   runtime.Options // but for the cache
	cache string
}

func (f *computeFlags) flags() []cli.Flag {
	return []cli.Flag{
		f.batchFlag(),
		cmdline.OneOf(cacheTypes, &cli.StringFlag{Name: "cache-type", Value: runtime.CacheF16.String(),
			Destination: &f.cache, Usage: "`TYPE` of the cache of keys and values: f16, f32 or q8_0"}),
		&cli.BoolFlag{Name: "f32", Destination: &f.opt.Float32,
			Usage: "compute in float32: slow, but the same result on every machine"},
		f.noRepackFlag(),
	}
}

func (f *computeFlags) batchFlag() cli.Flag {
	return &cli.IntFlag{Name: "batch-size", Aliases: []string{"b"}, Value: bench.DefaultBatch,
		Destination: &f.opt.Batch, Usage: "evaluate `N` tokens of a prompt at a time"}
}

func (f *computeFlags) noRepackFlag() cli.Flag {
	return &cli.BoolFlag{Name: "no-repack", Destination: &f.opt.NoRepack,
		Usage: "use the weights as they are in the mapped file: less memory, slower"}
}

// options returns what the flags ask for.
func (f *computeFlags) options() (opt runtime.Options, err error) {
	opt = f.opt
	if err = checkBatch(opt.Batch); err != nil {
		return opt, err
	}
	opt.Cache, err = cacheType(f.cache)
	return opt, err
}

// checkBatch checks the value of --batch-size.
func checkBatch(n int) error {
	if n < 1 || n > maxBatch {
		return usagef("--batch-size is %d, expected 1 to %d", n, maxBatch)
	}
	return nil
}

var cacheTypes = []string{runtime.CacheF16.String(), runtime.CacheF32.String(), runtime.CacheQ8_0.String()}

// cacheType reads the value of --cache-type.
func cacheType(name string) (runtime.CacheType, error) {
	t, err := runtime.ParseCacheType(name)
	if err != nil {
		return 0, usagef("--cache-type: %w", err)
	}
	return t, nil
}

const maxBatch = 16384
