package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/phi3conv/phi3conv/internal/cmdline"
	"github.com/phi3conv/phi3conv/internal/testmodel"
)

// runWith runs the program with a standard input.
func runWith(ctx context.Context, in io.Reader, out io.Writer, args ...string) (stderr string, err error) {
	var errOut bytes.Buffer
	app := newApp()
	app.Reader, app.Writer, app.ErrWriter = in, out, &errOut
	err = cmdline.Run(ctx, app, append([]string{"phi3conv"}, args...), nil)
	return errOut.String(), err
}

func TestRunConversation(t *testing.T) {
	model := testmodel.Phi3(t)
	golden := goldenChats(t)
	const hello = "Hello! How can I help you?\n"
	three := golden[slices.IndexFunc(golden, func(g goldenChat) bool { return len(g.Messages) == 3 })]
	for _, c := range []struct {
		name, in  string
		args      []string
		out, note string
	}{
		{"two turns", three.Messages[0].Content + "\n" + three.Messages[2].Content + "\n", nil,
			three.Messages[1].Content + "\n" + three.Answer + "\n", ""},
		{"empty lines, no newline at the end", "\n  \r\nHello!", nil, hello, ""},
		{"commands", "/help\n/hello\nHello!\n/reset\nHello!\n/quit\nHello!\n", nil, hello + hello,
			"/exit            leave"},
		{"an unknown command", "/hello\n/etc/passwd\n", []string{"-n", "0"}, "", "no command /hello; /help lists them"},
		{"a full context", "Hello!\nHello!\n/reset\nHello!\n", []string{"-c", "30"}, hello + hello,
			"do not fit the context of 30; /shift drops the oldest exchanges and goes on, "},
		{"a context that becomes full", "Hello!\n/reset\nThank you!\n", []string{"-c", "14"},
			"Hello! How ca\nYou ar\n",
			"(cut: the context of 14 tokens, which --ctx-size sets, is full; /reset begins a new conversation)"},
		{"lines", "\"\"\"What does\na cow eat?\"\"\"\n/reset\nHello!\\", nil,
			"Ralph's pet is a bird. It eats seeds.\n" + hello, ""},
		{"an answer that goes on", "Hello!\n/continue\n/regen\n", []string{"-n", "9"}, hello[:14] + "\n" + hello[14:] +
			hello[:14] + "\n", "(cut after 9 tokens, which --predict sets; /continue goes on)"},
		{"a context that is shifted", "Hello!\nHello!\nHello!\n", []string{"-c", "36", "--context-shift"},
			hello + hello + hello, "(the context was full: the oldest 1 exchange went)"},
		{"raw", "The red ball is\nA cow eats\n", []string{"--raw", "--stop", "."}, " in the tower\n grass\n", ""},
		{"system prompt after /reset", "/reset\nWhat does a dog say?\n",
			[]string{"-sys", "Answer in one short sentence."}, "A dog says woof.\n", ""},
	} {
		var out bytes.Buffer
		args := append([]string{"run", model, "--temp", "0"}, c.args...)
		stderr, err := runWith(t.Context(), strings.NewReader(c.in), &out, args...)
		if err != nil || out.String() != c.out || !strings.Contains(stderr, c.note) {
			t.Errorf("%s: error %v, %q, expected %q\n%s", c.name, err, out.String(), c.out, stderr)
		}
	}
}

// hook is a writer that calls f at the first write.
type hook struct {
	text []byte
	f    func()
}

func (h *hook) Write(b []byte) (int, error) {
	if h.f != nil && len(b) > 0 {
		h.f()
		h.f = nil
	}
	h.text = append(h.text, b...)
	return len(b), nil
}

func (h *hook) String() string { return string(h.text) }

// waiting is an input that calls f when a line was answered and the next is awaited.
func waiting(t *testing.T, f func()) io.Reader {
	in, w := io.Pipe()
	t.Cleanup(func() { _ = w.Close() })
	go func() {
		// The program reads a line ahead, so it has answered the first when it reads the third.
		for _, line := range []string{"Hello!\n", "/help\n", "/help\n"} {
			_, _ = io.WriteString(w, line)
		}
		f()
	}()
	return in
}

func TestRunCanceled(t *testing.T) {
	model := testmodel.Phi3(t)
	ctx, cancel := context.WithCancel(t.Context())
	out := &hook{f: cancel}
	stderr, err := runWith(ctx, nil, out, "run", model, "--temp", "0", "-p", "What does a cow eat?")
	if !errors.Is(err, context.Canceled) || out.String() != "A\n" || !strings.Contains(stderr, "answer: 1 token,") {
		t.Errorf("in an answer: error %v, %q\n%s", err, out, stderr)
	}
	out = &hook{}
	_, err = runWith(ctx, nil, out, "run", model, "-p", "What does a cow eat?")
	if !errors.Is(err, context.Canceled) || out.String() != "" {
		t.Errorf("before: error %v, %q", err, out)
	}
	ctx, cancel = context.WithCancel(t.Context())
	out = &hook{}
	_, err = runWith(ctx, waiting(t, cancel), out, "run", model, "--temp", "0")
	if !errors.Is(err, context.Canceled) || out.String() != "Hello! How can I help you?\n" {
		t.Errorf("waiting: error %v, %q", err, out)
	}
	// A full disk, a closed pipe.
	closed, pipe := io.Pipe()
	_ = closed.Close()
	_, err = runWith(t.Context(), nil, pipe, "run", model, "-p", "What does a cow eat?")
	if !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("a closed output: error %v", err)
	}
}
