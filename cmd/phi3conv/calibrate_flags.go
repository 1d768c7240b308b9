package main

import (
	"slices"

	"github.com/phi3conv/phi3conv/internal/job/calibrate"
	"github.com/urfave/cli/v2"
)

// calibrationTextFlags say which text.
type calibrationTextFlags struct {
	text           calibrate.Text
	files          cli.StringSlice
	chunks, tokens int
}

func (f *calibrationTextFlags) flags() []cli.Flag {
	defaults := calibrate.DefaultText()
	return []cli.Flag{
		&cli.StringSliceFlag{Name: "text", Aliases: []string{"f", "file"}, Destination: &f.files,
			Usage: "`FILE` with calibration text; - for standard input"},
		&cli.IntFlag{Name: "ctx-size", Aliases: []string{"c"}, Value: defaults.Length, Destination: &f.text.Length,
			Usage: "sequences of `N` tokens"},
		&cli.IntFlag{Name: "chunks", Destination: &f.chunks, DefaultText: "all text",
			Usage: "use as many tokens as `N` sequences of --ctx-size have, spread evenly over the texts"},
		&cli.IntFlag{Name: "tokens", Destination: &f.tokens, DefaultText: "all text; 65536 without text",
			Usage: "use about `N` tokens, spread evenly over the texts"},
		&cli.BoolFlag{Name: "self", Destination: &f.text.Self, Usage: "let the model write text too, besides --text"},
		&cli.Float64Flag{Name: "self-share", Value: defaults.SelfShare, Destination: &f.text.SelfShare,
			Usage: "`SHARE` of the tokens that the model writes, with --self and --text"},
		&cli.Float64Flag{Name: "temperature", Aliases: []string{"temp"}, Value: defaults.Temperature,
			Destination: &f.text.Temperature,
			Usage:       "temperature `T` of the model's own text; 1 samples as the model predicts"},
		&cli.Uint64Flag{Name: "seed", Aliases: []string{"s"}, Value: defaults.Seed, Destination: &f.text.Seed,
			Usage: "seed `N` of the model's own text, and of the choice of sequences if not all are used"},
	}
}

// options returns what the flags ask for. given has the names of those on the command line.
func (f *calibrationTextFlags) options(given []string) (calibrate.Text, error) {
	t := f.text
	t.Files, t.Tokens = f.files.Value(), f.tokens
	chunks, tokens := slices.Contains(given, "chunks"), slices.Contains(given, "tokens")
	if chunks {
		if tokens {
			return t, usagef("give --chunks or --tokens, not both")
		}
		t.Tokens = f.chunks * t.Length
	}
	if (chunks || tokens) && t.Tokens < 1 {
		return t, usagef("--chunks and --tokens must be at least 1")
	}
	return t, nil
}
