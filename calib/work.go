package calib

import (
	"github.com/phi3conv/phi3conv/calib/solve"
	"github.com/phi3conv/phi3conv/internal/progress"
)

// progressParts is how many parts the time of a run has for Options.Progress.
const progressParts = 1e6

// report returns the step that calls Options.Progress, which may be nil.
func report(f func(done, total int64)) progress.Step {
	if f == nil {
		return progress.Report(nil)
	}
	return progress.Report(func(done int64) { f(done, progressParts) })
}

// Kinds of work of a sequential method, in multiplications.
const (
	workProducts = iota // of the models' matrices
	workReplayed        // the same, in blocks that an earlier run has quantized
	workMoments
	workSolving // as calib/solve counts it
	workKinds
)

// workCosts is how long they take, compared with each other, as measured with AVX-512.
var workCosts = [workKinds]float64{workProducts: 1, workReplayed: 1, workMoments: 1.6, workSolving: 1.8}

// beginWork begins to report progress. What blocks take is not known before the first is done: the experts that tokens
// choose, gradients that the statistics have.
func (q *quantizer) beginWork() {
	count := q.l.Count()
	q.first = min(q.work.Done, count)
	block, after := q.expect(0), q.expect(count)
	kinds := make([]progress.Kind, workKinds)
	for i := range kinds {
		kinds[i] = progress.Kind{Total: float64(count-q.first)*block[i] + after[i], Cost: workCosts[i]}
	}
	blocks, _ := q.l.TokenWork()
	tokens := float64(len(q.stats.Origin.Tokens))
	kinds[workReplayed].Total = blocks / float64(count) * tokens * float64(q.first*q.models())
	q.worked = progress.NewWork(report(q.opt.Progress), progressParts, kinds...)
}

// watch counts the work of block i.
func (q *quantizer) watch(i int) {
	kind := workProducts
	if i < q.work.Done {
		kind = workReplayed
	}
	count := func(n float64) { q.worked.Add(kind, n) }
	q.l.Watch(count)
	if q.original != nil {
		q.original.l.Watch(count)
	}
}

// solved counts work of calib/solve.
func (q *quantizer) solved(work float64) { q.worked.Add(workSolving, work) }

// blockWorked says that block i is done. All take as long as the first; what comes after them, as much as is expected
// compared with that.
func (q *quantizer) blockWorked(i int) {
	count := q.l.Count()
	if i < q.first || i >= count {
		return
	}
	block, after := q.expect(0), q.expect(count)
	rest := 0.0
	if block[workSolving] > 0 {
		rest = after[workSolving] / block[workSolving]
	}
	q.worked.Cycles(float64(i+1-q.first), float64(count-q.first)+rest)
}

// models is the number of models that run.
func (q *quantizer) models() int {
	if q.original != nil {
		return 2
	}
	return 1
}

// momentWork is what a row of inputs adds to second moments.
func (q *quantizer) momentWork(cols int) float64 {
	if q.original != nil {
		return 1.5 * float64(cols) * float64(cols) // those with the original's are not symmetric
	}
	return float64(cols) * float64(cols) / 2
}

// expect returns how much work of each kind block i is expected to be, or what comes after the last one.
func (q *quantizer) expect(i int) (work [workKinds]float64) {
	tokens, models := float64(len(q.stats.Origin.Tokens)), float64(q.models())
	groups := [][]string{q.linear(i)}
	// Multiplications of a token with the matrices before, and with those since a pass last ended.
	before, since := 0.0, 0.0
	if i < q.l.Count() {
		groups = q.l.SharedInputs(i)
	}
	for _, names := range groups {
		for _, together := range q.alike(names) {
			rows, cols := 0, 0
			for _, name := range together {
				for _, p := range q.placesOf(name) {
					rows += p.rows
				}
				_, cols, _ = q.l.Shape(name) // every model has these
			}
			if rows > 0 {
				work[workProducts] += tokens * models * since
				work[workMoments] += tokens * q.momentWork(cols)
				work[workSolving] += q.layerWork(rows, cols)
				if _, ok := q.l.Resumes(names[0]); ok {
					since = 0
				}
			}
		}
		for _, name := range names {
			rows, cols, _ := q.l.Shape(name)
			before, since = before+float64(rows)*float64(cols), since+float64(rows)*float64(cols)
		}
	}
	if i == q.l.Count() {
		return work
	}
	work[workProducts] += tokens * models * since
	if q.scale {
		folds := q.folds(i)
		work[workProducts] += tokens * before * 2 / 3 // to the last that reads channels
		for k := range folds {
			n := len(folds[k].Channel)
			work[workMoments] += tokens * float64(n) * float64(n) / 2
			work[workSolving] += solve.SearchWork(n)
		}
	}
	return work
}
