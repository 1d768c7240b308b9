package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"

	"github.com/phi3conv/phi3conv/formats"
	"github.com/phi3conv/phi3conv/internal/source"
	"github.com/phi3conv/phi3conv/runtime"
	"github.com/phi3conv/phi3conv/runtime/tokenizer"
	"github.com/phi3conv/phi3conv/verify"
	"github.com/phi3conv/phi3conv/verify/eval"
	"github.com/urfave/cli/v2"
)

var evalCommand = &cli.Command{
	Name:      "eval",
	Usage:     "let models answer questions, and count what quantization changed",
	ArgsUsage: "MODEL…",
	Description: `Questions are multiple choice (MMLU's format), answered by the likelihood of each choice,
or need an answer of a few words (TriviaQA's format), which is generated and compared after
normalization. The data is yours: a file of JSON lines, or MMLU's CSV.

   {"question": "What is 2 + 2?", "choices": ["3", "4"], "answer": 1, "subject": "arithmetic"}
   {"question": "Who wrote Hamlet?", "answer": {"value": "Shakespeare", "aliases": ["William Shakespeare"]}}

Before each question come --shots examples: the first records of its subject in --shots-file
or, without one, in the data itself, which are not scored then. Where they do not fit the context,
the last ones are left out, and the report counts them.

With --base, answers are compared with the original's, question by question: differences
with 95 % intervals, answers that flipped, McNemar's exact test. A limit passes or fails with
95 % confidence. Exits with 1 if one fails, or if there are not enough questions to tell. Example:

   phi3conv eval phi-3-mini-Q4_K_M.gguf --base Phi-3-mini-4k-instruct \
       --task mmlu-test.jsonl --shots-file mmlu-dev.jsonl --max-acc-drop 0.01`,
	Flags: append([]cli.Flag{
		&cli.StringFlag{Name: "base", Usage: "the original to compare with, computed in float32: a checkpoint `DIR` or a GGUF file"},
		&cli.StringSliceFlag{Name: "task", Usage: "`FILE` with questions; may be given several times"},
		&cli.StringFlag{Name: "kind", Usage: "`KIND` of the questions, choice or answer", DefaultText: "that of the first record"},
		&cli.StringFlag{Name: "score", Value: "letter", Usage: "multiple choice by the `WHAT` of the choices: letter, which the prompt shows, or text, which it does not"},
		&cli.IntFlag{Name: "shots", Value: 5, Usage: "examples before each question"},
		&cli.StringSliceFlag{Name: "shots-file", Usage: "`FILE` with examples; may be given several times"},
		&cli.BoolFlag{Name: "chat", Usage: "ask in the form of the model's chat template"},
		&cli.IntFlag{Name: "predict", Aliases: []string{"n", "n-predict"}, Value: 32, Usage: "greatest number of tokens of a generated answer"},
		&cli.IntFlag{Name: "limit", Usage: "read the first `N` records only", DefaultText: "all"},
		&cli.IntFlag{Name: "ctx-size", Aliases: []string{"c"}, Usage: "tokens of a prompt with its answer", DefaultText: "the models' least, at most 4096"},
		&cli.BoolFlag{Name: "json", Usage: "print the report as JSON, with every answer"},
		&cli.StringFlag{Name: "markdown", Usage: "write the report to `FILE` as Markdown"},
		&cli.StringFlag{Name: "junit", Usage: "write the limits to `FILE` as JUnit XML"},
		modelThreadsFlag(),
	}, append(computeFlags(), evalLimitFlags()...)...),
	Action: evalAction,
}

// evalLimitFlags are one flag for each limit.
func evalLimitFlags() []cli.Flag {
	var flags []cli.Flag
	for _, l := range eval.Limits() {
		flags = append(flags, &cli.Float64Flag{Name: l.Name, Usage: "limit of the " + l.Usage + ", from 0 to 1", DefaultText: "none"})
	}
	return flags
}

func evalAction(c *cli.Context) error {
	if c.NArg() == 0 {
		return usagef("eval takes one MODEL or several")
	}
	if !c.IsSet("task") {
		return usagef("eval needs --task")
	}
	thresholds, err := evalLimits(c)
	if err != nil {
		return err
	}
	o, err := evalOptions(c)
	if err != nil {
		return err
	}
	compute, err := computeOptions(c)
	if err != nil {
		return err
	}
	if compute.Threads, err = modelThreads(c); err != nil {
		return err
	}
	records, files, err := readRecords(c.StringSlice("task"), &o.Kind)
	if err != nil {
		return err
	}
	if n := c.Int("limit"); n > 0 {
		records = records[:min(n, len(records))]
	}
	var examples []eval.Record
	var exampleFiles []eval.File
	if c.IsSet("shots-file") {
		if examples, exampleFiles, err = readRecords(c.StringSlice("shots-file"), &o.Kind); err != nil {
			return err
		}
	}

	paths := c.Args().Slice()
	if c.IsSet("base") {
		paths = append([]string{c.String("base")}, paths...)
	}
	if o.Context, err = evalContext(c.Int("ctx-size"), paths); err != nil {
		return err
	}
	tasks, err := makeTasks(paths, records, examples, o, c.IsSet("base"))
	if err != nil {
		return err
	}
	var results []eval.Result
	for i, path := range paths {
		opt := compute
		if c.IsSet("base") && i == 0 {
			opt.Float32, opt.Cache = true, runtime.CacheF32
		}
		r := eval.Result{}
		if r.Answers, err = evaluate(c, path, opt, tasks[i]); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		if r.Model, err = describeModel(c.Context, path); err != nil {
			return err
		}
		results = append(results, r)
	}
	var base *eval.Result
	if c.IsSet("base") {
		base, results = &results[0], results[1:]
	}
	r := eval.NewReport(tasks[0], base, results)
	r.Tool = "phi3conv " + versionString()
	r.Task.Files = append(r.Task.Files, files...)
	r.Task.Examples = append(r.Task.Examples, exampleFiles...)
	if len(thresholds) > 0 {
		if err := r.Judge(thresholds); err != nil {
			return err
		}
	}
	if err := writeForms(c, r.WriteText, r.WriteJSON, form{"markdown", r.WriteMarkdown}, form{"junit", r.WriteJUnit}); err != nil {
		return err
	}
	if r.Verdict != nil && r.Verdict.Outcome != verify.Pass {
		return errCheckFailed
	}
	return nil
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

func evalOptions(c *cli.Context) (eval.Options, error) {
	o := eval.Options{Kind: eval.Kind(c.String("kind")), Shots: c.Int("shots"), Chat: c.Bool("chat"), Predict: c.Int("predict")}
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
	if c.Int("limit") < 0 || c.Int("ctx-size") < 0 {
		return o, usagef("--limit and --ctx-size cannot be negative")
	}
	return o, nil
}

// readRecords reads files of one kind, which it sets if it is empty.
func readRecords(paths []string, kind *eval.Kind) ([]eval.Record, []eval.File, error) {
	var all []eval.Record
	var files []eval.File
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err != nil {
			return nil, nil, err
		}
		records, err := eval.Parse(path, data, *kind)
		if err != nil {
			return nil, nil, err
		}
		*kind = records[0].Kind
		all = append(all, records...)
		sum := sha256.Sum256(data)
		files = append(files, eval.File{Name: filepath.Base(path), Bytes: int64(len(data)), SHA256: hex.EncodeToString(sum[:]), Records: len(records)})
	}
	return all, files, nil
}

// evalContext returns the context that all models have, or checks that they have the one wanted.
func evalContext(want int, paths []string) (int, error) {
	least := 4096
	for _, path := range paths {
		m, err := source.Open(path)
		if err != nil {
			return 0, err
		}
		n := m.Config.Context
		_ = m.Close() // only read from
		if want > n {
			return 0, &formats.Error{Path: path, Off: -1, What: fmt.Sprintf("a context of %d tokens; the model was made for up to %d", want, n)}
		}
		least = min(least, n)
	}
	if want > 0 {
		return want, nil
	}
	return least, nil
}

// makeTasks encodes the questions for each model. Where answers are compared, all tokens must be
// the same.
func makeTasks(paths []string, records, examples []eval.Record, o eval.Options, same bool) ([]*eval.Task, error) {
	var tasks []*eval.Task
	for i, path := range paths {
		tok, err := tokenizer.Open(path)
		if err != nil {
			return nil, err
		}
		if o.Chat && !tok.HasTemplate() {
			return nil, &formats.Error{Path: path, Off: -1, What: "--chat, but the model has no chat template"}
		}
		t, err := eval.NewTask(tok, records, examples, o)
		if err != nil {
			return nil, err
		}
		if same && i > 0 {
			if err := tasks[0].Same(t); err != nil {
				return nil, &formats.Error{Path: path, Off: -1, What: "its tokenizer or template is another than the original's", Err: err}
			}
			t = tasks[0] // the other is not kept
		}
		tasks = append(tasks, t)
	}
	return tasks, nil
}

// evaluate runs one model, which takes no memory after.
func evaluate(c *cli.Context, path string, opt runtime.Options, t *eval.Task) ([]eval.Answer, error) {
	p, err := openPredictor(c, path, opt, t.Context)
	if err != nil {
		return nil, err
	}
	defer p.close()
	bar := newCounter(c.App.ErrWriter, filepath.Base(path), int64(len(t.Questions)))
	defer bar.done()
	return t.Run(c.Context, prefixPredictor{p}, func(done int) { bar.set(int64(done)) })
}

// prefixPredictor keeps what the last text has in common with the next.
type prefixPredictor struct{ *predictor }

func (p prefixPredictor) Logits(ctx context.Context, tokens []int32, first int, emit func(i int, logits []float32) error) error {
	have := first + 1 - len(p.seq.Reuse(tokens[:first+1]))
	return p.model.Eval(ctx, runtime.Request{Seq: p.seq, Tokens: tokens[have:], All: true, First: first - have,
		Logits: func(i int, logits []float32) error { return emit(have+i, logits) }})
}
