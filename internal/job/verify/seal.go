package verify

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"path/filepath"

	"github.com/phi3conv/phi3conv/formats"
	"github.com/phi3conv/phi3conv/formats/seal"
	"github.com/phi3conv/phi3conv/internal/atomicfile"
	"github.com/phi3conv/phi3conv/internal/job/model"
	"github.com/phi3conv/phi3conv/internal/progress"
	"github.com/phi3conv/phi3conv/internal/report"
	"github.com/phi3conv/phi3conv/internal/work"
	"github.com/phi3conv/phi3conv/runtime"
	"github.com/phi3conv/phi3conv/verify"
)

// SealOptions say what [Seal] keeps of what a model predicts.
type SealOptions struct {
	Model   string   // a checkpoint directory or a GGUF file
	Texts   []string // files with text to predict, one or more
	Windows Windows
	Output  string // the file to write

	TopK    int              // most likely tokens that are kept of a position, 0 for 1024
	MinP    float64          // least probability of a likely token; the five likeliest are always kept
	Full    int              // positions of which the whole vocabulary is kept
	Threads int              // 0 for the number of physical cores
	Monitor progress.Monitor // may be nil
}

// SealSummary is what was written.
type SealSummary struct {
	Path      string `json:"path"`
	Bytes     int64  `json:"bytes"`
	SHA256    string `json:"sha256"` // hexadecimal
	Positions int    `json:"positions"`
	Full      int    `json:"full"` // positions with the whole vocabulary
	Model     string `json:"model"`
	Weights   string `json:"weights_sha256"`
}

// WriteText says in two lines what was written.
func (s *SealSummary) WriteText(w io.Writer) error {
	_, err := fmt.Fprintf(w, "%s: %d positions of %s, %d with the whole vocabulary, %s (%.0f bytes each)\nSHA-256 %s\n",
		s.Path, s.Positions, report.Printable(s.Model), s.Full, report.ByteSize(s.Bytes),
		float64(s.Bytes)/float64(s.Positions), s.SHA256)
	return err
}

// Seal evaluates a model in float32 and writes what it predicts, for [RunSealed].
func Seal(ctx context.Context, o SealOptions) (*SealSummary, error) {
	s, err := makeSeal(ctx, o)
	return s, work.Interrupted(err, ", %s was not written", o.Output)
}

func makeSeal(ctx context.Context, o SealOptions) (*SealSummary, error) {
	c, err := readCorpus(ctx, o.Model, o.Texts, o.Windows)
	if err != nil {
		return nil, err
	}
	h, tokens := sealHeader(c, &o)
	opt := runtime.Options{Float32: true, Cache: runtime.CacheF32, Threads: o.Threads}
	m := progress.Quiet(o.Monitor)
	p, err := model.OpenPredictor(ctx, o.Model, opt, c.conventions.Context, m)
	if err != nil {
		return nil, err
	}
	defer p.Close()
	h.VocabSize = p.VocabSize()
	h.TopK = min(h.TopK, h.VocabSize)
	described, err := model.Describe(ctx, o.Model, m)
	if err != nil {
		return nil, err
	}
	h.Model, h.WeightsSHA256 = described.Name, described.SHA256

	f, err := atomicfile.Create(o.Output)
	if err != nil {
		return nil, err
	}
	defer f.Abort()
	f.Rescue = true
	out := &hashed{w: f, hash: sha256.New()}
	w, err := seal.NewWriter(out, h, tokens)
	if err != nil {
		return nil, formats.WithPath(err, o.Output)
	}
	watched := watch(m, "sealing", c.windows, p.Meter)
	err = verify.RunSeal(ctx, p, c.windows, w, func(int) { watched.windowDone() })
	watched.End()
	if err != nil {
		return nil, formats.WithPath(err, o.Model)
	}
	if err := w.Close(); err != nil {
		return nil, formats.WithPath(err, o.Output)
	}
	if err := f.Commit(); err != nil {
		return nil, err
	}
	return &SealSummary{
		Path: o.Output, Bytes: out.bytes, SHA256: hex.EncodeToString(out.hash.Sum(nil)),
		Positions: h.Positions, Full: h.Full, Model: h.Model, Weights: h.WeightsSHA256,
	}, nil
}

// hashed writes, and hashes and counts what it writes: a pipe cannot be read afterwards.
type hashed struct {
	w     io.Writer
	hash  hash.Hash
	bytes int64
}

func (h *hashed) Write(b []byte) (int, error) {
	n, err := h.w.Write(b)
	h.bytes += int64(n)
	_, _ = h.hash.Write(b[:n]) // a hash takes everything
	return n, err
}

// sealHeader makes a header but for the model, and the tokens of each text that are pinned: those that a window has.
func sealHeader(c *corpus, o *SealOptions) (seal.Header, [][]int32) {
	conv := c.conventions
	h := seal.Header{
		TopK: o.TopK, MinP: o.MinP, Tokenizer: seal.Tokenizer(c.tokenizer.Digest()),
		Conventions: seal.Conventions{
			Name: conv.Name, Context: conv.Context, Stride: conv.Stride, First: conv.First, BOS: -1,
		},
		Positions: verify.Scored(c.windows),
	}
	if h.TopK == 0 {
		h.TopK = 1024
	}
	h.Full = min(o.Full, h.Positions)
	if conv.BOS {
		h.Conventions.BOS, _ = c.tokenizer.BOS()
	}
	ends := make([]int, len(c.texts))
	for _, w := range c.windows {
		ends[w.Text] = max(ends[w.Text], w.Start+len(w.Tokens))
	}
	pinned := make([][]int32, len(c.texts))
	for i, t := range c.texts {
		pinned[i] = t.tokens[:ends[i]]
		h.Texts = append(h.Texts, seal.Text{
			Name: filepath.Base(t.path), Bytes: int64(len(t.content)), SHA256: t.sha256(), Tokens: ends[i],
		})
	}
	return h, pinned
}
