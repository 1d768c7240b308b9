package text

import (
	"context"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/phi3conv/phi3conv/runtime"
	"github.com/phi3conv/phi3conv/runtime/tokenizer"
)

func selfText(t *testing.T, threads int, opt GenerateOptions) [][]int32 {
	t.Helper()
	how := runtime.Options{Threads: threads, Float32: true, Cache: runtime.CacheF32}
	m, err := runtime.Open(context.Background(), tiny, how)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = m.Close() }()
	tok, err := tokenizer.Open(tiny)
	if err != nil {
		t.Fatal(err)
	}
	if opt.Memory == 0 {
		opt.Memory = 1 << 30
	}
	if opt.Memory < 0 { // as many sequences at a time
		opt.Memory *= -m.CacheBytes(opt.Length)
	}
	text, err := Generate(context.Background(), m, tok, opt)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// The text does not depend on threads nor on how many sequences are written side by side.
func TestGenerate(t *testing.T) {
	opt := GenerateOptions{Tokens: 500, Length: 60, Temperature: 1, Seed: 7}
	want := selfText(t, 1, opt)
	opt.Memory = -3
	if got := selfText(t, 2, opt); !reflect.DeepEqual(got, want) {
		t.Error("another text with less memory and more threads")
	}
	opt.Seed = 8
	if got := selfText(t, 2, opt); reflect.DeepEqual(got, want) {
		t.Error("the same text for another seed")
	}
	tok, err := tokenizer.Open(tiny)
	if err != nil {
		t.Fatal(err)
	}
	const assistant, end = 513, 519
	total := 0
	var firsts []string
	for i, s := range want {
		if len(s) < 2 || len(s) > opt.Length {
			t.Errorf("sequence %d has %d tokens", i, len(s))
		}
		body := s[1 : len(s)-1] // only the last token may be a stop id
		if i%3 == 2 {
			at := slices.Index(s, assistant)
			if at < 0 && len(s) < opt.Length {
				t.Errorf("sequence %d is a question without an answer: %v", i, s)
			}
			body = slices.DeleteFunc(slices.Clone(body), func(id int32) bool { return id == assistant || id == end })
		}
		if slices.ContainsFunc(body, func(id int32) bool { return slices.Contains(tok.StopIDs(), id) }) {
			t.Errorf("sequence %d goes on after its end: %v", i, s)
		}
		total += len(s)
		text, err := tok.Decode(s[:min(8, len(s))], true)
		if err != nil {
			t.Fatal(err)
		}
		firsts = append(firsts, text)
	}
	if total != opt.Tokens {
		t.Errorf("%d tokens, expected %d", total, opt.Tokens)
	}
	if len(want) < 9 || !strings.HasPrefix(firsts[2], "<|user|>") || strings.HasPrefix(firsts[1], "<|user|>") {
		t.Errorf("the sequences begin with %q", firsts)
	}
}

// What no text of two tokens or more fits is left out: the texts end there.
func TestGenerateRest(t *testing.T) {
	opt := GenerateOptions{Tokens: 300, Length: 60, Temperature: 1, Seed: 7}
	want := selfText(t, 2, opt)
	opt.Tokens = len(want[0]) + len(want[1]) + 1
	if got := selfText(t, 2, opt); !reflect.DeepEqual(got, want[:2]) {
		t.Errorf("%d sequences, expected the first two", len(got))
	}
}

func TestSelfTextRefused(t *testing.T) {
	m, err := runtime.Open(context.Background(), tiny, runtime.Options{Float32: true})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = m.Close() }()
	tok, err := tokenizer.Open(tiny)
	if err != nil {
		t.Fatal(err)
	}
	for _, opt := range []GenerateOptions{
		{Tokens: 10, Length: 1, Memory: 1 << 30},
		{Tokens: 10, Length: 1 << 20, Memory: 1 << 30},
		{Tokens: 10, Length: 10, Memory: 5},
	} {
		if _, err := Generate(context.Background(), m, tok, opt); err == nil {
			t.Errorf("%+v was accepted", opt)
		}
	}
}
