package htmlreport

import (
	"fmt"
	"math"
	"strconv"

	"github.com/dustin/go-humanize"
	"github.com/phi3conv/phi3conv/verify"
)

func newModel(r *verify.Report) *model {
	m := &model{
		Name: r.Quant.Name, Banner: verdictOf(r),
		Compared: compared(r), Tiles: tiles(r), Baseline: newBaseline(r.Baseline),
		Compares: compares(r), Facts: facts(r), Worst: worst(r),
		Numbers: []*table{allNumbers(r)},
	}
	if t := performanceTable(r); t != nil {
		m.Numbers = append(m.Numbers, t)
	}
	if r.Verdict != nil {
		for i := range r.Verdict.Checks {
			m.Checks = append(m.Checks, newCheck(&r.Verdict.Checks[i], r.Verdict.Tokens))
		}
	}
	m.Damage = damageTable(r.Weights)
	for _, draw := range modelFigures {
		if f := draw(r); f != nil {
			m.Figures = append(m.Figures, f)
		}
	}
	return m
}

func tiles(r *verify.Report) []tile {
	u := &r.Summary
	sameTop, base := u.SameTop.Times(100).Cells(), u.PPLBase.Cells()[0]
	list := append(kldTiles(r),
		tile{"Same top token", sameTop[0] + " %", "± " + sameTop[1] + " points"},
		tile{"Perplexity", u.PPL.Cells()[0], change(u.PPLRatio, base)},
	)
	if b, q := r.Base.FileBytes, r.Quant.FileBytes; q > 0 {
		t := tile{"File size", sizeText(q), ""}
		if b > 0 {
			t.Note = fmt.Sprintf("%.3g %% of %s", 100*float64(q)/float64(b), sizeText(b))
		}
		list = append(list, t)
	}
	if p := r.Performance; p != nil && finite(p.Quant.TG.Value) {
		t := tile{"Decoding speed", p.Quant.TG.Cells()[0] + " tok/s", ""}
		if b := p.Base; b != nil && b.TG.Value > 0 {
			t.Note = fmt.Sprintf("%.2g times the original's %s", p.Quant.TG.Value/b.TG.Value, b.TG.Cells()[0])
		}
		list = append(list, t)
	}
	return list
}

func facts(r *verify.Report) []tile {
	c := r.Conventions
	bos := "none"
	if c.BOS {
		bos = "first in every window"
	}
	list := []tile{
		{Name: "convention", Value: visible(c.Name)},
		{Name: "windows", Value: fmt.Sprintf("%s tokens, one every %s", humanize.Comma(int64(c.Context)),
			humanize.Comma(int64(c.Stride)))},
		{Name: "scored", Value: fmt.Sprintf("%s tokens, each with at least %s before it in its window",
			humanize.Comma(int64(r.Summary.Count)), humanize.Comma(int64(c.First)))},
		{Name: "BOS token", Value: bos},
	}
	if r.Shard != nil {
		list = append(list, tile{Name: "part",
			Value: fmt.Sprintf("%d of %d, only its windows are scored", r.Shard.I, r.Shard.N)})
	}
	if r.Compute.Cache != "" {
		computed := "as it runs, with activations rounded to int8"
		if r.Compute.Float32 {
			computed = "in float32"
		}
		list = append(list, tile{Name: "quantized model",
			Value: fmt.Sprintf("computed %s, with keys and values in %s", computed, visible(r.Compute.Cache))})
	}
	if p := r.Performance; p != nil {
		list = append(list, tile{Name: "speed",
			Value: fmt.Sprintf("%s, which read memory at %s/s", plural(p.Threads, "thread"),
				sizeText(int64(p.Bandwidth)))})
	}
	return append(list, tile{Name: "measured by", Value: visible(r.Tool)})
}

func worst(r *verify.Report) []token {
	var list []token
	for _, t := range r.Worst {
		name := strconv.Itoa(t.Text)
		if t.Text >= 0 && t.Text < len(r.Texts) {
			name = r.Texts[t.Text].Name
		}
		base, quant := 100*math.Exp(-t.Base), 100*math.Exp(-t.Quant)
		list = append(list, token{
			Before: t.Before, Piece: t.Piece, Text: name, Index: humanize.Comma(int64(t.Index)), KLD: r.KLDName() +
				" " + short(t.KLD),
			Base: short(base), Quant: short(quant), BaseWidth: percentText(base), QuantWidth: percentText(quant),
		})
	}
	return list
}
