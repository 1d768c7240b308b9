// Package objects keeps data under keys, in a directory or elsewhere, for programs that share them without talking to
// each other: of several that create one key, one succeeds.
package objects

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/phi3conv/phi3conv/internal/atomicfile"
)

// Store keeps objects. Keys are of parts separated by slashes. What does not exist is fs.ErrNotExist.
type Store interface {
	// Create stores an object, whole or not at all, unless there is one: then the error is fs.ErrExist.
	Create(ctx context.Context, key string, data []byte) error
	// Put stores an object, whole or not at all, in place of one that is there.
	Put(ctx context.Context, key string, data []byte) error
	Get(ctx context.Context, key string) ([]byte, error)
	// List returns the keys that begin with prefix, sorted.
	List(ctx context.Context, prefix string) ([]string, error)
	// Upload stores a file, Download writes an object to a file.
	Upload(ctx context.Context, key, file string) error
	Download(ctx context.Context, key, file string) error
	// Remove removes objects; that there is none is no error.
	Remove(ctx context.Context, key string) error
	// String is the name that the user knows the store by.
	String() string
}

// Dir is a store in a directory, which may be one of a network that several machines have. It needs hard links.
type Dir string

func (d Dir) String() string { return string(d) }

// Path returns the file of an object.
func (d Dir) Path(key string) string { return filepath.Join(string(d), filepath.FromSlash(key)) }

// Create makes a link to a file that is written first: that fails where there is a file.
func (d Dir) Create(_ context.Context, key string, data []byte) error {
	path := d.Path(key)
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".new-*")
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(f.Name()) }() // a second name, or nothing that is whole
	_, err = f.Write(data)
	if err := errors.Join(err, f.Chmod(0o644), f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Link(f.Name(), path)
}

// Put writes a file.
func (d Dir) Put(_ context.Context, key string, data []byte) error {
	return writeFile(d.Path(key), data)
}

// writeFile writes a file, in a directory that it makes.
func writeFile(path string, data []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		return err
	}
	return atomicfile.WriteFile(path, data)
}

// Get reads a file.
func (d Dir) Get(_ context.Context, key string) ([]byte, error) { return os.ReadFile(d.Path(key)) }

// List walks the directory of the prefix.
func (d Dir) List(ctx context.Context, prefix string) (keys []string, err error) {
	root := d.Path(path.Dir(prefix + "x"))
	err = filepath.WalkDir(root, func(name string, e fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // removed meanwhile, or never made
		}
		if err != nil || ctx.Err() != nil {
			return errors.Join(err, ctx.Err())
		}
		rel, err := filepath.Rel(string(d), name)
		if key := filepath.ToSlash(rel); e.Type().IsRegular() && strings.HasPrefix(key, prefix) &&
			!strings.HasPrefix(e.Name(), ".") {
			keys = append(keys, key)
		}
		return err
	})
	slices.Sort(keys)
	return keys, err
}

// Upload copies a file, unless it is that of the object.
func (d Dir) Upload(_ context.Context, key, file string) error { return CopyFile(file, d.Path(key)) }

// Download copies a file, unless it is that of the object.
func (d Dir) Download(_ context.Context, key, file string) error { return CopyFile(d.Path(key), file) }

// Remove removes a file.
func (d Dir) Remove(_ context.Context, key string) error {
	if err := os.Remove(d.Path(key)); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// CopyFile copies a file and makes directories for it.
func CopyFile(from, to string) error {
	if filepath.Clean(from) == filepath.Clean(to) {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o777); err != nil {
		return err
	}
	r, err := os.Open(from)
	if err != nil {
		return err
	}
	defer func() { _ = r.Close() }() // only read from
	w, err := atomicfile.Create(to)
	if err != nil {
		return err
	}
	defer w.Abort()
	if _, err := r.WriteTo(w); err != nil {
		return err
	}
	return w.Commit()
}
