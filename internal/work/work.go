// Package work holds what long jobs share: tasks on several threads, files of intermediate results, hashes of
// files, buffers that are used again.
package work

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"os"
	"slices"
)

// HashFile returns a file's SHA-256, in hexadecimal, and its size in bytes. It stops when ctx is cancelled. progress,
// if not nil, is called with the bytes done.
func HashFile(ctx context.Context, path string, progress func(done int64)) (sum string, size int64, err error) {
	f, err := os.Open(path)
	if err != nil {
		return "", 0, err
	}
	defer func() { _ = f.Close() }() // only read from
	h := sha256.New()
	size, err = io.Copy(h, &reader{ctx, f, 0, progress})
	return hex.EncodeToString(h.Sum(nil)), size, err
}

// reader reads until its context is cancelled.
type reader struct {
	ctx      context.Context
	r        io.Reader
	done     int64 // bytes
	progress func(done int64)
}

func (r *reader) Read(b []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := r.r.Read(b)
	if r.done += int64(n); r.progress != nil {
		r.progress(r.done)
	}
	return n, err
}

// Resize returns a slice of length n, in b's memory where that suffices. Its content is not defined.
func Resize[T any](b []T, n int) []T {
	if cap(b) < n {
		return make([]T, n)
	}
	return b[:n]
}

// SameBytes reports whether two things of a size have the same bytes. Both are read in pieces of step bytes at most; a
// and b fill a piece with what is at an offset.
func SameBytes(size, step int64, a, b func(piece []byte, off int64) error) (bool, error) {
	x, y := make([]byte, min(size, step)), make([]byte, min(size, step))
	for off := int64(0); off < size; off += step {
		n := min(step, size-off)
		if err := a(x[:n], off); err != nil {
			return false, err
		}
		if err := b(y[:n], off); err != nil {
			return false, err
		}
		if !bytes.Equal(x[:n], y[:n]) {
			return false, nil
		}
	}
	return true, nil
}

// IsOneOf reports whether path is one of the files, under whatever name.
func IsOneOf(path string, files []string) bool {
	info, err := os.Stat(path)
	return err == nil && slices.ContainsFunc(files, func(name string) bool {
		other, err := os.Stat(name)
		return err == nil && os.SameFile(info, other)
	})
}

// ProgramRAM is the memory in bytes that the program needs beside buffers: itself, and a vocabulary of 200,000
// tokens.
const ProgramRAM = 256 << 20
