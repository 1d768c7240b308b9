package main

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/phi3conv/phi3conv/internal/cmdline"
	"github.com/phi3conv/phi3conv/internal/convert"
	"github.com/phi3conv/phi3conv/internal/job/quantize"
	"github.com/phi3conv/phi3conv/internal/remote"
	"github.com/phi3conv/phi3conv/internal/report"
	"github.com/phi3conv/phi3conv/internal/usage"
	"github.com/phi3conv/phi3conv/quant/policy"
)

func convertCommand() *cli.Command {
	var f quantizeFlags
	return &cli.Command{
		Name:      "convert",
		Usage:     "make a quantized GGUF or .pmap file from a published checkpoint",
		ArgsUsage: "MODEL",
		Description: `MODEL is a directory as published on the Hugging Face hub (config.json, *.safetensors,
tokenizer files), a GGUF file or a .pmap file. It is read once and the output is written once,
with no 16-bit file in between. The output appears under its name when it is complete. Its name
decides the format: .pmap is phi3conv's own, which is mapped and used in place; any other name
gives GGUF.

MODEL may also be hf://OWNER/NAME, s3://BUCKET/KEY, oci:// or https://; what is read once is not
stored on this machine. FILE may be s3://BUCKET/KEY. docs/sources.md says more.

` + cmdline.Wrap("File types: "+policy.FileTypeNames()+" or COPY, which keeps all tensors and metadata of "+
			"a GGUF or .pmap file as they are. COPY is the default where one of these formats becomes the other.") + `

The mixed types follow llama.cpp's rules. Examples:

   phi3conv convert Phi-3-mini-4k-instruct -o phi-3-mini-Q4_K_M.gguf --type Q4_K_M
   phi3conv convert hf://microsoft/Phi-3-mini-4k-instruct -o s3://models/phi-3-mini-Q4_K_M.gguf
   phi3conv convert phi-3-mini-Q4_K_M.gguf -o phi-3-mini-Q4_K_M.pmap`,
		Flags: append([]cli.Flag{
			&cli.StringFlag{Name: "output", Aliases: []string{"o"},
				Usage: "write to `FILE`", DefaultText: "MODEL-TYPE.gguf in the current directory"},
			cmdline.OneOf(append(strings.Fields(policy.FileTypeNames()), "COPY"), &cli.StringFlag{Name: "type",
				Aliases: []string{"outtype"}, Value: "Q4_K_M", Usage: "file `TYPE`"}),
			&cli.StringFlag{Name: "seal",
				Usage: "put the original's seal, made by phi3conv seal, from `FILE` into a .pmap output"},
			&cli.StringFlag{Name: "lora", Destination: &f.opt.Lora,
				Usage: "merge the LoRA adapter in `DIR`, made by PEFT, into MODEL, a checkpoint, in float32"},
			threadsFlag(),
		}, f.flags()...),
		Action: func(c *cli.Context) error {
			if err := cmdline.One(c.Command, c.Args().Slice(), "MODEL"); err != nil {
				return err
			}
			in, out := c.Args().First(), c.String("output")
			if copies(c, in, out) {
				return runCopy(c, &f, in, out)
			}
			ft, err := policy.FileTypeByName(c.String("type"))
			if err != nil {
				return &usage.Error{Err: err}
			}
			if by := typesBy(c.LocalFlagNames()); by != "" && c.IsSet("type") {
				return usagef("%s and --type exclude each other: %s", by, typesHint(by))
			} else if by != "" && out == "" {
				return usagef("%s needs --output", by)
			}
			if out == "" {
				name, err := defaultName(in)
				if err != nil {
					return err
				}
				out = fmt.Sprintf("%s-%s.gguf", name, ft)
			}
			opt, err := f.options(c.LocalFlagNames(), ft, c.Int("threads"))
			if err != nil {
				return err
			}
			opt.Seal = c.String("seal")
			return f.run(c.Context, in, "--output", out, *opt, c.App.Writer, newMonitor(c.App.ErrWriter))
		},
	}
}

// defaultName returns the name of the model, for that of an output.
func defaultName(in string) (string, error) {
	if !remote.Is(in) {
		abs, err := filepath.Abs(in)
		return strings.TrimSuffix(filepath.Base(abs), ".gguf"), err
	}
	return strings.TrimSuffix(remote.Base(in), ".gguf"), nil
}

// copies reports whether a file is to be copied to the other format with all that it holds.
func copies(c *cli.Context, in, out string) bool {
	if c.IsSet("lora") {
		return false
	}
	if c.IsSet("type") {
		return strings.EqualFold(c.String("type"), "COPY")
	}
	if remote.Is(in) {
		isPMAP := convert.IsPMAP(in)
		return isPMAP != convert.IsPMAP(out) && (isPMAP || strings.HasSuffix(strings.ToLower(in), ".gguf"))
	}
	return quantize.OtherFormat(in, out)
}

// runCopy copies a GGUF or .pmap file.
func runCopy(c *cli.Context, f *quantizeFlags, in, out string) error {
	if out == "" {
		return usagef("COPY needs --output")
	}
	taken := []string{"max-ram", "force", "json", "cache"}
	for _, flag := range f.flags() {
		if name := flag.Names()[0]; c.IsSet(name) && !slices.Contains(taken, name) {
			return usagef("--%s does nothing to a copy; --type says what else to make", name)
		}
	}
	limits, err := readLimits(f.maxRAM, c.Int("threads"))
	if err != nil {
		return err
	}
	m := newMonitor(c.App.ErrWriter)
	w, err := f.check(in, "--output", &out, c.String("seal"), c.App.Writer, m)
	if err != nil {
		return err
	}
	if remote.Is(in) {
		if in, _, err = remote.Fetch(c.Context, in, remote.Everything, remoteOptions(m)); err != nil {
			return err
		}
	}
	r, err := quantize.Copy(c.Context, in, out, c.String("seal"), limits, m)
	if err != nil {
		return err
	}
	return report.Print(w, f.json, r)
}
