package main

import (
	"context"
	"io"
	"math/rand/v2"
	"os"
	"slices"
	"strings"

	"github.com/phi3conv/phi3conv/internal/cmdline"
	"github.com/phi3conv/phi3conv/internal/console"
	"github.com/phi3conv/phi3conv/internal/input"
	"github.com/phi3conv/phi3conv/internal/job/chat"
	"github.com/phi3conv/phi3conv/internal/report"
	"github.com/phi3conv/phi3conv/internal/terminal"
	"github.com/phi3conv/phi3conv/runtime"
	"github.com/urfave/cli/v2"
)

func runCommand() *cli.Command {
	var compute computeFlags
	var draft draftFlags
	return &cli.Command{
		Name:      "run",
		Usage:     "answer a prompt, or hold a conversation",
		ArgsUsage: "MODEL",
		Description: `MODEL is a checkpoint directory, a GGUF or a .pmap file. Without --prompt and --file, what you
say is read from standard input, and the conversation is kept; with --json, all of it is one
prompt. On a terminal there is an editor with history, and /help. A line is a message, unless it
begins with """ and goes on to the next """, or ends with a backslash, which stands for a line
break there. What is pasted is one message. Ctrl-C ends an answer.

The prompt is what a user says; the model's chat template renders it. With --raw, or if the model
has no template, the model continues the prompt itself: special tokens such as <|user|> are
recognized in it, and each message is a prompt of its own.

--grammar and --json-schema keep each answer to a format: tokens that would leave it are not
considered. docs/serve.md says what schemas and grammars may have.

When the context is full, an answer is cut, and a longer conversation refused until there is
room: /shift drops the oldest exchanges, /summarize has the model summarize them. --context-shift
drops them as soon as it is necessary (with --raw, the oldest tokens), half of the context each
time. What is left is evaluated anew. Examples:

   phi3conv run phi-3-mini-Q4_K_M.gguf -p "Why is the sky blue?" --temp 0
   echo "Why is the sky blue?" | phi3conv run phi-3-mini-Q4_K_M.gguf --json`,
		Flags:  slices.Concat(promptFlags(), formatFlags(), samplingFlags(), draft.flags(false), compute.flags()),
		Action: func(c *cli.Context) error { return runAction(c, &compute, &draft) },
	}
}

func runAction(c *cli.Context, compute *computeFlags, draft *draftFlags) error {
	if err := cmdline.One(c.Command, c.Args().Slice(), "MODEL"); err != nil {
		return err
	}
	prompt, oneShot, err := promptText(c)
	if err != nil {
		return err
	}
	if c.Bool("json") && !oneShot {
		return usagef("--json needs a prompt: --prompt, --file or standard input")
	}
	seed := uint64(c.Int64("seed"))
	if c.Int64("seed") < 0 {
		seed = uint64(rand.Uint32())
	}
	opt, err := chatOptions(c, compute, seed)
	if err != nil {
		return err
	}
	opt.Draft, opt.Lookup = draft.model, draft.lookup
	m, err := chat.Open(c.Context, c.Args().First(), opt)
	if err != nil {
		return err
	}
	defer func() { _ = m.Close() }() // only read from
	if c.Bool("json") {
		return answerJSON(c.Context, c.App.Writer, m, prompt, seed)
	}
	s := &chat.Session{Chat: m, Out: c.App.Writer, Notes: c.App.ErrWriter, Terminal: terminal.Is(c.App.Writer)}
	if oneShot {
		err = s.Answer(c.Context, prompt)
	} else {
		err = converse(c, s)
	}
	s.NoteFigures(seed)
	return err
}

// noHistory turns the history off in the environment.
const noHistory = "PHI3CONV_NO_HISTORY"

// converse lets the user write in an editor, if there is a terminal for that.
func converse(c *cli.Context, s *chat.Session) error {
	if !console.HasEditor(c.App.Reader, c.App.Writer) {
		prompt := ""
		if s.Terminal && terminal.Is(c.App.Reader) {
			prompt = "> "
			s.Banner()
		}
		return s.Run(c.Context, console.NewLines(c.App.Reader, c.App.Writer, prompt))
	}
	s.Banner()
	opt := console.Options{Prompt: "> ", Commands: chat.Commands(), Notes: c.App.ErrWriter}
	if !c.Bool("no-history") && os.Getenv(noHistory) == "" {
		var err error
		if opt.History, err = console.OpenHistory(); err != nil {
			newMonitor(c.App.ErrWriter).Note("there is no history of earlier conversations: %v", err)
		}
	}
	return s.Run(c.Context, console.NewEditor(opt))
}

// promptText returns the prompt of the command line, if there is one.
func promptText(c *cli.Context) (text string, given bool, err error) {
	switch {
	case c.IsSet("prompt") && c.IsSet("file"):
		return "", false, usagef("--prompt and --file exclude each other")
	case c.IsSet("file"):
		text, err := readText(c.Context, c.App.Reader, c.String("file"))
		return strings.TrimSuffix(text, "\n"), true, err
	case c.Bool("json") && !c.IsSet("prompt") && !terminal.Is(c.App.Reader):
		text, err := readText(c.Context, c.App.Reader, input.Stdin)
		return strings.TrimSuffix(text, "\n"), text != "", err
	}
	return c.String("prompt"), c.IsSet("prompt"), nil
}

func chatOptions(c *cli.Context, compute *computeFlags, seed uint64) (opt chat.Options, err error) {
	opt = chat.Options{
		Raw:          c.Bool("raw"),
		TemplateFile: c.String("chat-template-file"),
		System:       c.String("system-prompt"),
		Limit:        c.Int("predict"),
		Stops:        c.StringSlice("stop"),
		Context:      c.Int("ctx-size"),
		ContextShift: c.Bool("context-shift"),
		Check:        c.Bool("check"),
		Monitor:      newMonitor(c.App.ErrWriter),
	}
	opt.Sampler, err = runtime.NewSampler(runtime.SamplerOptions{
		Temperature:   float32(c.Float64("temp")),
		TopK:          c.Int("top-k"),
		TopP:          float32(c.Float64("top-p")),
		MinP:          float32(c.Float64("min-p")),
		RepeatPenalty: float32(c.Float64("repeat-penalty")),
		RepeatLastN:   c.Int("repeat-last-n"),
		Seed:          seed,
	})
	if err != nil {
		return opt, usagef("--%w", err)
	}
	if opt.Format, err = answerFormat(c); err != nil {
		return opt, err
	}
	if opt.Compute, err = compute.options(); err != nil {
		return opt, err
	}
	if opt.Compute.Threads, err = modelThreads(c.Int("threads"), c.IsSet("threads")); err != nil {
		return opt, err
	}
	if opt.Context < 0 {
		return opt, usagef("--ctx-size is %d, expected a number of tokens, or 0 for the default", opt.Context)
	}
	if opt.Raw && opt.TemplateFile != "" {
		return opt, usagef("--raw and --chat-template-file exclude each other")
	}
	return opt, nil
}

// answerFigures is what --json prints.
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

// answerJSON prints the answer and figures as one object, also where the answer was interrupted.
func answerJSON(ctx context.Context, w io.Writer, m *chat.Chat, prompt string, seed uint64) error {
	a, err := m.Answer(ctx, prompt, func(string) error { return nil })
	if err != nil && len(a.IDs) == 0 {
		return err
	}
	printErr := report.WriteDocument(w, 1, answerFigures{
		Text: a.Text, Tokens: a.IDs, Stop: a.Stop, Seed: seed, LoadSeconds: m.Load.Seconds(),
		PromptTokens: a.PromptTokens, PromptSeconds: a.PromptTime.Seconds(),
		PromptRate:   chat.Rate(a.PromptTokens, a.PromptTime),
		DecodeTokens: a.DecodeTokens, DecodeSeconds: a.DecodeTime.Seconds(),
		DecodeRate: chat.Rate(a.DecodeTokens, a.DecodeTime),
	})
	if err != nil {
		return err
	}
	return printErr
}

// answerFormat reads what the flags say, of which at most one is given.
func answerFormat(c *cli.Context) (f chat.Format, err error) {
	given := ""
	for _, kind := range []chat.FormatKind{chat.Grammar, chat.JSONSchema} {
		for _, name := range []string{string(kind), string(kind) + "-file"} {
			switch {
			case !c.IsSet(name):
				continue
			case given != "":
				return f, usagef("--%s and --%s exclude each other", given, name)
			}
			given, f.Kind = name, kind
		}
	}
	if given == string(f.Kind) {
		f.Text = c.String(given)
		return f, nil
	}
	f.File = c.String(given)
	if f.File == input.Stdin && !c.IsSet("prompt") && !c.IsSet("file") {
		return f, usagef("--%s %s needs --prompt or --file: standard input has the conversation", given, f.File)
	}
	if err = input.Once(c.String("file"), f.File); err != nil {
		return f, err
	}
	f.Text, err = readText(c.Context, c.App.Reader, f.File)
	return f, err
}
