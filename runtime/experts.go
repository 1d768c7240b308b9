package runtime

import (
	"math"
	"slices"

	"github.com/phi3conv/phi3conv/internal/arch"
	"github.com/phi3conv/phi3conv/internal/kern"
	"github.com/phi3conv/phi3conv/internal/linear"
	"github.com/phi3conv/phi3conv/internal/work"
)

// routes says which tokens of a batch go to which experts.
type routes struct {
	logits linear.Rows // of the router, a row for each token
	x      linear.Rows // what an expert reads: the rows of its tokens
	// chosen are the experts of each token, used of them, and weight what the result of each counts.
	chosen []int32
	weight []float32
	// tokens are those of an expert, and at where their weights are in weight.
	tokens, at []int32
	inExpert   bool // an expert is at work, on tokens

	// Jobs, kept so that running one allocates nothing.
	route   routeJob
	gather  gatherJob
	scatter scatterJob
}

// runExperts sets delta to what the experts make of count rows of norm from first on, which are the router's input.
func (b *batch) runExperts(l *layer, first, count int) error {
	m, r := b.model, &b.routes
	if err := b.chooseExperts(l, first, count); err != nil {
		return err
	}
	var until error
	for e := range l.experts {
		r.tokensOf(e, m.cfg.Experts.Used)
		n := len(r.tokens)
		if n == 0 {
			continue
		}
		err := b.runExpert(&l.experts[e], first)
		if err == errUntil {
			until = err // the other experts have inputs too
			continue
		}
		if err != nil {
			return err
		}
		r.scatter = scatterJob{b, first}
		if err := m.threads.Run(&r.scatter, n); err != nil {
			return err
		}
	}
	return until
}

// chooseExperts chooses the experts of count rows of norm from first on, and sets their sums in delta to 0.
func (b *batch) chooseExperts(l *layer, first, count int) error {
	r, used := &b.routes, b.model.cfg.Experts.Used
	if err := b.matmulOne(l.router, b.norm.From(first), r.logits, count); err != nil {
		return err
	}
	r.chosen, r.weight = work.Resize(r.chosen, count*used), work.Resize(r.weight, count*used)
	r.route = routeJob{b, first}
	return b.model.threads.Run(&r.route, count)
}

// runExpert sets result to what an expert makes of its tokens, counted from row first of norm on, before their weights.
func (b *batch) runExpert(f *feedForward, first int) error {
	r := &b.routes
	n := len(r.tokens)
	b.begin(f.up[0], r.x, n)
	r.gather = gatherJob{b, first}
	if err := b.model.threads.Run(&r.gather, n); err != nil {
		return err
	}
	r.inExpert = true
	err := b.feedForward(f, r.x, b.result, n)
	r.inExpert = false
	return err
}

// expertTokens returns, of the rows that an expert gets, the tokens counted from first on; nil outside of experts.
func (b *batch) expertTokens(first int) []int {
	if !b.routes.inExpert {
		return nil
	}
	all := make([]int, len(b.routes.tokens))
	for i, t := range b.routes.tokens {
		all[i] = first + int(t)
	}
	return all
}

// tokensOf sets tokens and at to those of an expert.
func (r *routes) tokensOf(expert, used int) {
	r.tokens, r.at = r.tokens[:0], r.at[:0]
	for i, e := range r.chosen {
		if int(e) == expert {
			r.tokens, r.at = append(r.tokens, int32(i/used)), append(r.at, int32(i))
		}
	}
}

// routeJob chooses the experts of rows, and begins their sums; a task is a row.
type routeJob struct {
	b     *batch
	first int
}

func (j *routeJob) Do(_, i int) {
	r, e := &j.b.routes, j.b.model.cfg.Experts
	sparsemixer(e, r.logits.Row(i)[:e.Count], r.chosen[i*e.Used:(i+1)*e.Used], r.weight[i*e.Used:(i+1)*e.Used])
	clear(j.b.delta.Row(j.first + i))
}

// sparsemixer chooses experts by the logits s of the router, see [arch.Experts], and sets what the result of each
// counts. Of equal logits the first is the greatest. A quotient 0/0 counts as near, as in the published code, where it
// is not a number and no comparison holds.
func sparsemixer(e *arch.Experts, s []float32, chosen []int32, weight []float32) {
	for slot := range chosen {
		best := -1
		for i, v := range s {
			if !slices.Contains(chosen[:slot], int32(i)) && (best < 0 || v > s[best]) {
				best = i
			}
		}
		chosen[slot] = int32(best)
		sum := 0.0
		for i := range s {
			sum += share(e, s, chosen[:slot+1], i)
		}
		weight[slot] = float32(1 / sum)
	}
}

// share returns what expert i has in the sum of the softmax for the last of chosen, of which that one has 1: 0 if it
// has been chosen before, or is not near.
func share(e *arch.Experts, s []float32, chosen []int32, i int) float64 {
	last := len(chosen) - 1
	top, v := float64(s[chosen[last]]), float64(s[i])
	if far := (top-v)/max(math.Abs(v), top) > 2*e.Jitter; far || slices.Contains(chosen[:last], int32(i)) {
		return 0
	}
	return float64(kern.Exp(s[i] - s[chosen[last]])) // that of package math has other last bits on some CPUs
}

// gatherJob brings the rows of an expert's tokens together; a task is a row.
type gatherJob struct {
	b     *batch
	first int
}

func (j *gatherJob) Do(_, i int) {
	b, r := j.b, &j.b.routes
	row := r.x.Row(i)
	copy(row, b.norm.Row(j.first+int(r.tokens[i])))
	b.input.Encode(i, row)
}

// scatterJob adds an expert's results to the sums of its tokens; a task is a row.
type scatterJob struct {
	b     *batch
	first int
}

func (j *scatterJob) Do(_, i int) {
	b, r := j.b, &j.b.routes
	row := b.result.Row(i)
	w := r.weight[r.at[i]]
	for k := range row {
		row[k] *= w
	}
	kern.Best().Add(b.delta.Row(j.first+int(r.tokens[i])), row)
}
