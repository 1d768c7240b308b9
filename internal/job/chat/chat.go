// Package chat lets a model answer prompts, alone or in a conversation.
package chat

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/phi3conv/phi3conv/internal/job/model"
	"github.com/phi3conv/phi3conv/internal/progress"
	"github.com/phi3conv/phi3conv/internal/usage"
	"github.com/phi3conv/phi3conv/runtime"
	"github.com/phi3conv/phi3conv/runtime/tokenizer"
)

// Options say how a model answers.
type Options struct {
	Raw          bool             // continue the prompts themselves, as a model without a chat template does
	TemplateFile string           // Jinja chat template; "" is the model's own
	System       string           // the system message, "" for none
	Limit        int              // most tokens of an answer: 0 for none, negative for no limit
	Stops        []string         // texts that end an answer
	Sampler      *runtime.Sampler // chooses tokens; not nil
	Context      int              // tokens; 0 is the runtime's default
	Check        bool             // compares a .pmap file with its checksums first
	Compute      runtime.Options  // but Progress
	Monitor      progress.Monitor // may be nil
}

// Chat is a model and a conversation with it.
type Chat struct {
	Load  time.Duration     // that opening the model took
	Total runtime.Generated // of all answers; Stop is not set

	opt      Options
	path     string
	tok      *tokenizer.Tokenizer
	model    *runtime.Model
	meter    *model.Meter
	seq      *runtime.Sequence
	chat     bool   // in the form of a template
	template string // "" is the model's own
	messages []tokenizer.Message
}

// Open opens a checkpoint directory or a GGUF file.
func Open(ctx context.Context, path string, opt Options) (*Chat, error) {
	start := time.Now()
	c := &Chat{opt: opt, path: path}
	var err error
	if c.tok, err = tokenizer.Open(path); err != nil {
		return nil, err
	}
	if opt.TemplateFile != "" {
		data, err := os.ReadFile(opt.TemplateFile)
		if err != nil {
			return nil, err
		}
		c.template = string(data)
	}
	c.chat = !opt.Raw && (c.template != "" || c.tok.HasTemplate())
	if opt.System != "" && !c.chat {
		return nil, usage.Errorf("--system-prompt needs a chat template; without one, write it into the prompt")
	}
	c.Reset()
	if opt.Check {
		if err = model.Check(ctx, []string{path}, opt.Monitor); err != nil {
			return nil, err
		}
	}
	c.meter = model.NewMeter(&opt.Compute)
	if c.model, err = model.Open(ctx, path, opt.Compute, opt.Monitor); err != nil {
		return nil, err
	}
	if c.seq, err = c.model.NewSequence(opt.Context); err != nil {
		_ = c.model.Close() // only read from
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if !opt.Raw && !c.chat && c.knowsTurns() {
		progress.Quiet(opt.Monitor).Note("%s has no chat template, so the model continues the prompt as it is; "+
			"--chat-template-file FILE gives one", path)
	}
	model.NoteChecked(opt.Monitor, path, opt.Check)
	model.NoteAssumed(opt.Monitor, path, slices.Concat(c.tok.Assumed(), c.model.Assumed()))
	c.Load = time.Since(start)
	return c, nil
}

// knowsTurns reports whether the vocabulary has a token that begins a turn.
func (c *Chat) knowsTurns() bool {
	return slices.ContainsFunc([]string{"<|user|>", "<|im_start|>"}, func(text string) bool {
		return len(c.tok.Encode(text, tokenizer.EncodeOptions{ParseSpecial: true})) == 1
	})
}

// Close closes the model.
func (c *Chat) Close() error { return c.model.Close() }

// Context returns the size of the context in tokens.
func (c *Chat) Context() int { return c.seq.Context() }

// Reset begins a new conversation.
func (c *Chat) Reset() {
	c.messages = nil
	if c.opt.System != "" {
		c.messages = []tokenizer.Message{{Role: "system", Content: c.opt.System}}
	}
}

// Answer is what a model made of a prompt.
type Answer struct {
	runtime.Generated
	IDs  []int32
	Text string
}

// More reasons for the end of an answer.
const (
	StopText      runtime.StopReason = "text" // one of Options.Stops
	StopInterrupt runtime.StopReason = "interrupt"
)

// Answer answers a prompt and calls show with the pieces of the answer as they come. The prompt and the answer
// become part of the conversation, unless there is an error before the first token. With an error, the answer
// is what there was until then.
func (c *Chat) Answer(ctx context.Context, prompt string, show func(text string) error) (a Answer, err error) {
	tokens, messages, err := c.encode(prompt)
	if err != nil {
		return a, err
	}
	if n := c.Context(); len(tokens) > n {
		return a, fmt.Errorf("the prompt is too long: %w", &runtime.ContextError{Tokens: len(tokens), Context: n})
	}
	s := &stream{dec: c.tok.NewDecoder(false), stop: stopper{stops: c.opt.Stops}, show: show, ids: []int32{}}
	if !c.chat {
		for _, id := range tokens { // the answer continues a text
			s.dec.Next(id)
		}
	}
	rest := c.seq.Reuse(tokens)
	reading := model.Watch(c.opt.Monitor, "reading the prompt", int64(len(rest)), float64(len(rest)), c.meter)
	read := sync.OnceFunc(reading.End) // with the first token of the answer
	token := func(id int32) bool {
		read()
		return s.token(id)
	}
	a.Generated, err = c.seq.Generate(ctx, rest, c.opt.Sampler, c.opt.Limit, c.tok.StopIDs(), token)
	read()
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
	a.IDs, a.Text = s.ids, s.text.String()
	c.count(a.Generated)
	if c.chat && (err == nil || len(a.IDs) > 0) {
		c.messages = append(messages, tokenizer.Message{Role: "assistant", Content: a.Text})
	}
	return a, err
}

// encode returns the tokens of a prompt, and in a conversation the messages with it.
func (c *Chat) encode(prompt string) ([]int32, []tokenizer.Message, error) {
	if !c.chat {
		return c.tok.Encode(prompt, tokenizer.EncodeOptions{AddSpecial: true, ParseSpecial: true}), nil, nil
	}
	messages := append(slices.Clip(c.messages), tokenizer.Message{Role: "user", Content: prompt})
	text, err := c.tok.Chat(messages, true, c.template)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", cmp.Or(c.opt.TemplateFile, c.path), err)
	}
	return c.tok.Encode(text, tokenizer.EncodeOptions{ParseSpecial: true}), messages, nil
}

func (c *Chat) count(g runtime.Generated) {
	c.Total.Tokens += g.Tokens
	c.Total.PromptTokens += g.PromptTokens
	c.Total.PromptTime += g.PromptTime
	c.Total.DecodeTokens += g.DecodeTokens
	c.Total.DecodeTime += g.DecodeTime
}
