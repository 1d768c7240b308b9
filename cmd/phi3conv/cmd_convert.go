package main

import (
	"fmt"
	"path/filepath"
	"strings"

	"github.com/phi3conv/phi3conv/quant"
	"github.com/urfave/cli/v2"
)

var convertCommand = &cli.Command{
	Name:      "convert",
	Usage:     "make a quantized GGUF file from a published checkpoint",
	ArgsUsage: "MODEL",
	Description: `MODEL is a directory as published on the Hugging Face hub (config.json,
*.safetensors, tokenizer files) or a GGUF file. It is read once; the output is
written once, with no 16-bit file in between, and appears under its name when it
is complete.

File types: ` + quant.FileTypeNames() + `

The rules of the mixed types are llama.cpp's. Example:

   phi3conv convert Phi-3-mini-4k-instruct -o phi-3-mini-Q4_K_M.gguf --type Q4_K_M`,
	Flags: append([]cli.Flag{
		&cli.StringFlag{Name: "output", Aliases: []string{"o"}, Usage: "output `FILE` (default: MODEL-TYPE.gguf in the current directory)"},
		&cli.StringFlag{Name: "type", Aliases: []string{"t", "outtype"}, Value: "Q4_K_M", Usage: "file `TYPE`"},
		threadsFlag(),
	}, quantizeFlags...),
	Action: func(c *cli.Context) error {
		if c.NArg() != 1 {
			return usagef("convert takes one MODEL, got %d arguments", c.NArg())
		}
		ft, err := quant.FileTypeByName(c.String("type"))
		if err != nil {
			return usageError{err}
		}
		in, out := c.Args().First(), c.String("output")
		if out == "" {
			abs, err := filepath.Abs(in)
			if err != nil {
				return err
			}
			out = fmt.Sprintf("%s-%s.gguf", strings.TrimSuffix(filepath.Base(abs), ".gguf"), ft)
		}
		return quantize(c, in, out, ft, c.Int("threads"))
	},
}
