package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"

	"github.com/phi3conv/phi3conv/internal/job/chat"
	"github.com/phi3conv/phi3conv/internal/progress"
	"github.com/phi3conv/phi3conv/internal/report"
	"github.com/phi3conv/phi3conv/runtime"
)

// session shows a model's answers.
type session struct {
	m        *chat.Chat
	in       io.Reader
	out      io.Writer
	notes    io.Writer // for remarks that are no part of an answer
	terminal bool      // out is one
}

// note prints a remark.
func (s *session) note(format string, args ...any) {
	_, _ = fmt.Fprintf(s.notes, strings.TrimSuffix(format, "\n")+"\n", args...)
}

// answer shows an answer as it comes, and ends its last line.
func (s *session) answer(ctx context.Context, prompt string) (chat.Answer, error) {
	a, err := s.m.Answer(ctx, prompt, func(text string) error {
		if s.terminal {
			text = report.Harmless(text)
		}
		_, err := io.WriteString(s.out, text)
		return err
	})
	if len(a.IDs) > 0 && !strings.HasSuffix(a.Text, "\n") {
		if _, werr := fmt.Fprintln(s.out); err == nil {
			err = werr
		}
	}
	return a, err
}

const conversationHelp = `/reset  begin a new conversation
/quit   end, as does the end of the input
/help   print this
`

// converse answers the lines of the standard input.
func (s *session) converse(ctx context.Context) error {
	// An interrupt ends an answer only, so it must not end what main's context stands for.
	signal.Reset(os.Interrupt)
	interrupts := make(chan os.Signal, 1)
	signal.Notify(interrupts, os.Interrupt)
	defer signal.Stop(interrupts)

	prompt := ""
	if s.terminal && progress.IsTerminal(s.in) {
		prompt = "> "
		s.note("/help lists commands; Ctrl-C ends an answer.")
	}
	end := func(err error) error {
		if prompt != "" {
			s.note("") // ends the line that it began
		}
		return err
	}
	lines := readLines(s.in)
	for {
		if _, err := io.WriteString(s.out, prompt); err != nil {
			return err
		}
		var in line
		select {
		case in = <-lines:
		case <-interrupts:
			return end(context.Canceled)
		case <-ctx.Done():
			return end(ctx.Err())
		}
		switch text := strings.TrimSpace(in.text); {
		case text == "/quit":
			return nil
		case text == "/reset":
			s.m.Reset()
		case text == "/help":
			s.note(conversationHelp)
		case isCommand(text):
			s.note("no command %s; /help lists them", text)
		case text != "":
			if err := s.turn(ctx, interrupts, in.text); err != nil {
				return err
			}
		}
		if in.err == io.EOF {
			return end(nil)
		}
		if in.err != nil {
			return end(in.err)
		}
	}
}

// isCommand says whether text is a slash and a word.
func isCommand(text string) bool {
	word, ok := strings.CutPrefix(text, "/")
	return ok && word != "" && strings.Trim(word, "abcdefghijklmnopqrstuvwxyz") == ""
}

// turn answers one line. Interrupts and a full context do not end the conversation.
func (s *session) turn(parent context.Context, interrupts <-chan os.Signal, text string) error {
	ctx, cancel := context.WithCancel(parent)
	done := make(chan struct{})
	go func() {
		defer close(done)
		select {
		case <-interrupts:
			cancel()
		case <-ctx.Done():
		}
	}()
	a, err := s.answer(ctx, text)
	cancel()
	<-done
	var full *runtime.ContextError
	switch {
	case errors.As(err, &full):
		s.note("%v; /reset begins a new conversation", err)
	case errors.Is(err, context.Canceled) && parent.Err() == nil:
		s.note("(interrupted)")
	case err != nil:
		return err
	case a.Stop == runtime.StopContext:
		s.note("the context of %d tokens is full; /reset begins a new conversation", s.m.Context())
	}
	return nil
}

// line is a line of input, or its last and the error that ended it.
type line struct {
	text string
	err  error
}

// readLines reads lines in a goroutine of its own, since a read cannot be interrupted; it ends
// with the input or the program.
func readLines(in io.Reader) <-chan line {
	lines := make(chan line)
	go func() {
		b := bufio.NewReader(in)
		for {
			text, err := b.ReadString('\n')
			lines <- line{strings.TrimRight(text, "\r\n"), err}
			if err != nil {
				return
			}
		}
	}()
	return lines
}
