package formats

import (
	"io"
	"os"
)

// Files opens the files of a model, wherever they are.
type Files interface {
	// Open opens a file. Its error is an [io/fs.ErrNotExist] if there is none.
	Open(path string) (Opened, error)
	// Names lists what is in a directory, in no order.
	Names(dir string) ([]string, error)
}

// Opened is an open file of Size bytes.
type Opened struct {
	io.ReaderAt
	io.Closer
	Size int64
}

// Disk has the files of this machine. Their readers are of type *os.File.
var Disk Files = disk{}

type disk struct{}

func (disk) Open(path string) (Opened, error) {
	f, err := os.Open(path)
	if err != nil {
		return Opened{}, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = FileErrorf(path, -1, "not a regular file")
	}
	if err != nil {
		_ = f.Close()
		return Opened{}, err
	}
	return Opened{f, f, info.Size()}, nil
}

func (disk) Names(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	names := make([]string, len(entries))
	for i, e := range entries {
		names[i] = e.Name()
	}
	return names, err
}
