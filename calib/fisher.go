package calib

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"

	"github.com/phi3conv/phi3conv/formats"
	"github.com/phi3conv/phi3conv/runtime"
)

// Loss-weighted statistics. What an error e at a layer's output costs is, to second order, eᵀFe/2
// with the Fisher information F = E[g·gᵀ], g being the gradient of -log p(y) at that output and y a
// token drawn from the model's own distribution p. Taking |g|² of each token in place of
// g·gᵀ, one number for each token and layer, keeps the second moments of inputs a matrix of
// columns: Σ |g|²·x·xᵀ.

// fisherClip bounds a token's squared gradient by a multiple of the mean: a few tokens, such as the
// first of a text, would count for all others otherwise.
const fisherClip = 20

// FisherWeights returns the weights of tokens in a layer's second moments: the sums of squared gradients
// over parts of its outputs, at most 20 times their mean, then scaled to mean 1. Where there is no
// gradient at all, all weights are 1.
func FisherWeights(parts ...[]float32) []float32 {
	n := len(parts[0])
	sums, total := make([]float64, n), 0.0
	for _, part := range parts {
		for t, v := range part {
			sums[t] += float64(v)
		}
	}
	for _, v := range sums {
		total += v
	}
	limit, clipped := fisherClip*total/float64(n), 0.0
	for t, v := range sums {
		sums[t] = min(v, limit)
		clipped += sums[t]
	}
	weights := make([]float32, n)
	for t, v := range sums {
		if weights[t] = 1; clipped > 0 {
			weights[t] = float32(v / clipped * float64(n))
		}
	}
	return weights
}

// drawLabels returns the function that draws a token from each distribution. What it draws depends on
// the seed, the number of the sequence, counted from first on, and the position.
func drawLabels(seed uint64, first int) runtime.Label {
	return func(sequence, pos int, p []float32) int32 {
		var key [32]byte
		for i, v := range []uint64{seed, uint64(first + sequence), uint64(pos)} {
			binary.LittleEndian.PutUint64(key[8*i:], v)
		}
		sum := 0.0
		for _, v := range p {
			sum += float64(v)
		}
		at := float64(rand.NewChaCha8(key).Uint64()>>11) / (1 << 53) * sum
		drawn, below := 0, 0.0
		for i, v := range p {
			if v > 0 {
				drawn = i
			}
			if below += float64(v); below > at {
				break
			}
		}
		return int32(drawn)
	}
}

// gradients is squared gradients of all tokens at the outputs of all linear layers, in a file:
//
//	gradientMagic
//	2 records: key of the run, number of sequences done, CRC-32 (the latest counts)
//	for each sequence: for each of the output groups: float32 for each token
type gradients struct {
	groups  []runtime.OutputGroup
	lengths []int32
	tokens  int
	file    *os.File
}

const gradientMagic = "phi3conv gradients 1\n"

// gatherGradients computes the squared gradients, or what an earlier run has left of them, with so much
// memory. progress gets the tokens done.
func gatherGradients(ctx context.Context, l *runtime.Layers, o *Origin, path string, memory int64, progress func(tokens float64)) (_ *gradients, err error) {
	g := &gradients{groups: l.OutputGroups(), lengths: o.Lengths, tokens: len(o.Tokens)}
	id, err := json.Marshal(o)
	if err != nil {
		return nil, err
	}
	key := sha256.Sum256(id)
	if g.file, err = os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o666); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			_ = g.file.Close()
		}
	}()
	done, err := g.resume(key)
	if err != nil {
		return nil, err
	}
	longest, first := int(slices.Max(o.Lengths)), 0
	for _, n := range o.Lengths[:done] {
		first += int(n)
	}
	for done < len(o.Lengths) {
		var sequences [][]int32
		count := 0
		for _, n := range o.Lengths[done:] {
			more := count + int(n)
			if count > 0 && (more > groupTokens || l.GradientBytes(more, longest) > memory) {
				break
			}
			sequences, count = append(sequences, o.Tokens[first+count:first+more]), more
		}
		norms, err := l.GradientNorms(ctx, sequences, drawLabels(o.Seed, done), func(share float64) {
			if progress != nil {
				progress(float64(first) + share*float64(count))
			}
		})
		if err != nil {
			return nil, err
		}
		at := 0
		for _, s := range sequences {
			for i, all := range norms {
				if err := writeFloats(g.file, all[at:at+len(s)], g.place(i, first+at, len(s))); err != nil {
					return nil, err
				}
			}
			at += len(s)
		}
		done, first = done+len(sequences), first+count
		if err := writeRecord(g.file, key, done); err != nil {
			return nil, err
		}
	}
	return g, nil
}

// place returns where the values of a group are for a sequence of n tokens that begins at token first.
func (g *gradients) place(group, first, n int) int64 {
	return dataAt + 4*(int64(len(g.groups))*int64(first)+int64(group)*int64(n))
}

// resume returns how many sequences an earlier run has done.
func (g *gradients) resume(key [sha256.Size]byte) (done int, err error) {
	info, err := g.file.Stat()
	if err != nil {
		return 0, err
	}
	if info.Size() > 0 {
		magic := make([]byte, len(gradientMagic))
		if _, err := g.file.ReadAt(magic, 0); err != nil || string(magic) != gradientMagic {
			return 0, &formats.Error{Path: g.file.Name(), Off: 0, What: "not a work file of calibrate --fisher: rename it, or choose another output"}
		}
		if n := readRecord(g.file, key); n <= len(g.lengths) {
			return n, nil
		}
	}
	if err := g.file.Truncate(0); err != nil {
		return 0, err
	}
	_, err = g.file.WriteAt([]byte(gradientMagic), 0)
	return 0, err
}

// count returns the number of parts of a tensor's outputs.
func (g *gradients) count(tensor string) (n int) {
	for _, o := range g.groups {
		if o.Tensor == tensor {
			n++
		}
	}
	return n
}

// parts returns the squared gradients of all tokens for each part of a tensor's outputs.
func (g *gradients) parts(tensor string) ([][]float32, error) {
	var all [][]float32
	for i, o := range g.groups {
		if o.Tensor != tensor {
			continue
		}
		part, first := make([]float32, g.tokens), 0
		for _, n := range g.lengths {
			if err := readFloatsAt(g.file, part[first:first+int(n)], g.place(i, first, int(n))); err != nil {
				return nil, err
			}
			first += int(n)
		}
		all = append(all, part)
	}
	return all, nil
}

// Gradients returns what [Options].Fisher gathered at the outputs of a layer: for each token, in the
// order of Origin, the squared norm of the loss's gradient, for each part of the outputs: q, k, v;
// or gate, up; or all of them.
func (s *Stats) Gradients(name string) ([][]float32, error) {
	e := s.Entry(name)
	if e == nil || e.Parts == 0 {
		return nil, &formats.Error{Path: s.Path, Off: -1, What: "no gradients of " + name + ": calibrate with --fisher"}
	}
	t := s.file.Tensor(name + suffixGradients)
	values, err := readFloats(t)
	if err != nil {
		return nil, formats.WithPath(err, s.Path)
	}
	for i, v := range values {
		if !(v >= 0) || !finite(v) {
			return nil, &formats.Error{Path: s.Path, Off: t.Offset + int64(4*i), What: fmt.Sprintf("the squared gradients of %s have the value %g", name, v)}
		}
	}
	return slices.Collect(slices.Chunk(values, len(values)/e.Parts)), nil
}

// Fisher returns the weights of tokens, in the order of Origin, in a layer's second moments. See [FisherWeights].
func (s *Stats) Fisher(name string) ([]float32, error) {
	parts, err := s.Gradients(name)
	if err != nil {
		return nil, err
	}
	return FisherWeights(parts...), nil
}
