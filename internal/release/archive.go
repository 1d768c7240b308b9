package main

import (
	"archive/tar"
	"archive/zip"
	"compress/gzip"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/phi3conv/phi3conv/internal/atomicfile"
)

// adder adds a file to an archive.
type adder func(name string, mode fs.FileMode, data []byte) error

// archive packs the files of a directory in the order of their names. Owners are 0, modes 0755 or 0644.
func archive(out, dir string, when time.Time) error {
	open := tarGzip
	if strings.HasSuffix(out, ".zip") {
		open = zipped
	}
	return atomicfile.Stream(out, false, func(w io.Writer) error {
		add, end := open(w, when)
		if err := walk(dir, add); err != nil {
			return err
		}
		return end()
	})
}

// walk adds the files of a directory.
func walk(dir string, add adder) error {
	return filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		name, err := filepath.Rel(filepath.Dir(dir), path)
		if err != nil {
			return err
		}
		mode := fs.FileMode(0o644)
		if info.Mode()&0o100 != 0 {
			mode = 0o755
		}
		return add(filepath.ToSlash(name), mode, data)
	})
}

func tarGzip(w io.Writer, when time.Time) (add adder, end func() error) {
	z, _ := gzip.NewWriterLevel(w, gzip.BestCompression) // the level is a valid one
	t := tar.NewWriter(z)
	add = func(name string, mode fs.FileMode, data []byte) error {
		return addTar(t, &tar.Header{Name: name, Mode: int64(mode), ModTime: when}, data)
	}
	return add, func() error {
		if err := t.Close(); err != nil {
			return err
		}
		return z.Close()
	}
}

// addTar adds a file, or a directory if its name ends with a slash.
func addTar(t *tar.Writer, h *tar.Header, data []byte) error {
	h.Typeflag, h.Size, h.Format = tar.TypeReg, int64(len(data)), tar.FormatUSTAR
	if strings.HasSuffix(h.Name, "/") {
		h.Typeflag = tar.TypeDir
	}
	if err := t.WriteHeader(h); err != nil {
		return err
	}
	_, err := t.Write(data)
	return err
}

func zipped(w io.Writer, when time.Time) (add adder, end func() error) {
	z := zip.NewWriter(w)
	add = func(name string, mode fs.FileMode, data []byte) error {
		h := &zip.FileHeader{Name: name, Method: zip.Deflate, Modified: when}
		h.SetMode(mode)
		entry, err := z.CreateHeader(h)
		if err != nil {
			return err
		}
		_, err = entry.Write(data)
		return err
	}
	return add, z.Close
}
