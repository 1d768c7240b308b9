package runtime_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/phi3conv/phi3conv/internal/testmodel"
	"github.com/phi3conv/phi3conv/runtime"
)

func openTiny(t *testing.T, opt runtime.Options) *runtime.Model {
	t.Helper()
	dir := testmodel.Phi3(t)
	m, err := runtime.Open(t.Context(), dir, opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	})
	return m
}

// chats are conversations with the answers that transformers gives.
type chats struct {
	StopIDs []int32 `json:"stop_ids"`
	Cases   []struct {
		Prompt string
		IDs    []int32 `json:"prompt_ids"`
		Answer []int32 `json:"answer_ids"`
	}
}

func readChats(t *testing.T) (c chats) {
	t.Helper()
	b, err := os.ReadFile("../testdata/golden/chat.json")
	if err == nil {
		err = json.Unmarshal(b, &c)
	}
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// greedy generates with the most likely tokens.
func greedy(
	ctx context.Context, s *runtime.Sequence, prompt []int32, limit int, stop []int32,
) (ids []int32, g runtime.Generated, err error) {
	sampler, err := runtime.NewSampler(runtime.SamplerOptions{})
	if err != nil {
		return nil, g, err
	}
	g, err = s.Generate(ctx, prompt, sampler, limit, stop, func(id int32) bool {
		ids = append(ids, id)
		return true
	})
	return ids, g, err
}

// Greedy answers are those of transformers, one conversation after the other in the same
// sequence, of which each takes the common beginning over.
func TestGenerate(t *testing.T) {
	c := readChats(t)
	if testing.Short() {
		c.Cases = c.Cases[:5]
	}
	for _, opt := range []runtime.Options{
		{Threads: 1, Float32: true}, {Threads: 2, Cache: runtime.CacheQ8_0}, {Threads: 2, NoRepack: true},
	} {
		m := openTiny(t, opt)
		s, err := m.NewSequence(0)
		if err != nil {
			t.Fatal(err)
		}
		for _, k := range c.Cases {
			ids, g, err := greedy(t.Context(), s, s.Reuse(k.IDs), 96, c.StopIDs)
			if err != nil {
				t.Fatal(err)
			}
			want, stop, decoded := k.Answer, runtime.StopLimit, len(k.Answer)-1
			if n := len(want); slices.Contains(c.StopIDs, want[n-1]) {
				want, stop = want[:n-1], runtime.StopToken
			}
			if g.Stop != stop || !slices.Equal(ids, want) {
				t.Errorf("%+v: %q: stop %s, %v, expected %v", opt, k.Prompt, g.Stop, ids, want)
			}
			if g.Tokens != len(want) || g.DecodeTokens != decoded || g.PromptTokens < 1 || g.PromptTokens > len(k.IDs) {
				t.Errorf("%q: %+v", k.Prompt, g)
			}
		}
	}
}

func TestGenerateStops(t *testing.T) {
	c := readChats(t)
	m := openTiny(t, runtime.Options{})
	k := c.Cases[0]
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	for _, test := range []struct {
		name    string
		ctx     context.Context
		context int
		limit   int
		emitted int
		stop    runtime.StopReason
		err     string
	}{
		{"no token wanted", t.Context(), 64, 0, 0, runtime.StopLimit, ""},
		{"three", t.Context(), 64, 3, 3, runtime.StopLimit, ""},
		{"context", t.Context(), len(k.IDs) + 2, -1, 3, runtime.StopContext, ""},
		{"both", t.Context(), len(k.IDs) + 2, 3, 3, runtime.StopLimit, ""},
		{
			"prompt too long", t.Context(), len(k.IDs) - 1, -1, 0, runtime.StopError,
			fmt.Sprintf("%d tokens do not fit the context of %d", len(k.IDs), len(k.IDs)-1),
		},
		{"canceled", canceled, 64, -1, 0, runtime.StopError, "context canceled"},
	} {
		s, err := m.NewSequence(test.context)
		if err != nil {
			t.Fatal(err)
		}
		ids, g, err := greedy(test.ctx, s, k.IDs, test.limit, c.StopIDs)
		if fmt.Sprint(err) != test.err && (err != nil || test.err != "") || g.Stop != test.stop {
			t.Errorf("%s: stop %s, error %v", test.name, g.Stop, err)
		}
		if !slices.Equal(ids, k.Answer[:test.emitted]) || g.Tokens != test.emitted {
			t.Errorf("%s: %v, expected %v", test.name, ids, k.Answer[:test.emitted])
		}
		var full *runtime.ContextError
		if strings.Contains(test.err, "fit") != errors.As(err, &full) {
			t.Errorf("%s: error of type %T", test.name, err)
		}
	}
}

// A caller ends an answer, by what emit returns or by its context.
func TestGenerateEnded(t *testing.T) {
	k := readChats(t).Cases[0]
	s, err := openTiny(t, runtime.Options{}).NewSequence(0)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := greedy(t.Context(), s, nil, -1, nil); err == nil || err.Error() != "the prompt has no tokens" {
		t.Errorf("no prompt: error %v", err)
	}
	sampler, err := runtime.NewSampler(runtime.DefaultSampling())
	if err != nil {
		t.Fatal(err)
	}
	g, err := s.Generate(t.Context(), k.IDs, sampler, -1, nil, func(int32) bool { return false })
	if g.Stop != runtime.StopCaller || g.Tokens != 1 || err != nil {
		t.Errorf("a caller that wants no more: %+v, error %v", g, err)
	}
	// Canceled between two tokens: the sequence can go on.
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	s.Truncate(0)
	g, err = s.Generate(ctx, k.IDs, sampler, -1, nil, func(int32) bool { cancel(); return true })
	if g.Stop != runtime.StopError || !errors.Is(err, context.Canceled) || g.Tokens != 1 ||
		!slices.Equal(s.Tokens(), k.IDs) {
		t.Errorf("canceled: %+v, error %v, %d tokens", g, err, len(s.Tokens()))
	}
}
