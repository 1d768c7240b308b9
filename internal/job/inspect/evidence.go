package inspect

import (
	"context"
	"errors"
	"io"
	"math"
	"os"

	"github.com/phi3conv/phi3conv/calib/stats"
	"github.com/phi3conv/phi3conv/formats/seal"
	"github.com/phi3conv/phi3conv/internal/output"
	"github.com/phi3conv/phi3conv/internal/report"
	"github.com/phi3conv/phi3conv/internal/work"
)

// Show describes what is in a file of any format that this program writes but reports: a model, a seal, or statistics.
func Show(ctx context.Context, path string) (report.Result, error) {
	switch format := output.FormatOf(path); {
	case format == output.Seal:
		return ReadSeal(ctx, path)
	case format == output.Imatrix, stats.IsDat(path):
		return ReadImatrix(ctx, path)
	}
	m, err := Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = m.Close() }() // only read from
	return m.Overview(), nil
}

// Seal is what a seal holds.
type Seal struct {
	Path   string `json:"path"`
	Format string `json:"format"` // "seal"
	Bytes  int64  `json:"bytes"`
	SHA256 string `json:"sha256"`
	*seal.Header
	Likely     float64       `json:"mean_likely"` // tokens of a position that have a probability
	Perplexity report.Number `json:"ppl"`         // of the model, on the positions
}

// ReadSeal reads a whole seal, whose sections have checksums.
func ReadSeal(ctx context.Context, path string) (*Seal, error) {
	s := &Seal{Path: path, Format: "seal"}
	var err error
	if s.SHA256, s.Bytes, err = work.HashFile(ctx, path, nil); err != nil {
		return nil, err
	}
	r, err := seal.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = r.Close() }() // only read from
	s.Header = r.Header
	nll, n := 0.0, float64(r.Header.Positions)
	for {
		e, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		nll += float64(e.NLL)
		s.Likely += float64(len(e.Top)) / n
	}
	s.Perplexity = report.Number(math.Exp(nll / n))
	return s, nil
}

// WriteText prints the seal.
func (s *Seal) WriteText(w io.Writer) error {
	p := &report.Printer{W: w}
	p.Printf("%s: seal, %s\nSHA-256 %s\n", s.Path, report.ByteSize(s.Bytes), s.SHA256)
	p.Printf("of %s, weights %s\n", report.Printable(s.Model), s.WeightsSHA256)
	p.Printf("tokenizer %s (%s), %d tokens, SHA-256 %s\n", report.Printable(s.Tokenizer.Model),
		report.Printable(s.Tokenizer.Pre), s.VocabSize, s.Tokenizer.TokensSHA256)
	c := &s.Conventions
	p.Printf("windows as %s: %d tokens, every %d, scored after %d",
		report.Printable(c.Name), c.Context, c.Stride, c.First)
	if c.BOS >= 0 {
		p.Printf(", BOS %d", c.BOS)
	}
	p.Printf("\n%d positions, %d of them with the whole vocabulary, perplexity %.4f\n",
		s.Positions, s.Full, s.Perplexity)
	p.Printf("at most %d likely tokens of a position, from probability %g; mean %.1f\n", s.TopK, s.MinP, s.Likely)
	t := report.NewColumns(w, "text", "bytes", "tokens", "SHA-256")
	for _, x := range s.Texts {
		t.Row(report.Printable(x.Name), x.Bytes, x.Tokens, x.SHA256)
	}
	p.Columns(t)
	return p.Err
}

// Imatrix is what a statistics file holds.
type Imatrix struct {
	Path   string `json:"path"`
	Format string `json:"format"` // "GGUF imatrix" or "dat imatrix"
	Bytes  int64  `json:"bytes"`
	SHA256 string `json:"sha256"`
	*stats.Summary
	Origin *Origin `json:"origin,omitempty"` // absent in files of other programs
}

// Origin says what statistics were gathered from.
type Origin struct {
	Weights   string   `json:"weights_sha256"`   // of the model's weights
	Tokenizer string   `json:"tokenizer_sha256"` // of the tokens' texts
	Texts     []string `json:"texts_sha256"`     // in the order of Summary.Datasets
	Seed      uint64   `json:"seed"`
}

// ReadImatrix reads a statistics file of calibrate or of llama-imatrix, in either of its formats.
func ReadImatrix(ctx context.Context, path string) (*Imatrix, error) {
	s := &Imatrix{Path: path, Format: "GGUF imatrix"}
	f, err := stats.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // only read from
	if s.SHA256, s.Bytes, err = work.HashFile(ctx, path, nil); err != nil {
		return nil, err
	}
	if magic, err := begins(path); err == nil && magic != "GGUF" {
		s.Format = "dat imatrix"
	}
	s.Summary = f.Summarize()
	if o := f.Origin; o != nil {
		s.Origin = &Origin{o.Weights, o.Tokenizer, append([]string{}, o.Texts...), o.Seed}
	}
	return s, nil
}

func begins(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer func() { _ = f.Close() }() // only read from
	b := make([]byte, 4)
	_, err = io.ReadFull(f, b)
	return string(b), err
}

// WriteText prints the statistics.
func (s *Imatrix) WriteText(w io.Writer) error {
	p := &report.Printer{W: w}
	p.Printf("%s: importance matrix (%s), %s\nSHA-256 %s\n", s.Path, s.Format, report.ByteSize(s.Bytes), s.SHA256)
	if o := s.Origin; o != nil {
		p.Printf("of a model whose weights have the SHA-256 %s, seed %d\n", o.Weights, o.Seed)
		for i, sum := range o.Texts {
			if i < len(s.Datasets) {
				p.Printf("text %s: SHA-256 %s\n", report.Printable(s.Datasets[i]), sum)
			}
		}
	}
	p.Printf("\n")
	if p.Err != nil {
		return p.Err
	}
	return s.Summary.WriteText(w)
}
