package main

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/dustin/go-humanize"

	"github.com/phi3conv/phi3conv/calib"
	"github.com/phi3conv/phi3conv/calib/solve"
	"github.com/phi3conv/phi3conv/internal/job/quantize"
	"github.com/phi3conv/phi3conv/quant"
	"github.com/phi3conv/phi3conv/quant/policy"
)

// options returns what the flags ask for. given has the names of those on the command line.
func (f *quantizeFlags) options(given []string, ft policy.FileType, threads int) (*quantize.Options, error) {
	opt := f.opt
	opt.Costs = f.costs.Value()
	var err error
	if opt.Recipe, err = f.readRecipe(given); err != nil {
		return nil, err
	}
	if opt.Policy, err = f.readPolicy(ft); err != nil {
		return nil, err
	}
	if f.splitMaxSize != "" {
		if opt.SplitMaxSize, err = size("split-max-size", f.splitMaxSize); err != nil {
			return nil, err
		}
	}
	if opt.Solver.Options, err = f.solveOptions(); err != nil {
		return nil, err
	}
	if slices.Contains(given, "awq") {
		opt.Solver.AWQ = &f.awq
	}
	if slices.Contains(given, "outputs") {
		opt.Solver.Outputs = &f.outputs
	}
	if opt.Budget, err = f.budget(given); err != nil {
		return nil, err
	}
	opt.Limits, err = readLimits(f.maxRAM, threads)
	return &opt, err
}

// typesBy returns the flag that chooses the types in place of a file type, "" if there is none.
func typesBy(given []string) string {
	for _, name := range append([]string{"recipe"}, budgetFlags...) {
		if slices.Contains(given, name) {
			return "--" + name
		}
	}
	return ""
}

// typesHint says what to do about a file type beside the flag by.
func typesHint(by string) string {
	if by == "--recipe" {
		return "the recipe has each tensor's type"
	}
	return by + " chooses each tensor's type; --types says from which"
}

// budgeted reports whether types are to be chosen for a budget.
func budgeted(given []string) bool {
	return slices.ContainsFunc(budgetFlags, func(name string) bool { return slices.Contains(given, name) })
}

// readRecipe reads what --recipe names, nil if it is not given.
func (f *quantizeFlags) readRecipe(given []string) (*calib.Recipe, error) {
	if f.types != "" && !budgeted(given) {
		return nil, usagef("--types goes with --size, --bpw or --max-kld")
	}
	if f.recipe == "" {
		return nil, nil
	}
	for _, name := range recipeDecides {
		if slices.Contains(given, name) {
			return nil, usagef("--%s does not go with --recipe, which decides that", name)
		}
	}
	return calib.ReadRecipe(f.recipe)
}

// readPolicy reads the flags that give types.
func (f *quantizeFlags) readPolicy(ft policy.FileType) (p policy.Policy, err error) {
	p = f.opt.Policy
	p.FileType = ft
	if p.Embedding, err = readType("token-embedding-type", f.embeddingType); err != nil {
		return p, err
	}
	if p.Output, err = readType("output-tensor-type", f.outputType); err != nil {
		return p, err
	}
	for _, s := range f.tensorTypes.Value() {
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

// readType reads the value of a flag that names a type, nil if there is none.
func readType(flag, name string) (*quant.Type, error) {
	if name == "" {
		return nil, nil
	}
	t, err := quant.ByName(name)
	if err != nil {
		return nil, usagef("--%s: %w", flag, err)
	}
	return &t, nil
}

// solveOptions returns the options of methods that solve layers.
func (f *quantizeFlags) solveOptions() (*solve.Options, error) {
	opt := f.solver
	for _, number := range strings.Split(f.damp, ",") {
		v, err := strconv.ParseFloat(number, 64)
		if err != nil {
			return nil, usagef("--damp %q, expected numbers from 0 to 100", number)
		}
		opt.Damp = append(opt.Damp, v)
	}
	return &opt, nil
}

// budget reads the flags of a budget, nil if there are none.
func (f *quantizeFlags) budget(given []string) (b *quantize.Budget, err error) {
	values := map[string]any{"size": f.size, "bpw": f.bpw, "max-kld": f.maxKLD}
	for _, name := range budgetFlags {
		if !slices.Contains(given, name) {
			continue
		}
		if b != nil {
			return nil, usagef("%s and --%s: a budget is one of --size, --bpw and --max-kld", b.Asked, name)
		}
		b = &quantize.Budget{BPW: f.bpw, MaxKLD: f.maxKLD, Asked: fmt.Sprintf("--%s %v", name, values[name])}
		if v, ok := values[name].(float64); ok && !(v > 0 && v < 100) {
			return nil, usagef("--%s is %g, expected more than 0 and less than 100", name, v)
		}
	}
	if f.size != "" {
		if b.Size, err = size("size", f.size); err != nil {
			return nil, err
		}
	}
	if f.types != "" {
		b.Types, err = readTypes(f.types)
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
func readLimits(maxRAM string, threads int) (l quantize.Limits, err error) {
	if threads < 1 { // 0 would be the default
		return l, usagef("--threads is %d, expected 1 to 1024", threads)
	}
	l.Threads = threads
	if maxRAM != "" {
		l.MaxRAM, err = size("max-ram", maxRAM)
	}
	return l, err
}

// size parses the value of a flag such as "2GB" or "1.5 GiB".
func size(flag, value string) (int64, error) {
	n, err := humanize.ParseBytes(value)
	if err != nil || n == 0 || n > 1<<60 {
		return 0, usagef("--%s %q, expected a size such as 512MiB or 2GB", flag, value)
	}
	return int64(n), nil
}
