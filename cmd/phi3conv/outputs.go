package main

import (
	"github.com/urfave/cli/v2"

	"github.com/phi3conv/phi3conv/internal/output"
)

// forceFlag is for commands with outputs that may take the place of another kind of file.
func forceFlag(f *output.Files) cli.Flag {
	return &cli.BoolFlag{Name: "force", Usage: "replace files of any kind", Destination: &f.Force}
}

// file describes an output of one of the formats, whose name was given as name.
func file(name string, path *string, formats ...string) output.Output {
	return output.Output{Name: name, Path: path, Formats: formats}
}

// directory describes an output that files go to.
func directory(name string, path *string) output.Output {
	return output.Output{Name: name, Path: path, Kind: output.Directory, Formats: []string{"a directory"}}
}

// checkFiles refuses outputs that must not be written, or cannot: see docs/outputs.md.
func (m monitor) checkFiles(f *output.Files, inputs []string, outputs ...output.Output) error {
	f.Inputs, f.Outputs = inputs, outputs
	return f.Check(m.Note)
}
