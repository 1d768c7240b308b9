package main

import (
	"fmt"
	"runtime"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/phi3conv/phi3conv/calib"
	"github.com/phi3conv/phi3conv/calib/solve"
)

// quantizeFlags are the flags that convert and quantize share; names are llama-quantize's.
var quantizeFlags = append([]cli.Flag{
	&cli.StringFlag{Name: "model-name", Usage: "general.name of the output " +
		"(default: the source's; of a checkpoint, from its model card or directory)"},
	&cli.BoolFlag{Name: "dry-run", Usage: "print what would be written and write nothing"},
	&cli.BoolFlag{Name: "json", Usage: "print the plan, or the summary, as JSON"},
	&cli.BoolFlag{Name: "pure", Usage: "give every matrix the type's base type, without a mixture"},
	&cli.StringSliceFlag{Name: "tensor-type", Usage: "give tensors whose name matches a regular expression a type: " +
		"`REGEX=TYPE`, the first match wins; repeatable"},
	&cli.BoolFlag{Name: "split-qkv", Usage: "store q, k and v of a block as tensors of their own, attn_q, attn_k and " +
		"attn_v; with a budget where their types differ. llama.cpp reads such files since April 2026"},
	&cli.StringFlag{Name: "token-embedding-type", Usage: "`TYPE` of token_embd.weight"},
	&cli.StringFlag{Name: "output-tensor-type", Usage: "`TYPE` of output.weight"},
	&cli.BoolFlag{Name: "leave-output-tensor", Usage: "leave output.weight as it is in the source"},
	&cli.BoolFlag{Name: "allow-requantize",
		Usage: "quantize tensors that are quantized already, which adds error to error"},
	&cli.StringFlag{Name: "split-max-size",
		Usage: "start a new file beyond `SIZE` of tensor data, such as 2GB (default: one file)"},
	maxRAMFlag(),
}, slices.Concat(methodFlags, recipeFlags)...)

// methodFlags are the flags of calibrated quantization.
var methodFlags = []cli.Flag{
	&cli.StringFlag{Name: "method", Usage: "how codes and scales are chosen: " + methodNames() +
		" (default: rtn; with --stats imatrix; with a budget and statistics of calibrate gptq)"},
	statsFlag(),
	&cli.StringFlag{Name: "damp", Value: fmt.Sprint(solve.DefaultOptions().Damp[0]),
		Usage: "gptq: added to the diagonal of the second moments, as a share of its mean; " +
			"of several, with commas between, each layer takes the best"},
	&cli.Float64Flag{Name: "shrink", Value: solve.DefaultOptions().Shrink,
		Usage: "gptq: share by which second moments off the diagonal are made smaller, 0 to 1"},
	&cli.Float64Flag{Name: "asymmetric",
		Usage: "gptq: share of the correction that aims at the original's activations, 0 to 1 (default: 0)"},
	&cli.BoolFlag{Name: "split", Usage: "gptq: weigh tokens for q, k and v, gate and up each by its own gradients; " +
		"for statistics of calibrate --fisher"},
	&cli.BoolFlag{Name: "awq", Value: true,
		Usage: "gptq: scale channels first, as method awq does; --awq=false for not"},
	&cli.IntFlag{Name: "refine", Value: solve.DefaultOptions().Sweeps,
		Usage: "gptq: `PASSES` of refinement at most; 0 for none"},
}

// recipeFlags are the flags of recipes and of budgets, which find one.
var recipeFlags = []cli.Flag{
	&cli.StringFlag{Name: "recipe", Usage: "YAML `FILE` that says each tensor's type and how codes are chosen, " +
		"in place of a type; docs/recipes.md"},
	&cli.StringFlag{Name: "write-recipe", Usage: "write what this run does as YAML to `FILE`, with --dry-run too"},
	&cli.StringFlag{Name: "size", Usage: "choose types so that the output has at most `SIZE` bytes, " +
		"all files together, such as 1.8GB; needs --stats, as the two below do"},
	&cli.Float64Flag{Name: "bpw", DefaultText: "none", Usage: "choose types so that the linear layers, " +
		"without embedding and output matrix, have at most so many bits per weight"},
	&cli.Float64Flag{Name: "max-kld", DefaultText: "none", Usage: "choose the smallest types whose estimated mean " +
		"KL divergence, in nats, is not above this; needs statistics of calibrate --fisher"},
	&cli.StringFlag{Name: "types", Usage: "`TYPES` that --size, --bpw and --max-kld choose from, with commas between " +
		"(default: all quantized types, and F16 for embedding and output)"},
}

// recipeDecides are the flags whose values a recipe has.
var recipeDecides = []string{"method", "damp", "shrink", "asymmetric", "awq", "split", "refine",
	"pure", "split-qkv", "tensor-type", "token-embedding-type", "output-tensor-type", "leave-output-tensor",
	"size", "bpw", "max-kld", "types"}

// budgetFlags are the flags that each ask for an allocation of types.
var budgetFlags = []string{"size", "bpw", "max-kld"}

func maxRAMFlag() cli.Flag {
	return &cli.StringFlag{Name: "max-ram", Value: "1GiB",
		Usage: "bound on memory as a `SIZE`; does not change the result; gptq takes 6GiB unless it is given"}
}

func threadsFlag() cli.Flag {
	return &cli.IntFlag{Name: "threads", Value: defaultThreads(),
		Usage: "number of threads; does not change the result"}
}

// defaultThreads is the number of CPUs that this process may use.
func defaultThreads() int { return runtime.GOMAXPROCS(0) }

func statsFlag() cli.Flag {
	return &cli.StringFlag{Name: "stats", Aliases: []string{"imatrix"},
		Usage: "statistics `FILE` of calibrate, or of llama-imatrix"}
}

func methodNames() string {
	var names []string
	for _, m := range calib.Methods() {
		names = append(names, m.Name)
	}
	return strings.Join(names, ", ")
}
