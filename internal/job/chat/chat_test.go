package chat

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/phi3conv/phi3conv/internal/testmodel"
	"github.com/phi3conv/phi3conv/internal/usage"
	"github.com/phi3conv/phi3conv/runtime"
	"github.com/phi3conv/phi3conv/runtime/tokenizer"
)

// open opens the tiny model. Its answers are greedy.
func open(t *testing.T, opt Options) *Chat {
	t.Helper()
	sampler, err := runtime.NewSampler(runtime.SamplerOptions{})
	if err != nil {
		t.Fatal(err)
	}
	opt.Sampler = sampler
	if opt.Compute.Batch == 0 {
		opt.Compute.Batch = 512
	}
	c, err := Open(t.Context(), testmodel.Phi3(t), opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func nothing(string) error { return nil }

// goldenChat is a conversation with the answer of transformers.
type goldenChat struct {
	Messages  []tokenizer.Message
	Answer    string
	AnswerIDs []int32 `json:"answer_ids"`
	Margin    float64
}

func goldenChats(t *testing.T) []goldenChat {
	t.Helper()
	data, err := os.ReadFile("../../../testdata/golden/chat.json")
	if err != nil {
		t.Fatal(err)
	}
	var g struct{ Cases []goldenChat }
	if err := json.Unmarshal(data, &g); err != nil {
		t.Fatal(err)
	}
	return g.Cases
}

// Greedy answers are those of transformers, and what is shown is the answer.
func TestAnswer(t *testing.T) {
	for _, g := range goldenChats(t) {
		if len(g.Messages) > 2 {
			continue
		}
		opt := Options{Limit: 96, Compute: runtime.Options{Float32: true, Cache: runtime.CacheF32}}
		if len(g.Messages) == 2 {
			opt.System = g.Messages[0].Content
		}
		c := open(t, opt)
		var shown strings.Builder
		a, err := c.Answer(t.Context(), g.Messages[len(g.Messages)-1].Content, func(text string) error {
			shown.WriteString(text)
			return nil
		})
		ids := g.AnswerIDs
		if len(ids) < 96 {
			ids = ids[:len(ids)-1] // the stop id
		}
		if err != nil || a.Text != g.Answer || shown.String() != g.Answer || !slices.Equal(a.IDs, ids) {
			t.Errorf("%q, %v, expected %q; shown %q", a.Text, err, g.Answer, shown.String())
		}
		if a.Tokens != len(a.IDs) || a.PromptTokens == 0 || c.Total.Tokens != a.Tokens || c.Load <= 0 {
			t.Errorf("%+v", a)
		}
	}
}

func TestStops(t *testing.T) {
	for _, tc := range []struct {
		opt  Options
		want string
		stop runtime.StopReason
	}{
		{Options{Limit: -1}, "A cow eats grass.", runtime.StopToken},
		{Options{Limit: 1}, "A", runtime.StopLimit},
		{Options{}, "", runtime.StopLimit},
		{Options{Limit: -1, Stops: []string{"house", "ow ea"}}, "A c", StopText},
		{Options{Limit: -1, Stops: []string{"grass..", "A,"}}, "A cow eats grass.", runtime.StopToken},
		{Options{Limit: -1, Context: 14}, "A cow eat", runtime.StopContext},
	} {
		a, err := open(t, tc.opt).Answer(t.Context(), "What does a cow eat?", nothing)
		if err != nil || a.Text != tc.want || a.Stop != tc.stop || a.IDs == nil {
			t.Errorf("%+v: %q, %s, %v, expected %q, %s", tc.opt, a.Text, a.Stop, err, tc.want, tc.stop)
		}
	}
}

// A conversation is remembered until it is reset, and is not evaluated again and again.
func TestConversation(t *testing.T) {
	golden := goldenChats(t)
	three := golden[slices.IndexFunc(golden, func(g goldenChat) bool { return len(g.Messages) == 3 })]
	c := open(t, Options{Limit: -1})
	ask := func(prompt string) Answer {
		t.Helper()
		a, err := c.Answer(t.Context(), prompt, nothing)
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	first := ask(three.Messages[0].Content)
	if a := ask(three.Messages[2].Content); a.Text != three.Answer {
		t.Errorf("%q, expected %q", a.Text, three.Answer)
	}
	c.Reset()
	if a := ask(three.Messages[0].Content); a.Text != first.Text {
		t.Errorf("after a reset: %q, expected %q", a.Text, first.Text)
	}
	c.Reset()
	first = ask("Hello!")
	if a := ask("Hello!"); a.PromptTokens > first.PromptTokens+2 { // the answer's last token and its end
		t.Errorf("%d tokens were evaluated, then %d", first.PromptTokens, a.PromptTokens)
	}
}

// An answer that is interrupted is part of the conversation as far as it came.
func TestInterrupt(t *testing.T) {
	c := open(t, Options{Limit: -1})
	ctx, cancel := context.WithCancel(t.Context())
	a, err := c.Answer(ctx, "What does a cow eat?", func(string) error { cancel(); return nil })
	if !errors.Is(err, context.Canceled) || a.Stop != StopInterrupt || a.Text != "A" || !c.last().answered {
		t.Errorf("%+v, %v, %+v", a, err, c.exchanges)
	}
	if _, err := c.Answer(ctx, "Hello!", nothing); !errors.Is(err, context.Canceled) || c.last().answered {
		t.Errorf("%v, %+v", err, c.exchanges)
	}
	full := errors.New("the disk is full")
	if a, err := c.Answer(t.Context(), "Hello!", func(string) error { return full }); !errors.Is(err, full) {
		t.Errorf("%+v, %v", a, err)
	}
}

func TestErrors(t *testing.T) {
	model := testmodel.Phi3(t)
	var mistake *usage.Error
	if _, err := Open(t.Context(), model, Options{Raw: true, System: "Be short."}); !errors.As(err, &mistake) {
		t.Errorf("raw, with a system prompt: %v", err)
	}
	_, err := Open(t.Context(), model, Options{Context: 513, Compute: runtime.Options{Batch: 1}})
	if err == nil || !strings.Contains(err.Error(), "a context of 513 tokens; the model was made for 1 to 512") {
		t.Errorf("context: %v", err)
	}
	var long *runtime.ContextError
	_, err = open(t, Options{Context: 9}).Answer(t.Context(), "Where is the red ball?", nothing)
	if !errors.As(err, &long) || !strings.Contains(err.Error(), "the prompt is too long: 10 tokens") {
		t.Errorf("a long prompt: %v", err)
	}
}
