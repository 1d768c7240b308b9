package calib

import (
	"context"
	"encoding/binary"
	"io"
	"slices"

	"github.com/phi3conv/phi3conv/calib/stats"
	"github.com/phi3conv/phi3conv/internal/atomicfile"
	"github.com/phi3conv/phi3conv/runtime"
)

// CalibrateShard is [Calibrate] for a part of the sequences. It writes a file for [stats.Merge].
//
// Tokens are weighted by their gradients relative to the mean of all, so with Fisher there are two rounds: without
// gradients those of the part's tokens are written, and with those of all parts its statistics.
func CalibrateShard(
	ctx context.Context, l *runtime.Layers, s *stats.File, path string, shard stats.Shard, gradients stats.Gradients,
	opt Options,
) error {
	if err := checkBatch(l); err != nil {
		return err
	}
	p, err := shard.Of(s.Origin.Lengths)
	if err != nil {
		return err
	}
	h := &stats.ShardHeader{
		Shard: shard, Fisher: opt.Fisher, Gradients: opt.Fisher && gradients == nil,
		Datasets: s.Datasets, ChunkSize: s.ChunkSize, Origin: s.Origin,
	}
	h.Outputs = opt.Outputs && h.Gradients
	w := opt.begin(l, p.Tokens(), !h.Gradients, h.Gradients)
	if h.Gradients {
		g, err := gatherGradients(ctx, l, s.Origin, p, opt, w)
		if err != nil {
			return err
		}
		defer func() { _ = g.work.Close() }()
		if err := writeShard(l, h, path, g.writeLayer); err != nil {
			return err
		}
		return g.work.Remove()
	}
	r, err := newRun(ctx, l, s.Origin, p, gradients, opt, w)
	if err != nil {
		return err
	}
	defer func() { _ = r.work.Close() }()
	places := slices.Concat(r.steps...)
	err = writeShard(l, h, path, func(w io.Writer, layer *stats.ShardLayer) error {
		i := slices.IndexFunc(places, func(p place) bool { return p.name == layer.Name })
		_, err := io.Copy(w, r.read(&places[i]))
		return err
	})
	if err != nil {
		return err
	}
	return r.work.Remove()
}

// writeShard writes a file for all linear layers.
func writeShard(
	l *runtime.Layers, h *stats.ShardHeader, path string, data func(w io.Writer, layer *stats.ShardLayer) error,
) error {
	groups := l.OutputGroups()
	for _, e := range slices.Concat(entries(l)...) {
		_, cols, err := l.Shape(e.tensor)
		if err != nil {
			return err
		}
		layer := stats.ShardLayer{Name: e.name, Experts: l.Experts(e.tensor), Cols: cols}
		if h.Fisher {
			layer.Parts = outputParts(groups, e.tensor)
		}
		if h.Outputs && correlated(e.tensor) {
			layer.Blocks = outputBlocks(groups, e.tensor)
		}
		h.Layers = append(h.Layers, layer)
	}
	write := func(path string) error { return h.Write(path, data) }
	return atomicfile.SaveElsewhere(path, write(path), write)
}

// outputParts returns the number of parts of a layer's outputs whose gradients are told apart.
func outputParts(groups []runtime.OutputGroup, tensor string) (n int) {
	for _, g := range groups {
		if g.Tensor == tensor {
			n++
		}
	}
	return n
}

// writeLayer writes what a shard's file has of a layer.
func (g *gradients) writeLayer(w io.Writer, layer *stats.ShardLayer) error {
	norms, err := g.Norms(layer.Name)
	if err != nil {
		return err
	}
	if err := binary.Write(w, binary.LittleEndian, slices.Concat(norms...)); err != nil {
		return err
	}
	sums := g.outputs[g.tensor(layer.Name)]
	if sums == nil {
		return nil
	}
	size := 4 * int64(len(g.portion.Spans)) * int64(len(sums.Sums))
	_, err = io.Copy(w, io.NewSectionReader(g.work, g.spansAt(g.tensor(layer.Name)), size))
	return err
}
