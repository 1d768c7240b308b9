package main

import (
	"context"
	"io"

	"github.com/phi3conv/phi3conv/internal/input"
)

// readText returns what is in a file, or comes from standard input if that is its name.
func readText(ctx context.Context, stdin io.Reader, path string) (string, error) {
	data, err := input.Read(ctx, path, stdin)
	return string(data), err
}
