package main

import (
	"fmt"
	"io"
	"os"

	"github.com/cheggaaa/pb/v3"
	"golang.org/x/term"

	"github.com/phi3conv/phi3conv/internal/work"
)

// monitor shows what a job does on a terminal: lines, and bars with what is done, the rate and the time left.
// Where w is no terminal, there are no bars.
type monitor struct{ w io.Writer }

func (m monitor) Note(format string, args ...any) {
	_, _ = fmt.Fprintf(m.w, "phi3conv: note: "+format+"\n", args...)
}

func (m monitor) Begin(what string, total int64, unit work.Unit) work.Step {
	p := newProgress(m.w, what, total)
	if p.bar != nil {
		p.bar.Set(pb.Bytes, unit == work.Bytes)
	}
	return p
}

// progress shows the bytes done, their rate and the time left, when w is a terminal.
type progress struct{ bar *pb.ProgressBar }

func newProgress(w io.Writer, what string, total int64) progress {
	if f, ok := w.(*os.File); !ok || !term.IsTerminal(int(f.Fd())) {
		return progress{}
	}
	bar := pb.New64(total).SetWriter(w).Set(pb.Bytes, true).Set(pb.CleanOnFinish, true)
	bar.SetTemplateString(what + ` {{percent .}} {{bar . "[" "=" ">" " " "]"}} {{counters .}} {{speed . "%s/s" ""}} ` +
		`{{rtime . "%s left" "" ""}}`)
	return progress{bar.Start()}
}

// newCounter shows a number of things done, their rate and the time left, when w is a terminal.
func newCounter(w io.Writer, what string, total int64) progress {
	p := newProgress(w, what, total)
	if p.bar != nil {
		p.bar.Set(pb.Bytes, false)
	}
	return p
}

// set may be called from several goroutines. A count below the highest so far is old news.
func (p progress) set(done int64) {
	if p.bar != nil && done > p.bar.Current() {
		p.bar.SetCurrent(done)
	}
}

func (p progress) done() {
	if p.bar != nil {
		p.bar.Finish()
	}
}

// Set and End make a progress a [work.Step].
func (p progress) Set(done int64) { p.set(done) }

// End ends the bar.
func (p progress) End() { p.done() }
