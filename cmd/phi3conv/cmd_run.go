package main

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/signal"
	"strings"
	"time"

	"github.com/phi3conv/phi3conv/runtime"
	"github.com/phi3conv/phi3conv/runtime/tokenizer"
	"github.com/urfave/cli/v2"
	"golang.org/x/term"
)

var runCommand = &cli.Command{
	Name:      "run",
	Usage:     "answer a prompt, or hold a conversation",
	ArgsUsage: "MODEL",
	Description: `MODEL is a checkpoint directory or a GGUF file. Without --prompt and --file, reads
what you say from the standard input, line by line, and keeps the conversation.
Ctrl-C ends an answer; when none is under way, it ends the program.

The prompt is what a user says, in the form of the model's chat template. With --raw,
or if the model has no template, the model goes on with the prompt itself, in which
special tokens such as <|user|> are recognized; each line is a prompt of its own then.
Prompts are taken as they are: backslashes mean nothing.

Example:

   phi3conv run phi-3-mini-Q4_K_M.gguf -p "Why is the sky blue?" --temp 0`,
	Flags: append([]cli.Flag{
		&cli.StringFlag{Name: "prompt", Aliases: []string{"p"}, Usage: "answer `TEXT`"},
		&cli.StringFlag{Name: "file", Aliases: []string{"f"}, Usage: "answer the text in `FILE`"},
		&cli.StringFlag{Name: "system-prompt", Aliases: []string{"sys"}, Usage: "`TEXT` before the conversation that says how to answer"},
		&cli.BoolFlag{Name: "raw", Usage: "continue the prompt, without a chat template"},
		&cli.StringFlag{Name: "chat-template-file", Usage: "Jinja template in `FILE` (default: the model's own)"},
		&cli.IntFlag{Name: "predict", Aliases: []string{"n", "n-predict"}, Value: -1, Usage: "greatest number of tokens of an answer; -1 is until its end, or that of the context"},
		&cli.StringSliceFlag{Name: "stop", Usage: "end the answer where `TEXT` begins; repeatable"},
		&cli.Float64Flag{Name: "temp", Aliases: []string{"temperature"}, Value: runtime.DefaultTemperature, Usage: "temperature; 0 always takes the most likely token"},
		&cli.IntFlag{Name: "top-k", Value: runtime.DefaultTopK, Usage: "take one of the k most likely tokens; 0 is off"},
		&cli.Float64Flag{Name: "top-p", Value: runtime.DefaultTopP, Usage: "take one of the most likely tokens that make up this probability; 1 is off"},
		&cli.Float64Flag{Name: "min-p", Value: runtime.DefaultMinP, Usage: "take none that is less than this times as likely as the most likely; 0 is off"},
		&cli.Float64Flag{Name: "repeat-penalty", Value: runtime.DefaultRepeatPenalty, Usage: "make recent tokens less likely; 1 is off"},
		&cli.IntFlag{Name: "repeat-last-n", Value: runtime.DefaultRepeatLastN, Usage: "how many tokens are recent"},
		&cli.Int64Flag{Name: "seed", Aliases: []string{"s"}, Value: -1, Usage: "the same seed gives the same answer; -1 is a random one"},
		&cli.IntFlag{Name: "ctx-size", Aliases: []string{"c"}, Usage: "context in tokens", DefaultText: "the model's, at most 4096"},
		modelThreadsFlag(),
		&cli.BoolFlag{Name: "json", Usage: "print the answer and figures as JSON, at the end"},
	}, computeFlags()...),
	Action: runModel,
}

func runModel(c *cli.Context) error {
	if c.NArg() != 1 {
		return usagef("run takes one MODEL, got %d arguments", c.NArg())
	}
	path := c.Args().First()
	prompt, oneShot, err := promptText(c)
	if err != nil {
		return err
	}
	if c.Bool("json") && !oneShot {
		return usagef("--json needs --prompt or --file")
	}
	r := &runner{c: c, limit: c.Int("predict"), stops: c.StringSlice("stop"), seed: uint64(c.Int64("seed"))}
	if c.Int64("seed") < 0 {
		r.seed = uint64(rand.Uint32())
	}
	for _, s := range r.stops {
		if s == "" {
			return usagef("--stop is empty")
		}
	}
	r.sampler, err = runtime.NewSampler(runtime.SamplerOptions{
		Temperature: float32(c.Float64("temp")), TopK: c.Int("top-k"), TopP: float32(c.Float64("top-p")), MinP: float32(c.Float64("min-p")),
		RepeatPenalty: float32(c.Float64("repeat-penalty")), RepeatLastN: c.Int("repeat-last-n"), Seed: r.seed,
	})
	if err != nil {
		return usagef("--%w", err)
	}
	opt, err := computeOptions(c)
	if err != nil {
		return err
	}
	if opt.Threads, err = modelThreads(c); err != nil {
		return err
	}
	if n := c.Int("ctx-size"); n < 0 {
		return usagef("--ctx-size is %d, expected a number of tokens, or 0 for the default", n)
	}

	start := time.Now()
	if r.tok, err = tokenizer.Open(path); err != nil {
		return err
	}
	if err := r.setTemplate(); err != nil {
		return err
	}
	m, err := open(c, path, opt)
	if err != nil {
		return err
	}
	defer func() { _ = m.Close() }() // only read from
	if r.seq, err = m.NewSequence(c.Int("ctx-size")); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	r.load = time.Since(start)
	r.terminal = isTerminal(c.App.Writer)

	if !oneShot {
		err = r.converse()
	} else if c.Bool("json") {
		return r.answerJSON(prompt)
	} else {
		_, err = r.answer(c.Context, prompt)
	}
	if r.total.PromptTokens > 0 {
		r.printFigures()
	}
	return err
}

// promptText returns the prompt of the command line, if there is one.
func promptText(c *cli.Context) (text string, given bool, err error) {
	switch {
	case c.IsSet("prompt") && c.IsSet("file"):
		return "", false, usagef("--prompt and --file exclude each other")
	case c.IsSet("file"):
		data, err := os.ReadFile(c.String("file"))
		return strings.TrimSuffix(string(data), "\n"), true, err
	}
	return c.String("prompt"), c.IsSet("prompt"), nil
}

func isTerminal(stream any) bool {
	f, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// runner is the state of the run command.
type runner struct {
	c        *cli.Context
	tok      *tokenizer.Tokenizer
	seq      *runtime.Sequence
	sampler  *runtime.Sampler
	seed     uint64
	limit    int
	stops    []string
	chat     bool
	template string // "" is the model's own
	terminal bool   // answers are shown on one
	messages []tokenizer.Message

	load  time.Duration
	total runtime.Generated // of all answers
}

// setTemplate decides between conversation and raw text.
func (r *runner) setTemplate() error {
	c := r.c
	raw, file, system := c.Bool("raw"), c.String("chat-template-file"), c.String("system-prompt")
	if raw && file != "" {
		return usagef("--raw and --chat-template-file exclude each other")
	}
	if file != "" {
		data, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		r.template = string(data)
	}
	r.chat = !raw && (r.template != "" || r.tok.HasTemplate())
	if system == "" {
		return nil
	}
	if !r.chat {
		return usagef("--system-prompt needs a chat template; without one, write it into the prompt")
	}
	r.messages = append(r.messages, tokenizer.Message{Role: "system", Content: system})
	return nil
}

// answer is what was made of a prompt.
type answer struct {
	runtime.Generated
	ids  []int32
	text string
}

// More reasons for the end of an answer.
const (
	stopText      runtime.StopReason = "text" // one of the runner's stops
	stopInterrupt runtime.StopReason = "interrupt"
)

// answer shows an answer to text as it comes. The question and the answer become part of the
// conversation, unless there is an error before the first token.
func (r *runner) answer(ctx context.Context, text string) (answer, error) {
	a, err := r.generate(ctx, text, func(text string) error {
		if r.terminal {
			text = harmless(text)
		}
		_, err := io.WriteString(r.c.App.Writer, text)
		return err
	})
	if len(a.ids) > 0 && !strings.HasSuffix(a.text, "\n") {
		if _, werr := fmt.Fprintln(r.c.App.Writer); err == nil {
			err = werr
		}
	}
	return a, err
}

// generate calls show with pieces of the answer to text.
func (r *runner) generate(ctx context.Context, text string, show func(text string) error) (a answer, err error) {
	tokens, messages, err := r.encode(text)
	if err != nil {
		return a, err
	}
	if n := r.seq.Context(); len(tokens) > n {
		return a, fmt.Errorf("the prompt is too long: %w", &runtime.ContextError{Tokens: len(tokens), Context: n})
	}
	a.ids = []int32{}
	dec := r.tok.NewDecoder(false)
	if !r.chat {
		for _, id := range tokens { // the answer goes on in the midst of a text
			dec.Next(id)
		}
	}
	stop := stopper{stops: r.stops}
	var all strings.Builder
	put := func(text string) error {
		all.WriteString(text)
		return show(text)
	}
	found := false
	var showErr error
	a.Generated, err = r.seq.Generate(ctx, r.seq.Reuse(tokens), r.sampler, r.limit, r.tok.StopIDs(), func(id int32) bool {
		a.ids = append(a.ids, id)
		var text string
		text, found = stop.add(dec.Next(id))
		showErr = put(text)
		return showErr == nil && !found
	})
	if !found && showErr == nil {
		text, _ := stop.add(dec.Flush())
		showErr = put(text + stop.held)
	}
	if err == nil {
		err = showErr
	}
	switch {
	case found:
		a.Stop = stopText
	case errors.Is(err, context.Canceled):
		a.Stop = stopInterrupt
	}
	a.text = all.String()
	r.total.Tokens += a.Tokens
	r.total.PromptTokens += a.PromptTokens
	r.total.PromptTime += a.PromptTime
	r.total.DecodeTokens += a.DecodeTokens
	r.total.DecodeTime += a.DecodeTime
	if r.chat && (err == nil || len(a.ids) > 0) {
		r.messages = append(messages, tokenizer.Message{Role: "assistant", Content: a.text})
	}
	return a, err
}

// encode returns the tokens of text as a prompt, and in a conversation the messages with it.
func (r *runner) encode(text string) ([]int32, []tokenizer.Message, error) {
	if !r.chat {
		return r.tok.Encode(text, tokenizer.EncodeOptions{AddSpecial: true, ParseSpecial: true}), nil, nil
	}
	messages := append(r.messages, tokenizer.Message{Role: "user", Content: text})
	text, err := r.tok.Chat(messages, true, r.template)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", cmp.Or(r.c.String("chat-template-file"), r.c.Args().First()), err)
	}
	return r.tok.Encode(text, tokenizer.EncodeOptions{ParseSpecial: true}), messages, nil
}

const conversationHelp = `/reset  begin a new conversation
/quit   end, as does the end of the input
/help   print this
`

// converse answers the lines of the standard input.
func (r *runner) converse() error {
	// An interrupt ends an answer only, so it must not end what main's context stands for.
	signal.Reset(os.Interrupt)
	interrupts := make(chan os.Signal, 1)
	signal.Notify(interrupts, os.Interrupt)
	defer signal.Stop(interrupts)

	prompt := ""
	if r.terminal && isTerminal(r.c.App.Reader) {
		prompt = "> "
		r.note("/help lists commands; Ctrl-C ends an answer.")
	}
	end := func(err error) error {
		if prompt != "" {
			r.note("") // ends the line that it began
		}
		return err
	}
	system := r.messages
	lines := readLines(r.c.App.Reader)
	for {
		if _, err := io.WriteString(r.c.App.Writer, prompt); err != nil {
			return err
		}
		var in line
		select {
		case in = <-lines:
		case <-interrupts:
			return end(context.Canceled)
		case <-r.c.Done():
			return end(r.c.Err())
		}
		switch text := strings.TrimSpace(in.text); {
		case text == "/quit":
			return nil
		case text == "/reset":
			r.messages = system
		case text == "/help":
			r.note(conversationHelp)
		case isCommand(text):
			r.note("no command %s; /help lists them", text)
		case text != "":
			if err := r.turn(interrupts, in.text); err != nil {
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

// note prints a remark that is not part of the conversation.
func (r *runner) note(format string, args ...any) {
	_, _ = fmt.Fprintf(r.c.App.ErrWriter, strings.TrimSuffix(format, "\n")+"\n", args...)
}

// isCommand says whether text is a slash and a word.
func isCommand(text string) bool {
	word, ok := strings.CutPrefix(text, "/")
	return ok && word != "" && strings.Trim(word, "abcdefghijklmnopqrstuvwxyz") == ""
}

// turn answers one line. Interrupts and a full context do not end the conversation.
func (r *runner) turn(interrupts <-chan os.Signal, text string) error {
	ctx, cancel := context.WithCancel(r.c.Context)
	done := make(chan struct{})
	go func() {
		defer close(done)
		select {
		case <-interrupts:
			cancel()
		case <-ctx.Done():
		}
	}()
	a, err := r.answer(ctx, text)
	cancel()
	<-done
	var full *runtime.ContextError
	switch {
	case errors.As(err, &full):
		r.note("%v; /reset begins a new conversation", err)
	case errors.Is(err, context.Canceled) && r.c.Err() == nil:
		r.note("(interrupted)")
	case err != nil:
		return err
	case a.Stop == runtime.StopContext:
		r.note("the context of %d tokens is full; /reset begins a new conversation", r.seq.Context())
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

// answerJSON prints the answer and figures as one object.
func (r *runner) answerJSON(prompt string) error {
	a, err := r.generate(r.c.Context, prompt, func(string) error { return nil })
	if err != nil && len(a.ids) == 0 {
		return err
	}
	printErr := printJSON(r.c.App.Writer, answerFigures{
		Text: a.text, Tokens: a.ids, Stop: a.Stop, Seed: r.seed, LoadSeconds: r.load.Seconds(),
		PromptTokens: a.PromptTokens, PromptSeconds: a.PromptTime.Seconds(), PromptRate: rate(a.PromptTokens, a.PromptTime),
		DecodeTokens: a.DecodeTokens, DecodeSeconds: a.DecodeTime.Seconds(), DecodeRate: rate(a.DecodeTokens, a.DecodeTime),
	})
	if err != nil {
		return err
	}
	return printErr
}

type answerFigures struct {
	Text          string             `json:"text"`
	Tokens        []int32            `json:"tokens"`
	Stop          runtime.StopReason `json:"stop"` // token, text, limit, context or interrupt
	Seed          uint64             `json:"seed"`
	LoadSeconds   float64            `json:"load_seconds"`
	PromptTokens  int                `json:"prompt_tokens"`
	PromptSeconds float64            `json:"prompt_seconds"`
	PromptRate    float64            `json:"prompt_tokens_per_second"`
	DecodeTokens  int                `json:"decode_tokens"`
	DecodeSeconds float64            `json:"decode_seconds"`
	DecodeRate    float64            `json:"decode_tokens_per_second"`
}

// printFigures prints how fast it was.
func (r *runner) printFigures() {
	t := &r.total
	r.note("loaded in %.2f s; prompt: %s, %.1f tok/s; answer: %s, %.1f tok/s; seed %d", r.load.Seconds(),
		plural(t.PromptTokens, "token"), rate(t.PromptTokens, t.PromptTime), plural(t.Tokens, "token"), rate(t.DecodeTokens, t.DecodeTime), r.seed)
}

// rate returns tokens a second, 0 if there is nothing to count.
func rate(tokens int, d time.Duration) float64 {
	if tokens == 0 || d <= 0 {
		return 0
	}
	return float64(tokens) / d.Seconds()
}
