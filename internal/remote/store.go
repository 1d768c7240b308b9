package remote

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/phi3conv/phi3conv/internal/atomicfile"
	"github.com/phi3conv/phi3conv/internal/fetch"
)

// lockFile waits until no other process has the file at path locked, and locks it.
func lockFile(ctx context.Context, path string, mode os.FileMode) (*os.File, error) {
	for {
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, mode)
		if err != nil {
			return nil, err
		}
		if atomicfile.TryLock(f) {
			return f, nil
		}
		_ = f.Close()
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// download puts a file's content at path. What is there of it by now is in part, which no other process may have.
func download(ctx context.Context, f *fetch.File, part, path string, progress func(n int64)) (err error) {
	w, err := lockFile(ctx, part, 0o666)
	if err != nil {
		return err
	}
	defer func() { _ = w.Close() }()
	if info, err := os.Stat(path); err == nil && info.Size() == f.Size { // while this process waited
		progress(f.Size)
		return os.Remove(part)
	}
	if err := f.Save(ctx, w, progress); err != nil {
		return err
	}
	if err := w.Sync(); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return rename(w, path)
}

// saveBeside saves files of a directory under their names.
func saveBeside(dir string) func(ctx context.Context, f *fetch.File, progress func(n int64)) error {
	return func(ctx context.Context, f *fetch.File, progress func(n int64)) error {
		path := filepath.Join(dir, filepath.FromSlash(f.Name))
		if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
			return err
		}
		return download(ctx, f, filepath.Join(filepath.Dir(path), "."+filepath.Base(path)+".partial"), path, progress)
	}
}
