package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/phi3conv/phi3conv/runtime/tokenizer"
)

// goldenChat is a conversation with the answer of transformers.
type goldenChat struct {
	Messages  []tokenizer.Message
	Answer    string
	AnswerIDs []int32 `json:"answer_ids"`
	Margin    float64
}

func goldenChats(t *testing.T) []goldenChat {
	t.Helper()
	var g struct{ Cases []goldenChat }
	if err := json.Unmarshal(read(t, "../../testdata/golden/chat.json"), &g); err != nil {
		t.Fatal(err)
	}
	return g.Cases
}

// tinyGGUF converts the embedded model.
func tinyGGUF(t *testing.T, ft string) string {
	t.Helper()
	out := filepath.Join(t.TempDir(), "tiny-phi3-"+ft+".gguf")
	if _, stderr, code := phi3conv(t, "convert", tinyModel(t), "-o", out, "--type", ft); code != exitOK {
		t.Fatal(stderr)
	}
	return out
}

// runWith runs the program with a standard input.
func runWith(ctx context.Context, in io.Reader, out io.Writer, args ...string) (stderr string, err error) {
	var errOut bytes.Buffer
	app := newApp()
	app.Reader, app.Writer, app.ErrWriter = in, out, &errOut
	err = app.RunContext(ctx, flagsFirst(append([]string{"phi3conv"}, args...), app.Commands))
	return errOut.String(), err
}

// Greedy answers are those of transformers; of quantized models where the margin is wide.
func TestRun(t *testing.T) {
	for _, m := range []struct {
		path   string
		args   []string
		margin float64
	}{
		{tinyModel(t), nil, 0.05},
		{tinyGGUF(t, "Q4_K_M"), []string{"--cache-type", "q8_0", "--no-repack", "--batch-size", "3", "-t", "1"}, 4},
	} {
		for _, g := range goldenChats(t) {
			if g.Margin < m.margin || len(g.Messages) > 2 {
				continue
			}
			args := append([]string{"run", m.path, "--temp", "0", "-n", "96"}, m.args...)
			args = append(args, "-p", g.Messages[len(g.Messages)-1].Content)
			if len(g.Messages) == 2 {
				args = append(args, "-sys", g.Messages[0].Content)
			}
			stdout, stderr, code := phi3conv(t, args...)
			if code != exitOK || stdout != g.Answer+"\n" {
				t.Errorf("%q: exit %d, %q, expected %q\n%s", args, code, stdout, g.Answer, stderr)
			}
			if !strings.Contains(stderr, "; answer: ") || !strings.Contains(stderr, " tok/s; seed ") {
				t.Errorf("figures: %s", stderr)
			}
		}
	}
}

func TestRunFlags(t *testing.T) {
	model := tinyModel(t)
	file := filepath.Join(t.TempDir(), "prompt.txt")
	write(t, file, []byte("What does a cow eat?\n"))
	template := filepath.Join(t.TempDir(), "template.jinja")
	write(t, template, []byte("<|user|>\nWhat does a {{ messages[-1].content }} eat?<|end|>\n<|assistant|>\n"))
	for _, c := range []struct {
		name string
		args []string
		want string
	}{
		{"file", []string{"-f", file}, "A cow eats grass.\n"},
		{"template", []string{"--chat-template-file", template, "-p", "cow"}, "A cow eats grass.\n"},
		{"raw", []string{"--raw", "-p", "<|user|>\nWhat does a cow eat?<|end|>\n<|assistant|>\n"},
			" A cow eats grass.\n"},
		{"within a sentence", []string{"--raw", "-p", "The red ball is", "-n", "4"}, " in the tower.\n"},
		{"one token", []string{"-p", "What does a cow eat?", "-n", "1"}, "A\n"},
		{"no token", []string{"-p", "What does a cow eat?", "-n", "0"}, ""},
		{"stop", []string{"-p", "What does a cow eat?", "--stop", "house", "--stop", "ow ea"}, "A c\n"},
		{"a stop that is only begun", []string{"-p", "What does a cow eat?", "--stop", "grass..", "--stop", "A,"},
			"A cow eats grass.\n"},
		{"a context that becomes full", []string{"-p", "What does a cow eat?", "-c", "14"}, "A cow eat\n"},
		{"few candidates", []string{"-p", "What does a cow eat?", "--temp", "0.01", "--top-p", "0.5", "--min-p", "0",
			"--top-k", "0", "--repeat-penalty", "1.01", "--repeat-last-n", "3"}, "A cow eats grass.\n"},
		{"one candidate", []string{"-p", "What does a cow eat?", "--temp", "2", "--top-k", "1"}, "A cow eats grass.\n"},
	} {
		args := append([]string{"run", model, "--temp", "0"}, c.args...)
		stdout, stderr, code := phi3conv(t, args...)
		if code != exitOK || stdout != c.want {
			t.Errorf("%s: exit %d, %q, expected %q\n%s", c.name, code, stdout, c.want, stderr)
		}
	}
	// The same seed, the same text; another, another.
	story := func(seed string) string {
		stdout, stderr, code := phi3conv(t, "run", model, "-p", "Tell me a story about Zoë.",
			"-n", "40", "--temp", "2", "--seed", seed)
		if code != exitOK || seed != "-1" && !strings.HasSuffix(stderr, "; seed "+seed+"\n") {
			t.Errorf("seed %s: exit %d\n%s", seed, code, stderr)
		}
		return stdout
	}
	if a, b := story("1"), story("1"); a != b {
		t.Errorf("seed 1: %q, then %q", a, b)
	}
	if a, b := story("1"), story("2"); a == b {
		t.Errorf("seeds 1 and 2: %q", a)
	}
	if a, b := story("-1"), story("-1"); a == b {
		t.Errorf("random seeds: %q", a)
	}
}

func TestRunErrors(t *testing.T) {
	model := tinyModel(t)
	hostile := filepath.Join(t.TempDir(), "hostile.jinja")
	write(t, hostile, []byte("{{ 'a' * 99999999999999 }}"))
	for _, c := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"-p", "a", "--chat-template-file", hostile}, exitBadInput, "hostile.jinja: chat template, line 1: "},
		{nil, exitUsage, "run takes one MODEL, got 2 arguments"},
		{[]string{"-p", "a", "-f", "b"}, exitUsage, "--prompt and --file exclude each other"},
		{[]string{"--json"}, exitUsage, "--json needs --prompt or --file"},
		{[]string{"-p", "a", "--stop", ""}, exitUsage, "--stop is empty"},
		{[]string{"-p", "a", "--top-p", "1.5"}, exitUsage, "--top-p is 1.5, expected 0 to 1"},
		{[]string{"-p", "a", "--temp", "-1"}, exitUsage, "--temperature is -1, expected 0 to 1e+06"},
		{[]string{"-p", "a", "--top-k", "x"}, exitUsage, `invalid value "x" for flag -top-k`},
		{[]string{"-p", "a", "-c", "-1"}, exitUsage, "--ctx-size is -1"},
		{[]string{"-p", "a", "-b", "0"}, exitUsage, "--batch-size is 0, expected 1 to 16384"},
		{[]string{"-p", "a", "-t", "0"}, exitUsage, "0 threads, expected 1 to 1024"},
		{[]string{"-p", "a", "--cache-type", "q4_0"}, exitUsage,
			`--cache-type: unknown cache type "q4_0"; known: f16 f32 q8_0`},
		{[]string{"-p", "a", "--raw", "-sys", "b"}, exitUsage, "--system-prompt needs a chat template"},
		{[]string{"-p", "a", "--raw", "--chat-template-file", "b"}, exitUsage,
			"--raw and --chat-template-file exclude each other"},
		{[]string{"-f", "absent.txt"}, exitBadInput, "absent.txt"},
		{[]string{"-p", "a", "--chat-template-file", "absent.txt"}, exitBadInput, "absent.txt"},
		{[]string{"-p", "a", "-c", "513"}, exitBadInput, "a context of 513 tokens; the model was made for 1 to 512"},
		{[]string{"-p", "Where is the red ball?", "-c", "9"}, exitBadInput,
			"the prompt is too long: 10 tokens do not fit the context of 9"},
		{[]string{"--raw", "-p", ""}, exitBadInput, "the prompt has no tokens"},
	} {
		args := append([]string{"run", model}, c.args...)
		if c.args == nil {
			args = append(args, "another")
		}
		stdout, stderr, code := phi3conv(t, args...)
		if code != c.code || !strings.Contains(stderr, c.want) || stdout != "" {
			t.Errorf("%q: exit %d, expected %d and %q\n%s%s", c.args, code, c.code, c.want, stdout, stderr)
		}
	}
}

func TestRunJSON(t *testing.T) {
	model := tinyModel(t)
	var ids []int32
	for _, g := range goldenChats(t) {
		if g.Messages[0].Content == "What does a cow eat?" {
			ids = g.AnswerIDs[:len(g.AnswerIDs)-1]
		}
	}
	for _, c := range []struct {
		args []string
		text string
		ids  []int32
		stop string
	}{
		{nil, "A cow eats grass.", ids, "token"},
		{[]string{"-n", "1"}, "A", ids[:1], "limit"},
		{[]string{"--stop", "cow"}, "A ", nil, "text"},
		{[]string{"-c", "14"}, "A cow eat", nil, "context"},
		{[]string{"-n", "0"}, "", []int32{}, "limit"},
	} {
		args := []string{"run", model, "-p", "What does a cow eat?", "--temp", "0", "--seed", "7", "--json"}
		args = append(args, c.args...)
		stdout, stderr, code := phi3conv(t, args...)
		if code != exitOK || stderr != "" {
			t.Fatalf("%q: exit %d\n%s", c.args, code, stderr)
		}
		var got struct {
			Text          *string
			Tokens        []int32
			Stop          string
			Seed          uint64
			LoadSeconds   float64 `json:"load_seconds"`
			PromptTokens  int     `json:"prompt_tokens"`
			PromptSeconds float64 `json:"prompt_seconds"`
			PromptRate    float64 `json:"prompt_tokens_per_second"`
			DecodeTokens  *int    `json:"decode_tokens"`
			DecodeSeconds float64 `json:"decode_seconds"`
			DecodeRate    float64 `json:"decode_tokens_per_second"`
		}
		dec := json.NewDecoder(strings.NewReader(stdout))
		dec.DisallowUnknownFields()
		if err := dec.Decode(&got); err != nil {
			t.Fatalf("%v\n%s", err, stdout)
		}
		if got.Text == nil || *got.Text != c.text || got.Stop != c.stop || got.Seed != 7 {
			t.Errorf("%q:\n%s", c.args, stdout)
		}
		if got.Tokens == nil || c.ids != nil && !slices.Equal(got.Tokens, c.ids) {
			t.Errorf("%q:\n%s", c.args, stdout)
		}
		if got.PromptTokens < 9 || got.PromptTokens > 13 || got.DecodeTokens == nil ||
			got.LoadSeconds <= 0 || got.PromptSeconds <= 0 || got.PromptRate <= 0 {
			t.Errorf("%q:\n%s", c.args, stdout)
		}
	}
}

func TestRunConversation(t *testing.T) {
	model := tinyModel(t)
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
		{"commands", "/help\n/hello\nHello!\n/reset\nHello!\n/quit\nHello!\n", nil, hello + hello, "/quit   end"},
		{"an unknown command", "/hello\n/etc/passwd\n", []string{"-n", "0"}, "", "no command /hello; /help lists them"},
		{"a full context", "Hello!\nHello!\n/reset\nHello!\n", []string{"-c", "30"}, hello + hello,
			"do not fit the context of 30; /reset begins a new conversation"},
		{"a context that becomes full", "Hello!\n/reset\nThank you!\n", []string{"-c", "14"},
			"Hello! How ca\nYou ar\n", "the context of 14 tokens is full; /reset begins a new conversation"},
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
	model := tinyModel(t)
	ctx, cancel := context.WithCancel(t.Context())
	out := &hook{f: cancel}
	stderr, err := runWith(ctx, nil, out, "run", model, "--temp", "0", "-p", "What does a cow eat?")
	if exitCode(err) != exitInterrupted || out.String() != "A\n" || !strings.Contains(stderr, "answer: 1 token,") {
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
