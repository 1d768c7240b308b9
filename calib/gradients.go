package calib

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"math/rand/v2"
	"slices"

	"github.com/phi3conv/phi3conv/calib/stats"
	"github.com/phi3conv/phi3conv/internal/progress"
	"github.com/phi3conv/phi3conv/internal/work"
	"github.com/phi3conv/phi3conv/runtime"
)

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

// gradients is squared gradients of all tokens at the outputs of all linear layers, in a work file, whose steps are
// sequences. From work.DataAt on:
//
//	for each sequence: for each of the output groups: float32 for each token
type gradients struct {
	groups  []runtime.OutputGroup
	lengths []int32
	tokens  int
	work    *work.File
}

const gradientMagic = "phi3conv gradients 1\n"

// gatherGradients computes the squared gradients that an earlier run has not computed yet, in at most memory bytes
// or those that one sequence takes, and adds their tokens to w.
func gatherGradients(
	ctx context.Context, l *runtime.Layers, o *stats.Origin, path string, memory int64, w *progress.Work,
) (_ *gradients, err error) {
	g := &gradients{groups: l.OutputGroups(), lengths: o.Lengths, tokens: len(o.Tokens)}
	id, err := json.Marshal(o)
	if err != nil {
		return nil, err
	}
	key := sha256.Sum256(id)
	size := work.DataAt + 4*int64(len(g.groups))*int64(g.tokens)
	if g.work, err = work.OpenFile(path, gradientMagic, "calibrate --fisher", key, len(o.Lengths), size); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			_ = g.work.Close()
		}
	}()
	done, longest, first := g.work.Done, int(slices.Max(o.Lengths)), 0
	for _, n := range o.Lengths[:done] {
		first += int(n)
	}
	w.Skip(gradientTokens, float64(first))
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
		before := 0.0
		norms, err := l.GradientNorms(ctx, sequences, drawLabels(o.Seed, done), func(share float64) {
			w.Add(gradientTokens, (share-before)*float64(count))
			before = share
		})
		if err != nil {
			return nil, err
		}
		at := 0
		for _, s := range sequences {
			for i, all := range norms {
				if err := g.work.WriteFloats(all[at:at+len(s)], g.place(i, first+at, len(s))); err != nil {
					return nil, err
				}
			}
			at += len(s)
		}
		done, first = done+len(sequences), first+count
		if err := g.work.Save(done); err != nil {
			return nil, err
		}
	}
	return g, nil
}

// place returns where the values of a group are for a sequence of n tokens that begins at token first.
func (g *gradients) place(group, first, n int) int64 {
	return work.DataAt + 4*(int64(len(g.groups))*int64(first)+int64(group)*int64(n))
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
			if err := g.work.ReadFloats(part[first:first+int(n)], g.place(i, first, int(n))); err != nil {
				return nil, err
			}
			first += int(n)
		}
		all = append(all, part)
	}
	return all, nil
}
