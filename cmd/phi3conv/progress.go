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

// notes prints what a user of an output should know.
func (m monitor) notes(list []string) {
	for _, note := range list {
		m.Note("%s", note)
	}
}

func (m monitor) Begin(what string, total int64, unit work.Unit) work.Step {
	if !isTerminal(m.w) {
		return bar{}
	}
	b := pb.New64(total).SetWriter(m.w).Set(pb.Bytes, unit == work.Bytes).Set(pb.CleanOnFinish, true)
	b.SetTemplateString(what + ` {{percent .}} {{bar . "[" "=" ">" " " "]"}} {{counters .}} {{speed . "%s/s" ""}} ` +
		`{{rtime . "%s left" "" ""}}`)
	return bar{b.Start()}
}

// bar is a progress bar on a terminal, or nothing.
type bar struct{ pb *pb.ProgressBar }

func (b bar) Set(done int64) {
	if b.pb != nil && done > b.pb.Current() {
		b.pb.SetCurrent(done)
	}
}

func (b bar) End() {
	if b.pb != nil {
		b.pb.Finish()
	}
}

func isTerminal(stream any) bool {
	f, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}
