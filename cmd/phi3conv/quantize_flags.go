package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/phi3conv/phi3conv/calib"
	"github.com/phi3conv/phi3conv/calib/solve"
	"github.com/phi3conv/phi3conv/internal/cmdline"
	"github.com/phi3conv/phi3conv/internal/job/quantize"
	"github.com/phi3conv/phi3conv/internal/output"
	"github.com/phi3conv/phi3conv/quant"
)

// quantizeFlags are the flags that convert and quantize share; names are llama-quantize's.
type quantizeFlags struct {
	files        output.Files
	opt          quantize.Options // what needs no parsing
	dryRun, json bool
	cache        bool
	maxRAM       string
	splitMaxSize string

	tensorTypes               cli.StringSlice
	embeddingType, outputType string

	solver  solve.Options // but for damp and outputs
	damp    string
	outputs float64
	awq     bool

	recipe, writeRecipe string
	size                string
	bpw, maxKLD         float64
	types               string
	shard               string
	costs               cli.StringSlice
}

func (f *quantizeFlags) flags() []cli.Flag {
	return slices.Concat(f.outputFlags(), f.methodFlags(), f.recipeFlags())
}

func (f *quantizeFlags) outputFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "model-name", Usage: "give the output `NAME` as its general.name",
			DefaultText: "the source's; of a checkpoint, from its model card or directory", Destination: &f.opt.Name},
		&cli.BoolFlag{Name: "dry-run", Usage: "print what would be written and write nothing", Destination: &f.dryRun},
		&cli.BoolFlag{Name: "json", Usage: "print the plan, or the summary, as JSON", Destination: &f.json},
		&cli.BoolFlag{Name: "pure", Usage: "give every matrix the type's base type, without a mixture",
			Destination: &f.opt.Policy.Pure},
		&cli.StringSliceFlag{Name: "tensor-type", Destination: &f.tensorTypes,
			Usage: "`REGEX=TYPE` gives a type to all tensors whose name matches; the first that matches counts"},
		&cli.BoolFlag{Name: "split-qkv", Destination: &f.opt.SplitQKV,
			Usage: "store attn_q, attn_k and attn_v as three tensors; with a budget, only " +
				"where their types differ. llama.cpp reads such files since April 2026"},
		cmdline.OneOf(blockTypes, &cli.StringFlag{Name: "token-embedding-type", Usage: "`TYPE` of token_embd.weight",
			Destination: &f.embeddingType}),
		cmdline.OneOf(blockTypes, &cli.StringFlag{Name: "output-tensor-type", Usage: "`TYPE` of output.weight",
			Destination: &f.outputType}),
		&cli.BoolFlag{Name: "leave-output-tensor", Usage: "leave output.weight as it is in the source",
			Destination: &f.opt.Policy.KeepOutput},
		&cli.BoolFlag{Name: "allow-requantize", Destination: &f.opt.AllowRequantize,
			Usage: "quantize tensors that are quantized already; their errors add up"},
		&cli.StringFlag{Name: "split-max-size", DefaultText: "one file", Destination: &f.splitMaxSize,
			Usage: "start a new file after `SIZE` of tensor data, such as 2GB"},
		&cli.BoolFlag{Name: "cache", Destination: &f.cache,
			Usage: "keep a model that is fetched (hf://, s3://, oci://, https://) in the cache"},
		maxRAMFlag(&f.maxRAM),
		forceFlag(&f.files),
	}
}

// methodFlags are the flags of calibrated quantization.
func (f *quantizeFlags) methodFlags() []cli.Flag {
	defaults := solve.DefaultOptions()
	return []cli.Flag{
		cmdline.OneOf(methodNames(), &cli.StringFlag{Name: "method", Destination: &f.opt.Method,
			Usage:       "`METHOD` that chooses codes and scales: " + strings.Join(methodNames(), ", "),
			DefaultText: "rtn; with --stats imatrix; with a budget and statistics of calibrate gptq"}),
		statsFlag(&f.opt.Stats),
		&cli.StringFlag{Name: "damp", Value: fmt.Sprint(defaults.Damp[0]), Destination: &f.damp,
			Usage: "gptq: add `SHARE` of the mean of the second moments' diagonal to the diagonal; " +
				"several, separated by commas: each layer takes the best"},
		&cli.Float64Flag{Name: "shrink", Value: defaults.Shrink, Destination: &f.solver.Shrink,
			Usage: "gptq: make second moments off the diagonal smaller by `SHARE`, 0 to 1"},
		&cli.Float64Flag{Name: "asymmetric", Value: defaults.Asymmetric, Destination: &f.solver.Asymmetric,
			Usage: "gptq: `SHARE` of the correction that aims at the original's activations, 0 to 1"},
		&cli.Float64Flag{Name: "outputs", Destination: &f.outputs,
			DefaultText: fmt.Sprintf("%g if the statistics have them, else 0", solve.DefaultOutputs),
			Usage: "gptq: feed errors of q, k and v back along outputs too, whose gradients' correlations " +
				"count by `SHARE`; needs statistics of calibrate --fisher"},
		&cli.BoolFlag{Name: "split", Destination: &f.opt.Solver.Split,
			Usage: "gptq: weigh the tokens of q, k, v, gate and up each by its own gradients; " +
				"needs statistics of calibrate --fisher"},
		&cli.BoolFlag{Name: "awq", Value: true, Destination: &f.awq,
			Usage: "gptq: scale channels first, as method awq does; --awq=false turns this off"},
		&cli.IntFlag{Name: "refine", Value: defaults.Sweeps, Destination: &f.solver.Sweeps,
			Usage: "gptq: refine in at most `N` passes; 0 turns this off"},
	}
}

// recipeFlags are the flags of recipes and of budgets, which find one.
func (f *quantizeFlags) recipeFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "recipe", Destination: &f.recipe,
			Usage: "read each tensor's type and method from a YAML `FILE`; see docs/recipes.md"},
		&cli.StringFlag{Name: "write-recipe", Destination: &f.writeRecipe,
			Usage: "write what this run does as YAML to `FILE`, with --dry-run too"},
		&cli.StringFlag{Name: "size", Destination: &f.size,
			Usage: "choose types so that all files of the output together have at most `SIZE` " +
				"bytes, such as 1.8GB; needs --stats"},
		&cli.Float64Flag{Name: "bpw", DefaultText: "none", Destination: &f.bpw,
			Usage: "choose types so that the linear layers, " +
				"without embedding and output matrix, have at most `N` bits per weight; needs --stats"},
		&cli.Float64Flag{Name: "max-kld", DefaultText: "none", Destination: &f.maxKLD,
			Usage: "choose the smallest types whose estimated mean " +
				"KL divergence is at most `N` nats; needs --stats of calibrate --fisher"},
		cmdline.ListOf(blockTypes, &cli.StringFlag{Name: "types", Destination: &f.types,
			Usage:       "`TYPES` that --size, --bpw and --max-kld choose from, separated by commas",
			DefaultText: "all quantized types, and F16 for embedding and output"}),
		&cli.StringSliceFlag{Name: "costs", Destination: &f.costs,
			Usage: "with --size, --bpw or --max-kld: what types cost was measured, and is in the `FILE`s " +
				"of all parts, by quantize --shard"},
	}
}

// recipeDecides are the flags whose values a recipe has.
var recipeDecides = []string{"method", "damp", "shrink", "asymmetric", "outputs", "awq", "split", "refine",
	"pure", "split-qkv", "tensor-type", "token-embedding-type", "output-tensor-type", "leave-output-tensor",
	"size", "bpw", "max-kld", "types"}

// budgetFlags are the flags that each ask for an allocation of types.
var budgetFlags = []string{"size", "bpw", "max-kld"}

// maxRAMFlag sets to, if it is not nil.
func maxRAMFlag(to *string) cli.Flag {
	return &cli.StringFlag{Name: "max-ram", Destination: to, DefaultText: "1GiB; 6GiB with method gptq",
		Usage: "use at most `SIZE` of memory; does not change the result"}
}

// statsFlag sets to, if it is not nil.
func statsFlag(to *string) cli.Flag {
	return &cli.StringFlag{Name: "stats", Aliases: []string{"imatrix"}, Destination: to,
		Usage: "statistics `FILE` of calibrate, or of llama-imatrix"}
}

// blockTypes are the types that a tensor can get.
var blockTypes = typeNames(quant.Types())

func typeNames(types []quant.Type) (names []string) {
	for _, t := range types {
		names = append(names, t.String())
	}
	return names
}

func methodNames() (names []string) {
	for _, m := range calib.Methods() {
		names = append(names, m.Name)
	}
	return names
}
