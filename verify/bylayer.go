package verify

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/phi3conv/phi3conv/internal/report"
	"github.com/phi3conv/phi3conv/internal/sample"
)

// LayerKLD is what the quantized weights of a layer, or of a tensor, do alone in the original.
type LayerKLD struct {
	Name          string   `json:"name"`  // "blk.3", "output", "blk.3.ffn_down.weight", …
	Type          string   `json:"type"`  // of the quantized weights, the one that most have first
	Bytes         int64    `json:"bytes"` // of the quantized weights
	BitsPerWeight float64  `json:"bits_per_weight"`
	KLD           Estimate `json:"kld"` // mean
}

// ByLayer measures models against the original: layers[i] describes models[i], and gets its KLD.
// whole describes the model with all quantized weights. The report gets the layers, those
// of the greatest KLD first.
func (r *Report) ByLayer(ctx context.Context, base, all Predictor, whole LayerKLD, models []Predictor,
	layers []LayerKLD, windows []Window) error {
	klds := make([][]Position, 1+len(models))
	err := RunAll(ctx, base, append([]Predictor{all}, models...), windows, func(p [][]Position) error {
		for i := range p {
			klds[i] = append(klds[i], p[i]...)
		}
		return nil
	})
	if err != nil {
		return err
	}
	measure := func(l LayerKLD, p []Position) LayerKLD {
		l.KLD = estimate(sample.Positive{Mean: meanOf(p, kld)})
		return l
	}
	whole = measure(whole, klds[0])
	r.AllLayers, r.LayerTokens, r.Layers = &whole, len(klds[0]), nil
	for i, l := range layers {
		r.Layers = append(r.Layers, measure(l, klds[i+1]))
	}
	slices.SortStableFunc(r.Layers, func(a, b LayerKLD) int { return cmp.Compare(b.KLD.Value, a.KLD.Value) })
	return nil
}

// layers is the table of Layers, empty if they were not measured.
func (r *Report) layers() report.Table {
	if len(r.Layers) == 0 {
		return report.Table{}
	}
	title := fmt.Sprintf("KLD that the quantized weights add, each layer alone in the original, %d tokens",
		r.LayerTokens)
	t := report.Table{Title: title, Left: 2,
		Rows: [][]string{{"", "type", "size", "bits/weight", "KLD mean", "± SE", "of the sum, %"}}}
	sum := 0.0
	for _, l := range r.Layers {
		sum += l.KLD.Value
	}
	percent := func(x float64) string {
		if sum == 0 {
			return "0.0"
		}
		return fmt.Sprintf("%.1f", 100*x/sum)
	}
	add := func(l LayerKLD) {
		row := []string{report.Printable(l.Name), report.Printable(l.Type), bytesOf(l.Bytes),
			fmt.Sprintf("%.2f", l.BitsPerWeight)}
		t.Rows = append(t.Rows, slices.Concat(row, l.KLD.Cells()[:2], []string{percent(l.KLD.Value)}))
	}
	for _, l := range r.Layers {
		add(l)
	}
	scale := sum
	if r.AllLayers != nil {
		scale = r.AllLayers.KLD.SE
	}
	t.Rows = append(t.Rows, []string{"sum", "", "", "", Digits(sum, scale), "", percent(sum)})
	if r.AllLayers != nil {
		add(*r.AllLayers)
	}
	return t
}
