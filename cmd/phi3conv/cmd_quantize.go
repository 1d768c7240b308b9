package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"regexp"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/phi3conv/phi3conv/internal/convert"
	"github.com/phi3conv/phi3conv/internal/source"
	"github.com/phi3conv/phi3conv/internal/usage"
	"github.com/phi3conv/phi3conv/quant"
	"github.com/phi3conv/phi3conv/quant/policy"
	"github.com/urfave/cli/v2"
)

var quantizeCommand = &cli.Command{
	Name:      "quantize",
	Usage:     "quantize a GGUF file, with llama-quantize's arguments",
	ArgsUsage: "IN.gguf OUT.gguf [TYPE] [THREADS]",
	Description: `File types: ` + policy.FileTypeNames() + `

IN may also be a checkpoint directory. In place of TYPE there may be a recipe or a budget: --size,
--bpw or --max-kld, for which each tensor gets the type that pays most. Examples:

   phi3conv quantize phi-3-mini-F16.gguf phi-3-mini-Q4_K_M.gguf Q4_K_M
   phi3conv quantize Phi-3-mini-4k-instruct out.gguf --size 1.8GB --stats stats.gguf --write-recipe out.yaml
   phi3conv quantize Phi-3-mini-4k-instruct again.gguf --recipe out.yaml --stats stats.gguf`,
	Flags: quantizeFlags,
	Action: func(c *cli.Context) error {
		args, want := c.Args().Slice(), "IN OUT TYPE [THREADS]"
		var ft policy.FileType
		if c.IsSet("recipe") || budgeted(c) {
			want = "IN OUT [THREADS] with --recipe, --size, --bpw or --max-kld"
		} else if len(args) > 2 {
			var err error
			if ft, err = policy.FileTypeByName(args[2]); err != nil {
				return &usage.Error{Err: err}
			}
			args = slices.Delete(args, 2, 3)
		} else {
			args = nil
		}
		if len(args) != 2 && len(args) != 3 {
			return usagef("quantize takes %s, got %d arguments", want, c.NArg())
		}
		threads := defaultThreads()
		if len(args) == 3 {
			var err error
			if threads, err = strconv.Atoi(args[2]); err != nil {
				return usagef("THREADS is %q, expected a number", args[2])
			}
		}
		return quantize(c, args[0], args[1], ft, threads)
	},
}

// quantizeFlags are the flags that convert and quantize share; names are llama-quantize's.
var quantizeFlags = append([]cli.Flag{
	&cli.StringFlag{Name: "model-name", Usage: "general.name of the output (default: the source's; of a checkpoint, from its model card or directory)"},
	&cli.BoolFlag{Name: "dry-run", Usage: "print what would be written and write nothing"},
	&cli.BoolFlag{Name: "json", Usage: "print the plan, or the summary, as JSON"},
	&cli.BoolFlag{Name: "pure", Usage: "give every matrix the type's base type, without a mixture"},
	&cli.StringSliceFlag{Name: "tensor-type", Usage: "give tensors whose name matches a regular expression a type: `REGEX=TYPE`, the first match wins; repeatable"},
	&cli.BoolFlag{Name: "split-qkv", Usage: "store q, k and v of a block as tensors of their own, attn_q, attn_k and attn_v; with a budget where their types differ. llama.cpp reads such files since April 2026"},
	&cli.StringFlag{Name: "token-embedding-type", Usage: "`TYPE` of token_embd.weight"},
	&cli.StringFlag{Name: "output-tensor-type", Usage: "`TYPE` of output.weight"},
	&cli.BoolFlag{Name: "leave-output-tensor", Usage: "leave output.weight as it is in the source"},
	&cli.BoolFlag{Name: "allow-requantize", Usage: "quantize tensors that are quantized already, which adds error to error"},
	&cli.StringFlag{Name: "split-max-size", Usage: "start a new file beyond `SIZE` of tensor data, such as 2GB (default: one file)"},
	maxRAMFlag(),
}, slices.Concat(methodFlags, recipeFlags)...)

func maxRAMFlag() cli.Flag {
	return &cli.StringFlag{Name: "max-ram", Value: "1GiB", Usage: "bound on memory as a `SIZE`; does not change the result; gptq takes 6GiB unless it is given"}
}

func threadsFlag() cli.Flag {
	return &cli.IntFlag{Name: "threads", Value: defaultThreads(), Usage: "number of threads; does not change the result"}
}

// defaultThreads is the number of CPUs that this process may use.
func defaultThreads() int { return runtime.GOMAXPROCS(0) }

// overhead is what the program needs beside buffers: itself, and a vocabulary of 200,000 tokens.
const overhead = 256 << 20

// sequentialRAM is the default of --max-ram for methods that run the model.
const sequentialRAM = 6 << 30

// quantize makes out from in: what convert and quantize do.
func quantize(c *cli.Context, in, out string, ft policy.FileType, threads int) error {
	recipe, err := readRecipe(c)
	if err != nil {
		return err
	}
	opt, err := planOptions(c, ft)
	if err != nil {
		return err
	}
	if opt.Sections, err = sections(c); err != nil {
		return err
	}
	meth, err := quantizeMethod(c, recipe)
	if err != nil {
		return err
	}
	defer meth.close()
	ram, err := memory(c, meth, threads)
	if err != nil {
		return err
	}

	m, err := source.Open(in)
	if err != nil {
		return err
	}
	defer func() { _ = m.Close() }()
	if meth.Method.Importance {
		opt.Imatrix, opt.Policy.Imatrix = importance(meth.stats), true
	}
	if recipe != nil {
		opt.Policy.FileType, opt.Types = recipe.FileType, recipe.Tensors
	}
	var spent *budget
	if budgeted(c) {
		if spent, err = spend(c, m, meth, &opt, out, threads); err != nil {
			return err
		}
	}
	plan, err := meth.plan(c, m, opt)
	if err != nil {
		return err
	}
	if path := c.String("write-recipe"); path != "" {
		if err := meth.writeRecipe(path, plan, spent); err != nil {
			return err
		}
	}
	for _, note := range plan.Notes() {
		_, _ = fmt.Fprintf(c.App.ErrWriter, "note: %s\n", note)
	}
	if c.Bool("dry-run") {
		return printPlan(c, plan, out, spent)
	}
	if err := refuseOverwrite(plan, out); err != nil {
		return err
	}
	start := time.Now()
	if err := meth.build(c, plan, out, threads, ram); err != nil {
		return err
	}
	return printSummary(c, plan, out, spent, time.Since(start))
}

// memory reads --max-ram and lets the program have that much.
func memory(c *cli.Context, meth *method, threads int) (int64, error) {
	ram, err := size(c, "max-ram")
	if err != nil {
		return 0, err
	}
	if meth.Method.Sequential && !c.IsSet("max-ram") {
		ram = sequentialRAM
	}
	if ram < overhead+64<<20 {
		return 0, usagef("--max-ram is %s, expected at least %s", humanize.IBytes(uint64(ram)), humanize.IBytes(overhead+64<<20))
	}
	if threads < 1 || threads > 1024 {
		return 0, usagef("%d threads, expected 1 to 1024", threads)
	}
	debug.SetMemoryLimit(ram)
	return ram, nil
}

// build writes the output.
func (m *method) build(c *cli.Context, plan *convert.Plan, out string, threads int, ram int64) error {
	encoded, err := m.run(c, plan, out, threads)
	if err != nil {
		return err
	}
	if encoded != nil {
		defer func() { _ = encoded.Close() }()
	}
	bar := newProgress(c.App.ErrWriter, "converting", plan.SourceSize())
	err = plan.Run(c.Context, out, convert.Limits{Threads: threads, Memory: ram - overhead, Progress: bar.set})
	bar.done()
	if errors.Is(err, context.Canceled) {
		return fmt.Errorf("interrupted, %s was not written: %w", out, err)
	}
	if err != nil || encoded == nil {
		return err
	}
	return encoded.Remove()
}

func planOptions(c *cli.Context, ft policy.FileType) (convert.Options, error) {
	opt := convert.Options{AllowRequantize: c.Bool("allow-requantize"), Name: c.String("model-name"), Split: c.Bool("split-qkv")}
	opt.Policy = policy.Policy{FileType: ft, Pure: c.Bool("pure"), KeepOutput: c.Bool("leave-output-tensor")}
	for _, f := range []struct {
		flag string
		dst  **quant.Type
	}{{"token-embedding-type", &opt.Policy.Embedding}, {"output-tensor-type", &opt.Policy.Output}} {
		if s := c.String(f.flag); s != "" {
			t, err := quant.ByName(s)
			if err != nil {
				return opt, usagef("--%s: %w", f.flag, err)
			}
			*f.dst = &t
		}
	}
	for _, s := range c.StringSlice("tensor-type") {
		at := strings.LastIndexByte(s, '=')
		if at < 0 {
			return opt, usagef("--tensor-type %q, expected REGEX=TYPE", s)
		}
		pattern, err := regexp.Compile(s[:at])
		if err != nil {
			return opt, usagef("--tensor-type: %w", err)
		}
		t, err := quant.ByName(s[at+1:])
		if err != nil {
			return opt, usagef("--tensor-type: %w", err)
		}
		opt.Policy.Overrides = append(opt.Policy.Overrides, policy.Override{Pattern: pattern, Type: t})
	}
	var err error
	if c.String("split-max-size") != "" {
		opt.SplitMaxSize, err = size(c, "split-max-size")
	}
	return opt, err
}

// size parses a flag such as "2GB" or "1.5 GiB".
func size(c *cli.Context, flag string) (int64, error) {
	n, err := humanize.ParseBytes(c.String(flag))
	if err != nil || n == 0 || n > 1<<60 {
		return 0, usagef("--%s %q, expected a size such as 512MiB or 2GB", flag, c.String(flag))
	}
	return int64(n), nil
}

// refuseOverwrite stops files of the source from being replaced by their own conversion.
func refuseOverwrite(p *convert.Plan, out string) error {
	shards, err := p.Shards(out)
	if err != nil {
		return err
	}
	sources, err := p.Source.Files()
	if err != nil {
		return err
	}
	for _, s := range shards {
		if err := refuseReplacing(sources, s.Path); err != nil {
			return err
		}
	}
	return nil
}

// refuseReplacing stops a file of sources from being replaced by out.
func refuseReplacing(sources []string, out string) error {
	to, err := os.Stat(out)
	if err != nil {
		return nil // nothing there
	}
	if !to.Mode().IsRegular() {
		return usagef("output %s exists and is not a regular file", out)
	}
	if isOneOf(out, sources) {
		return usagef("output %s is a file of the input", out)
	}
	return nil
}

// isOneOf reports whether path is one of the files, under whatever name.
func isOneOf(path string, files []string) bool {
	info, err := os.Stat(path)
	return err == nil && slices.ContainsFunc(files, func(name string) bool {
		other, err := os.Stat(name)
		return err == nil && os.SameFile(info, other)
	})
}

type planJSON struct {
	Output        string       `json:"output"`
	FileType      string       `json:"file_type"`
	Params        int64        `json:"parameters"`
	Bytes         int64        `json:"tensor_bytes"`
	BitsPerWeight float64      `json:"bits_per_weight"`
	Files         []fileJSON   `json:"files"`
	Tensors       []tensorJSON `json:"tensors,omitempty"`
	Seconds       float64      `json:"seconds,omitempty"`
	Budget        *budget      `json:"budget,omitempty"`
}

type fileJSON struct {
	Path  string `json:"path"`
	Bytes int64  `json:"bytes"`
}

type tensorJSON struct {
	Name  string   `json:"name"`
	Shape []uint64 `json:"shape"` // rows, columns
	From  string   `json:"from"`
	To    string   `json:"to"`
	Bytes int64    `json:"bytes"`
}

func describePlan(p *convert.Plan, out string) (*planJSON, error) {
	shards, err := p.Shards(out)
	if err != nil {
		return nil, err
	}
	ft, _ := p.Metadata.Uint("general.file_type")
	f, _ := policy.FileTypeByGGUF(ft)
	d := &planJSON{Output: out, FileType: f.String(), Params: p.Params(), Bytes: p.Size()}
	d.BitsPerWeight = 8 * float64(d.Bytes) / float64(d.Params)
	for _, s := range shards {
		d.Files = append(d.Files, fileJSON{s.Path, s.Size})
	}
	for i := range p.Tensors {
		t := &p.Tensors[i]
		d.Tensors = append(d.Tensors, tensorJSON{t.Name, shape(t.Dims), t.From, t.Type.String(), t.Size()})
	}
	return d, nil
}

// shape turns GGUF's dimensions into rows and columns.
func shape(dims []uint64) []uint64 {
	s := make([]uint64, len(dims))
	for i, d := range dims {
		s[len(dims)-1-i] = d
	}
	return s
}

func printPlan(c *cli.Context, p *convert.Plan, out string, spent *budget) error {
	d, err := describePlan(p, out)
	if err != nil {
		return err
	}
	d.Budget = spent
	if c.Bool("json") {
		return printJSON(c.App.Writer, d)
	}
	t := newTable(c.App.Writer, "tensor", "shape", "from", "to", "bytes")
	for _, x := range d.Tensors {
		t.row(x.Name, fmt.Sprint(x.Shape), x.From, x.To, x.Bytes)
	}
	if err := t.flush(); err != nil {
		return err
	}
	for _, f := range d.Files {
		if _, err := fmt.Fprintf(c.App.Writer, "%s: %d bytes\n", f.Path, f.Bytes); err != nil {
			return err
		}
	}
	_, err = fmt.Fprintf(c.App.Writer, "%d tensors, %d parameters, %d bytes (%s), %.4f bits per weight\n",
		len(d.Tensors), d.Params, d.Bytes, humanize.IBytes(uint64(d.Bytes)), d.BitsPerWeight)
	return err
}

func printSummary(c *cli.Context, p *convert.Plan, out string, spent *budget, took time.Duration) error {
	d, err := describePlan(p, out)
	if err != nil {
		return err
	}
	d.Budget = spent
	d.Seconds = took.Seconds()
	if c.Bool("json") {
		d.Tensors = nil
		return printJSON(c.App.Writer, d)
	}
	for _, f := range d.Files {
		if _, err := fmt.Fprintf(c.App.Writer, "%s: %d bytes\n", f.Path, f.Bytes); err != nil {
			return err
		}
	}
	_, err = fmt.Fprintf(c.App.Writer, "%s: %d tensors, %.4f bits per weight, %.1f s, read %s/s\n",
		d.FileType, len(p.Tensors), d.BitsPerWeight, took.Seconds(), humanize.IBytes(uint64(float64(p.SourceSize())/took.Seconds())))
	return err
}
