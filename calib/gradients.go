package calib

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"math/rand/v2"
	"slices"

	"github.com/phi3conv/phi3conv/calib/stats"
	"github.com/phi3conv/phi3conv/formats"
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

// gradients is squared gradients of all tokens at the outputs of all linear layers, and sums of their products, in a
// work file, whose steps are sequences. From work.DataAt on:
//
//	for each sequence: for each of the output groups: float32 for each token
//	twice: the number of sequences, as a float32, and the sums over so many, those of all layers
//
// Sums are written over the older ones of the two.
type gradients struct {
	groups  []runtime.OutputGroup
	lengths []int32
	tokens  int
	outputs map[string]*stats.OutputSums
	order   []string // the names of outputs
	older   int      // of the sums in the file
	work    *work.File
}

const gradientMagic = "phi3conv gradients 2\n"

// gatherGradients computes the squared gradients that an earlier run has not computed yet, in at most
// opt.GradientMemory bytes or those that one sequence takes, and adds their tokens to w.
func gatherGradients(
	ctx context.Context, l *runtime.Layers, o *stats.Origin, opt Options, w *progress.Work,
) (_ *gradients, err error) {
	g := &gradients{groups: l.OutputGroups(), lengths: o.Lengths, tokens: len(o.Tokens)}
	id, err := json.Marshal(struct {
		*stats.Origin
		Outputs bool
	}{o, opt.Outputs})
	if err != nil {
		return nil, err
	}
	key := sha256.Sum256(id)
	if opt.Outputs {
		g.outputs, g.order = newOutputSums(l, g.groups)
	}
	path, memory := opt.Work+".gradients", opt.GradientMemory
	size := g.sumsAt(2)
	if g.work, err = work.OpenFile(path, gradientMagic, "calibrate --fisher", key, len(o.Lengths), size); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			_ = g.work.Close()
		}
	}()
	done, longest, first := g.work.Done, int(slices.Max(o.Lengths)), 0
	if err := g.readSums(); err != nil {
		return nil, err
	}
	memory -= g.sumsAt(1) - g.sumsAt(0)
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
		if opt.Outputs {
			l.TapGradients(func(in runtime.Inputs) { g.tap(in, sequences, l.Threads()) })
		}
		norms, err := l.GradientNorms(ctx, sequences, drawLabels(o.Seed, done), func(share float64) {
			w.Add(gradientTokens, (share-before)*float64(count))
			before = share
		})
		l.TapGradients(nil)
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
		if err := g.writeSums(done); err != nil {
			return nil, err
		}
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

// tap adds gradients at the outputs of a layer, of whole sequences, to its sums.
func (g *gradients) tap(in runtime.Inputs, sequences [][]int32, threads int) {
	sums, first := g.outputs[in.Tensor], 0
	if sums == nil {
		return
	}
	for _, s := range sequences {
		if first >= in.First && first < in.First+in.Rows {
			part := in
			part.Rows, part.X = len(s), in.X[(first-in.First)*in.Stride:]
			sums.Add(part, threads)
		}
		first += len(s)
	}
}

// sumsAt returns where one of the two copies of the sums begins, or the end for 2.
func (g *gradients) sumsAt(k int) int64 {
	size := int64(1)
	for _, s := range g.outputs {
		size += int64(len(s.Sums))
	}
	return work.DataAt + 4*(int64(len(g.groups))*int64(g.tokens)+int64(k)*size)
}

// readSums reads the sums that an earlier run has saved with its last step.
func (g *gradients) readSums() error {
	if g.work.Done == 0 {
		return nil
	}
	for k := range 2 {
		var done [1]float32
		if err := g.work.ReadFloats(done[:], g.sumsAt(k)); err != nil || int(done[0]) != g.work.Done {
			continue // not written yet, or older
		}
		g.older = 1 - k
		at := g.sumsAt(k) + 4
		for _, name := range g.order {
			sums := g.outputs[name].Sums
			if err := g.work.ReadFloats(sums, at); err != nil {
				return err
			}
			at += 4 * int64(len(sums))
		}
		return nil
	}
	return formats.FileErrorf(g.work.Name(), -1, "it holds no sums of its last step: remove it")
}

func (g *gradients) writeSums(done int) error {
	at := g.sumsAt(g.older)
	if err := g.work.WriteFloats([]float32{float32(done)}, at); err != nil {
		return err
	}
	at += 4
	for _, name := range g.order {
		sums := g.outputs[name].Sums
		if err := g.work.WriteFloats(sums, at); err != nil {
			return err
		}
		at += 4 * int64(len(sums))
	}
	g.older = 1 - g.older
	return nil
}

// entryGradients is [stats.Gradients].
type entryGradients struct {
	*gradients
	output string // the name of the output matrix
}

func (g entryGradients) Norms(name string) ([][]float32, error) {
	if name == stats.OutputEntry {
		name = g.output
	}
	return g.parts(name)
}

func (g entryGradients) Outputs(name string) *stats.OutputMoments {
	return g.gradients.outputs[name].Moments(len(g.lengths), g.tokens)
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
