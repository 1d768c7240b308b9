package chat

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"time"

	"github.com/phi3conv/phi3conv/internal/job/model"
	"github.com/phi3conv/phi3conv/internal/report"
	"github.com/phi3conv/phi3conv/internal/usage"
	"github.com/phi3conv/phi3conv/runtime"
)

// Session shows answers.
type Session struct {
	Chat     *Chat
	Out      io.Writer // for answers
	Notes    io.Writer // for remarks that are no part of an answer
	Terminal bool      // Out is one: nothing in answers controls it
}

// Input is where messages come from.
type Input interface {
	// Read returns the next message, which may have several lines. It ends with [io.EOF].
	Read(ctx context.Context) (string, error)
}

// note prints a remark.
func (s *Session) note(format string, args ...any) {
	_, _ = fmt.Fprintf(s.Notes, format+"\n", args...)
}

// show shows a piece of an answer.
func (s *Session) show(text string) error {
	if s.Terminal {
		text = report.Harmless(text)
	}
	_, err := io.WriteString(s.Out, text)
	return err
}

// Answer shows the answer to one prompt, and notes why it ends too early.
func (s *Session) Answer(ctx context.Context, prompt string) error {
	a, err := s.shown(s.Chat.Answer(ctx, prompt, s.show))
	if err == nil {
		s.noteCut(a, "", "")
	}
	return err
}

// Banner says what answers, and how to leave.
func (s *Session) Banner() {
	if what, err := model.Summary(s.Chat.path); err == nil { // it is open, so there is no error
		s.note("%s", what)
	}
	s.note("A context of %d tokens. /help lists commands, Ctrl-C ends an answer, Ctrl-D or /exit leaves.",
		s.Chat.Context())
}

// NoteFigures says how fast all was, and with which seed.
func (s *Session) NoteFigures(seed uint64) {
	if t := &s.Chat.Total; t.PromptTokens > 0 {
		s.note("loaded in %.2f s; prompt: %s, %.1f tok/s; answer: %s, %.1f tok/s; seed %d",
			s.Chat.Load.Seconds(), report.Plural(t.PromptTokens, "token"), Rate(t.PromptTokens, t.PromptTime),
			report.Plural(t.Tokens, "token"), Rate(t.DecodeTokens, t.DecodeTime), seed)
	}
}

// Rate returns tokens a second, 0 if there is nothing to count.
func Rate(tokens int, d time.Duration) float64 {
	if tokens == 0 || d <= 0 {
		return 0
	}
	return float64(tokens) / d.Seconds()
}

// shown ends the last line of an answer.
func (s *Session) shown(a Answer, err error) (Answer, error) {
	if a.Tokens > 0 && !strings.HasSuffix(a.Text, "\n") {
		if _, werr := fmt.Fprintln(s.Out); err == nil {
			err = werr
		}
	}
	if a.Dropped > 0 {
		s.note("(the context was full: the oldest %s went)", s.Chat.Dropped(a.Dropped))
	}
	return a, err
}

// noteCut says that an answer was cut, and what can be done about that.
func (s *Session) noteCut(a Answer, limited, full string) {
	switch {
	case a.Stop == runtime.StopLimit && s.Chat.opt.Limit > 0:
		s.note("(cut after %s, which --predict sets%s)", report.Plural(a.Tokens, "token"), limited)
	case a.Stop == runtime.StopContext:
		s.note("(cut: the context of %d tokens, which --ctx-size sets, is full%s)", s.Chat.Context(), full)
	}
}

// Run answers messages until the input ends or the user leaves. Interrupts end an answer; without one, they end Run
// with [context.Canceled].
func (s *Session) Run(ctx context.Context, in Input) error {
	signal.Reset(os.Interrupt) // which would end what the context stands for
	interrupts := make(chan os.Signal, 1)
	signal.Notify(interrupts, os.Interrupt)
	defer signal.Stop(interrupts)
	for {
		var text string
		interrupted, err := interruptible(ctx, interrupts, func(ctx context.Context) (err error) {
			text, err = in.Read(ctx)
			return err
		})
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if interrupted { // just when the message had come
			return context.Canceled
		}
		interrupted, err = interruptible(ctx, interrupts, func(ctx context.Context) error {
			return s.handle(ctx, text)
		})
		if interrupted && err == nil && strings.HasPrefix(text, "/") { // a command that had nothing to interrupt
			return context.Canceled
		}
		if err = s.explain(ctx, err); err == errLeave {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// interruptible calls f with a context that an interrupt ends, and reports whether one came.
func interruptible(
	parent context.Context, interrupts <-chan os.Signal, f func(context.Context) error,
) (interrupted bool, err error) {
	ctx, cancel := context.WithCancel(parent)
	done := make(chan struct{})
	go func() {
		defer close(done)
		select {
		case <-interrupts:
			interrupted = true
			cancel()
		case <-ctx.Done():
		}
	}()
	err = f(ctx)
	cancel()
	<-done
	return interrupted, err
}

// explain notes errors that do not end a conversation, and returns the others.
func (s *Session) explain(ctx context.Context, err error) error {
	var full *runtime.ContextError
	var mistake *usage.Error
	switch {
	case errors.As(err, &mistake):
		s.note("%v", err)
	case errors.As(err, &full):
		s.note("%v%s", err, s.roomOffer())
	case errors.Is(err, context.Canceled) && ctx.Err() == nil:
		offer := ""
		if s.Chat.Cut() {
			offer = "; /continue goes on"
		}
		s.note("(interrupted%s)", offer)
	default:
		return err
	}
	return nil
}

// roomOffer says what can be done about a full context.
func (s *Session) roomOffer() string {
	switch n := len(s.Chat.exchanges); {
	case s.Chat.chat && n > 1:
		return "; /shift drops the oldest exchanges and goes on, /summarize has the model summarize them and goes " +
			"on, /reset begins a new conversation"
	case !s.Chat.chat && n > 0 && s.Chat.last().answered:
		return "; /shift drops the oldest tokens and goes on"
	}
	return "; /reset begins a new conversation"
}

// handle answers a message or does what a command says.
func (s *Session) handle(ctx context.Context, text string) error {
	word, rest, _ := strings.Cut(strings.TrimSpace(text), " ")
	c := findCommand(word)
	switch {
	case word == "":
		return nil
	case c != nil && c.arg == "" && rest != "":
		return usage.Errorf("%s takes no text", word)
	case c != nil:
		return c.run(s, ctx, strings.TrimSpace(rest))
	case rest == "" && looksLikeCommand(word):
		return usage.Errorf("no command %s; /help lists them", word)
	}
	return s.turn(s.Chat.Answer(ctx, text, s.show))
}

// turn ends an answer.
func (s *Session) turn(a Answer, err error) error {
	if a, err = s.shown(a, err); err == nil {
		s.noteCut(a, "; /continue goes on", s.roomOffer())
	}
	return err
}
