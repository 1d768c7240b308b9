//go:build unix

package main

import (
	"context"
	"errors"
	"io"
	"strings"
	"syscall"
	"testing"
	"time"
)

// interrupt sends this process what Ctrl-C does, and waits until it has come.
func interrupt() {
	_ = syscall.Kill(syscall.Getpid(), syscall.SIGINT)
	time.Sleep(100 * time.Millisecond)
}

// interruptingReader interrupts before it ends.
type interruptingReader struct{ io.Reader }

func (r interruptingReader) Read(b []byte) (int, error) {
	n, err := r.Reader.Read(b)
	if err == io.EOF {
		interrupt()
		time.Sleep(time.Second) // the end of the input would end it too
	}
	return n, err
}

func TestRunInterrupted(t *testing.T) {
	model := tinyModel(t)
	out := &hook{f: interrupt}
	stderr, err := runWith(t.Context(), strings.NewReader("Hello!\n/reset\nHello!\n"), out, "run", model, "--temp", "0")
	if err != nil || out.String() != "H\nHello! How can I help you?\n" || !strings.Contains(stderr, "(interrupted)") {
		t.Errorf("an answer: error %v, %q\n%s", err, out, stderr)
	}
	out = &hook{}
	_, err = runWith(t.Context(), interruptingReader{strings.NewReader("Hello!\n")}, out, "run", model, "--temp", "0")
	if !errors.Is(err, context.Canceled) || out.String() != "Hello! How can I help you?\n" {
		t.Errorf("no answer: error %v, %q", err, out)
	}
}
