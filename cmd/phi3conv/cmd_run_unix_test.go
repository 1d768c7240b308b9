//go:build unix

package main

import (
	"context"
	"errors"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/phi3conv/phi3conv/internal/testmodel"
)

// interrupt sends this process what Ctrl-C does, and waits until it has come.
func interrupt() {
	_ = syscall.Kill(syscall.Getpid(), syscall.SIGINT)
	time.Sleep(100 * time.Millisecond)
}

func TestRunInterrupted(t *testing.T) {
	model := testmodel.Phi3(t)
	out := &hook{f: interrupt}
	stderr, err := runWith(t.Context(), strings.NewReader("Hello!\n/reset\nHello!\n"), out, "run", model, "--temp", "0")
	if err != nil || out.String() != "H\nHello! How can I help you?\n" ||
		!strings.Contains(stderr, "(interrupted; /continue goes on)") {
		t.Errorf("an answer: error %v, %q\n%s", err, out, stderr)
	}
	out = &hook{}
	_, err = runWith(t.Context(), waiting(t, interrupt), out, "run", model, "--temp", "0")
	if !errors.Is(err, context.Canceled) || out.String() != "Hello! How can I help you?\n" {
		t.Errorf("no answer: error %v, %q", err, out)
	}
}
