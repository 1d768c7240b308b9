package chat

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/phi3conv/phi3conv/internal/job/model"
	"github.com/phi3conv/phi3conv/internal/stops"
	"github.com/phi3conv/phi3conv/internal/usage"
	"github.com/phi3conv/phi3conv/runtime"
	"github.com/phi3conv/phi3conv/runtime/engine"
	"github.com/phi3conv/phi3conv/runtime/tokenizer"
)

// exchange is what a user said and what the model answered.
type exchange struct {
	prompt   string
	answered bool    // otherwise the answer has not begun
	ids      []int32 // of the answer, as far as it came
	text     string  // of the answer
	stop     runtime.StopReason

	// Without a template: what is left of the prompt and the first so many ids, see [Chat.Shift].
	rest    []int32
	dropped int
}

// Answer is what a model made of a prompt.
type Answer struct {
	runtime.Generated
	IDs     []int32
	Text    string
	Dropped int // what Options.ContextShift dropped, as [Chat.Shift] counts
}

// More reasons for the end of an answer.
const (
	StopText      runtime.StopReason = "text" // one of Options.Stops
	StopInterrupt runtime.StopReason = "interrupt"
)

// Answer answers a prompt and calls show with the pieces of the answer as they come. The prompt and the answer
// become part of the conversation, unless there is an error before the first token: then [Chat.Continue] tries again.
// With an error, the answer is what there was until then.
func (c *Chat) Answer(ctx context.Context, prompt string, show func(text string) error) (Answer, error) {
	if x := c.last(); x != nil && !x.answered {
		c.Undo()
	}
	c.exchanges = append(c.exchanges, exchange{prompt: prompt})
	return c.generate(ctx, show)
}

// Continue goes on with the last answer, which a limit, the context or an interrupt has cut, or which has not begun.
// The result is the whole answer; tokens and times are those of what was added.
func (c *Chat) Continue(ctx context.Context, show func(text string) error) (Answer, error) {
	switch {
	case c.last() == nil:
		return Answer{}, usage.Errorf("there is no answer to go on with")
	case !c.Cut():
		return Answer{}, usage.Errorf("the answer is complete")
	}
	return c.generate(ctx, show)
}

// Cut says whether there is an answer that [Chat.Continue] can go on with.
func (c *Chat) Cut() bool {
	x := c.last()
	return x != nil && (!x.answered || x.stop != runtime.StopToken && x.stop != StopText)
}

// Again answers the last prompt again.
func (c *Chat) Again(ctx context.Context, show func(text string) error) (Answer, error) {
	x := c.last()
	if x == nil {
		return Answer{}, usage.Errorf("there is nothing to answer again")
	}
	*x = exchange{prompt: x.prompt}
	return c.generate(ctx, show)
}

// Undo takes back the last prompt and its answer. It returns false if there is none.
func (c *Chat) Undo() bool {
	n := len(c.exchanges)
	if n > 0 {
		c.exchanges = c.exchanges[:n-1]
	}
	return n > 0
}

// Reset begins a new conversation.
func (c *Chat) Reset() { c.exchanges = nil }

// System returns the system message, "" for none.
func (c *Chat) System() string { return c.opt.System }

// SetSystem changes the system message of the conversation and of those that follow.
func (c *Chat) SetSystem(text string) error {
	if !c.chat {
		return usage.Errorf("a system message needs a chat template; without one, write it into the prompt")
	}
	c.opt.System = text
	return nil
}

// last returns the last exchange, nil if there is none.
func (c *Chat) last() *exchange {
	if len(c.exchanges) == 0 {
		return nil
	}
	return &c.exchanges[len(c.exchanges)-1]
}

// generate goes on with the last answer.
func (c *Chat) generate(ctx context.Context, show func(text string) error) (a Answer, err error) {
	x := c.last()
	s := &stream{dec: c.tok.NewDecoder(false), stop: stops.Finder{Stops: c.opt.Stops}, show: show}
	s.resume(x.ids, x.text)
	s.follow(c.format, c.tok.StopIDs())
	before := x.ids // that the first token continues
	if !c.chat {
		if before, err = c.tokens(c.exchanges); err != nil {
			return a, err
		}
	}
	for _, id := range before {
		s.dec.Next(id)
	}
	err = c.extend(ctx, s, &a)
	s.end()
	if err == nil {
		err = s.err
	}
	switch {
	case s.found:
		a.Stop = StopText
	case errors.Is(err, context.Canceled):
		a.Stop = StopInterrupt
	}
	x = c.last() // making room has moved it
	x.answered = x.answered || err == nil || a.Tokens > 0
	x.ids, x.text = s.ids, s.text.String()
	if a.Stop != "" { // otherwise there was no room to go on
		x.stop = a.Stop
	}
	a.IDs, a.Text = x.ids, x.text
	addTo(&c.Total, a.Generated)
	return a, err
}

// extend lets the model write, and makes room where that is wanted.
func (c *Chat) extend(ctx context.Context, s *stream, a *Answer) error {
	for {
		tokens, err := c.fit(a)
		var full *runtime.ContextError
		switch {
		case errors.As(err, &full) && a.Tokens > 0:
			return nil // the answer is cut
		case err != nil:
			return err
		}
		limit := c.opt.Limit
		if limit > 0 {
			limit -= a.Tokens
		}
		g, err := c.evaluate(ctx, tokens, limit, s)
		addTo(&a.Generated, g)
		a.Stop, c.last().ids = g.Stop, s.ids
		if err != nil || g.Stop != runtime.StopContext || !c.opt.ContextShift {
			return err
		}
	}
}

// evaluate lets the model go on with the tokens, by at most limit more, and shows how much of them it has read.
func (c *Chat) evaluate(ctx context.Context, tokens []int32, limit int, s *stream) (runtime.Generated, error) {
	rest := c.seq.Reuse(tokens)
	reading := model.Watch(c.opt.Monitor, "reading the prompt", int64(len(rest)), float64(len(rest)), c.meter)
	read := sync.OnceFunc(reading.End) // with the first token of the answer
	defer read()
	r := engine.Request{Prompt: rest, MaxTokens: limit, Sampler: c.opt.Sampler, Stop: c.tok.StopIDs()}
	r.Emit = func(t engine.Token) bool {
		read()
		return s.token(t.ID)
	}
	if s.format != nil {
		r.Constraint = s.format
	}
	if c.opt.Lookup {
		r.Draft = append(r.Draft, new(engine.Lookup))
	}
	if c.draft != nil {
		r.Draft = append(r.Draft, c.draft.Drafter(c.opt.Sampler))
	}
	return engine.Generate(ctx, c.model, c.seq, r)
}

// fit returns the tokens of the conversation, if they fit the context or can be made to.
func (c *Chat) fit(a *Answer) ([]int32, error) {
	tokens, err := c.tokens(c.exchanges)
	if err != nil || len(tokens) <= c.Context() {
		return tokens, err
	}
	full := fmt.Errorf("the prompt is too long: %w", &runtime.ContextError{Tokens: len(tokens), Context: c.Context()})
	if !c.opt.ContextShift {
		return nil, full
	}
	n, err := c.Shift()
	var mistake *usage.Error
	if errors.As(err, &mistake) {
		return nil, full
	}
	if err != nil {
		return nil, err
	}
	a.Dropped += n
	return c.tokens(c.exchanges)
}

// tokens returns what the model continues: a conversation, up to the last answer as far as it came, or without a
// template the last prompt and answer alone.
func (c *Chat) tokens(exchanges []exchange) ([]int32, error) {
	x := exchanges[len(exchanges)-1]
	if !c.chat {
		tokens := x.rest
		if tokens == nil {
			tokens = c.tok.Encode(x.prompt, tokenizer.EncodeOptions{AddSpecial: true, ParseSpecial: true})
		}
		return slices.Concat(tokens, x.ids[x.dropped:]), nil
	}
	var messages []tokenizer.Message
	if c.opt.System != "" {
		messages = append(messages, tokenizer.Message{Role: "system", Content: c.opt.System})
	}
	for i, y := range exchanges {
		messages = append(messages, tokenizer.Message{Role: "user", Content: y.prompt})
		if i < len(exchanges)-1 {
			messages = append(messages, tokenizer.Message{Role: "assistant", Content: y.text})
		}
	}
	text, err := c.tok.Chat(messages, true, c.template)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c.templateName(), err)
	}
	return append(c.tok.Encode(text, tokenizer.EncodeOptions{ParseSpecial: true}), x.ids...), nil
}

// addTo adds what was generated; the reason for its end is left.
func addTo(to *runtime.Generated, g runtime.Generated) {
	to.Tokens += g.Tokens
	to.PromptTokens += g.PromptTokens
	to.PromptTime += g.PromptTime
	to.DecodeTokens += g.DecodeTokens
	to.DecodeTime += g.DecodeTime
}
