package output

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"syscall"

	"github.com/dustin/go-humanize"

	"github.com/phi3conv/phi3conv/internal/atomicfile"
	"github.com/phi3conv/phi3conv/internal/machine"
	"github.com/phi3conv/phi3conv/internal/terminal"
)

// Room refuses a file of so many bytes for which there is no space. What path names stays until the file is complete,
// so its space does not count.
func Room(path string, bytes int64) error {
	if atomicfile.IsStream(path) {
		return nil
	}
	target, err := atomicfile.Target(path)
	if err != nil {
		return &Error{fmt.Errorf("write %s: %w", path, err)}
	}
	free, err := machine.FreeDisk(filepath.Dir(target))
	if err != nil || free >= uint64(bytes) { // without an answer writing will tell
		return nil
	}
	return &Error{fmt.Errorf("write %s: %w: it takes %s, and %s are free", path, syscall.ENOSPC,
		humanize.IBytes(uint64(bytes)), humanize.IBytes(free))}
}

// Form is one in which results are written to a file.
type Form struct {
	Path  string // "" if it was not asked for
	Write func(io.Writer) error
}

// WriteForms writes every form that was asked for to its file, and the result to w. What cannot be written is written
// elsewhere, and does not keep the others from being written: see [atomicfile.Elsewhere].
func WriteForms(w io.Writer, result func(io.Writer) error, forms ...Form) error {
	var failed []error
	for _, f := range forms {
		if f.Path == "" {
			continue
		}
		var b bytes.Buffer
		err := f.Write(&b)
		if err == nil {
			err = atomicfile.Save(f.Path, b.Bytes())
		}
		failed = append(failed, err)
	}
	var b bytes.Buffer
	err := result(terminal.Sized(&b, terminal.Width(w)))
	if err == nil {
		if _, err = w.Write(b.Bytes()); err != nil {
			err = atomicfile.SaveElsewhere("phi3conv-result.txt", err,
				func(path string) error { return atomicfile.WriteFile(path, b.Bytes()) })
			var saved *atomicfile.Elsewhere
			if errors.As(err, &saved) {
				saved.Path = "standard output"
			}
		}
	}
	return errors.Join(append(failed, err)...)
}
