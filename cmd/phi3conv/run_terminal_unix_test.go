//go:build unix

package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"

	"github.com/phi3conv/phi3conv/internal/testmodel"
)

// Keys as terminals send them.
const (
	keyEnter  = "\r"
	keyUp     = "\x1b[A"
	keyLeft   = "\x1b[D"
	keyBack   = "\x7f"
	keyDel    = "\x1b[3~"
	keyCtrlA  = "\x01"
	keyCtrlC  = "\x03"
	keyCtrlD  = "\x04"
	keyCtrlUp = "\x1b[1;5A"
	keyF5     = "\x1b[15~"
	altEnter  = "\x1b\r"
)

// screen is the program on a terminal.
type screen struct {
	*testing.T
	cmd *exec.Cmd
	pty *os.File

	mu   sync.Mutex
	all  []byte // what the program wrote
	text string // the same as it is shown
	seen int    // how much of it was waited for
}

// What the editor tells the terminal when it begins to read a message and when it has read one: pastes are marked
// between the two.
const (
	reading = "\x1b[?2004h"
	hasRead = "\x1b[?2004l"
)

// escape is a command to a terminal.
var escape = regexp.MustCompile("\x1b(\\[[0-9;?]* ?[A-Za-z]|[78])")

// shown is what a terminal shows after all, but for [reading] and [hasRead].
func shown(all []byte) string {
	text := escape.ReplaceAllStringFunc(string(all), func(s string) string {
		if s == reading || s == hasRead {
			return s
		}
		return ""
	})
	return strings.ReplaceAll(text, "\r", "")
}

// onTerminal runs the program on a terminal. environment is added to the process's.
func onTerminal(t *testing.T, environment []string, args ...string) *screen {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], args...)
	cmd.Env = append(os.Environ(), asProgram+"=1", "TERM=xterm", "INPUTRC=/dev/null", "XDG_STATE_HOME="+t.TempDir())
	cmd.Env = append(cmd.Env, environment...)
	f, err := pty.StartWithSize(cmd, &pty.Winsize{Rows: 12, Cols: 100})
	if err != nil {
		t.Fatal(err)
	}
	term := &screen{T: t, cmd: cmd, pty: f}
	go func() {
		b := make([]byte, 4096)
		for {
			n, err := f.Read(b)
			term.mu.Lock()
			term.all = append(term.all, b[:n]...)
			term.text = shown(term.all)
			term.mu.Unlock()
			if err != nil {
				return
			}
		}
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = f.Close()
	})
	return term
}

// expect waits until something is shown after what was expected last.
func (t *screen) expect(text string) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		t.mu.Lock()
		i := strings.Index(t.text[min(t.seen, len(t.text)):], text)
		if i >= 0 {
			t.seen += i + len(text)
		}
		rest := t.text[min(t.seen, len(t.text)):]
		t.mu.Unlock()
		if i >= 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%q was not shown, but %q", text, rest)
		}
	}
}

// send presses keys.
func (t *screen) send(keys string) {
	t.Helper()
	if _, err := t.pty.WriteString(keys); err != nil {
		t.Fatal(err)
	}
}

// ask waits for the editor, presses keys that end what it reads, and expects something then.
func (t *screen) ask(keys, want string) {
	t.Helper()
	t.expect(reading)
	t.send(keys)
	t.expect(hasRead)
	t.expect(want)
}

// exit expects the program to end.
func (t *screen) exit(code int) {
	t.Helper()
	timeout := time.AfterFunc(20*time.Second, func() { _ = t.cmd.Process.Kill() })
	defer timeout.Stop()
	if _ = t.cmd.Wait(); t.cmd.ProcessState.ExitCode() != code {
		t.Errorf("%s, expected exit code %d:\n%s", t.cmd.ProcessState, code, t.text)
	}
}

func TestTerminal(t *testing.T) {
	model := testmodel.Phi3(t)
	term := onTerminal(t, nil, "run", model, "--temp", "0")
	term.expect("tiny-phi3: phi3, 2.6 M weights, mostly BF16\n")
	term.expect("A context of 512 tokens. /help lists commands, Ctrl-C ends an answer, Ctrl-D or /exit leaves.\n")
	const hello = "Hello! How can I help you?\n"
	term.ask("Hello!"+keyEnter, hello)
	// Editing.
	term.ask("/system ello 你好"+keyBack+keyBack+strings.Repeat(keyLeft, 5)+"Ä"+keyF5+"h"+
		keyCtrlA+keyDel+keyCtrlUp+"/"+keyEnter,
		"(the system message is set)")
	term.ask("/system"+keyEnter, "Ähello\n")
	// History.
	term.ask("/reset"+keyEnter, "(a new conversation)")
	term.ask("What does a cow eat?"+keyEnter, "A cow eats grass.\n")
	term.ask("/reset"+keyEnter, "(a new conversation)")
	term.ask(keyUp+keyUp+keyEnter, "A cow eats grass.\n")
	// Commands.
	term.ask("/he\t"+keyEnter, "/summarize")
	term.ask("/nothing"+keyEnter, "no command /nothing; /help lists them")
	term.ask("/undo now"+keyEnter, "/undo takes no text")
	term.ask("/regen"+keyEnter, "A cow eats grass.\n")
	term.ask("/continue"+keyEnter, "the answer is complete")
	term.ask("/system Answer in one short sentence."+keyEnter, "(the system message is set)")
	term.ask("/reset"+keyEnter, "(a new conversation)")
	term.ask("What does a dog say?"+keyEnter, "A dog says woof.\n")
	term.ask("/exit"+keyEnter, "; answer: ")
	term.exit(exitOK)
}

// A message may have several lines: pasted, quoted, with backslashes, or with Alt-Enter.
func TestTerminalLines(t *testing.T) {
	model := testmodel.Phi3(t)
	want, _, _ := phi3conv(t, "run", model, "--temp", "0", "-p", "What does\na cow eat?")
	for _, keys := range []string{
		"\x1b[200~What does\ra cow eat?\x1b[201~" + keyEnter,
		"\"\"\"" + keyEnter + "What does" + keyEnter + "a cow eat?\"\"\"" + keyEnter,
		"What does\\" + keyEnter + "a cow eat?" + keyEnter,
		"What does" + altEnter + "a cow eat?" + keyEnter,
	} {
		term := onTerminal(t, nil, "run", model, "--temp", "0")
		term.ask(keys, want)
		term.ask(keyCtrlD, "; answer: ")
		term.exit(exitOK)
	}
}

// Ctrl-C ends an answer, drops what is written, and twice where nothing is written leaves.
func TestTerminalInterrupts(t *testing.T) {
	model := testmodel.Phi3(t)
	// Noise of 964 tokens, one after the other.
	term := onTerminal(t, nil, "run", model, "--temp", "1e6", "--top-k", "0", "--top-p", "1", "--min-p", "0",
		"--repeat-penalty", "1", "--seed", "77", "--context-shift", "--raw", "-t", "1", "--f32")
	term.ask("The red ball"+keyEnter, "")
	term.send(keyCtrlC)
	term.expect("(interrupted; /continue goes on)")
	term.ask("something"+keyCtrlC, "")
	term.ask(keyCtrlC, "(Ctrl-C again leaves, as do Ctrl-D and /exit)")
	term.ask("/undo"+keyEnter, "taken back")
	term.ask(keyCtrlC, "(Ctrl-C again leaves, as do Ctrl-D and /exit)")
	term.ask(keyCtrlC, "interrupted")
	term.exit(exitInterrupted)

	term = onTerminal(t, nil, "run", model)
	term.expect(reading)
	if err := term.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	term.exit(exitTerminated)
}

// Where an answer is cut the user is told, and can go on.
func TestTerminalCut(t *testing.T) {
	model := testmodel.Phi3(t)
	term := onTerminal(t, nil, "run", model, "--temp", "0", "-n", "3")
	term.ask("What does a cow eat?"+keyEnter, "(cut after 3 tokens, which --predict sets; /continue goes on)\n")
	term.ask("/continue"+keyEnter, " eats g\n(cut after 3 tokens, which --predict sets; /continue goes on)\n")
	term.ask(keyCtrlD, "")
	term.exit(exitOK)

	term = onTerminal(t, nil, "run", model, "--temp", "0", "-c", "40")
	term.ask("What does a cow eat?"+keyEnter, "A cow eats grass.\n")
	term.ask("What does a cow eat?"+keyEnter,
		"(cut: the context of 40 tokens, which --ctx-size sets, is full; /shift drops")
	term.ask("/shift"+keyEnter, "(the oldest 1 exchange went)\nass.\n")
	term.ask("What does a cow eat?"+keyEnter, "A cow")
	term.ask("What does a cow eat?"+keyEnter,
		"do not fit the context of 40; /shift drops the oldest exchanges and goes on, ")
	term.ask("/shift"+keyEnter, "A cow eats grass.\n")
	term.ask(keyCtrlD, "")
	term.exit(exitOK)
}

// The history of one conversation is there in the next one, unless the user does not want that.
func TestTerminalHistory(t *testing.T) {
	model, state := testmodel.Phi3(t), t.TempDir()
	run := func(keys, want string, environment ...string) {
		t.Helper()
		term := onTerminal(t, append(environment, "XDG_STATE_HOME="+state), "run", model, "--temp", "0", "-n", "0")
		term.ask(keys, want)
		term.ask(keyCtrlD, "")
		term.exit(exitOK)
	}
	run("/system Sentence one."+keyEnter, "(the system message is set)")
	run(keyUp+keyEnter, "(the system message is set)")
	run("/help"+keyEnter, "/summarize", "PHI3CONV_NO_HISTORY=1")
	run(keyUp+keyEnter, "(the system message is set)")
	path := filepath.Join(state, "phi3conv", "history")
	if got := string(testmodel.Read(t, path)); got != "\"/system Sentence one.\"\n" {
		t.Errorf("%q", got)
	}
}

// A terminal without commands gets none.
func TestDumbTerminal(t *testing.T) {
	term := onTerminal(t, []string{"TERM=dumb"}, "run", testmodel.Phi3(t), "--temp", "0")
	term.expect("> ")
	term.send("Hello!\n")
	term.expect("Hello! How can I help you?\n> ")
	term.send(keyCtrlD)
	term.expect("; answer: ")
	term.exit(exitOK)
	if bytes.Contains(term.all, []byte("\x1b")) {
		t.Errorf("%q", term.all)
	}
}
