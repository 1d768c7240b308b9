// Package formats holds what the file formats share: the error that names file,
// place and reason. The formats themselves are its subpackages.
package formats

import (
	"errors"
	"fmt"
	"strings"
)

// Error says where and why a file was refused.
type Error struct {
	Path string // the file; empty when the input has no name
	Off  int64  // byte offset in the file, or -1
	What string // what was found and what was expected
	Err  error  // the cause, or nil
}

func (e *Error) Error() string {
	var b strings.Builder
	if e.Path != "" {
		b.WriteString(e.Path)
		b.WriteString(": ")
	}
	if e.Off >= 0 {
		fmt.Fprintf(&b, "offset %d: ", e.Off)
	}
	b.WriteString(e.What)
	if e.Err != nil {
		if e.What != "" {
			b.WriteString(": ")
		}
		b.WriteString(e.Err.Error())
	}
	return b.String()
}

func (e *Error) Unwrap() error { return e.Err }

// Errorf makes an Error without a path. off is -1 when no offset applies.
func Errorf(off int64, format string, args ...any) error {
	return &Error{Off: off, What: fmt.Sprintf(format, args...)}
}

// FileErrorf makes an Error of the file path. off is -1 when no offset applies.
func FileErrorf(path string, off int64, format string, args ...any) error {
	return &Error{Path: path, Off: off, What: fmt.Sprintf(format, args...)}
}

// Wrapf makes an Error with a cause and without a path.
func Wrapf(cause error, off int64, format string, args ...any) error {
	return &Error{Off: off, What: fmt.Sprintf(format, args...), Err: cause}
}

// WrapFile returns the error of a file that has a cause; what says what was wrong, if the cause does not.
func WrapFile(cause error, path, what string) error {
	return &Error{Path: path, Off: -1, What: what, Err: cause}
}

// WithPath fills in the path of an Error in err's chain that has none, and
// returns err.
func WithPath(err error, path string) error {
	var e *Error
	if errors.As(err, &e) && e.Path == "" {
		e.Path = path
	}
	return err
}

// LFSPointer returns an error if a file begins like the pointer that Git LFS leaves in place of a large file, else nil.
func LFSPointer(begin []byte) error {
	if !strings.HasPrefix(string(begin), "version https://git-lfs.github.com/spec/") {
		return nil
	}
	return Errorf(0,
		"a pointer of Git LFS, not the file itself: run git lfs pull where it was cloned, or download the file")
}
