package main

import (
	"os"
	"slices"

	"github.com/phi3conv/phi3conv/internal/job/quantize"
)

// overhead is what the program needs beside buffers.
const overhead = quantize.ProgramRAM

// isOneOf reports whether path is one of the files, under whatever name.
func isOneOf(path string, files []string) bool {
	info, err := os.Stat(path)
	return err == nil && slices.ContainsFunc(files, func(name string) bool {
		other, err := os.Stat(name)
		return err == nil && os.SameFile(info, other)
	})
}
