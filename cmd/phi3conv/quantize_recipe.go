package main

import (
	"github.com/phi3conv/phi3conv/calib"
	"github.com/phi3conv/phi3conv/internal/atomicfile"
	"github.com/phi3conv/phi3conv/internal/convert"
	"github.com/phi3conv/phi3conv/internal/source"
	"github.com/urfave/cli/v2"
)

// recipeFlags are the flags of recipes and of budgets, which find one.
var recipeFlags = []cli.Flag{
	&cli.StringFlag{Name: "recipe", Usage: "YAML `FILE` that says each tensor's type and how codes are chosen, in place of a type; docs/recipes.md"},
	&cli.StringFlag{Name: "write-recipe", Usage: "write what this run does as YAML to `FILE`, with --dry-run too"},
	&cli.StringFlag{Name: "size", Usage: "choose types so that the output has at most `SIZE` bytes, all files together, such as 1.8GB; needs --stats, as the two below do"},
	&cli.Float64Flag{Name: "bpw", Usage: "choose types so that the linear layers, without embedding and output matrix, have at most so many bits per weight", DefaultText: "none"},
	&cli.Float64Flag{Name: "max-kld", Usage: "choose the smallest types whose estimated mean KL divergence, in nats, is not above this; needs statistics of calibrate --fisher", DefaultText: "none"},
	&cli.StringFlag{Name: "types", Usage: "`TYPES` that --size, --bpw and --max-kld choose from, with commas between (default: all quantized types, and F16 for embedding and output)"},
}

// recipeDecides are the flags whose values a recipe has.
var recipeDecides = []string{"method", "damp", "shrink", "asymmetric", "awq", "split", "refine", "pure", "split-qkv", "tensor-type",
	"token-embedding-type", "output-tensor-type", "leave-output-tensor", "size", "bpw", "max-kld", "types"}

// readRecipe reads what --recipe names, nil if it is not given.
func readRecipe(c *cli.Context) (*calib.Recipe, error) {
	if c.IsSet("types") && !budgeted(c) {
		return nil, usagef("--types goes with --size, --bpw or --max-kld")
	}
	if !c.IsSet("recipe") {
		return nil, nil
	}
	for _, name := range recipeDecides {
		if c.IsSet(name) {
			return nil, usagef("--%s does not go with --recipe, which decides that", name)
		}
	}
	return calib.ReadRecipe(c.String("recipe"))
}

// plan makes a plan with metadata that tell how its tensors come about.
func (m *method) plan(c *cli.Context, src *source.Model, opt convert.Options) (*convert.Plan, error) {
	p, err := convert.NewPlan(src, opt)
	if err != nil {
		return nil, err
	}
	m.FileType, m.Tensors = opt.Policy.FileType, p.Types()
	return p, m.describe(c, p)
}

// writeRecipe writes a plan's recipe as YAML.
func (m *method) writeRecipe(path string, p *convert.Plan, spent *budget) error {
	comment := "Made by phi3conv quantize for " + p.Source.Path
	if spent != nil {
		comment += "\n" + spent.String()
	}
	data, err := m.YAML(comment)
	if err != nil {
		return err
	}
	return atomicfile.WriteFile(path, data)
}
