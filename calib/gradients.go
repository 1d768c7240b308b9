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

// gradients is squared gradients of a portion's tokens at the outputs of all linear layers, and sums of their products,
// in a work file, whose steps are sequences. From work.DataAt on:
//
//	for each sequence: for each of the output groups: float32 for each token
//	twice: the number of sequences, as a float32, and the sums over those of their span, those of all layers
//	for each layer with sums: for each span: the sums
//
// Sums are written over the older ones of the two, and where they remain after the last sequence of a span.
type gradients struct {
	l       *runtime.Layers
	groups  []runtime.OutputGroup
	portion *stats.Portion
	tokens  int                          // of the portion
	outputs map[string]*stats.OutputSums // of the span
	order   []string                     // the names of outputs
	older   int                          // of the sums in the file
	work    *work.File
}

// GradientNeed returns the least Options.GradientMemory with which gradients of sequences of so many tokens are
// gathered, with or without Options.Outputs.
func GradientNeed(l *runtime.Layers, longest int, outputs bool) int64 {
	need := l.GradientBytes(longest, longest)
	if outputs {
		need += outputSumsBytes(l)
	}
	return need
}

const gradientMagic = "phi3conv gradients 2\n"

// gatherGradients computes the squared gradients that an earlier run has not computed yet, in at most
// opt.GradientMemory bytes or those that one sequence takes, and adds their tokens to w.
func gatherGradients(
	ctx context.Context, l *runtime.Layers, o *stats.Origin, p *stats.Portion, opt Options, w *progress.Work,
) (_ *gradients, err error) {
	g := &gradients{l: l, groups: l.OutputGroups(), portion: p, tokens: p.Tokens()}
	id, err := json.Marshal(struct {
		*stats.Origin
		Outputs      bool
		Spans, Begin int
	}{o, opt.Outputs, len(p.Spans), p.Sequence})
	if err != nil {
		return nil, err
	}
	key := sha256.Sum256(id)
	if opt.Outputs {
		g.outputs, g.order = newOutputSums(l, g.groups)
	}
	path, size := opt.Work+".gradients", g.spansAt("")
	g.work, err = work.OpenFile(path, gradientMagic, "calibrate --fisher", key, len(p.Lengths), size)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			_ = g.work.Close()
		}
	}()
	if err := g.readSums(); err != nil {
		return nil, err
	}
	first := 0
	for _, n := range p.Lengths[:g.work.Done] {
		first += int(n)
	}
	w.Skip(gradientTokens, float64(first))
	l.SetGradientMemory(opt.GradientMemory - g.sumsBytes())
	defer l.SetGradientMemory(0)
	for done := g.work.Done; done < len(p.Lengths); {
		sequences, count := g.next(o.Tokens[p.First+first:], done, opt.GradientMemory)
		if err := g.gather(ctx, sequences, first, count, drawLabels(o.Seed, p.Sequence+done), w); err != nil {
			return nil, err
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

// next returns the sequences, tokens in all, that go through the model together: those after the first done ones, whose
// tokens these are, as many as memory has room for; of one span if there are sums of it.
func (g *gradients) next(tokens []int32, done int, memory int64) (sequences [][]int32, count int) {
	memory -= g.sumsBytes()
	longest, lengths := int(slices.Max(g.portion.Lengths)), g.portion.Lengths[done:]
	if g.outputs != nil {
		lengths = lengths[:g.spanEnd(done)-done]
	}
	// Fewer tokens are better than activations that are computed twice, if there is memory for those.
	most := groupTokens
	if half := most / 2; g.l.GradientBytes(half, longest)+g.l.KeptBytes(half) <= memory {
		most = half
	}
	for _, n := range lengths {
		more := count + int(n)
		if count > 0 && (more > most || g.l.GradientBytes(more, longest) > memory) {
			break
		}
		sequences, count = append(sequences, tokens[count:more]), more
	}
	return sequences, count
}

// spanEnd returns the first sequence after the span that sequence i is in.
func (g *gradients) spanEnd(i int) (end int) {
	for _, s := range g.portion.Spans {
		if end += len(s); end > i {
			break
		}
	}
	return end
}

// gather computes the gradients of sequences, whose first token is that of the portion, and count in all.
func (g *gradients) gather(
	ctx context.Context, sequences [][]int32, first, count int, label runtime.Label, w *progress.Work,
) error {
	before := 0.0
	if g.outputs != nil {
		g.l.TapGradients(func(in runtime.Inputs) { g.tap(in, sequences, g.l.Threads()) })
		defer g.l.TapGradients(nil)
	}
	norms, err := g.l.GradientNorms(ctx, sequences, label, func(share float64) {
		w.Add(gradientTokens, (share-before)*float64(count))
		before = share
	})
	if err != nil {
		return err
	}
	at := 0
	for _, s := range sequences {
		for i, all := range norms {
			if err := g.work.WriteFloats(all[at:at+len(s)], g.place(i, first+at, len(s))); err != nil {
				return err
			}
		}
		at += len(s)
	}
	return nil
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

// sumsBytes returns how much memory the sums take.
func (g *gradients) sumsBytes() int64 { return g.sumsAt(1) - g.sumsAt(0) }

// sumsAt returns where one of the two copies of the sums begins, or the end for 2.
func (g *gradients) sumsAt(k int) int64 {
	size := int64(1)
	for _, s := range g.outputs {
		size += int64(len(s.Sums))
	}
	return work.DataAt + 4*(int64(len(g.groups))*int64(g.tokens)+int64(k)*size)
}

// spansAt returns where the sums of all spans of a layer begin, or the end for "".
func (g *gradients) spansAt(name string) int64 {
	at := g.sumsAt(2)
	for _, other := range g.order {
		if other == name {
			break
		}
		at += 4 * int64(len(g.portion.Spans)) * int64(len(g.outputs[other].Sums))
	}
	return at
}

// readSums reads the sums that an earlier run has saved with its last step.
func (g *gradients) readSums() error {
	if done := g.work.Done; done == 0 || g.spanBefore(done) >= 0 {
		return nil // the next span begins
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

// spanBefore returns the span that ends with so many sequences, -1 if none does.
func (g *gradients) spanBefore(done int) int {
	end := 0
	for i, s := range g.portion.Spans {
		if end += len(s); end == done {
			return i
		}
	}
	return -1
}

// writeSums keeps the sums after so many sequences.
func (g *gradients) writeSums(done int) error {
	if span := g.spanBefore(done); span >= 0 {
		for _, name := range g.order {
			sums := g.outputs[name].Sums
			if err := g.work.WriteFloats(sums, g.spansAt(name)+4*int64(span)*int64(len(sums))); err != nil {
				return err
			}
			clear(sums)
		}
		return nil
	}
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

// tensor returns the name of the weights of an entry.
func (g *gradients) tensor(entry string) string {
	if entry == stats.OutputEntry {
		return g.l.Output()
	}
	return entry
}

// Parts implements [stats.Gradients], as do Norms, Blocks and Outputs.
func (g *gradients) Parts(entry string) int { return outputParts(g.groups, g.tensor(entry)) }

// Norms returns the squared gradients of the portion's tokens.
func (g *gradients) Norms(entry string) ([][]float32, error) {
	var all [][]float32
	for i, o := range g.groups {
		if o.Tensor != g.tensor(entry) {
			continue
		}
		part, first := make([]float32, g.tokens), 0
		for _, n := range g.portion.Lengths {
			if err := g.work.ReadFloats(part[first:first+int(n)], g.place(i, first, int(n))); err != nil {
				return nil, err
			}
			first += int(n)
		}
		all = append(all, part)
	}
	return all, nil
}

// Blocks is for [stats.Gradients].
func (g *gradients) Blocks(entry string) []int {
	if s := g.outputs[g.tensor(entry)]; s != nil {
		return s.Blocks
	}
	return nil
}

// Outputs returns what the sums over all spans say.
func (g *gradients) Outputs(entry string) (*stats.OutputMoments, error) {
	name := g.tensor(entry)
	all := stats.NewOutputSums(g.outputs[name].Blocks)
	sums := make([]float32, len(all.Sums))
	for span := range g.portion.Spans {
		if err := g.work.ReadFloats(sums, g.spansAt(name)+4*int64(span)*int64(len(sums))); err != nil {
			return nil, err
		}
		all.AddSpan(sums)
	}
	return all.Moments(len(g.portion.Lengths), g.tokens), nil
}
