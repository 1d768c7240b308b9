package main

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/dustin/go-humanize"
	"github.com/urfave/cli/v2"

	"github.com/phi3conv/phi3conv/calib"
	"github.com/phi3conv/phi3conv/calib/solve"
	"github.com/phi3conv/phi3conv/internal/job/quantize"
	"github.com/phi3conv/phi3conv/quant"
	"github.com/phi3conv/phi3conv/quant/policy"
)

// quantizeOptions reads quantizeFlags.
func quantizeOptions(c *cli.Context, ft policy.FileType, threads int) (opt *quantize.Options, err error) {
	opt = &quantize.Options{
		SplitQKV:        c.Bool("split-qkv"),
		AllowRequantize: c.Bool("allow-requantize"),
		Method:          c.String("method"),
		Stats:           c.String("stats"),
		Name:            c.String("model-name"),
		Seal:            c.String("seal"), // of convert
	}
	if opt.Recipe, err = readRecipe(c); err != nil {
		return nil, err
	}
	if opt.Policy, err = readPolicy(c, ft); err != nil {
		return nil, err
	}
	if c.String("split-max-size") != "" {
		if opt.SplitMaxSize, err = size(c, "split-max-size"); err != nil {
			return nil, err
		}
	}
	if opt.Solver, err = readSolver(c); err != nil {
		return nil, err
	}
	if opt.Budget, err = readBudget(c); err != nil {
		return nil, err
	}
	opt.Limits, err = readLimits(c, threads)
	return opt, err
}

// budgeted reports whether types are to be chosen for a budget.
func budgeted(c *cli.Context) bool { return slices.ContainsFunc(budgetFlags, c.IsSet) }

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

// readPolicy reads the flags that give types.
func readPolicy(c *cli.Context, ft policy.FileType) (p policy.Policy, err error) {
	p = policy.Policy{FileType: ft, Pure: c.Bool("pure"), KeepOutput: c.Bool("leave-output-tensor")}
	if p.Embedding, err = readType(c, "token-embedding-type"); err != nil {
		return p, err
	}
	if p.Output, err = readType(c, "output-tensor-type"); err != nil {
		return p, err
	}
	for _, s := range c.StringSlice("tensor-type") {
		at := strings.LastIndexByte(s, '=')
		if at < 0 {
			return p, usagef("--tensor-type %q, expected REGEX=TYPE", s)
		}
		pattern, err := regexp.Compile(s[:at])
		if err != nil {
			return p, usagef("--tensor-type: %w", err)
		}
		t, err := quant.ByName(s[at+1:])
		if err != nil {
			return p, usagef("--tensor-type: %w", err)
		}
		p.Overrides = append(p.Overrides, policy.Override{Pattern: pattern, Type: t})
	}
	return p, nil
}

// readType reads a flag that names a type, nil if it is not given.
func readType(c *cli.Context, flag string) (*quant.Type, error) {
	name := c.String(flag)
	if name == "" {
		return nil, nil
	}
	t, err := quant.ByName(name)
	if err != nil {
		return nil, usagef("--%s: %w", flag, err)
	}
	return &t, nil
}

// readSolver reads the flags of methods that solve layers.
func readSolver(c *cli.Context) (s quantize.Solver, err error) {
	s.Split = c.Bool("split")
	if c.IsSet("awq") {
		awq := c.Bool("awq")
		s.AWQ = &awq
	}
	s.Options = &solve.Options{
		Shrink: c.Float64("shrink"), Asymmetric: c.Float64("asymmetric"), Sweeps: c.Int("refine"),
	}
	for _, number := range strings.Split(c.String("damp"), ",") {
		v, err := strconv.ParseFloat(number, 64)
		if err != nil {
			return s, usagef("--damp %q, expected numbers from 0 to 100", number)
		}
		s.Options.Damp = append(s.Options.Damp, v)
	}
	return s, nil
}

// readBudget reads the flags of a budget, nil if there are none.
func readBudget(c *cli.Context) (*quantize.Budget, error) {
	if !budgeted(c) {
		return nil, nil
	}
	b := &quantize.Budget{BPW: c.Float64("bpw"), MaxKLD: c.Float64("max-kld")}
	for _, name := range budgetFlags {
		if !c.IsSet(name) {
			continue
		}
		if b.Asked != "" {
			return nil, usagef("%s and --%s: a budget is one of --size, --bpw and --max-kld", b.Asked, name)
		}
		b.Asked = fmt.Sprintf("--%s %v", name, c.Value(name))
	}
	var err error
	if c.IsSet("size") {
		if b.Size, err = size(c, "size"); err != nil {
			return nil, err
		}
	}
	for _, name := range []string{"bpw", "max-kld"} {
		if v := c.Float64(name); c.IsSet(name) && !(v > 0 && v < 100) {
			return nil, usagef("--%s is %g, expected more than 0 and less than 100", name, v)
		}
	}
	if c.IsSet("types") {
		b.Types, err = readTypes(c.String("types"))
	}
	return b, err
}

// readTypes reads the value of --types.
func readTypes(list string) ([]quant.Type, error) {
	var types []quant.Type
	for _, s := range strings.Split(list, ",") {
		t, err := quant.ByName(strings.TrimSpace(s))
		if err != nil {
			return nil, usagef("--types: %w", err)
		}
		if !slices.Contains(types, t) {
			types = append(types, t)
		}
	}
	return types, nil
}

// readLimits reads --max-ram, whose default depends on the method, beside the number of threads.
func readLimits(c *cli.Context, threads int) (l quantize.Limits, err error) {
	if threads < 1 { // 0 would be the default
		return l, usagef("%d threads, expected 1 to 1024", threads)
	}
	l.Threads = threads
	if c.IsSet("max-ram") {
		l.MaxRAM, err = size(c, "max-ram")
	}
	return l, err
}

// size parses a flag such as "2GB" or "1.5 GiB".
func size(c *cli.Context, flag string) (int64, error) {
	n, err := humanize.ParseBytes(c.String(flag))
	if err != nil || n == 0 || n > 1<<60 {
		return 0, usagef("--%s %q, expected a size such as 512MiB or 2GB", flag, c.String(flag))
	}
	return int64(n), nil
}
