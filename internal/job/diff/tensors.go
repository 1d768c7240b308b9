package diff

import (
	"cmp"
	"context"
	"fmt"
	"runtime"
	"slices"
	"sync/atomic"

	"github.com/phi3conv/phi3conv/internal/arch"
	"github.com/phi3conv/phi3conv/internal/job/inspect"
	"github.com/phi3conv/phi3conv/internal/progress"
	"github.com/phi3conv/phi3conv/internal/tensorfile"
	"github.com/phi3conv/phi3conv/verify/tensorstats"
	"golang.org/x/sync/errgroup"
)

// pair is a tensor that both models have.
type pair struct {
	a, b  *tensorfile.Tensor
	diff  tensorstats.Diff
	added int64               // values of both
	rows  []*tensorstats.Rows // of each matrix of a stack; nil if it has none that can be compared
}

// compareTensors compares all tensors that both models have.
func (d *Diff) compareTensors(ctx context.Context, a, b *inspect.Model, opt Options) error {
	pairs := d.match(a, b)
	if err := sampleRows(pairs, d.Tensors, a.Config); err != nil {
		return err
	}
	if err := comparePairs(ctx, pairs, opt); err != nil {
		return err
	}
	var overall tensorstats.Diff
	for i, p := range pairs {
		d.Tensors[i].Metrics = metrics(&p.diff)
		overall.Merge(&p.diff)
		d.Weights.Rows += p.rowsCompared()
		d.Weights.Unlike = append(d.Weights.Unlike, p.unlike(d.Tensors[i].Name)...)
	}
	d.Overall, d.Parameters = metrics(&overall), overall.Count
	return nil
}

// match pairs the tensors by name, in A's order: pair i is d.Tensors[i]. It notes which have no pair.
func (d *Diff) match(a, b *inspect.Model) (pairs []*pair) {
	listA, listB := a.Converted(), b.Converted()
	listA = split(a, listA, listB)
	listB = split(b, listB, listA)
	byName := make(map[string]*tensorfile.Tensor)
	for _, t := range listB {
		byName[t.GGUF] = t.Tensor
	}
	for _, t := range listA {
		u := byName[t.GGUF]
		delete(byName, t.GGUF)
		switch {
		case u == nil:
			d.TensorsA = append(d.TensorsA, t.GGUF)
		case !slices.Equal(t.Shape, u.Shape):
			d.Unlike = append(d.Unlike, Incomparable{t.GGUF, fmt.Sprintf("shapes %d and %d", t.Shape, u.Shape)})
		case t.Unusable != nil || u.Unusable != nil:
			d.Unlike = append(d.Unlike, Incomparable{t.GGUF, fmt.Sprintf("types %s and %s", t.Type, u.Type)})
		default:
			d.Tensors = append(d.Tensors, TensorDiff{Name: t.GGUF, TypeA: t.Type, TypeB: u.Type, Shape: t.Shape})
			pairs = append(pairs, newPair(t.Tensor, u))
		}
	}
	for _, t := range listB {
		if byName[t.GGUF] != nil {
			d.TensorsB = append(d.TensorsB, t.GGUF)
		}
	}
	return pairs
}

// split replaces fused matrices of m by their parts (q, k, v; gate, up) where the other model has those.
func split(m *inspect.Model, list, other []inspect.Tensor) []inspect.Tensor {
	if m.Config == nil {
		return list
	}
	index := func(list []inspect.Tensor, name string) int {
		return slices.IndexFunc(list, func(t inspect.Tensor) bool { return t.GGUF == name })
	}
	inOther := func(part arch.Tensor) bool { return index(other, part.GGUF) >= 0 }
	for _, t := range m.Config.Tensors() {
		at := index(list, t.GGUF)
		if at < 0 || !slices.Equal(list[at].Shape, t.Shape) || !slices.ContainsFunc(t.Parts, inOther) {
			continue
		}
		var parts []inspect.Tensor
		for _, p := range t.Parts {
			rows := list[at].Rows(p.GGUF, int64(p.First), int64(p.Shape[0]))
			parts = append(parts, inspect.Tensor{GGUF: p.GGUF, Tensor: rows})
		}
		list = slices.Replace(list, at, at+1, parts...)
	}
	return list
}

// comparePairs reads the values of all pairs.
func comparePairs(ctx context.Context, pairs []*pair, opt Options) error {
	var total int64
	for _, p := range pairs {
		total += p.a.Bytes + p.b.Bytes
	}
	step := progress.Quiet(opt.Monitor).Begin("comparing", total, progress.Bytes)
	defer step.End()
	var done atomic.Int64
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(max(1, cmp.Or(opt.Threads, runtime.GOMAXPROCS(0))))
	for _, p := range pairs {
		g.Go(func() error {
			b := p.b.Reader()
			return p.a.Values(ctx, func(x []float32, dataA []byte) error {
				y, dataB, err := b.Next() // as many: the shapes are equal
				if err != nil {
					return err
				}
				p.diff.Add(x, y)
				p.addRows(x, y, dataB)
				step.Set(done.Add(int64(len(dataA) + len(dataB))))
				return nil
			})
		})
	}
	return g.Wait()
}
