package main

import (
	"io"
	"os"

	"github.com/cheggaaa/pb/v3"
	"golang.org/x/term"
)

// progress shows the bytes done, their rate and the time left, when w is a terminal.
type progress struct{ bar *pb.ProgressBar }

func newProgress(w io.Writer, what string, total int64) progress {
	if f, ok := w.(*os.File); !ok || !term.IsTerminal(int(f.Fd())) {
		return progress{}
	}
	bar := pb.New64(total).SetWriter(w).Set(pb.Bytes, true).Set(pb.CleanOnFinish, true)
	bar.SetTemplateString(what + ` {{percent .}} {{bar . "[" "=" ">" " " "]"}} {{counters .}} {{speed . "%s/s" ""}} {{rtime . "%s left" "" ""}}`)
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
