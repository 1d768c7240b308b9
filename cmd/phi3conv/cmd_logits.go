package main

import (
	"encoding/json"
	"strconv"
	"strings"

	"github.com/phi3conv/phi3conv/formats"
	"github.com/phi3conv/phi3conv/internal/cmdline"
	"github.com/phi3conv/phi3conv/internal/input"
	"github.com/phi3conv/phi3conv/internal/job/logits"
	"github.com/phi3conv/phi3conv/internal/output"
	"github.com/phi3conv/phi3conv/internal/report"
	"github.com/phi3conv/phi3conv/runtime"
	"github.com/phi3conv/phi3conv/runtime/tokenizer"
	"github.com/urfave/cli/v2"
)

func logitsCommand() *cli.Command {
	var compute computeFlags
	var files output.Files
	return &cli.Command{
		Name:      "logits",
		Usage:     "write a model's logits for a text, to compare with other programs",
		ArgsUsage: "MODEL",
		Description: `MODEL is a checkpoint directory, a GGUF or a .pmap file. With -o the logits after every token
are written as a NumPy array, float32 [tokens, vocabulary]. Without it, the likeliest tokens
after the last one are printed.

Everything is computed in float32, whatever the weights' type, unless --fast is given. Example:

   phi3conv logits phi-3-mini -p "The capital of France is" -o logits.npy`,
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "tokens", Usage: "token ids, separated by commas, such as `1,2,3`"},
			&cli.StringFlag{Name: "tokens-file", Usage: "`FILE` with a JSON array of token ids; - for standard input"},
			&cli.StringFlag{Name: "prompt", Aliases: []string{"p"},
				Usage: "tokens of `TEXT`: special tokens in it are recognized, and BOS is added if the tokenizer " +
					"says so"},
			&cli.StringFlag{Name: "file", Aliases: []string{"f"},
				Usage: "tokens of the text in `FILE`, as of --prompt; - for standard input"},
			&cli.StringFlag{Name: "output", Aliases: []string{"o"}, Usage: "write the logits to `FILE.npy`"},
			&cli.BoolFlag{Name: "fast", Usage: "compute as the run command does"},
			cmdline.OneOf(cacheTypes, &cli.StringFlag{Name: "cache-type",
				DefaultText: "f32; with --fast f16",
				Usage:       "`TYPE` of the cache of keys and values: f16, f32 or q8_0"}),
			compute.batchFlag(),
			compute.noRepackFlag(),
			&cli.BoolFlag{Name: "json", Usage: "print the likeliest tokens, or what was written, as JSON"},
			forceFlag(&files),
			modelThreadsFlag(),
		},
		Action: func(c *cli.Context) error { return logitsAction(c, compute.opt, &files) },
	}
}

func logitsAction(c *cli.Context, compute runtime.Options, files *output.Files) error {
	if err := cmdline.One(c.Command, c.Args().Slice(), "MODEL"); err != nil {
		return err
	}
	path := c.Args().First()
	m, out := newMonitor(c.App.ErrWriter), c.String("output")
	inputs := []string{path, c.String("tokens-file"), c.String("file")}
	files.Machine = c.Bool("json")
	if err := m.checkFiles(files, inputs, file("--output", &out, output.NumPy)); err != nil {
		return err
	}
	tokens, err := logitsTokens(c, path)
	if err != nil {
		return err
	}
	opt := logits.Options{Monitor: m}
	if opt.Compute, err = logitsCompute(c, compute); err != nil {
		return err
	}
	if out != "" {
		r, err := logits.WriteNPY(c.Context, path, tokens, out, opt)
		if err != nil {
			return err
		}
		return report.Print(files.Writer(c.App.Writer, m.w), c.Bool("json"), r)
	}
	r, err := logits.Likeliest(c.Context, path, tokens, 10, opt)
	if err != nil {
		return err
	}
	return report.Print(c.App.Writer, c.Bool("json"), r)
}

func logitsCompute(c *cli.Context, opt runtime.Options) (_ runtime.Options, err error) {
	opt.Float32, opt.Cache = !c.Bool("fast"), runtime.CacheF32
	if opt.Threads, err = modelThreads(c.Int("threads"), c.IsSet("threads")); err != nil {
		return opt, err
	}
	if err = checkBatch(opt.Batch); err != nil {
		return opt, err
	}
	if name := c.String("cache-type"); name != "" {
		opt.Cache, err = cacheType(name)
	} else if !opt.Float32 {
		opt.Cache = runtime.CacheF16
	}
	return opt, err
}

// logitsTokens reads the tokens from the one flag that gives them.
func logitsTokens(c *cli.Context, path string) (tokens []int32, err error) {
	given := 0
	for _, name := range []string{"tokens", "tokens-file", "prompt", "file"} {
		if c.IsSet(name) {
			given++
		}
	}
	if given != 1 {
		return nil, usagef("logits needs one of --tokens, --tokens-file, --prompt and --file")
	}
	switch {
	case c.IsSet("tokens"):
		for _, field := range strings.Split(c.String("tokens"), ",") {
			id, err := strconv.ParseInt(strings.TrimSpace(field), 10, 32)
			if err != nil {
				return nil, usagef("--tokens: %q is not a token id", field)
			}
			tokens = append(tokens, int32(id))
		}
	case c.IsSet("tokens-file"):
		name := c.String("tokens-file")
		list, err := readText(c.Context, c.App.Reader, name)
		if err != nil {
			return nil, err
		}
		if err := json.Unmarshal([]byte(list), &tokens); err != nil {
			return nil, formats.WrapFile(err, input.Name(name), "expected a JSON array of token ids")
		}
	default:
		tok, err := tokenizer.Open(path)
		if err != nil {
			return nil, err
		}
		text := c.String("prompt")
		if c.IsSet("file") {
			if text, err = readText(c.Context, c.App.Reader, c.String("file")); err != nil {
				return nil, err
			}
		}
		tokens = tok.Encode(text, tokenizer.EncodeOptions{AddSpecial: true, ParseSpecial: true})
	}
	if len(tokens) == 0 {
		return nil, usagef("there are no tokens")
	}
	return tokens, nil
}
