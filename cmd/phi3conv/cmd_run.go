package main

import (
	"context"
	"io"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/phi3conv/phi3conv/internal/cmdline"
	"github.com/phi3conv/phi3conv/internal/input"
	"github.com/phi3conv/phi3conv/internal/job/chat"
	"github.com/phi3conv/phi3conv/internal/progress"
	"github.com/phi3conv/phi3conv/internal/report"
	"github.com/phi3conv/phi3conv/runtime"
	"github.com/urfave/cli/v2"
)

func runCommand() *cli.Command {
	var compute computeFlags
	return &cli.Command{
		Name:      "run",
		Usage:     "answer a prompt, or hold a conversation",
		ArgsUsage: "MODEL",
		Description: `MODEL is a checkpoint directory or a GGUF file. Without --prompt and --file, what you say is read
from the standard input, line by line, and the conversation is kept. Ctrl-C ends an answer; when
there is none, it ends the program.

The prompt is what a user says; the model's chat template renders it. With --raw, or if the model
has no template, the model continues the prompt itself: special tokens such as <|user|> are
recognized in it, and each line is a prompt of its own. Backslashes in prompts have no special
meaning. Example:

   phi3conv run phi-3-mini-Q4_K_M.gguf -p "Why is the sky blue?" --temp 0`,
		Flags:  append(append(promptFlags(), samplingFlags()...), compute.flags()...),
		Action: func(c *cli.Context) error { return runAction(c, &compute) },
	}
}

func promptFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "prompt", Aliases: []string{"p"}, Usage: "answer `TEXT`"},
		&cli.StringFlag{Name: "file", Aliases: []string{"f"},
			Usage: "answer the text in `FILE`; - for standard input"},
		&cli.StringFlag{Name: "system-prompt", Aliases: []string{"sys"},
			Usage: "`TEXT` before the conversation, which says how to answer"},
		&cli.BoolFlag{Name: "raw", Usage: "continue the prompt, without a chat template"},
		&cli.StringFlag{Name: "chat-template-file", Usage: "chat template in `FILE`, in Jinja",
			DefaultText: "the model's own"},
		&cli.IntFlag{Name: "predict", Aliases: []string{"n", "n-predict"}, Value: -1,
			Usage: "answer in at most `N` tokens; -1: as many as the context has room for"},
		&cli.StringSliceFlag{Name: "stop", Usage: "end the answer where `TEXT` begins"},
	}
}

func samplingFlags() []cli.Flag {
	return []cli.Flag{
		&cli.Float64Flag{Name: "temp", Aliases: []string{"temperature"}, Value: runtime.DefaultTemperature,
			Usage: "temperature `T`; 0 always takes the most likely token"},
		&cli.IntFlag{Name: "top-k", Value: runtime.DefaultTopK,
			Usage: "sample from the `K` most likely tokens; 0 turns this off"},
		&cli.Float64Flag{Name: "top-p", Value: runtime.DefaultTopP,
			Usage: "sample from the most likely tokens that together have probability `P`; 1 turns this off"},
		&cli.Float64Flag{Name: "min-p", Value: runtime.DefaultMinP,
			Usage: "take no token that is less than `P` times as likely as the most likely; 0 turns this off"},
		&cli.Float64Flag{Name: "repeat-penalty", Value: runtime.DefaultRepeatPenalty,
			Usage: "penalty `X` that makes recent tokens less likely; 1 turns this off"},
		&cli.IntFlag{Name: "repeat-last-n", Value: runtime.DefaultRepeatLastN, Usage: "the last `N` tokens are recent"},
		&cli.Int64Flag{Name: "seed", Aliases: []string{"s"}, Value: -1,
			Usage: "seed `N` of the samples: the same seed gives the same answer; -1 chooses one at random"},
		&cli.IntFlag{Name: "ctx-size", Aliases: []string{"c"}, Usage: "context of `N` tokens",
			DefaultText: "the model's, at most 4096"},
		modelThreadsFlag(),
		&cli.BoolFlag{Name: "check", Usage: "compare a .pmap file with its checksums first"},
		&cli.BoolFlag{Name: "json", Usage: "print the answer and figures as JSON, at the end"},
	}
}

func runAction(c *cli.Context, compute *computeFlags) error {
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
	m, err := chat.Open(c.Context, c.Args().First(), opt)
	if err != nil {
		return err
	}
	defer func() { _ = m.Close() }() // only read from
	if c.Bool("json") {
		return answerJSON(c.Context, c.App.Writer, m, prompt, seed)
	}
	s := &session{m: m, in: c.App.Reader, out: c.App.Writer, notes: c.App.ErrWriter, terminal: progress.IsTerminal(c.App.Writer)}
	if oneShot {
		_, err = s.answer(c.Context, prompt)
	} else {
		err = s.converse(c.Context)
	}
	if t := &m.Total; t.PromptTokens > 0 {
		s.note("loaded in %.2f s; prompt: %s, %.1f tok/s; answer: %s, %.1f tok/s; seed %d", m.Load.Seconds(),
			report.Plural(t.PromptTokens, "token"), rate(t.PromptTokens, t.PromptTime),
			report.Plural(t.Tokens, "token"), rate(t.DecodeTokens, t.DecodeTime), seed)
	}
	return err
}

// promptText returns the prompt of the command line, if there is one.
func promptText(c *cli.Context) (text string, given bool, err error) {
	switch {
	case c.IsSet("prompt") && c.IsSet("file"):
		return "", false, usagef("--prompt and --file exclude each other")
	case c.IsSet("file"):
		text, err := readText(c.Context, c.App.Reader, c.String("file"))
		return strings.TrimSuffix(text, "\n"), true, err
	case c.Bool("json") && !c.IsSet("prompt") && !progress.IsTerminal(c.App.Reader):
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

// rate returns tokens a second, 0 if there is nothing to count.
func rate(tokens int, d time.Duration) float64 {
	if tokens == 0 || d <= 0 {
		return 0
	}
	return float64(tokens) / d.Seconds()
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
		PromptRate:   rate(a.PromptTokens, a.PromptTime),
		DecodeTokens: a.DecodeTokens, DecodeSeconds: a.DecodeTime.Seconds(),
		DecodeRate: rate(a.DecodeTokens, a.DecodeTime),
	})
	if err != nil {
		return err
	}
	return printErr
}
