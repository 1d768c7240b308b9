package main

import (
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/urfave/cli/v2"

	"github.com/phi3conv/phi3conv/calib/solve"
	"github.com/phi3conv/phi3conv/internal/cmdline"
	"github.com/phi3conv/phi3conv/internal/job/quantize"
	"github.com/phi3conv/phi3conv/internal/usage"
	"github.com/phi3conv/phi3conv/quant"
	"github.com/phi3conv/phi3conv/quant/policy"
)

// parseQuantize returns what the flags of quantize ask for, with the type Q4_0 and 3 threads.
func parseQuantize(args ...string) (opt *quantize.Options, err error) {
	app := newApp()
	var f quantizeFlags
	app.Commands = []*cli.Command{{Name: "quantize", Flags: f.flags(),
		Action: func(c *cli.Context) error {
			opt, err = f.options(c.LocalFlagNames(), policy.MostlyQ4_0, 3)
			return err
		}}}
	cmdline.Prepare(app)
	err = app.Run(append([]string{"phi3conv", "quantize"}, args...))
	return opt, err
}

// Each flag sets what its name says and nothing else.
func TestQuantizeOptions(t *testing.T) {
	no, share, q6, f16 := false, 0.3, quant.Q6_K, quant.F16
	for args, change := range map[string]func(o *quantize.Options){
		"":                             func(*quantize.Options) {},
		"--model-name Phi-3":           func(o *quantize.Options) { o.Name = "Phi-3" },
		"--pure":                       func(o *quantize.Options) { o.Policy.Pure = true },
		"--leave-output-tensor":        func(o *quantize.Options) { o.Policy.KeepOutput = true },
		"--output-tensor-type q6_k":    func(o *quantize.Options) { o.Policy.Output = &q6 },
		"--token-embedding-type F16":   func(o *quantize.Options) { o.Policy.Embedding = &f16 },
		"--split-qkv":                  func(o *quantize.Options) { o.SplitQKV = true },
		"--allow-requantize":           func(o *quantize.Options) { o.AllowRequantize = true },
		"--split-max-size 2GB":         func(o *quantize.Options) { o.SplitMaxSize = 2_000_000_000 },
		"--max-ram 2GiB":               func(o *quantize.Options) { o.MaxRAM = 2 << 30 },
		"--method awq --imatrix s.dat": func(o *quantize.Options) { o.Method, o.Stats = "awq", "s.dat" },
		"--damp 0.1,0.5": func(o *quantize.Options) {
			o.Solver.Options.Damp = []float64{0.1, 0.5}
		},
		"--shrink 0.5":     func(o *quantize.Options) { o.Solver.Options.Shrink = 0.5 },
		"--outputs 0.3":    func(o *quantize.Options) { o.Solver.Outputs = &share },
		"--asymmetric 0.7": func(o *quantize.Options) { o.Solver.Options.Asymmetric = 0.7 },
		"--refine 0":       func(o *quantize.Options) { o.Solver.Options.Sweeps = 0 },
		"--split":          func(o *quantize.Options) { o.Solver.Split = true },
		"--awq=false":      func(o *quantize.Options) { o.Solver.AWQ = &no },
		"--size 1.5MB": func(o *quantize.Options) {
			o.Budget = &quantize.Budget{Size: 1_500_000, Asked: "--size 1.5MB"}
		},
		"--bpw 4.50": func(o *quantize.Options) {
			o.Budget = &quantize.Budget{BPW: 4.5, Asked: "--bpw 4.5"}
		},
		"--max-kld 0.01 --types q4_k,Q6_K,Q4_K": func(o *quantize.Options) {
			o.Budget = &quantize.Budget{
				MaxKLD: 0.01, Asked: "--max-kld 0.01", Types: []quant.Type{quant.Q4_K, quant.Q6_K},
			}
		},
	} {
		defaults := solve.DefaultOptions()
		want := &quantize.Options{
			Policy: policy.Policy{FileType: policy.MostlyQ4_0},
			Solver: quantize.Solver{Options: &defaults},
			Limits: quantize.Limits{Threads: 3},
		}
		change(want)
		if got, err := parseQuantize(strings.Fields(args)...); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %v\n%+v, expected\n%+v", args, err, got, want)
		}
	}
	o, err := parseQuantize("--tensor-type", `blk\.[0-9]{1,2}=x=Q8_0`, "--tensor-type", "ffn=Q4_1")
	if err != nil || len(o.Policy.Overrides) != 2 || o.Policy.Overrides[0].Type != quant.Q8_0 ||
		o.Policy.Overrides[0].Pattern.String() != `blk\.[0-9]{1,2}=x` || o.Policy.Overrides[1].Type != quant.Q4_1 {
		t.Errorf("%v: %+v", err, o.Policy.Overrides)
	}
}

// Flags that make no sense, or not together, are usage errors that name them.
func TestQuantizeOptionMistakes(t *testing.T) {
	for args, want := range map[string]string{
		"--tensor-type ffn":             "REGEX=TYPE",
		"--tensor-type ffn=Q9":          `"Q9"`,
		"--tensor-type (=Q4_0":          "missing closing )",
		"--output-tensor-type Q9":       "--output-tensor-type: ",
		"--token-embedding-type Q9":     "--token-embedding-type: ",
		"--split-max-size none":         `--split-max-size "none", expected a size`,
		"--max-ram lots":                `--max-ram "lots"`,
		"--damp 0.1,x":                  `--damp "x", expected numbers from 0 to 100`,
		"--size 0":                      `--size "0"`,
		"--bpw 0":                       "--bpw is 0, expected more than 0 and less than 100",
		"--max-kld NaN":                 "--max-kld is NaN",
		"--bpw 4 --size 1MB":            "--size 1MB and --bpw: a budget is one of --size, --bpw and --max-kld",
		"--bpw 4 --types Q4_K,Q9":       `--types: unknown tensor type "Q9"`,
		"--types Q4_K":                  "--types goes with --size, --bpw or --max-kld",
		"--recipe r.yaml --refine 2":    "--refine does not go with --recipe, which decides that",
		"--recipe r.yaml --size 1MB":    "--size does not go with --recipe",
		"--recipe r.yaml --split-qkv":   "--split-qkv does not go with --recipe",
		"--recipe r.yaml --awq=false":   "--awq does not go with --recipe",
		"--recipe r.yaml --types Q4_K":  "--types goes with",
		"--recipe r.yaml --method gptq": "--method does not go with --recipe",
	} {
		_, err := parseQuantize(strings.Fields(args)...)
		var mistake *usage.Error
		if !errors.As(err, &mistake) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, expected a usage error with %q", args, err, want)
		}
	}
}
