package console

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/phi3conv/phi3conv/formats"
)

// all reads messages until an error.
func all(t *testing.T, l *Lines) (messages []string, err error) {
	t.Helper()
	for {
		text, err := l.Read(t.Context())
		if err != nil {
			return messages, err
		}
		messages = append(messages, text)
	}
}

func TestLines(t *testing.T) {
	for _, c := range []struct {
		in   string
		want []string
	}{
		{"", nil},
		{"one\ntwo\r\n\n \nthree", []string{"one", "two", "three"}},
		{"one\\\ntwo\\\nthree\nfour\n", []string{"one\ntwo\nthree", "four"}},
		{"one\\", []string{"one"}},
		{"\"\"\"\none\n\n  two\n\"\"\"\nthree\n", []string{"one\n\n  two", "three"}},
		{"\"\"\"one\"\"\"\n  \"\"\"two\nthree\"\"\"  \n", []string{"one", "two\nthree"}},
		{"\"\"\"one\ntwo", []string{"one\ntwo"}},
		{"\"\"\"\n\"\"\"\none\n", []string{"one"}},
		{"say \"\"\"\none\n", []string{`say """`, "one"}},
		{"\"\"\"a \\\nb\"\"\"\n", []string{"a \nb"}},
	} {
		got, err := all(t, NewLines(strings.NewReader(c.in), io.Discard, ""))
		if err != io.EOF || !slices.Equal(got, c.want) {
			t.Errorf("%q: %q, %v, expected %q", c.in, got, err, c.want)
		}
	}
}

func TestLinesEnd(t *testing.T) {
	broken := errors.New("broken")
	l := NewLines(io.MultiReader(strings.NewReader("one\ntw"), failing{broken}), io.Discard, "")
	got, err := all(t, l)
	if !errors.Is(err, broken) || !slices.Equal(got, []string{"one"}) {
		t.Errorf("an error: %q, %v", got, err)
	}
	if _, err := l.Read(t.Context()); !errors.Is(err, broken) {
		t.Errorf("after an error: %v", err)
	}

	in, w := io.Pipe()
	defer func() { _ = w.Close() }()
	var out bytes.Buffer
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := NewLines(in, &out, "> ").Read(ctx); !errors.Is(err, context.Canceled) || out.String() != "> \n" {
		t.Errorf("canceled: %v, %q", err, out.String())
	}

	var refused *formats.Error
	_, err = readLine(bufio.NewReader(strings.NewReader(strings.Repeat("a", 10000))), 9999)
	if !errors.As(err, &refused) {
		t.Errorf("a long line: %v", err)
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }
