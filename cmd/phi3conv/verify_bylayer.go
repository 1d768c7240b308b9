package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/phi3conv/phi3conv/internal/source"
	"github.com/phi3conv/phi3conv/runtime"
	"github.com/phi3conv/phi3conv/verify"
	"github.com/urfave/cli/v2"
)

// layerFlags find the layers that are to blame.
func layerFlags() []cli.Flag {
	return []cli.Flag{
		&cli.BoolFlag{Name: "by-layer", Usage: "rank the layers by the KL divergence that each one's quantized weights add, alone in the original. " +
			"Takes about the time of --by-layer-chunks windows of the original for every second layer, and of memory both models, and 4 bytes for each token of a window, element of the residual stream and layer"},
		&cli.BoolFlag{Name: "by-tensor", Usage: "rank single tensors instead: four times as long"},
		&cli.IntFlag{Name: "by-layer-chunks", Value: 4, Usage: "number of windows to do that with, spread over all texts"},
	}
}

// layerMode checks the flags and tells whether to rank layers or tensors at all.
func layerMode(c *cli.Context) (bool, error) {
	on := c.Bool("by-layer") || c.Bool("by-tensor")
	switch {
	case c.Int("by-layer-chunks") < 1:
		return false, usagef("--by-layer-chunks is %d, expected 1 or more", c.Int("by-layer-chunks"))
	case on && c.IsSet("shard"):
		return false, usagef("--by-layer and --by-tensor cannot be shared: leave out --shard")
	}
	return on, nil
}

// byLayer ranks the layers, or tensors, of each quantized model.
func (v *verification) byLayer(list verify.Reports) error {
	base, err := open(v.c, v.base, v.baseOptions())
	if err != nil {
		return err
	}
	defer func() { _ = base.Close() }() // only read from
	windows := spread(v.windows, v.c.Int("by-layer-chunks"))
	for k, path := range v.quants {
		if err := v.layersOf(base, path, windows, list[k]); err != nil {
			return err
		}
	}
	return nil
}

// spread returns n of the windows, at equal distances.
func spread(windows []verify.Window, n int) []verify.Window {
	n = min(n, len(windows))
	some := make([]verify.Window, n)
	for i := range some {
		some[i] = windows[i*len(windows)/n]
	}
	return some
}

func (v *verification) layersOf(base *runtime.Model, path string, windows []verify.Window, r *verify.Report) error {
	quant, err := open(v.c, path, v.baseOptions())
	if err != nil {
		return err
	}
	defer func() { _ = quant.Close() }() // only read from
	h, err := runtime.NewHybrid(base, quant, v.conv.Context)
	if err != nil {
		return err
	}
	parts, err := modelParts(path, v.c.Bool("by-tensor"))
	if err != nil {
		return err
	}
	whole := part{layer: verify.LayerKLD{Name: "all at once"}}
	var changed []part
	for _, p := range parts {
		whole.add(p)
		same := true
		for _, name := range p.tensors {
			s, err := h.Same(name)
			if err != nil {
				return err
			}
			same = same && s
		}
		if !same {
			changed = append(changed, p)
		}
	}
	done := 0
	bar := newCounter(v.c.App.ErrWriter, "by layer", int64(len(windows)*(2+len(changed))))
	defer bar.done()
	model := func(tensors []string) verify.Predictor {
		return &hybrid{h, base.VocabSize(), path, tensors, func() { done++; bar.set(int64(done)) }}
	}
	models, layers := make([]verify.Predictor, len(changed)), make([]verify.LayerKLD, len(changed))
	for i, p := range changed {
		models[i], layers[i] = model(p.tensors), p.describe()
	}
	return r.ByLayer(v.c.Context, model(nil), model(whole.tensors), whole.describe(), models, layers, windows)
}

// part is some of a model's tensors.
type part struct {
	layer   verify.LayerKLD
	tensors []string
	types   []typeBytes // of matrices, or of vectors where there are no matrices
	weights int64
}

type typeBytes struct {
	name  string
	bytes int64
}

// add puts another part to p.
func (p *part) add(o part) {
	for _, name := range o.tensors {
		if !slices.Contains(p.tensors, name) { // parts have one name
			p.tensors = append(p.tensors, name)
		}
	}
	p.layer.Bytes += o.layer.Bytes
	p.weights += o.weights
	for _, t := range o.types {
		if i := slices.IndexFunc(p.types, func(u typeBytes) bool { return u.name == t.name }); i >= 0 {
			p.types[i].bytes += t.bytes
		} else {
			p.types = append(p.types, t)
		}
	}
}

// describe names the types, those of most bytes first; a type of less than 1 % of the bytes is left out.
func (p *part) describe() verify.LayerKLD {
	types := slices.Clone(p.types)
	slices.SortStableFunc(types, func(a, b typeBytes) int { return int(min(1, max(-1, b.bytes-a.bytes))) })
	var names []string
	for _, t := range types {
		if 100*t.bytes >= p.layer.Bytes {
			names = append(names, t.name)
		}
	}
	l := p.layer
	l.Type = strings.Join(names, " ")
	l.BitsPerWeight = 8 * float64(l.Bytes) / float64(p.weights)
	return l
}

// modelParts returns the blocks of a model and the tensors outside, or single tensors, in the model's order.
func modelParts(path string, single bool) ([]part, error) {
	m, err := source.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = m.Close() }() // only read from
	var parts []part
	for i := range m.Tensors {
		t := &m.Tensors[i]
		bytes := t.Bytes()
		name := t.Role()
		p := part{layer: verify.LayerKLD{Name: name, Bytes: bytes}, tensors: []string{name}, types: []typeBytes{{t.TypeName(), bytes}}, weights: t.Elems()}
		if !single {
			p.layer.Name = strings.TrimSuffix(name, ".weight")
			if blk := strings.SplitN(name, ".", 3); blk[0] == "blk" {
				p.layer.Name = blk[0] + "." + blk[1]
			}
		}
		if at := slices.IndexFunc(parts, func(q part) bool { return q.layer.Name == p.layer.Name }); at >= 0 {
			parts[at].add(p)
		} else {
			parts = append(parts, p)
		}
	}
	return parts, nil
}

// hybrid is the original with some tensors of a quantized model.
type hybrid struct {
	h       *runtime.Hybrid
	vocab   int
	path    string
	tensors []string
	done    func()
}

// String names the model in errors.
func (h *hybrid) String() string {
	switch len(h.tensors) {
	case 0:
		return "original"
	case 1:
		return fmt.Sprintf("%s of %s in the original", h.tensors[0], h.path)
	}
	return fmt.Sprintf("%s to %s of %s in the original", h.tensors[0], h.tensors[len(h.tensors)-1], h.path)
}

func (h *hybrid) VocabSize() int { return h.vocab }

func (h *hybrid) Logits(ctx context.Context, tokens []int32, first int, emit func(i int, logits []float32) error) error {
	if err := h.h.Logits(ctx, h.tensors, tokens, first, emit); err != nil {
		return err
	}
	h.done()
	return nil
}
