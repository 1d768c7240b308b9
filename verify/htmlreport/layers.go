package htmlreport

import (
	"fmt"
	"math"

	"github.com/dustin/go-humanize"
	"github.com/phi3conv/phi3conv/verify"
)

// mostLayers is the number of bars that byLayer draws; its table has all.
const mostLayers = 20

// byLayer shows the KLD that the quantized weights of each layer, or tensor, add alone, in the order
// of the report: the greatest first.
func byLayer(r *verify.Report) *figure {
	numbers := &table{Caption: fmt.Sprintf("KL divergence that the weights add alone, on %s tokens",
		humanize.Comma(int64(r.LayerTokens))),
		Head: []string{"weights", "type", "size", "bits per weight", "KLD mean, nats"}, Text: 2}
	row := func(name string, l verify.LayerKLD) {
		numbers.Rows = append(numbers.Rows,
			[]string{name, l.Type, sizeText(l.Bytes), bits(l.BitsPerWeight), plusMinus(l.KLD)})
	}
	c := newChart("KLD added alone, nats", "")
	var names []string
	var e []verify.Estimate
	for _, l := range r.Layers {
		row(l.Name, l)
		if finite(l.KLD.Value) && len(names) < mostLayers {
			c.tip(l.KLD.Value, -float64(len(names)), math.Inf(1), 0.4, "%s, %s, %s: %s", clip(l.Name, wholeWidth),
				clip(l.Type, wholeWidth), sizeText(l.Bytes), plusMinus(l.KLD))
			names, e = append(names, l.Name), append(e, l.KLD)
		}
	}
	if len(names) == 0 {
		return nil
	}
	if r.AllLayers != nil {
		row("all together", *r.AllLayers)
	}
	c.bars(e, func(int) string { return quantPaint })
	c.rows(names)
	svg := c.svg(fmt.Sprintf("The %d parts of the model whose quantization adds most KL divergence", len(names)))
	caption := "Each bar is the KL divergence when only the weights named are the quantized ones and all others the " +
		"original's; long bars are where more bits help most."
	if len(r.Layers) > len(names) {
		caption += fmt.Sprintf(" The %d greatest of %d are drawn.", len(names), len(r.Layers))
	}
	return &figure{"Which weights are to blame", svg, caption, numbers}
}
