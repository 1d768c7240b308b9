package chat

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/phi3conv/phi3conv/runtime"
)

// command is what a user can write in place of a message.
type command struct {
	names []string // the first one is listed
	arg   string   // what may follow, "" for nothing
	usage string
	run   func(s *Session, ctx context.Context, arg string) error
}

// errLeave ends a conversation.
var errLeave = errors.New("the user leaves")

// commands are in the order of /help. The names are llama.cpp's and ollama's where they have the same.
var commands []command

func init() { // /help lists the table that it is in
	commands = []command{
		{[]string{"/help", "/?"}, "", "print this", (*Session).help},
		{[]string{"/reset", "/clear"}, "", "begin a new conversation", (*Session).reset},
		{[]string{"/undo"}, "", "take back the last message and its answer", (*Session).undo},
		{[]string{"/regen", "/retry"}, "", "answer the last message again", (*Session).again},
		{[]string{"/continue"}, "", "go on with an answer that was cut", (*Session).goOn},
		{[]string{"/shift"}, "", "drop the oldest exchanges to make room, and go on", (*Session).shift},
		{[]string{"/summarize"}, "", "let the model summarize the oldest exchanges to make room, and go on",
			(*Session).summarize},
		{[]string{"/system"}, "TEXT", "set the system message; without TEXT, print it", (*Session).system},
		{[]string{"/exit", "/quit", "/bye"}, "", "leave, as Ctrl-D does",
			func(*Session, context.Context, string) error { return errLeave }},
	}
}

// Commands returns the names of all commands.
func Commands() []string {
	var names []string
	for _, c := range commands {
		names = append(names, c.names...)
	}
	return names
}

func findCommand(word string) *command {
	i := slices.IndexFunc(commands, func(c command) bool { return slices.Contains(c.names, word) })
	if i < 0 {
		return nil
	}
	return &commands[i]
}

// looksLikeCommand says whether a word is a slash and lower-case letters.
func looksLikeCommand(word string) bool {
	name, ok := strings.CutPrefix(word, "/")
	return ok && name != "" && strings.Trim(name, "abcdefghijklmnopqrstuvwxyz") == ""
}

func (s *Session) help(context.Context, string) error {
	var b strings.Builder
	for _, c := range commands {
		fmt.Fprintf(&b, "%-16s %s", strings.TrimSpace(c.names[0]+" "+c.arg), c.usage)
		if len(c.names) > 1 {
			fmt.Fprintf(&b, " (also %s)", strings.Join(c.names[1:], ", "))
		}
		b.WriteByte('\n')
	}
	s.note("%s\nA message of several lines is pasted, or begins and ends with \"\"\", or has lines that end with \\.\n"+
		"Ctrl-C ends an answer.", b.String())
	return nil
}

func (s *Session) reset(context.Context, string) error {
	s.Chat.Reset()
	s.note("(a new conversation)")
	return nil
}

func (s *Session) undo(context.Context, string) error {
	if s.Chat.Undo() {
		s.note("(the last message is taken back)")
	} else {
		s.note("(there is nothing to take back)")
	}
	return nil
}

func (s *Session) again(ctx context.Context, _ string) error {
	return s.turn(s.Chat.Again(ctx, s.show))
}

func (s *Session) goOn(ctx context.Context, _ string) error {
	return s.turn(s.Chat.Continue(ctx, s.show))
}

func (s *Session) shift(ctx context.Context, _ string) error {
	n, err := s.Chat.Shift()
	if err != nil {
		return err
	}
	s.note("(the oldest %s went)", s.Chat.Dropped(n))
	return s.goOnIfFull(ctx)
}

func (s *Session) summarize(ctx context.Context, _ string) error {
	s.note("(summarizing the oldest exchanges)")
	n, err := s.Chat.Summarize(ctx, s.show)
	if _, werr := fmt.Fprintln(s.Out); err == nil {
		err = werr
	}
	if err != nil {
		return err
	}
	s.note("(this summary takes the place of %s)", s.Chat.Dropped(n))
	return s.goOnIfFull(ctx)
}

// goOnIfFull goes on with an answer for which there was no room.
func (s *Session) goOnIfFull(ctx context.Context) error {
	if x := s.Chat.last(); !x.answered || x.stop == runtime.StopContext {
		return s.goOn(ctx, "")
	}
	return nil
}

func (s *Session) system(_ context.Context, text string) error {
	if text == "" {
		if text = s.Chat.System(); text == "" {
			text = "(there is no system message)"
		}
		s.note("%s", text)
		return nil
	}
	if err := s.Chat.SetSystem(text); err != nil {
		return err
	}
	s.note("(the system message is set)")
	return nil
}
