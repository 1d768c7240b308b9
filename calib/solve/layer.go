package solve

import (
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/phi3conv/phi3conv/internal/kern"
	"github.com/phi3conv/phi3conv/quant"
)

// Layer is a linear layer to quantize, y = W·x.
type Layer struct {
	Rows, Cols int
	W          []float32 // Rows × Cols
	Type       quant.Type
	// H is the symmetric matrix Σ x·xᵀ over the layer's inputs, Cols × Cols. What the inputs
	// are weighted by and its scale are the caller's choice.
	H []float32
	// Cross is nil or Σ (x' - x)·xᵀ with the same weights, x' being the input that the original
	// model has where the quantized one has x.
	Cross []float32
	// Outputs are blocks of rows whose errors count together. Other rows count by themselves.
	Outputs []Outputs
	// Worked, if not nil, is called from several goroutines with how much of the work is done: of what
	// [Options.Work] or [EncodingWork] says.
	Worked func(work float64)
}

// Options say how a layer is quantized.
type Options struct {
	// Damp is added to H's diagonal, as a share of its mean. With several the one
	// that leaves the least error is taken.
	Damp []float64
	// Shrink is the share by which what is off H's diagonal is made smaller: fewer tokens say
	// less about how columns go together than about each of them.
	Shrink float64
	// Sweeps is the most passes of refinement after error feedback.
	Sweeps int
	// Outputs is the share that the correlations of Layer.Outputs count; 0 for errors of rows that do not go together.
	Outputs float64
	// Asymmetric is the share of the correction by Layer.Cross.
	Asymmetric float64
	Threads    int
}

// DefaultOutputs is Options.Outputs where correlations are known: docs/methods-measured.md.
const DefaultOutputs = 0.5

// DefaultOptions are what methods that solve layers use unless told otherwise.
func DefaultOptions() Options {
	return Options{Damp: []float64{0.1}, Shrink: 0.1, Sweeps: 4, Asymmetric: 0.6}
}

// Check refuses options out of range.
func (o *Options) Check() error {
	for _, v := range o.Damp {
		if !(v >= 0 && v <= 100) {
			return fmt.Errorf("damp is %g, expected 0 to 100", v)
		}
	}
	switch {
	case len(o.Damp) == 0:
		return fmt.Errorf("damp has no value, expected numbers from 0 to 100")
	case !(o.Shrink >= 0 && o.Shrink < 1):
		return fmt.Errorf("shrink is %g, expected 0 to less than 1", o.Shrink)
	case !(o.Asymmetric >= 0 && o.Asymmetric <= 1):
		return fmt.Errorf("asymmetric is %g, expected 0 to 1", o.Asymmetric)
	case !(o.Outputs >= 0 && o.Outputs <= 1):
		return fmt.Errorf("outputs is %g, expected 0 to 1", o.Outputs)
	case o.Sweeps < 0 || o.Sweeps > 100:
		return fmt.Errorf("refine is %d, expected 0 to 100", o.Sweeps)
	}
	return nil
}

// Solution is a quantized layer.
type Solution struct {
	Data []byte // rows of blocks
	// Plain and Error are tr((W-Q)·H·(W-Q)ᵀ) of the type's own encoder with H's diagonal
	// as importance, and of Data. With Cross, W is what the correction made of it.
	Plain, Error float64
	Damp         float64 // what was taken
}

// tileRows is how many rows go through a layer together: enough to share the reading of
// H, few enough to stay in a core's second cache.
const tileRows = 32

// Quantize quantizes a layer so that Σ |W·x - Q·x|² = tr((W-Q)·H·(W-Q)ᵀ) is small: error
// feedback column by column, then refinement of blocks under the full H. The error is never above
// that of the type's own encoder with H's diagonal as importance, except by the damping.
// The result depends on nothing but the layer and the options: no thread count, no CPU.
func (l *Layer) Quantize(ctx context.Context, opt Options) (*Solution, error) {
	if err := l.Check(); err != nil {
		return nil, err
	}
	var best *Solution
	for _, damp := range opt.Damp {
		s, err := newSolver(l, damp, &opt)
		if err != nil {
			return nil, err
		}
		solution, err := s.solve(ctx)
		if err != nil {
			return nil, err
		}
		if best == nil || solution.Error < best.Error {
			best = solution
		}
	}
	return best, nil
}

// Encode quantizes a layer by the type's own encoder, with H's diagonal as importance.
func (l *Layer) Encode(threads int) (*Solution, error) {
	if err := l.Check(); err != nil {
		return nil, err
	}
	imp := make([]float32, l.Cols)
	for j := range imp {
		imp[j] = l.H[j*l.Cols+j]
	}
	imp = quant.Relative(imp)
	s := &Solution{Data: make([]byte, l.Type.Size(int64(len(l.W))))}
	rowBytes := len(s.Data) / l.Rows
	parallel(threads, (l.Rows+tileRows-1)/tileRows, func(_ *multiplier, task int) {
		first := task * tileRows
		end := min(l.Rows, first+tileRows)
		l.Type.Quantize(s.Data[first*rowBytes:end*rowBytes], l.W[first*l.Cols:end*l.Cols], l.Cols, imp)
		l.worked(EncodingWork(end-first, l.Cols))
	})
	s.Error = l.Error(s.Data, l.H, threads)
	s.Plain = s.Error
	return s, nil
}

// Check refuses weights and second moments that are not finite or too large.
func (l *Layer) Check() error {
	n := l.Cols
	if !l.Type.IsQuantized() || n <= 0 || n%l.Type.BlockLen() != 0 ||
		len(l.W) != l.Rows*n || len(l.H) != n*n || l.Cross != nil && len(l.Cross) != n*n {
		panic(fmt.Sprintf("solve: %d × %d weights as %s, %d second moments", l.Rows, n, l.Type, len(l.H)))
	}
	if i := quant.CheckRange(l.W); i >= 0 {
		return fmt.Errorf("weight [%d,%d] is %g, expected a magnitude below %d", i/n, i%n, l.W[i], quant.Limit)
	}
	for _, m := range [][]float32{l.H, l.Cross} {
		if m != nil && !kern.Best().Below(m, math.MaxFloat32) {
			return fmt.Errorf("the second moments are not finite: the activations overflow or the model is damaged")
		}
	}
	for j := range n {
		if l.H[j*n+j] < 0 {
			return fmt.Errorf("the second moment of column %d is %g, expected 0 or more", j, l.H[j*n+j])
		}
	}
	return nil
}

// solver quantizes a layer with one damping. Thread by thread, it works on tiles of rows.
type solver struct {
	*Layer
	geo     quant.Geometry
	levels  *levels
	sweeps  int
	outputs float64

	damp   float64
	scale  float32 // H·scale has a mean diagonal between 1 and 2 before damping
	shrink float64
	add    float32      // what is added to the diagonal of H·scale
	h      *square      // H·scale, damped
	imp    []float32    // the diagonal of H·scale, without damping
	factor *factor      // of h
	feed   []group      // h's factor, for each group of columns
	local  []localGroup // h's diagonal blocks, for each group of columns
	target []float32    // W, moved by the asymmetric correction

	threads int
}

func newSolver(l *Layer, damp float64, opt *Options) (*solver, error) {
	if err := l.Type.CheckGeometry(); err != nil {
		return nil, err
	}
	n := l.Cols
	s := &solver{
		Layer: l, geo: l.Type.Geometry(), target: l.W,
		sweeps: opt.Sweeps, outputs: opt.Outputs, damp: damp, shrink: opt.Shrink, threads: max(1, opt.Threads),
	}
	s.levels = newLevels(s.geo.Levels, s.geo.Book)
	var mean float64
	for j := range n {
		mean += float64(l.H[j*n+j])
	}
	mean /= float64(n)
	s.scale = 1
	if mean > 0 {
		_, exp := math.Frexp(mean)
		s.scale = float32(math.Ldexp(1, 1-exp))
		mean = math.Ldexp(mean, 1-exp)
	} else {
		mean = 1 // no input ever: all columns count the same
		s.damp = max(damp, 1)
	}
	for {
		h := newSquare(n)
		h.fill(l.H, float32(float64(s.scale)*(1-s.shrink)))
		s.add = float32(s.damp * mean)
		s.imp = make([]float32, n)
		for j := range n {
			at := h.at(j, j)
			s.imp[j] = l.H[j*n+j] * s.scale
			h.data[at] = s.imp[j] + s.add
		}
		s.h = &square{n, append([]float32(nil), h.data...)}
		f, err := factorize(h, s.threads, l.worked)
		if err == nil {
			s.factor = f
			break
		}
		// Singular to float32's precision: only more damping helps.
		if s.damp = max(10*s.damp, 1e-4); s.damp > 1e3 {
			return nil, fmt.Errorf("the second moments are no sums of squares: %w", err)
		}
	}
	for at := 0; at < n; at += s.geo.Group {
		s.feed = append(s.feed, s.factor.group(at, s.geo.Group))
		local, err := newLocalGroup(s.h, at, s.geo.Group)
		if err != nil {
			return nil, err
		}
		s.local = append(s.local, local)
	}
	if l.Cross != nil && opt.Asymmetric != 0 {
		s.correct(float32(opt.Asymmetric))
	}
	return s, nil
}

// correct moves the target to where the layer's output would be the original's: the
// minimum over W* of Σ |W·x' - W*·x|², of which share is taken, is
//
//	W* = W + W·(Σ (x'-x)·xᵀ)·H⁻¹
//
// (Li et al. 2025, GPTAQ, arXiv:2504.02692, and the closed form of Arai et al. 2025, arXiv:2504.09629).
func (s *solver) correct(share float32) {
	n := s.Cols
	cross := newSquare(n)
	cross.fill(s.Cross, float32(share*s.scale))
	s.target = append([]float32(nil), s.W...)
	u, d := s.factor.u, s.factor.d
	s.tiles(func(w *multiplier, first, count int) {
		x, y := newRows(count, n), newRows(count, n)
		for r := range count {
			copy(x.row(r), s.W[(first+r)*n:(first+r+1)*n])
		}
		w.addProduct(y, 0, x, count, cross, 0, n, 0, n)
		// y·H⁻¹ = ((y·U⁻ᵀ)·D⁻¹)·U⁻¹. First z·Uᵀ = y, from the last columns on.
		panel := make([]float32, kern.Rows*kern.Rows)
		for c := n - kern.Rows; c >= 0; c -= kern.Rows {
			for r := range count {
				row := y.row(r)[c : c+kern.Rows]
				for j := kern.Rows - 1; j >= 0; j-- {
					for k := j + 1; k < kern.Rows; k++ {
						row[j] -= float32(row[k] * u.data[u.at(c+j, c+k)])
					}
				}
			}
			for p := 0; p < c; p += kern.Rows {
				for i := range kern.Rows {
					for k := range kern.Rows {
						panel[k*kern.Rows+i] = -u.data[u.at(p+i, c+k)]
					}
				}
				w.addPanels(y, p, y, c, count, panel, 0, 1, kern.Rows)
			}
		}
		// Then v·U = z/D, from the first columns on. x holds -v.
		for c := 0; c < n; c += kern.Rows {
			for r := range count {
				for j := c; j < c+kern.Rows; j++ {
					y.row(r)[j] /= d[j]
				}
			}
			w.addProduct(y, c, x, count, u, 0, c, c, c+kern.Rows)
			for r := range count {
				row, neg := y.row(r)[c:c+kern.Rows], x.row(r)[c:c+kern.Rows]
				for j := range kern.Rows {
					for k := range j {
						row[j] -= float32(row[k] * u.data[u.at(c+k, c+j)])
					}
					neg[j] = -row[j]
				}
			}
		}
		for r := range count {
			for j, v := range y.row(r)[:n] {
				s.target[(first+r)*n+j] += v
			}
		}
	})
}

// tiles calls do for each tile of rows, on all threads.
func (s *solver) tiles(do func(w *multiplier, first, count int)) {
	parallel(s.threads, (s.Rows+tileRows-1)/tileRows, func(w *multiplier, task int) {
		first := task * tileRows
		do(w, first, min(tileRows, s.Rows-first))
	})
}

// solve quantizes all rows.
func (s *solver) solve(ctx context.Context) (*Solution, error) {
	blocks, others, err := s.rowBlocks()
	if err != nil {
		return nil, err
	}
	rowBytes := int(s.Type.Size(int64(s.Cols)))
	out := &Solution{Data: make([]byte, s.Rows*rowBytes), Damp: s.damp}
	list := slices.Collect(slices.Chunk(others, tileRows))
	costs := make([][2]float64, len(list)) // added in order at the end
	parallel(s.threads, len(list), func(w *multiplier, task int) {
		if ctx.Err() != nil {
			return
		}
		t := newTile(s, w, len(list[task]))
		for r, row := range list[task] {
			copy(t.w.row(r), s.target[row*s.Cols:(row+1)*s.Cols])
		}
		data := make([]byte, t.count*rowBytes)
		plain, left := t.solve(data)
		for r, row := range list[task] {
			copy(out.Data[row*rowBytes:], data[r*rowBytes:(r+1)*rowBytes])
		}
		costs[task] = [2]float64{plain, left}
	})
	if s.outputs > 0 {
		s.worked(outputSweeps * sweepWork(len(others), s.Cols)) // which they do not take
	}
	s.solveBlocks(ctx, blocks, out.Data)
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if len(blocks) > 0 {
		return out, s.costs(out)
	}
	for _, c := range costs {
		out.Plain += c[0] / float64(s.scale)
		out.Error += c[1] / float64(s.scale)
	}
	return out, nil
}

// Error returns tr((W-Q)·h·(W-Q)ᵀ) of the layer as blocks, under any second moments.
func (l *Layer) Error(data []byte, h []float32, threads int) float64 {
	n := l.Cols
	m := newSquare(n)
	m.fill(h, 1)
	rowBytes := int(l.Type.Size(int64(n)))
	sums := make([]float64, (l.Rows+tileRows-1)/tileRows)
	parallel(threads, len(sums), func(w *multiplier, task int) {
		first := task * tileRows
		count := min(tileRows, l.Rows-first)
		e := newRows(count, n)
		for r := range count {
			row := e.row(r)[:n]
			l.Type.Dequantize(row, data[(first+r)*rowBytes:(first+r+1)*rowBytes])
			for i, v := range l.W[(first+r)*n : (first+r+1)*n] {
				row[i] = v - row[i]
			}
		}
		sums[task] = w.quadratic(e, count, m)
	})
	return total(sums)
}
