// Package terminal says whether a stream is a terminal, and how wide that is.
package terminal

import (
	"io"
	"os"

	"golang.org/x/term"
)

// Is reports whether a stream is a terminal.
func Is(stream any) bool {
	f, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// Width returns the number of columns of the terminal that w is, or that it says it has; 0 if it is none.
func Width(w io.Writer) int {
	switch w := w.(type) {
	case interface{ Width() int }:
		return w.Width()
	case *os.File:
		if n, _, err := term.GetSize(int(w.Fd())); err == nil {
			return n
		}
	}
	return 0
}

// Sized returns a writer to w for which [Width] is width.
func Sized(w io.Writer, width int) io.Writer { return sized{w, width} }

type sized struct {
	io.Writer
	width int
}

func (s sized) Width() int { return s.width }
