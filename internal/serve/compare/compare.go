// Package compare lets models write a text, and finds how far the predictions of a quantized model are from the
// original's at each of its tokens, while it is written. Numbers are those of [verify.Compare], so those of
// `phi3conv verify` for the same tokens.
package compare

import (
	"context"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/phi3conv/phi3conv/internal/floats"
	"github.com/phi3conv/phi3conv/runtime"
	"github.com/phi3conv/phi3conv/runtime/engine"
	"github.com/phi3conv/phi3conv/runtime/tokenizer"
	"github.com/phi3conv/phi3conv/verify"
)

// Model is one of those that are compared.
type Model struct {
	ID        string
	Engine    *engine.Engine
	Tokenizer *tokenizer.Tokenizer
	Text      func(id int32) string // of a token alone
}

// Task is a prompt given to models of one vocabulary.
type Task struct {
	Original  Model
	Quantized []Model
	Prompt    []int32
	// Force lets the original alone write, and the quantized models read that. Otherwise each model writes a text, and
	// the original reads those of the quantized ones.
	Force     bool
	MaxTokens int     // of a text, negative for as many as fit
	Stop      []int32 // ids that end a text
	Top       int     // likeliest tokens of each model that a [Position] has
	// Sampler makes what chooses the tokens of a text.
	Sampler func() (*runtime.Sampler, error)
}

// Event is a part of what a task gives; one field is set.
type Event struct {
	Token    *Token    `json:"token,omitempty"`
	Position *Position `json:"position,omitempty"`
	End      *End      `json:"end,omitempty"`
}

// Token is one that a model wrote.
type Token struct {
	Writer string `json:"writer"` // the model
	Index  int    `json:"index"`  // among the tokens of the answer
	ID     int32  `json:"id"`
	Token  string `json:"token"` // by itself
	Text   string `json:"text"`  // what it adds to the text: whole characters, which may be none
}

// Position compares the predictions of a token of a text. Logarithms are natural.
type Position struct {
	Model      string      `json:"model"`     // the quantized one
	Writer     string      `json:"writer"`    // whose text it is
	Index      int         `json:"index"`     // of the token
	KLD        float64     `json:"kld"`       // over the whole vocabulary, in nats
	SameTop    bool        `json:"same_top"`  // whether both models find the same token likeliest
	Original   float64     `json:"original"`  // the token's log-probability
	Quantized  float64     `json:"quantized"` // that of the quantized model
	Candidates []Candidate `json:"candidates"`
}

// Candidate is a token that is among the likeliest of one of the models, with its log-probability in both. Those of the
// original come first, in order.
type Candidate struct {
	ID        int32   `json:"id"`
	Token     string  `json:"token"`
	Original  float64 `json:"original"`
	Quantized float64 `json:"quantized"`
}

// End says how a model got through the task.
type End struct {
	Model string `json:"model"`
	// Finish says why its text ended: "stop" or "length"; "" if it wrote none.
	Finish  string  `json:"finish,omitempty"`
	Written int     `json:"written"`           // tokens
	Rate    float64 `json:"write_rate"`        // tokens a second, 0 if unknown
	Read    int     `json:"read"`              // tokens of texts of others, and of the prompt before them
	Reading float64 `json:"read_rate"`         // tokens a second, 0 if unknown
	Compare *Means  `json:"compare,omitempty"` // of a quantized model, if there are tokens
}

// Means are those of all positions.
type Means struct {
	KLD     float64 `json:"kld"`
	SameTop float64 `json:"same_top"` // the share of positions
}

// segment is how many tokens a text grows by before others read them. Models take turns, so that none takes time from
// another, and their speeds are what each has alone.
const segment = 16

// text is one that a model writes.
type text struct {
	writer  *worker
	tokens  []int32 // prompt and answer
	rows    [][]float32
	sampler *runtime.Sampler
	decoder *tokenizer.Decoder
	finish  string
	others  []*worker // quantized models that are compared with the original along it
}

// worker is a model at work.
type worker struct {
	Model
	end     End
	writing time.Duration // but for first tokens, which take the time of the prompt
	reading time.Duration
	means   Means // sums until the end
	n       int   // positions
}

// Run runs the task and calls show with events in the order in which they come. An error of show ends it. Models whose
// context is smaller than the others' are not asked for more than fits.
func (t *Task) Run(ctx context.Context, show func(Event) error) error {
	limit, err := t.limit()
	if err != nil {
		return err
	}
	original := &worker{Model: t.Original}
	workers := []*worker{original}
	for _, m := range t.Quantized {
		workers = append(workers, &worker{Model: m})
	}
	texts, err := t.texts(workers)
	if err != nil {
		return err
	}
	for growing := true; growing; {
		growing = false
		for _, x := range texts {
			if x.finish != "" {
				continue
			}
			from := len(x.tokens)
			if err := t.write(ctx, x, limit, show); err != nil {
				return err
			}
			for _, q := range x.others {
				if err := t.compare(ctx, x, from, original, q, show); err != nil {
					return err
				}
			}
			growing = growing || x.finish == ""
		}
	}
	for _, w := range workers {
		if err := show(Event{End: w.done()}); err != nil {
			return err
		}
	}
	return nil
}

// texts returns those to write. The original is the first worker.
func (t *Task) texts(workers []*worker) ([]*text, error) {
	var all []*text
	for i, w := range workers {
		x := &text{writer: w, tokens: slices.Clone(t.Prompt), decoder: w.Tokenizer.NewDecoder(true)}
		switch {
		case i > 0:
			x.others = workers[i : i+1]
		case t.Force:
			x.others = workers[1:]
		}
		var err error
		if x.sampler, err = t.Sampler(); err != nil {
			return nil, err
		}
		for _, id := range t.Prompt { // what a token adds depends on what is before it
			x.decoder.Next(id)
		}
		all = append(all, x)
		if t.Force {
			break
		}
	}
	return all, nil
}

// limit returns how many tokens an answer may have.
func (t *Task) limit() (int, error) {
	room := t.Original.Engine.Context()
	for _, m := range t.Quantized {
		room = min(room, m.Engine.Context())
	}
	if len(t.Prompt) > room {
		return 0, &runtime.ContextError{Tokens: len(t.Prompt), Context: room}
	}
	// The last token is chosen, and neither written nor read on.
	room += 1 - len(t.Prompt)
	if t.MaxTokens < 0 {
		return room, nil
	}
	return min(room, t.MaxTokens), nil
}

// write lets a text grow by a segment, of at most limit tokens in all.
func (t *Task) write(ctx context.Context, x *text, limit int, show func(Event) error) error {
	answered := len(x.tokens) - len(t.Prompt)
	prompt := x.tokens
	x.rows = x.rows[:0]
	// Those who read a segment have the same factors of LongRoPE for all of it.
	grow, e := min(segment, limit-answered), x.writer.Engine
	for from := len(prompt); grow > 1 && e.IsLong(from) != e.IsLong(from+grow-1); {
		grow--
	}
	var failed error
	r := engine.Request{
		Prompt: prompt, MaxTokens: grow, Stop: t.Stop, Sampler: x.sampler,
		Logprobs: -1, PromptLogprobs: -1, FirstRow: len(prompt),
		Rows: func(_ int, logits []float32) { x.rows = append(x.rows, slices.Clone(logits)) },
		Emit: func(token engine.Token) bool {
			n := len(x.tokens) - len(t.Prompt)
			x.tokens = append(x.tokens, token.ID)
			w := x.writer
			failed = show(Event{Token: &Token{w.ID, n, token.ID, w.Text(token.ID), x.decoder.Next(token.ID)}})
			return failed == nil
		},
	}
	result, err := e.Do(ctx, r)
	if err == nil {
		err = failed
	}
	if err != nil {
		return err
	}
	w := x.writer
	w.end.Written += result.Tokens
	w.writing += result.AnswerTime
	if answered > 0 {
		w.writing += result.PromptTime
	}
	switch {
	case result.Stop == runtime.StopToken:
		x.finish = "stop"
	case len(x.tokens)-len(t.Prompt) >= limit:
		x.finish = "length"
	}
	w.end.Finish = x.finish
	return nil
}

// compare lets the one of two models that did not write a text read its tokens from one on, and compares their rows.
func (t *Task) compare(
	ctx context.Context, x *text, from int, original, q *worker, show func(Event) error,
) error {
	if len(x.tokens) == from { // it ended at once
		return nil
	}
	reader := q
	if x.writer == q {
		reader = original
	}
	rows, err := reader.read(ctx, x.tokens, from)
	if err != nil {
		return err
	}
	for i, row := range rows {
		base, other := x.rows[i], row
		if reader == original {
			base, other = row, x.rows[i]
		}
		p, err := t.position(base, other, x.tokens[from+i], q)
		if err != nil {
			return fmt.Errorf("%s and %s: %w", original.ID, q.ID, err)
		}
		p.Writer, p.Index = x.writer.ID, from+i-len(t.Prompt)
		if err := show(Event{Position: p}); err != nil {
			return err
		}
	}
	return nil
}

// read returns the logits before each token from one on.
func (w *worker) read(ctx context.Context, tokens []int32, from int) ([][]float32, error) {
	var rows [][]float32
	result, err := w.Engine.Do(ctx, engine.Request{
		Prompt: tokens[:len(tokens)-1], Logprobs: -1, PromptLogprobs: -1, FirstRow: from,
		Rows: func(_ int, logits []float32) { rows = append(rows, slices.Clone(logits)) },
	})
	w.end.Read += len(tokens) - 1 - result.Kept
	w.reading += result.PromptTime
	return rows, err
}

// position compares two rows.
func (t *Task) position(base, other []float32, token int32, q *worker) (*Position, error) {
	c, err := verify.Compare(base, other, token)
	if err != nil {
		return nil, err
	}
	p := &Position{Model: q.ID, KLD: c.KLD, SameTop: c.SameTop, Original: -c.Base, Quantized: -c.Quant}
	q.n++
	q.means.KLD += c.KLD
	if c.SameTop {
		q.means.SameTop++
	}
	n := min(t.Top, len(base))
	ids := floats.Greatest(base, n)
	for _, id := range floats.Greatest(other, n) {
		if !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	// ln p = logit - ln Σ exp, and the sum is that of the token.
	logprob := func(row []float32, id int32, own float64) float64 {
		return math.Max(float64(row[id])-float64(row[token])+own, -9999)
	}
	for _, id := range ids {
		p.Candidates = append(p.Candidates, Candidate{
			id, t.Original.Text(id), logprob(base, id, p.Original), logprob(other, id, p.Quantized),
		})
	}
	return p, nil
}

// done returns what is known at the end.
func (w *worker) done() *End {
	e := w.end
	e.Model = w.ID
	e.Rate, e.Reading = rate(e.Written-1, w.writing), rate(e.Read, w.reading)
	if w.n > 0 {
		e.Compare = &Means{w.means.KLD / float64(w.n), w.means.SameTop / float64(w.n)}
	}
	return &e
}

// rate returns tokens a second, 0 if unknown.
func rate(tokens int, d time.Duration) float64 {
	if tokens <= 0 || d <= 0 {
		return 0
	}
	return float64(tokens) / d.Seconds()
}
