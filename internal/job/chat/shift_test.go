package chat

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/phi3conv/phi3conv/internal/usage"
	"github.com/phi3conv/phi3conv/runtime"
)

// exactly makes logits independent of how many tokens are evaluated at a time.
func exactly(opt Options) Options {
	opt.Compute.Float32 = true
	return opt
}

// talk asks until the context is full, and returns how many questions were answered.
func talk(t *testing.T, c *Chat) int {
	t.Helper()
	for n := range 100 {
		_, err := c.Answer(t.Context(), "What does a cow eat?", nothing)
		var full *runtime.ContextError
		if errors.As(err, &full) {
			return n
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	t.Fatal("the context is never full")
	return 0
}

// sameAsFresh checks that what follows the conversation has the logits of its text, evaluated by itself.
func sameAsFresh(t *testing.T, c *Chat) {
	t.Helper()
	want, err := c.tokens(c.exchanges)
	if err != nil {
		t.Fatal(err)
	}
	want = want[:min(len(want), c.Context())] // the last token of an answer that the context has cut has no room
	if n := len(c.seq.Tokens()); !slices.Equal(c.seq.Tokens(), want[:n]) || n < len(want)-1 {
		t.Fatalf("%d tokens were evaluated, of the %d of the conversation", n, len(want))
	}
	fresh, err := c.model.NewSequence(c.Context())
	if err != nil {
		t.Fatal(err)
	}
	expected, err := fresh.Eval(t.Context(), want)
	if err != nil {
		t.Fatal(err)
	}
	got, err := c.seq.Eval(t.Context(), c.seq.Reuse(want))
	if err != nil || !slices.Equal(got, expected) {
		t.Errorf("other logits than those of the text by itself, error %v", err)
	}
}

// After a shift the model predicts what it predicts for the text that is left.
func TestShift(t *testing.T) {
	c := open(t, exactly(Options{Limit: -1, Context: 100, System: "Answer in one short sentence."}))
	answered := talk(t, c)
	if answered < 3 || len(c.exchanges) != answered+1 {
		t.Fatalf("%d questions were answered; %d exchanges", answered, len(c.exchanges))
	}
	before := slices.Clone(c.exchanges)
	n, err := c.Shift()
	if err != nil || n < 1 || len(c.exchanges) != answered+1-n || c.exchanges[0].prompt != before[n].prompt {
		t.Fatalf("dropped %d of %d, %v", n, answered, err)
	}
	tokens, err := c.tokens(c.exchanges)
	if err != nil || len(tokens) > 50 {
		t.Errorf("%d tokens are left, %v", len(tokens), err)
	}
	more, err := c.tokens(before[n-1:])
	if err != nil || len(more) <= 50 {
		t.Errorf("%d tokens would have been half of the context, %v", len(more), err)
	}
	if a, err := c.Continue(t.Context(), nothing); err != nil || a.Text == "" || a.Stop != runtime.StopToken {
		t.Errorf("%+v, %v", a, err)
	}
	sameAsFresh(t, c)
}

// With Options.ContextShift a conversation never ends, also if an answer is longer than the room for it.
func TestContextShift(t *testing.T) {
	c := open(t, exactly(Options{Limit: -1, Context: 48, ContextShift: true}))
	dropped := 0
	for range 12 {
		a, err := c.Answer(t.Context(), "What does a cow eat?", nothing)
		if err != nil || a.Text != "A cow eats grass." {
			t.Fatalf("%+v, %v", a, err)
		}
		dropped += a.Dropped
		sameAsFresh(t, c)
	}
	if dropped != 12-len(c.exchanges) {
		t.Errorf("%d exchanges were dropped, %d are left", dropped, len(c.exchanges))
	}
	// The first exchange goes while the second is answered.
	c = open(t, exactly(Options{Limit: -1, Context: 32, ContextShift: true}))
	whole := open(t, exactly(Options{Limit: -1}))
	var shown strings.Builder
	for i, prompt := range []string{"Hello!", "Who are you?"} {
		a, err := c.Answer(t.Context(), prompt, func(text string) error { shown.WriteString(text); return nil })
		want, _ := whole.Answer(t.Context(), prompt, nothing)
		if err != nil || a.Dropped != i || a.Stop == runtime.StopError || !strings.HasPrefix(a.Text, want.Text[:8]) {
			t.Errorf("%+v, %v, expected the beginning of %q", a, err, want.Text)
		}
		sameAsFresh(t, c)
	}
	if !strings.HasSuffix(shown.String(), c.last().text) {
		t.Errorf("%q was shown of %q", shown.String(), c.last().text)
	}
	// A message that does not fit at all.
	var full *runtime.ContextError
	if _, err := c.Answer(t.Context(), strings.Repeat("cow ", 40), nothing); !errors.As(err, &full) {
		t.Errorf("a message of more than the context: %v", err)
	}
}

// A text without turns loses its oldest tokens.
func TestShiftRaw(t *testing.T) {
	c := open(t, exactly(Options{Raw: true, Limit: 100, Context: 32, ContextShift: true}))
	a, err := c.Answer(t.Context(), "The red ball is in", nothing)
	if err != nil || a.Dropped == 0 || len(a.IDs) != 100 && a.Stop != runtime.StopToken {
		t.Errorf("%+v, %v", a, err)
	}
	sameAsFresh(t, c)
	if len(c.seq.Tokens()) > 32 {
		t.Errorf("%d tokens", len(c.seq.Tokens()))
	}
	c = open(t, exactly(Options{Raw: true, Limit: -1, Context: 8, ContextShift: true}))
	var full *runtime.ContextError
	if _, err := c.Answer(t.Context(), "The red ball is in the garden of the house", nothing); !errors.As(err, &full) {
		t.Errorf("a prompt of more than the context: %v", err)
	}
}

func TestSummarize(t *testing.T) {
	c := open(t, exactly(Options{Limit: -1, Context: 256, System: "Answer in one short sentence."}))
	answered := talk(t, c)
	n, err := c.Summarize(t.Context(), nothing)
	if err != nil || n < 1 || len(c.exchanges) != answered+2-n {
		t.Fatalf("%d exchanges of %d are a summary, %d are left: %v", n, answered, len(c.exchanges), err)
	}
	if x := c.exchanges[0]; x.prompt != summaryPrompt || x.text == "" || len(x.ids) > 32 {
		t.Errorf("%+v", x)
	}
	if a, err := c.Continue(t.Context(), nothing); err != nil || a.Text == "" {
		t.Errorf("%+v, %v", a, err)
	}
	sameAsFresh(t, c)

	exchanges := slices.Clone(c.exchanges)
	ctx, cancel := context.WithCancel(t.Context())
	_, err = c.Summarize(ctx, func(string) error { cancel(); return nil })
	if !errors.Is(err, context.Canceled) || len(c.exchanges) != len(exchanges) {
		t.Errorf("an interrupted summary: %v, %d exchanges", err, len(c.exchanges))
	}
}

func TestNothingToShift(t *testing.T) {
	var mistake *usage.Error
	for _, opt := range []Options{{Limit: -1}, {Limit: -1, Raw: true}} {
		c := open(t, exactly(opt))
		if _, err := c.Shift(); !errors.As(err, &mistake) {
			t.Errorf("an empty conversation: %v", err)
		}
		if _, err := c.Answer(t.Context(), "Hello!", nothing); err != nil {
			t.Fatal(err)
		}
		_, err1 := c.Shift()
		_, err2 := c.Summarize(t.Context(), nothing)
		if !errors.As(err1, &mistake) || !errors.As(err2, &mistake) {
			t.Errorf("one exchange: %v, %v", err1, err2)
		}
	}
}

// An answer that was cut and continued is the one that was not cut.
func TestContinue(t *testing.T) {
	for _, raw := range []bool{false, true} {
		whole, err := open(t, exactly(Options{Limit: 12, Raw: raw})).Answer(t.Context(), "Who are you?", nothing)
		if err != nil {
			t.Fatal(err)
		}
		c := open(t, exactly(Options{Limit: 4, Raw: raw}))
		var shown strings.Builder
		show := func(text string) error { shown.WriteString(text); return nil }
		a, err := c.Answer(t.Context(), "Who are you?", show)
		for err == nil && len(a.IDs) < len(whole.IDs) && a.Stop == runtime.StopLimit {
			a, err = c.Continue(t.Context(), show)
		}
		if err != nil || a.Text != whole.Text || shown.String() != whole.Text || !slices.Equal(a.IDs, whole.IDs) {
			t.Errorf("raw %v: %q, shown %q, %v, expected %q", raw, a.Text, shown.String(), err, whole.Text)
		}
		sameAsFresh(t, c)
	}
	var mistake *usage.Error
	c := open(t, exactly(Options{Limit: -1}))
	if _, err := c.Continue(t.Context(), nothing); !errors.As(err, &mistake) {
		t.Errorf("no answer: %v", err)
	}
	if _, err := c.Answer(t.Context(), "Hello!", nothing); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Continue(t.Context(), nothing); !errors.As(err, &mistake) {
		t.Errorf("a complete answer: %v", err)
	}
}

func TestUndoAndAgain(t *testing.T) {
	c := open(t, exactly(Options{Limit: -1}))
	if _, err := c.Again(t.Context(), nothing); err == nil || c.Undo() {
		t.Errorf("nothing to answer again: %v", err)
	}
	first, err := c.Answer(t.Context(), "Hello!", nothing)
	if err != nil {
		t.Fatal(err)
	}
	if a, err := c.Again(t.Context(), nothing); err != nil || a.Text != first.Text || len(c.exchanges) != 1 {
		t.Errorf("again: %q, %v", a.Text, err)
	}
	if _, err := c.Answer(t.Context(), "Who are you?", nothing); err != nil {
		t.Fatal(err)
	}
	if taken := []bool{c.Undo(), c.Undo(), c.Undo()}; !slices.Equal(taken, []bool{true, true, false}) {
		t.Errorf("%d exchanges are left", len(c.exchanges))
	}
	if a, err := c.Answer(t.Context(), "Hello!", nothing); err != nil || a.Text != first.Text {
		t.Errorf("after all was taken back: %q, %v", a.Text, err)
	}
}

func TestSystem(t *testing.T) {
	c := open(t, exactly(Options{Limit: -1}))
	if err := c.SetSystem("Answer in one short sentence."); err != nil || c.System() == "" {
		t.Error(err)
	}
	if a, err := c.Answer(t.Context(), "What does a dog say?", nothing); err != nil || a.Text != "A dog says woof." {
		t.Errorf("%q, %v", a.Text, err)
	}
	var mistake *usage.Error
	if err := open(t, exactly(Options{Raw: true})).SetSystem("x"); !errors.As(err, &mistake) {
		t.Errorf("raw: %v", err)
	}
}
