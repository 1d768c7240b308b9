package main

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"

	"github.com/phi3conv/phi3conv/calib/text"
	"github.com/phi3conv/phi3conv/internal/atomicfile"
	"github.com/phi3conv/phi3conv/runtime"
	"github.com/phi3conv/phi3conv/runtime/tokenizer"
	"github.com/urfave/cli/v2"
)

// selfTokens is how much the model writes when no text is given.
const selfTokens = 128 * 512

// selfSource is a model that writes its own text.
type selfSource struct {
	model   string
	size    int64  // of the weights in the file
	weights string // their hash
	work    string // a file that keeps the text for a run that continues
	threads int
	memory  int64
}

// selfText is what the work file holds.
type selfText struct {
	Key       string    `json:"key"` // of what the text depends on
	Sequences [][]int32 `json:"sequences"`
}

// add lets the model write about that many tokens.
func (s *selfSource) add(c *cli.Context, corpus *text.Corpus, tok *tokenizer.Tokenizer, tokens int) error {
	t := c.Float64("temperature")
	if !(t > 0 && t <= 100) {
		return usagef("--temperature is %g, expected a number above 0, up to 100", t)
	}
	opt := text.GenerateOptions{Tokens: tokens, Length: c.Int("ctx-size"), Temperature: float32(t), Seed: c.Uint64("seed")}
	key := fmt.Sprintf("1 %s %s %d %d %g %d", s.weights, text.TokenizerHash(tok), opt.Tokens, opt.Length, t, opt.Seed)
	var written selfText
	if data, err := os.ReadFile(s.work); err != nil || json.Unmarshal(data, &written) != nil || written.Key != key {
		sequences, err := s.write(c, tok, opt)
		if err != nil {
			return err
		}
		written = selfText{key, sequences}
		data, err := json.Marshal(written)
		if err != nil {
			return err
		}
		if err := atomicfile.WriteFile(s.work, data); err != nil {
			return err
		}
	}
	hash, count := sha256.New(), 0
	for _, ids := range written.Sequences {
		count += len(ids)
		_, _ = fmt.Fprintln(hash, ids)
	}
	corpus.Sequences = append(corpus.Sequences, written.Sequences...)
	corpus.Files = append(corpus.Files, text.File{Name: fmt.Sprintf("written by the model at temperature %g", t), SHA256: hex.EncodeToString(hash.Sum(nil)), Tokens: count})
	return nil
}

// write opens the model for it: in memory if that is allowed, otherwise in the file's own pages.
func (s *selfSource) write(c *cli.Context, tok *tokenizer.Tokenizer, opt text.GenerateOptions) ([][]int32, error) {
	const batch = 64 // tokens: at most as many sequences are written side by side
	opt.Memory = s.memory - s.size
	noRepack := opt.Memory < s.memory/4
	if noRepack {
		opt.Memory = s.memory
	}
	m, err := runtime.Open(c.Context, s.model, runtime.Options{Threads: s.threads, Float32: true, Cache: runtime.CacheF16, Batch: batch, NoRepack: noRepack})
	if err != nil {
		return nil, err
	}
	defer func() { _ = m.Close() }()
	bar := newCounter(c.App.ErrWriter, "writing text", int64(opt.Tokens))
	defer bar.done()
	opt.Progress = func(tokens int) { bar.set(int64(tokens)) }
	return text.Generate(c.Context, m, tok, opt)
}
