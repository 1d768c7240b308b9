package main

import (
	"github.com/urfave/cli/v2"

	"github.com/phi3conv/phi3conv/internal/input"
)

// readText returns what is in a file, or comes from standard input if that is its name.
func readText(c *cli.Context, path string) (string, error) {
	if path == input.Stdin {
		data, err := input.ReadAll(c.Context, c.App.Reader)
		return string(data), err
	}
	data, err := input.ReadFile(c.Context, path)
	return string(data), err
}
