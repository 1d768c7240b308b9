// Package input reads the texts that a command is given by name: files, and standard input under the name "-".
package input

import (
	"context"
	"fmt"
	"io"
	"os"

	"github.com/phi3conv/phi3conv/formats"
	"github.com/phi3conv/phi3conv/internal/usage"
)

// Stdin is the name of standard input.
const Stdin = "-"

// limit is the most that is read from standard input, in bytes. All of it is in memory.
const limit = 1 << 30

// Name returns what reports and errors call the file.
func Name(path string) string {
	if path == Stdin {
		return "standard input"
	}
	return path
}

// ReadFile returns what is in a file. Standard input can be read once: see [Once].
func ReadFile(ctx context.Context, path string) ([]byte, error) {
	return Read(ctx, path, os.Stdin)
}

// Read is [ReadFile] with another standard input. At most 1 GiB is read from that, and waiting for it ends with the
// context.
func Read(ctx context.Context, path string, stdin io.Reader) ([]byte, error) {
	if path == Stdin {
		return readAll(ctx, stdin, limit)
	}
	return os.ReadFile(path)
}

func readAll(ctx context.Context, stdin io.Reader, limit int64) ([]byte, error) {
	type result struct {
		data []byte
		err  error
	}
	done := make(chan result, 1)
	go func() { // a read cannot be interrupted: it ends with the input or the program
		data, err := io.ReadAll(io.LimitReader(stdin, limit+1))
		done <- result{data, err}
	}()
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case r := <-done:
		if r.err != nil {
			return nil, fmt.Errorf("%s: %w", Name(Stdin), r.err)
		}
		if int64(len(r.data)) > limit {
			return nil, formats.FileErrorf(Name(Stdin), limit, "more than %d bytes, which is the most that is read "+
				"from there: give a file", limit)
		}
		return r.data, nil
	}
}

// Once refuses standard input that several inputs of a command would be read from.
func Once(paths ...string) error {
	n := 0
	for _, path := range paths {
		if path == Stdin {
			n++
		}
	}
	if n > 1 {
		return usage.Errorf("%s (%s) was given %d times, but can be read only once", Name(Stdin), Stdin, n)
	}
	return nil
}
