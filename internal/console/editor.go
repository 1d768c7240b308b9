// Package console reads what a user writes, on a terminal with an editor and elsewhere line by line.
package console

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"

	"github.com/reeflective/readline"
	"github.com/reeflective/readline/inputrc"
	"github.com/rivo/uniseg"
	"golang.org/x/term"

	"github.com/phi3conv/phi3conv/internal/terminal"
)

// HasEditor reports whether the streams are the program's own, and a terminal that an editor can use.
func HasEditor(in io.Reader, out io.Writer) bool {
	if in != io.Reader(os.Stdin) || out != io.Writer(os.Stdout) ||
		!terminal.Is(in) || !terminal.Is(out) {
		return false
	}
	kind := os.Getenv("TERM")
	return kind != "dumb" && (kind != "" || runtime.GOOS == "windows")
}

// Options of an editor.
type Options struct {
	Prompt   string
	History  *History  // nil for that of this editor alone
	Commands []string  // words that complete what begins with a slash
	Notes    io.Writer // for remarks
}

// Editor reads messages from the terminal.
type Editor struct {
	shell       *readline.Shell
	notes       io.Writer
	interrupted bool // by the last key
	row         int  // of the cursor on the screen, from that of the prompt
}

// NewEditor makes an editor. It has the keys of the user's inputrc.
func NewEditor(opt Options) *Editor {
	shell := readline.NewShell(inputrc.WithApp("phi3conv"))
	for name, value := range map[string]any{
		"enable-bracketed-paste": true,
		"cursor-position-probe":  false, // a prompt begins at the left, and an answer could be mixed with what is typed
		// Letters that are not ASCII are letters, and no keys together with Meta.
		"convert-meta": false, "input-meta": true, "output-meta": true,
	} {
		_ = shell.Config.Set(name, value) // sets what has that type
	}
	if opt.History != nil {
		shell.History.Add("phi3conv", opt.History)
	}
	shell.Completer = func(line []rune, cursor int) readline.Completions {
		if !strings.HasPrefix(string(line), "/") || strings.ContainsAny(string(line[:cursor]), " \n") {
			return readline.Completions{}
		}
		return readline.CompleteValues(opt.Commands...)
	}
	e := &Editor{shell: shell, notes: opt.Notes}
	shell.Prompt.Primary(func() string {
		e.makeRoom(uniseg.StringWidth(opt.Prompt))
		return opt.Prompt
	})
	shell.AcceptMultiline = e.accept
	e.bind()
	return e
}

// bind adds keys that the library lacks, and its commands that do something else than is usual.
func (e *Editor) bind() {
	e.shell.Keymap.Register(map[string]func(){
		"end-of-file": e.endOrDelete, "delete-char": e.delete, "insert-newline": e.insertNewline,
		"skip-csi-sequence": e.skipSequence,
	})
	csi := alt("[") // begins what terminals send for most keys that are not letters
	for _, keymap := range []string{"emacs", "vi-insert"} {
		for keys, command := range map[string]string{
			ctrl('D'): "end-of-file", alt(ctrl('M')): "insert-newline", alt(ctrl('J')): "insert-newline",
			csi + "3~": "delete-char", csi + "1~": "beginning-of-line", csi + "7~": "beginning-of-line",
			csi + "4~": "end-of-line", csi + "8~": "end-of-line", csi: "skip-csi-sequence",
		} {
			_ = e.shell.Config.Bind(keymap, keys, command, false) // never fails
		}
	}
}

// Keys as the library has them in its tables; a key with Alt is the rune with the eighth bit, which stands for Escape
// and the key.
func ctrl(letter rune) string { return string(letter & 0x1f) }
func alt(key string) string   { return string(rune(key[0]) | 0x80) }

// accept says whether what was written is a message, or goes on in another line.
func (e *Editor) accept(line []rune) bool {
	if n := len(line); n > 0 && line[n-1] == '\\' {
		e.shell.Line().CutRune(n - 1)
		e.shell.Cursor().Set(n - 1)
		return false
	}
	return complete(string(line))
}

// endOrDelete ends the input where nothing is written, and deletes elsewhere.
func (e *Editor) endOrDelete() {
	if e.shell.Line().Len() > 0 {
		e.delete()
		return
	}
	e.shell.Display.AcceptLine()
	e.shell.History.Accept(false, false, io.EOF)
}

// delete deletes the character at the cursor. The library deletes the last one if there is none.
func (e *Editor) delete() {
	if at := e.shell.Cursor().Pos(); at < e.shell.Line().Len() {
		e.shell.History.Save()
		e.shell.Line().CutRune(at)
	}
}

// skipSequence drops the keys of a sequence that means nothing. The library drops some that follow it, too.
func (e *Editor) skipSequence() {
	e.shell.History.SkipSave()
	final := func(key rune) bool { return key < ' ' || key >= '@' }
	if keys := e.shell.Keys.Caller(); len(keys) > 2 && final(keys[len(keys)-1]) {
		return
	}
	for {
		if key, none := e.shell.Keys.Pop(); none || final(rune(key)) {
			return
		}
	}
}

func (e *Editor) insertNewline() {
	e.shell.Cursor().InsertAt('\n')
}

// makeRoom scrolls the screen where it ends less than a row below what is written. It is called before the library
// draws, which takes it for granted that there is one unless it asks the terminal for the cursor's place; and then keys
// that come together with the terminal's answer are lost.
func (e *Editor) makeRoom(indent int) {
	width, height, err := term.GetSize(int(os.Stdout.Fd()))
	if err != nil || width < 1 {
		return
	}
	rows := func(text []rune) int {
		n := 0
		for line := range strings.SplitSeq(string(text), "\n") {
			n += 1 + (indent+uniseg.StringWidth(line)+8*strings.Count(line, "\t"))/width
		}
		return n
	}
	line := []rune(*e.shell.Line())
	if n := min(rows(line)-e.row, height-1); n > 0 {
		_, _ = fmt.Fprintf(os.Stdout, "%s\x1b[%dA", strings.Repeat("\n", n), n)
	}
	e.row = rows(line[:min(e.shell.Cursor().Pos(), len(line))]) - 1
}

// Read returns the next message that is not empty. Ctrl-C drops what is written; where nothing is, twice of it is
// [context.Canceled]. Ctrl-D is [io.EOF] there.
func (e *Editor) Read(ctx context.Context) (string, error) {
	stop := context.AfterFunc(ctx, func() { // a read ends with a key only
		e.shell.Keys.Feed(false, []rune(ctrl('C'))...)
		e.shell.Keys.RequestRefresh()
	})
	defer stop()
	for {
		e.shell.Line().Set() // what makes room must not see the last message
		e.shell.Cursor().Set(0)
		e.row = 0
		text, err := e.shell.Readline()
		if ctx.Err() != nil {
			return "", ctx.Err()
		}
		if err == nil {
			e.interrupted = false
			if text = message(text); strings.TrimSpace(text) != "" {
				return text, nil
			}
			continue
		}
		if !errors.Is(err, readline.ErrInterrupt) {
			return "", err
		}
		if text == "" && e.interrupted {
			return "", context.Canceled
		}
		if e.interrupted = text == ""; e.interrupted {
			_, _ = fmt.Fprintln(e.notes, "(Ctrl-C again leaves, as do Ctrl-D and /exit)")
		}
	}
}
