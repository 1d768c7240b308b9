package inspect

import (
	"context"

	"github.com/phi3conv/phi3conv/internal/report"
	"github.com/phi3conv/phi3conv/internal/tensorfile"
	"github.com/phi3conv/phi3conv/verify/tensorstats"
	"golang.org/x/sync/errgroup"
)

// Statistics are those of a tensor's values.
type Statistics struct {
	StoredTensor
	Min      float32         `json:"min"` // this and what follows: of the finite values
	Max      float32         `json:"max"`
	AbsMax   float32         `json:"abs_max"`
	Mean     report.Number   `json:"mean"`
	Std      report.Number   `json:"std"`
	Zeros    int64           `json:"zeros"`
	NaN      int64           `json:"nan"`
	Inf      int64           `json:"infinite"`
	Outliers int64           `json:"outliers"`         // beyond tensorstats.Sigmas standard deviations
	Farthest []Extreme       `json:"farthest"`         // from the mean
	Edges    []report.Number `json:"histogram_edges"`  // first and last bin are open
	Counts   []int64         `json:"histogram_counts"` // one fewer
}

// Extreme is a value far from the mean.
type Extreme struct {
	Row   int64         `json:"row"`
	Col   int64         `json:"column"`
	Value float32       `json:"value"`
	Sigma report.Number `json:"sigma"` // standard deviations from the mean
}

// TensorStatistics are those of some tensors of a model.
type TensorStatistics struct {
	Path    string        `json:"path"`
	Tensors []*Statistics `json:"tensors"`
}

// Statistics reads the tensors of these names, threads of them at a time.
func (m *Model) Statistics(ctx context.Context, names []string, threads int) (*TensorStatistics, error) {
	tensors := make([]*tensorfile.Tensor, len(names))
	for i, name := range names {
		var err error
		if tensors[i], err = m.Tensor(name); err != nil {
			return nil, err
		}
	}
	all := make([]*Statistics, len(names))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(max(1, threads))
	for i, t := range tensors {
		g.Go(func() (err error) {
			all[i], err = statistics(ctx, t)
			return err
		})
	}
	return &TensorStatistics{m.Path, all}, g.Wait()
}

// statistics reads the tensor twice.
func statistics(ctx context.Context, t *tensorfile.Tensor) (*Statistics, error) {
	read := func(add func([]float32)) error {
		return t.Values(ctx, func(x []float32, _ []byte) error {
			add(x)
			return nil
		})
	}
	var s tensorstats.Stats
	if err := read(s.Add); err != nil {
		return nil, err
	}
	d := tensorstats.NewDistribution(&s)
	if err := read(d.Add); err != nil {
		return nil, err
	}
	j := &Statistics{
		StoredTensor: StoredTensor{t.Name, t.Type, t.Shape, t.Elems, t.Bytes, bitsPerWeight(t.Bytes, t.Elems)},
		Min:          s.Min,
		Max:          s.Max,
		AbsMax:       s.AbsMax(),
		Mean:         report.Number(s.Mean()),
		Std:          report.Number(s.Std()),
		Zeros:        s.Zero,
		NaN:          s.NaN,
		Inf:          s.Inf,
		Outliers:     d.Outliers,
		Farthest:     []Extreme{},
		Counts:       d.Bin[:],
	}
	for _, e := range d.Top {
		row, col := t.Place(e.Index)
		j.Farthest = append(j.Farthest, Extreme{row, col, e.Value, report.Number(d.Sigma(e.Value))})
	}
	for i := range tensorstats.Bins + 1 {
		j.Edges = append(j.Edges, report.Number(d.Edge(i)))
	}
	return j, nil
}
