package main

import (
	"bufio"
	"cmp"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/phi3conv/phi3conv/formats"
	"github.com/phi3conv/phi3conv/internal/atomicfile"
	"github.com/phi3conv/phi3conv/internal/npy"
	"github.com/phi3conv/phi3conv/runtime"
	"github.com/phi3conv/phi3conv/runtime/tokenizer"
	"github.com/urfave/cli/v2"
)

var logitsCommand = &cli.Command{
	Name:      "logits",
	Usage:     "write a model's logits for a text, to compare with other programs",
	ArgsUsage: "MODEL",
	Description: `MODEL is a checkpoint directory or a GGUF file. With -o the logits behind every
token are written as a NumPy array, float32 [tokens, vocabulary]; without it, the
likeliest tokens behind the last one are printed.

Everything is computed in float32, whatever the weights' type, unless --fast is given. Example:

   phi3conv logits phi-3-mini -p "The capital of France is" -o logits.npy`,
	Flags: []cli.Flag{
		&cli.StringFlag{Name: "tokens", Usage: "token ids, separated by commas: `1,2,3`"},
		&cli.StringFlag{Name: "tokens-file", Usage: "`FILE` with a JSON array of token ids"},
		&cli.StringFlag{Name: "prompt", Aliases: []string{"p"}, Usage: "`TEXT`; special tokens in it are recognised, and BOS is added if the tokenizer says so"},
		&cli.StringFlag{Name: "output", Aliases: []string{"o"}, Usage: "`FILE.npy` for the logits"},
		&cli.BoolFlag{Name: "fast", Usage: "compute as the run command does"},
		&cli.StringFlag{Name: "cache-type", Usage: "`TYPE` of keys and values: f16, f32 or q8_0 (default: f32, with --fast f16)"},
		batchFlag(),
		noRepackFlag(),
		&cli.BoolFlag{Name: "json", Usage: "print the likeliest tokens as JSON"},
		modelThreadsFlag(),
	},
	Action: func(c *cli.Context) error {
		if c.NArg() != 1 {
			return usagef("logits takes one MODEL, got %d arguments", c.NArg())
		}
		path := c.Args().First()
		tokens, tok, err := logitsTokens(c, path)
		if err != nil {
			return err
		}
		opt := runtime.Options{NoRepack: c.Bool("no-repack"), Float32: !c.Bool("fast"), Cache: runtime.CacheF32}
		if opt.Threads, err = modelThreads(c); err != nil {
			return err
		}
		if opt.Batch, err = batchSize(c); err != nil {
			return err
		}
		if c.String("cache-type") != "" {
			if opt.Cache, err = cacheType(c); err != nil {
				return err
			}
		} else if !opt.Float32 {
			opt.Cache = runtime.CacheF16
		}
		m, err := open(c, path, opt)
		if err != nil {
			return err
		}
		defer func() { _ = m.Close() }()
		if len(tokens) > m.Context() {
			return fmt.Errorf("%s: %w", path, &runtime.ContextError{Tokens: len(tokens), Context: m.Context()})
		}
		s, err := m.NewSequence(len(tokens))
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		if out := c.String("output"); out != "" {
			return writeLogits(c, m, s, tokens, out)
		}
		last, err := s.Eval(c.Context, tokens)
		if err != nil {
			return err
		}
		if tok == nil {
			if tok, err = tokenizer.Open(path); err != nil {
				tok = nil // a model without tokenizer has ids only
			}
		}
		return printLikeliest(c, tok, last)
	},
}

// logitsTokens reads the tokens from the one flag that gives them. It returns the model's
// tokenizer too, if a text made that necessary.
func logitsTokens(c *cli.Context, path string) (tokens []int32, tok *tokenizer.Tokenizer, err error) {
	given := 0
	for _, name := range []string{"tokens", "tokens-file", "prompt"} {
		if c.IsSet(name) {
			given++
		}
	}
	if given != 1 {
		return nil, nil, usagef("logits needs one of --tokens, --tokens-file and --prompt")
	}
	switch {
	case c.IsSet("tokens"):
		for _, field := range strings.Split(c.String("tokens"), ",") {
			id, err := strconv.ParseInt(strings.TrimSpace(field), 10, 32)
			if err != nil {
				return nil, nil, usagef("--tokens: %q is not a token id", field)
			}
			tokens = append(tokens, int32(id))
		}
	case c.IsSet("tokens-file"):
		name := c.String("tokens-file")
		data, err := os.ReadFile(name)
		if err != nil {
			return nil, nil, err
		}
		if err := json.Unmarshal(data, &tokens); err != nil {
			return nil, nil, &formats.Error{Path: name, Off: -1, What: "expected a JSON array of token ids", Err: err}
		}
	default:
		if tok, err = tokenizer.Open(path); err != nil {
			return nil, nil, err
		}
		tokens = tok.Encode(c.String("prompt"), tokenizer.EncodeOptions{AddSpecial: true, ParseSpecial: true})
	}
	if len(tokens) == 0 {
		return nil, nil, usagef("there are no tokens")
	}
	return tokens, tok, nil
}

// writeLogits writes the logits behind every token to path as they are computed.
func writeLogits(c *cli.Context, m *runtime.Model, s *runtime.Sequence, tokens []int32, path string) error {
	f, err := atomicfile.Create(path)
	if err != nil {
		return err
	}
	defer f.Abort()
	w := bufio.NewWriterSize(f, 1<<20)
	rows, err := npy.NewWriter(w, len(tokens), m.VocabSize())
	if err != nil {
		return err
	}
	write := func(_ int, logits []float32) error { return rows.Write(logits) }
	err = m.Eval(c.Context, runtime.Request{Seq: s, Tokens: tokens, All: true, Logits: write})
	if err != nil {
		return err
	}
	if err := w.Flush(); err != nil {
		return err
	}
	return f.Commit()
}

// likely is a token that may come next.
type likely struct {
	ID          int     `json:"id"`
	Token       string  `json:"token,omitempty"`
	Logit       float32 `json:"logit"`
	Probability float64 `json:"probability"`
}

// printLikeliest prints the ten greatest logits; tok may be nil.
func printLikeliest(c *cli.Context, tok *tokenizer.Tokenizer, logits []float32) error {
	ids := make([]int, len(logits))
	for i := range ids {
		ids[i] = i
	}
	slices.SortStableFunc(ids, func(a, b int) int { return cmp.Compare(logits[b], logits[a]) })
	sum := 0.0
	for _, v := range logits {
		sum += math.Exp(float64(v - logits[ids[0]]))
	}
	var all []likely
	for _, id := range ids[:min(10, len(ids))] {
		l := likely{ID: id, Logit: logits[id], Probability: math.Exp(float64(logits[id]-logits[ids[0]])) / sum}
		if tok != nil {
			l.Token = tok.Token(int32(id))
		}
		all = append(all, l)
	}
	if c.Bool("json") {
		return printJSON(c.App.Writer, all)
	}
	t := newTable(c.App.Writer, "id", "token", "logit", "probability")
	for _, l := range all {
		t.row(l.ID, printable(l.Token), decimal(fmt.Sprintf("%.4f", l.Logit)), decimal(fmt.Sprintf("%.4f", l.Probability)))
	}
	return t.flush()
}
