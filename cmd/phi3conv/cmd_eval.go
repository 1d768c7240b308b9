package main

import (
	"slices"

	"github.com/phi3conv/phi3conv/internal/cmdline"
	"github.com/phi3conv/phi3conv/internal/failure"
	evaljob "github.com/phi3conv/phi3conv/internal/job/eval"
	"github.com/phi3conv/phi3conv/internal/output"
	"github.com/phi3conv/phi3conv/verify"
	"github.com/phi3conv/phi3conv/verify/eval"
	"github.com/urfave/cli/v2"
)

func evalCommand() *cli.Command {
	var compute computeFlags
	var forms reportFlags
	return &cli.Command{
		Name:      "eval",
		Usage:     "let models answer questions, and count what quantization changed",
		ArgsUsage: "MODEL…",
		Description: `Questions are multiple choice (MMLU's format), answered by the likelihood of each choice, or need
an answer of a few words (TriviaQA's format), which is generated and compared after
normalization. Give your own data: a file of JSON lines, or MMLU's CSV.

   {"question": "What is 2 + 2?", "choices": ["3", "4"], "answer": 1, "subject": "arithmetic"}
   {"question": "Who wrote Hamlet?", "answer": {"value": "Shakespeare", "aliases": ["Bard"]}}

--shots examples come before each question: the first records of its subject in --shots-file or,
without one, in the data itself, where they are not scored. Where they do not fit the context,
the last ones are left out, and the report counts them.

With --base, answers are compared with the original's, question by question: differences
with 95 % intervals, answers that flipped, McNemar's exact test. A limit passes or fails with
95 % confidence. Exits with 1 if one fails, or if there are not enough questions to tell.
Example:

   phi3conv eval phi-3-mini-Q4_K_M.gguf --base Phi-3-mini-4k-instruct \
       --task mmlu-test.jsonl --shots-file mmlu-dev.jsonl --max-acc-drop 0.01`,
		Flags: append([]cli.Flag{
			&cli.StringFlag{Name: "base",
				Usage: "the original to compare with, computed in float32: a checkpoint `DIR` or a GGUF file"},
			&cli.StringSliceFlag{Name: "task", Usage: "`FILE` with questions; - for standard input"},
			cmdline.OneOf([]string{string(eval.Choice), string(eval.ShortAnswer)}, &cli.StringFlag{Name: "kind",
				Usage: "`KIND` of the questions, choice or answer", DefaultText: "that of the first record"}),
			cmdline.OneOf([]string{"letter", "text"}, &cli.StringFlag{Name: "score", Value: "letter",
				Usage: "compare choices by `WHAT`: " +
					"their letter, which the prompt shows, or their text, which it does not"}),
			&cli.IntFlag{Name: "shots", Value: 5, Usage: "put `N` examples before each question"},
			&cli.StringSliceFlag{Name: "shots-file", Usage: "`FILE` with examples"},
			&cli.BoolFlag{Name: "chat", Usage: "ask in the form of the model's chat template"},
			&cli.IntFlag{Name: "predict", Aliases: []string{"n", "n-predict"}, Value: 32,
				Usage: "generate at most `N` tokens of an answer"},
			&cli.IntFlag{Name: "limit", Usage: "read the first `N` records only", DefaultText: "all"},
			&cli.IntFlag{Name: "ctx-size", Aliases: []string{"c"},
				Usage:       "context of `N` tokens, for a prompt with its answer",
				DefaultText: "the least of the models', at most 4096"},
			forms.jsonFlag("print the report as JSON, with every answer"), forms.markdownFlag(),
			forms.junitFlag("write the limits to `FILE` as JUnit XML"), forceFlag(&forms.files),
			modelThreadsFlag(),
		}, append(compute.flags(), evalLimitFlags()...)...),
		Action: func(c *cli.Context) error { return evalAction(c, &compute, &forms) },
	}
}

// evalLimitFlags are one flag for each limit.
func evalLimitFlags() []cli.Flag {
	var flags []cli.Flag
	for _, l := range eval.Limits() {
		flags = append(flags, &cli.Float64Flag{
			Name: l.Name, Usage: "limit `X` of the " + l.Usage + ", from 0 to 1", DefaultText: "none",
		})
	}
	return flags
}

func evalAction(c *cli.Context, compute *computeFlags, forms *reportFlags) error {
	if c.NArg() == 0 {
		return usagef("eval takes one MODEL or several")
	}
	if !c.IsSet("task") {
		return usagef("eval needs --task")
	}
	o, err := evalOptions(c, compute)
	if err != nil {
		return err
	}
	inputs := slices.Concat(o.Models, o.Tasks, o.Examples, []string{o.Base})
	if err := forms.check(newMonitor(c.App.ErrWriter), "", inputs...); err != nil {
		return err
	}
	r, err := evaljob.Run(c.Context, o)
	if err != nil {
		return err
	}
	err = forms.writeForms(c.App.Writer, c.App.ErrWriter, r.WriteText, r.WriteJSON,
		output.Form{Path: forms.markdown, Write: r.WriteMarkdown}, output.Form{Path: forms.junit, Write: r.WriteJUnit})
	if err == nil && r.Verdict != nil && r.Verdict.Outcome != verify.Pass {
		err = failure.ErrCheck
	}
	return err
}

func evalOptions(c *cli.Context, compute *computeFlags) (o evaljob.Options, err error) {
	o = evaljob.Options{
		Models: c.Args().Slice(), Base: c.String("base"), Tasks: c.StringSlice("task"),
		Examples: c.StringSlice("shots-file"), Limit: c.Int("limit"),
		Tool: "phi3conv " + versionString(), Monitor: newMonitor(c.App.ErrWriter),
	}
	if o.Thresholds, err = evalLimits(c); err != nil {
		return o, err
	}
	if o.How, err = howToAsk(c); err != nil {
		return o, err
	}
	if o.Compute, err = compute.options(); err != nil {
		return o, err
	}
	o.Compute.Threads, err = modelThreads(c.Int("threads"), c.IsSet("threads"))
	return o, err
}

func evalLimits(c *cli.Context) ([]verify.Threshold, error) {
	var all []verify.Threshold
	for _, l := range eval.Limits() {
		if !c.IsSet(l.Name) {
			continue
		}
		t := verify.Threshold{Name: l.Name, Limit: c.Float64(l.Name)}
		if err := eval.Validate(t); err != nil {
			return nil, usagef("--%w", err)
		}
		if !c.IsSet("base") {
			return nil, usagef("--%s needs --base", l.Name)
		}
		all = append(all, t)
	}
	return all, nil
}

// howToAsk reads the flags that say how questions are asked.
func howToAsk(c *cli.Context) (eval.Options, error) {
	o := eval.Options{
		Kind: eval.Kind(c.String("kind")), Shots: c.Int("shots"), Chat: c.Bool("chat"),
		Context: c.Int("ctx-size"), Predict: c.Int("predict"),
	}
	switch o.Kind {
	case "", eval.Choice, eval.ShortAnswer:
	default:
		return o, usagef("--kind is %q, expected %s or %s", o.Kind, eval.Choice, eval.ShortAnswer)
	}
	switch s := c.String("score"); s {
	case "letter":
	case "text":
		o.ByText = true
	default:
		return o, usagef("--score is %q, expected letter or text", s)
	}
	if o.Shots < 0 {
		return o, usagef("--shots is %d, expected 0 or more", o.Shots)
	}
	if o.Predict < 1 {
		return o, usagef("--predict is %d, expected 1 or more", o.Predict)
	}
	if c.Int("limit") < 0 || o.Context < 0 {
		return o, usagef("--limit and --ctx-size cannot be negative")
	}
	return o, nil
}
