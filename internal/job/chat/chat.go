// Package chat lets a model answer prompts, alone or in a conversation.
package chat

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/phi3conv/phi3conv/internal/job/model"
	"github.com/phi3conv/phi3conv/internal/progress"
	"github.com/phi3conv/phi3conv/internal/usage"
	"github.com/phi3conv/phi3conv/runtime"
	"github.com/phi3conv/phi3conv/runtime/grammar"
	"github.com/phi3conv/phi3conv/runtime/tokenizer"
)

// Options say how a model answers.
type Options struct {
	Raw          bool             // continue the prompts themselves, as a model without a chat template does
	TemplateFile string           // Jinja chat template; "" is the model's own
	System       string           // the system message, "" for none
	Limit        int              // most tokens of an answer: 0 for none, negative for no limit
	Stops        []string         // texts that end an answer
	Format       Format           // what answers must look like
	Sampler      *runtime.Sampler // chooses tokens; not nil
	Context      int              // tokens; 0 is the runtime's default
	ContextShift bool             // drops the oldest exchanges when the context is full, see [Chat.Shift]
	Check        bool             // compares a .pmap file with its checksums first
	Compute      runtime.Options  // but Progress
	Draft        string           // model that guesses what comes, "" for none
	Lookup       bool             // guess that what occurred occurs again
	Monitor      progress.Monitor // may be nil
}

// Chat is a model and a conversation with it.
type Chat struct {
	Load  time.Duration     // that opening the model took
	Total runtime.Generated // of all answers; Stop is not set

	opt       Options
	path      string
	tok       *tokenizer.Tokenizer
	model     *runtime.Model
	meter     *model.Meter
	seq       *runtime.Sequence
	chat      bool       // in the form of a template
	template  string     // "" is the model's own
	exchanges []exchange // the oldest first
	draft     *model.Draft
	format    *grammar.Automaton // nil if answers are free
}

// Open opens a checkpoint directory or a GGUF file.
func Open(ctx context.Context, path string, opt Options) (*Chat, error) {
	start := time.Now()
	c := &Chat{opt: opt, path: path}
	var err error
	if c.tok, err = tokenizer.Open(path); err != nil {
		return nil, err
	}
	format, err := opt.Format.grammar()
	if err != nil {
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
	if opt.Check {
		if err = model.Check(ctx, []string{path}, opt.Monitor); err != nil {
			return nil, err
		}
	}
	if opt.Draft != "" || opt.Lookup { // several tokens at a time must give the bits of one at a time
		opt.Compute.Batched = true
	}
	c.meter = model.NewMeter(&opt.Compute)
	if c.model, err = model.Open(ctx, path, opt.Compute, opt.Monitor); err != nil {
		return nil, err
	}
	if err = c.equip(ctx, opt.Compute, format); err != nil {
		_ = c.model.Close() // only read from
		return nil, err
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

// equip adds to the model what answers take: a context, and what guesses and restricts them.
func (c *Chat) equip(ctx context.Context, compute runtime.Options, format *grammar.Grammar) (err error) {
	if c.seq, err = c.model.NewSequence(c.opt.Context); err != nil {
		return fmt.Errorf("%s: %w", c.path, err)
	}
	if format != nil {
		c.format, err = grammar.New(format, grammar.NewVocabulary(c.tok, c.model.VocabSize()))
		if err != nil {
			return c.opt.Format.refused(err)
		}
	}
	if c.opt.Draft != "" {
		c.draft, err = model.OpenDraft(ctx, c.opt.Draft, c.model, c.tok, compute, c.Context(), 1, c.opt.Monitor)
	}
	return err
}

// knowsTurns reports whether the vocabulary has a token that begins a turn.
func (c *Chat) knowsTurns() bool {
	return slices.ContainsFunc([]string{"<|user|>", "<|im_start|>"}, func(text string) bool {
		return len(c.tok.Encode(text, tokenizer.EncodeOptions{ParseSpecial: true})) == 1
	})
}

// Close closes the model.
func (c *Chat) Close() error {
	if c.draft != nil {
		c.draft.Close()
	}
	return c.model.Close()
}

// Context returns the size of the context in tokens.
func (c *Chat) Context() int { return c.seq.Context() }

// templateName is the file that the chat template is in.
func (c *Chat) templateName() string { return cmp.Or(c.opt.TemplateFile, c.path) }
