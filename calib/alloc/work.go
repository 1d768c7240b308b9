package alloc

import (
	"github.com/phi3conv/phi3conv/calib/solve"
	"github.com/phi3conv/phi3conv/calib/stats"
	"github.com/phi3conv/phi3conv/internal/progress"
	"github.com/phi3conv/phi3conv/quant"
)

// Kinds of work of an estimate.
const (
	workEncoding  = iota // a weight of a sampled row as one type
	workMeasuring        // a multiplication of the model
	workSolving          // as calib/solve counts it
)

// begin begins to report progress of a part.
func (e *estimator) begin(opt *Options, shard stats.Shard) {
	const steps = 1e6
	step := progress.Report(nil)
	if opt.Progress != nil {
		step = func(done int64) { opt.Progress(done, steps) }
	}
	encoded, groups := 0.0, map[string]int{}
	for _, g := range e.l.OutputGroups() {
		groups[g.Tensor]++
	}
	for i := range e.matrices {
		t := &e.matrices[i]
		rows := sampledTokens
		if n := groups[t.GGUF]; n > 0 && t.GGUF != e.l.Output() {
			rows = sampledRows * n / e.l.Experts(t.GGUF)
		}
		encoded += float64(min(rows, t.Rows())*t.Cols()) * encodingWork(e.costs[i].types)
	}
	parts := float64(shard.N)
	kinds := []progress.Kind{
		workEncoding:  {Total: encoded / parts, Cost: encodingCost},
		workMeasuring: {Cost: 1},
		workSolving:   {Cost: solvingCost},
	}
	if o := e.s.Origin; o != nil && e.s.Entries[0].Parts > 0 {
		blocks, output := e.l.TokenWork()
		kinds[workMeasuring].Total = probed * float64(min(e.probeTokens, len(o.Tokens))) * (blocks + output) / parts
	}
	if opt.Solving != nil {
		blocks, _ := e.l.TokenWork()
		kinds[workMeasuring].Total += float64(min(gainTokens, len(e.s.Origin.Tokens))) * blocks
		kinds[workSolving].Total = e.gainWork(opt) / parts
	}
	e.worked = progress.NewWork(step, steps, kinds...)
}

// encodingWork returns how many encodings a weight of a sampled row takes. As slow types, one of slowEvery is encoded,
// which takes about as long as all of them as another type.
func encodingWork(types []quant.Type) float64 { return float64(len(types)) }

// gainWork returns how much is solved to measure gains.
func (e *estimator) gainWork(opt *Options) (work float64) {
	for _, layer := range e.gained() {
		_, cols, _ := e.l.Shape(layer.name) // every model has these
		each := solve.EncodingWork(gainRows, cols) + opt.Solving.Work(gainRows, cols)
		if opt.Scale {
			each += solve.SearchWork(cols)
		}
		work += each * float64(len(e.layerTypes(layer.name)))
	}
	return work
}

// solvingCost is how long a unit of calib/solve's work takes compared with a multiplication.
const solvingCost = 1.8

// encodingCost is how many multiplications take as long as encoding a weight, as measured with AVX-512.
const encodingCost = 650

// probed is about how many models are measured: the original, and that with quantized linear layers.
const probed = 2.5
