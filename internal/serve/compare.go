package serve

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"

	"github.com/phi3conv/phi3conv/internal/serve/compare"
	"github.com/phi3conv/phi3conv/runtime"
	"github.com/phi3conv/phi3conv/runtime/engine"
	"github.com/phi3conv/phi3conv/runtime/tokenizer"
)

// compareRequest asks how far quantized models are from the original, along texts that they write.
type compareRequest struct {
	Original  string    `json:"original"`
	Quantized []string  `json:"quantized"`
	Messages  []message `json:"messages"` // or Prompt
	Prompt    *string   `json:"prompt"`
	Force     *bool     `json:"force"`      // true
	MaxTokens *int      `json:"max_tokens"` // 128
	Top       *int      `json:"top"`        // 5

	Temperature   *float32 `json:"temperature"` // 0
	TopP          *float32 `json:"top_p"`
	TopK          *int     `json:"top_k"`
	MinP          *float32 `json:"min_p"`
	RepeatPenalty *float32 `json:"repeat_penalty"`
	Seed          *int64   `json:"seed"`
}

// Bounds of a comparison.
const (
	mostCompared = 16 // quantized models
	mostTop      = 50
)

// compareBegin is the first event.
type compareBegin struct {
	Original     string   `json:"original"`
	Quantized    []string `json:"quantized"`
	Force        bool     `json:"force"`
	Prompt       string   `json:"prompt"` // with the chat template
	PromptTokens int      `json:"prompt_tokens"`
	Temperature  float32  `json:"temperature"`
	Seed         int64    `json:"seed"`
}

func (q *compareRequest) check() error {
	switch {
	case len(q.Quantized) == 0 || len(q.Quantized) > mostCompared:
		return invalid("quantized", "names %d models, expected 1 to %d", len(q.Quantized), mostCompared)
	case (q.Prompt == nil) == (q.Messages == nil):
		return invalid("messages", "expected either messages or prompt")
	case q.MaxTokens != nil && *q.MaxTokens < -1:
		return invalid("max_tokens", "is %d, expected -1 or more", *q.MaxTokens)
	case q.Top != nil && (*q.Top < 0 || *q.Top > mostTop):
		return invalid("top", "is %d, expected 0 to %d", *q.Top, mostTop)
	}
	for i, id := range q.Quantized {
		if id == q.Original || slices.Contains(q.Quantized[:i], id) {
			return invalid("quantized", "names %s, which is compared already", id)
		}
	}
	return nil
}

// models finds the original and the quantized models, which must have its vocabulary.
func (q *compareRequest) models(s *Server) (original *Model, quantized []*Model, err error) {
	if original, err = s.named(q.Original); err != nil {
		return nil, nil, err
	}
	want := original.Tokenizer.Digest()
	for _, id := range q.Quantized {
		m, err := s.named(id)
		if err != nil {
			return nil, nil, err
		}
		differs := m.Tokenizer.Digest().Difference(want)
		if differs == "" && m.VocabSize != original.VocabSize {
			differs = fmt.Sprintf("it gives %d logits, expected %d", m.VocabSize, original.VocabSize)
		}
		if differs != "" {
			return nil, nil, invalid("quantized", "%s has another vocabulary than %s: %s", id, original.ID, differs)
		}
		quantized = append(quantized, m)
	}
	return original, quantized, nil
}

// text returns the prompt.
func (q *compareRequest) text(m *Model) (text string, ids []int32, err error) {
	if q.Prompt == nil {
		c := chatRequest{Messages: q.Messages}
		if err := c.check(m); err != nil {
			return "", nil, err
		}
		var turns []tokenizer.Message
		for _, t := range q.Messages {
			turns = append(turns, tokenizer.Message{Role: t.Role, Content: string(t.Content)})
		}
		if text, err = m.Tokenizer.Chat(turns, true, ""); err != nil {
			return "", nil, invalid("messages", "%v", err)
		}
		return text, m.Tokenizer.Encode(text, tokenizer.EncodeOptions{ParseSpecial: true}), nil
	}
	ids = m.Tokenizer.Encode(*q.Prompt, tokenizer.EncodeOptions{AddSpecial: true, ParseSpecial: true})
	if len(ids) == 0 {
		return "", nil, invalid("prompt", "has no tokens")
	}
	return *q.Prompt, ids, nil
}

// compare streams a comparison.
func (s *Server) compare(w http.ResponseWriter, r *http.Request) error {
	var q compareRequest
	if err := read(r, &q); err != nil {
		return err
	}
	if q.Original == "" {
		q.Original = s.models[0].ID
	}
	if err := q.check(); err != nil {
		return err
	}
	original, quantized, err := q.models(s)
	if err != nil {
		return err
	}
	begin := compareBegin{Original: original.ID, Quantized: q.Quantized, Force: true, Seed: int64(rand.Uint32())}
	set(&begin.Force, q.Force)
	set(&begin.Temperature, q.Temperature)
	set(&begin.Seed, q.Seed)
	sampling := params{Temperature: &begin.Temperature, TopP: q.TopP, TopK: q.TopK, MinP: q.MinP,
		RepeatPenalty: q.RepeatPenalty, Seed: &begin.Seed}
	sampler := func() (*runtime.Sampler, error) { return sampling.sampler(0) }
	if _, err := sampler(); err != nil {
		return err
	}
	task := compare.Task{
		Original: original.compared(), Force: begin.Force, MaxTokens: 128, Stop: original.Tokenizer.StopIDs(), Top: 5,
		Sampler: sampler,
	}
	set(&task.MaxTokens, q.MaxTokens)
	set(&task.Top, q.Top)
	if begin.Prompt, task.Prompt, err = q.text(original); err != nil {
		return err
	}
	begin.PromptTokens = len(task.Prompt)
	for _, m := range append(quantized, original) {
		leave, err := m.enter()
		if err != nil {
			return err
		}
		defer leave()
	}
	for _, m := range quantized {
		task.Quantized = append(task.Quantized, m.compared())
	}
	out := s.newStream(w)
	show := func(e compare.Event) error {
		if !out.begun {
			if err := out.send(map[string]any{"begin": begin}); err != nil {
				return err
			}
		}
		return out.send(e)
	}
	ctx, cancel := s.limited(r.Context())
	defer cancel()
	return out.end(task.Run(ctx, show))
}

// limited returns a context that ends when the time of a request is over.
func (s *Server) limited(ctx context.Context) (context.Context, context.CancelFunc) {
	if s.opt.Timeout > 0 {
		return context.WithTimeout(ctx, s.opt.Timeout)
	}
	return context.WithCancel(ctx)
}

func (m *Model) compared() compare.Model {
	return compare.Model{ID: m.ID, Engine: m.Engine, Tokenizer: m.Tokenizer, Text: m.pieces.text}
}

// enter takes a place among the requests of a model, unless too many are served.
func (m *Model) enter() (leave func(), err error) {
	select {
	case m.room <- struct{}{}:
		return func() { <-m.room }, nil
	default:
		return nil, engine.ErrQueueFull
	}
}
