package stats

import (
	"math"
	"slices"

	"github.com/phi3conv/phi3conv/formats"
	"github.com/phi3conv/phi3conv/internal/floats"
)

// Loss-weighted statistics. What an error e at a layer's output costs is, to second order, eᵀFe/2
// with the Fisher information F = E[g·gᵀ], g being the gradient of -log p(y) at that output and y a
// token drawn from the model's own distribution p. Taking |g|² of each token in place of
// g·gᵀ, one number for each token and layer, keeps the second moments of inputs a matrix of
// columns: Σ |g|²·x·xᵀ.

// fisherClip bounds a token's squared gradient by a multiple of the mean: a few tokens, such as the
// first of a text, would count for all others otherwise.
const fisherClip = 20

// TokenWeights returns the weights of tokens in a layer's second moments: the sums of squared gradients
// over parts of its outputs, at most 20 times their mean, then scaled to mean 1. Where there is no
// gradient at all, all weights are 1.
func TokenWeights(parts ...[]float32) []float32 {
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

// clip returns the weights with which no token's squared gradient is more than 20 times the mean.
func clip(squares []float32) []float32 {
	total := 0.0
	for _, v := range squares {
		total += float64(v)
	}
	limit := fisherClip * total / float64(len(squares))
	weights := make([]float32, len(squares))
	for t, v := range squares {
		if weights[t] = 1; float64(v) > limit {
			weights[t] = float32(limit / float64(v))
		}
	}
	return weights
}

// ExpertWeights returns the weights of tokens in the second moments of an expert's inputs: its squared gradients, at
// most 20 times the mean over the tokens that have one, then scaled to mean 1 over these. Others do not reach the
// expert, or only in a quantized model, where each counts 1.
func ExpertWeights(part []float32) []float32 {
	var reached []float32
	for _, v := range part {
		if v > 0 {
			reached = append(reached, v)
		}
	}
	weights := make([]float32, len(part))
	if reached != nil {
		reached = TokenWeights(reached)
	}
	for t, v := range part {
		weights[t] = 1
		if v > 0 {
			weights[t], reached = reached[0], reached[1:]
		}
	}
	return weights
}

// MatrixWeights returns the weights of tokens for each matrix of a tensor, of which several are those of experts, each
// of which is a part.
func MatrixWeights(parts [][]float32, matrices int) [][]float32 {
	if matrices == 1 {
		return [][]float32{TokenWeights(parts...)}
	}
	var all [][]float32
	for _, p := range parts {
		all = append(all, ExpertWeights(p))
	}
	return all
}

// RootWeights returns the square roots of [MatrixWeights]. Methods that solve layers count tokens by these: the squared
// gradient of one drawn label is so noisy that a few tokens would count for all others.
func RootWeights(parts [][]float32, matrices int) [][]float32 {
	return roots(MatrixWeights(parts, matrices))
}

// roots replaces weights by their square roots.
func roots(weights [][]float32) [][]float32 {
	for _, w := range weights {
		for t, v := range w {
			w[t] = float32(math.Sqrt(float64(v)))
		}
	}
	return weights
}

// MeanNorms returns the mean |g|² at each of the parts of a layer's outputs, where tokens with more than
// 20 times the mean of all parts together count as if they had so much.
func MeanNorms(parts [][]float32) []float64 {
	means := make([]float64, len(parts))
	tokens, total := len(parts[0]), 0.0
	sums := make([]float64, tokens)
	for _, p := range parts {
		for t, v := range p {
			sums[t] += float64(v)
			total += float64(v)
		}
	}
	limit := fisherClip * total / float64(tokens)
	for i, p := range parts {
		for t, v := range p {
			if sums[t] > limit {
				means[i] += float64(float64(v) * (limit / sums[t]))
			} else {
				means[i] += float64(v)
			}
		}
		means[i] /= float64(tokens)
	}
	return means
}

// HasGradients reports whether the file holds squared gradients at the outputs of a layer.
func (s *File) HasGradients(name string) bool {
	e := s.Entry(name)
	return e != nil && e.Parts > 0
}

// Gradients returns what calibration with Fisher gathered at the outputs of a layer: for each token, in the order of
// Origin, the squared norm of the loss's gradient, for each part of the outputs: q, k, v; or gate, up; or each expert;
// or all of them.
func (s *File) Gradients(name string) ([][]float32, error) {
	if !s.HasGradients(name) {
		return nil, formats.FileErrorf(s.Path, -1, "no gradients of %s: calibrate with --fisher", name)
	}
	t := s.file.Tensor(name + suffixGradients)
	values, err := readFloats(t)
	if err != nil {
		return nil, formats.WithPath(err, s.Path)
	}
	for i, v := range values {
		if !(v >= 0) || !floats.Finite(v) {
			return nil, formats.FileErrorf(s.Path, t.Offset+int64(4*i),
				"the squared gradients of %s have the value %g", name, v)
		}
	}
	return slices.Collect(slices.Chunk(values, len(values)/s.Entry(name).Parts)), nil
}
