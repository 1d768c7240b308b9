package main

import (
	"context"
	"io"

	"github.com/phi3conv/phi3conv/internal/input"
)

// readText returns what is in a file, or comes from standard input if that is its name.
func readText(ctx context.Context, stdin io.Reader, path string) (string, error) {
	if path == input.Stdin {
		data, err := input.ReadAll(ctx, stdin)
		return string(data), err
	}
	data, err := input.ReadFile(ctx, path)
	return string(data), err
}
