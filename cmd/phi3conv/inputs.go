package main

import (
	"context"
	"io"
	"slices"

	"github.com/phi3conv/phi3conv/internal/cmdline"
	"github.com/phi3conv/phi3conv/internal/remote"
)

// inputFlags are the flags whose values are files that a command reads. They may be elsewhere.
var inputFlags = []string{
	"against", "base", "baseline", "chat-template-file", "config", "costs", "draft", "file", "gradients",
	"grammar-file", "json-schema-file", "license", "lora", "model", "own-text", "readme", "recipe",
	"seal", "shots-file", "show", "stats", "task", "text", "thresholds", "tokens-file",
}

// outputFlags are those whose values are files that a command writes.
var outputFlags = []string{"html", "junit", "markdown", "output", "report", "sarif", "write-recipe"}

// notFetched are the commands whose arguments are other names, or are opened by the command itself.
var notFetched = []string{"completion", "push", "pull", "unpack"}

// isInput reports whether a value of the command line is the name of something that the command reads, and that is to
// be fetched for it if it is elsewhere.
func isInput(v cmdline.Value) bool {
	switch {
	case v.Flag == "report": // of verify, which writes it
		return v.Command == "pack"
	case v.Flag == "model": // of demo, the name of one that is part of the program
		return v.Command != "demo"
	case v.Flag != "":
		return slices.Contains(inputFlags, v.Flag)
	case v.Command == "convert", v.Command == "quantize": // which read it where it is
		return false
	}
	return !slices.Contains(notFetched, v.Command)
}

// fetchInputs fetches what a command reads from elsewhere, and gives it the path.
func fetchInputs(ctx context.Context, stderr io.Writer) func(cmdline.Value) (string, error) {
	return func(v cmdline.Value) (string, error) {
		if !remote.Is(v.Text) || !isInput(v) {
			return v.Text, nil
		}
		need := remote.Everything
		if v.Command == "tokenize" || v.Command == "detokenize" {
			need = remote.Tokenizer
		}
		path, _, err := remote.Fetch(ctx, v.Text, need, remoteOptions(newMonitor(stderr)))
		return path, err
	}
}

// remoteOptions say how servers are asked.
func remoteOptions(m monitor) remote.Options {
	return remote.Options{UserAgent: "phi3conv/" + versionString(), Monitor: m}
}
