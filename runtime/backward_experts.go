package runtime

import (
	"github.com/phi3conv/phi3conv/internal/kern"
	"github.com/phi3conv/phi3conv/internal/linear"
	"github.com/phi3conv/phi3conv/internal/work"
)

// expertsBack is backward through router and experts, whose input is b.norm. grad is the gradient with respect to their
// sum; b.delta gets that with respect to their input. Which experts are chosen and which logits are near, see
// [arch.Experts], counts as given.
func (g *gradients) expertsBack(l *layer, grad linear.Rows, at tokenRows) error {
	b, r, threads := g.b, &g.b.routes, g.m.threads
	b.begin(l.router, b.norm, at.count)
	if err := b.chooseExperts(l, 0, at.count); err != nil { // b.delta is 0 then
		return err
	}
	g.ofWeights = work.Resize(g.ofWeights, len(r.weight))
	for e := range l.experts {
		r.tokensOf(e, g.m.cfg.Experts.Used)
		own := tokenRows{at.first, len(r.tokens), r.tokens}
		if own.count == 0 {
			continue
		}
		f := &l.experts[e]
		if err := b.runExpert(f, 0); err != nil {
			return err
		}
		if err := threads.Run(&resultBack{g, grad}, own.count); err != nil {
			return err
		}
		if err := g.feedForwardBack(f, b.result, r.x, own); err != nil {
			return err
		}
		if err := threads.Run(&gatherBack{b}, own.count); err != nil {
			return err
		}
	}
	if err := threads.Run(&routerBack{g}, at.count); err != nil {
		return err
	}
	return g.linearBack(linears{l.router}, r.logits, b.delta, at, true)
}

// resultBack turns an expert's results into the gradient with respect to them, and sets that with respect to their
// weights; grad is the gradient with respect to the sum. A task is a row.
type resultBack struct {
	g    *gradients
	grad linear.Rows
}

func (j *resultBack) Do(_, i int) {
	r, n := &j.g.b.routes, j.g.m.cfg.Hidden
	result, grad, at := j.g.b.result.Row(i)[:n], j.grad.Row(int(r.tokens[i]))[:n], r.at[i]
	j.g.ofWeights[at] = dot(result, grad)
	w := r.weight[at]
	for k, d := range grad {
		result[k] = w * d
	}
}

// gatherBack adds the gradient with respect to an expert's input, in routes.x, to that of its tokens in delta. A task
// is a row.
type gatherBack struct{ b *batch }

func (j *gatherBack) Do(_, i int) {
	r := &j.b.routes
	kern.Best().Add(j.b.delta.Row(int(r.tokens[i])), r.x.Row(i))
}

// routerBack turns the router's logits into the gradient with respect to them. A weight is w = 1/Σ over the shares
// e^(s - m), of which that of the chosen expert itself is 1. So dw/ds is -w²·e^(s - m), and for the chosen one
// w²·Σ over the shares of the others. A task is a row.
type routerBack struct{ g *gradients }

func (j *routerBack) Do(thread, i int) {
	r, e, scratch := &j.g.b.routes, j.g.m.cfg.Experts, j.g.m.scratch[thread]
	logits, chosen := r.logits.Row(i)[:e.Count], r.chosen[i*e.Used:(i+1)*e.Used]
	scratch.values = work.Resize(scratch.values, e.Count)
	s := scratch.values
	copy(s, logits)
	clear(logits)
	for slot, best := range chosen {
		others := 0.0
		for k := range s {
			if k != int(best) {
				others += share(e, s, chosen[:slot+1], k)
			}
		}
		w := 1 / (1 + others)
		d := j.g.ofWeights[i*e.Used+slot] * w * w
		for k := range s {
			if k != int(best) {
				logits[k] -= float32(d * share(e, s, chosen[:slot+1], k))
			}
		}
		logits[best] += float32(d * others)
	}
}
