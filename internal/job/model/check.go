package model

import (
	"context"
	"os"
	"runtime"
	"slices"

	"github.com/phi3conv/phi3conv/formats/pmap"
	"github.com/phi3conv/phi3conv/internal/progress"
)

// Check compares those of the files that are .pmap files with their checksums, each once, on all threads: nothing else
// reads every byte of them. The error joins a *[formats.Error] for each damaged part of a file. The monitor may be nil.
func Check(ctx context.Context, paths []string, m progress.Monitor) error {
	for i, path := range paths {
		if slices.Contains(paths[:i], path) || !pmap.Is(path) {
			continue
		}
		if err := check(ctx, path, progress.Quiet(m)); err != nil {
			return err
		}
	}
	return nil
}

func check(ctx context.Context, path string, m progress.Monitor) error {
	f, err := pmap.Open(path)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }() // only read from
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	step := m.Begin("checking", info.Size(), progress.Bytes)
	defer step.End()
	return f.Check(ctx, runtime.GOMAXPROCS(0), step.Set)
}

// NoteChecked says in one line whether a .pmap file was compared with its checksums; nothing of other files.
func NoteChecked(m progress.Monitor, path string, checked bool) {
	switch {
	case !pmap.Is(path):
	case checked:
		progress.Quiet(m).Note("%s: every byte agrees with its checksum", path)
	default:
		progress.Quiet(m).Note("%s was not compared with its checksums; --check does that", path)
	}
}
