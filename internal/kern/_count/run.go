package main

import (
	"context"

	"github.com/phi3conv/phi3conv/runtime"
)

// run evaluates a prompt and then some tokens one by one, each the likeliest.
func run(path string, before, tokens int) error {
	ctx := context.Background()
	m, err := runtime.Open(ctx, path, runtime.Options{Threads: 1})
	if err != nil {
		return err
	}
	s, err := m.NewSequence(before + tokens)
	if err != nil {
		return err
	}
	sampler, err := runtime.NewSampler(runtime.SamplerOptions{})
	if err != nil {
		return err
	}
	prompt := make([]int32, before)
	for i := range prompt {
		prompt[i] = int32((1 + 37*i) % m.VocabSize())
	}
	logits, err := s.Eval(ctx, prompt)
	for ; err == nil && tokens > 0; tokens-- {
		logits, err = s.Eval(ctx, []int32{sampler.Sample(logits, s.Tokens())})
	}
	return err
}
