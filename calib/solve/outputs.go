package solve

import (
	"context"
	"errors"
	"math"

	"github.com/phi3conv/phi3conv/internal/kern"
)

// Errors of several rows. What errors E = W-Q of a layer cost is, to second order, the mean over tokens of ½·(gᵀ·E·x)²,
// g being the gradient of the loss at the layer's outputs. If g and x are unrelated that goes with tr(O·E·H·Eᵀ), where
// O = Σ g·gᵀ (cf. YAQA, Tseng et al. 2025, arXiv:2505.22988). For each row j with the others fixed it is, up to a
// constant, O_jj·(t-Q_j)·H·(t-Q_j)ᵀ with the target
//
//	t = W_j + Σ_{i≠j} O_ji/O_jj·(W_i - Q_i)
//
// and if the rows after j, which are not rounded yet, will make up for it as well as they can,
//
//	t = W_j + Σ_{i<j} U_ij·(W_i - Q_i)	where O = U·D·Uᵀ, U being unit upper triangular.
//
// So a row is solved as it is by itself, for another target.

// Outputs is a block of rows whose errors count together: O, by its diagonal, and, for each row i, its correlations
// with the rows before it.
type Outputs struct {
	First          int // row of the layer
	Squares, Pairs []float32
}

// outputSweeps is how often all rows of a block are refined after they have been solved.
const outputSweeps = 2

// rowBlock is rows on their way.
type rowBlock struct {
	first, count int
	size         int // count, filled up to a multiple of 16
	// For each row j, what the others' errors move its target by: U_ij, for those before it, and O_ji/O_jj.
	feed, rest []float32
	e          []float32 // W-Q, in panels of 16 columns
}

func newRowBlock(o *Outputs, share float64, cols int) (*rowBlock, error) {
	n := len(o.Squares)
	b := &rowBlock{first: o.First, count: n, size: (n + kern.Rows - 1) / kern.Rows * kern.Rows}
	b.feed, b.rest, b.e = make([]float32, n*b.size), make([]float32, n*b.size), make([]float32, b.size*cols)
	root, damped := roots(o.Squares)
	h := newSquare(b.size)
	for i := range b.size {
		h.data[h.at(i, i)] = 1
	}
	for i := range n {
		for j, v := range o.Pairs[i*(i-1)/2:][:i] {
			c := share * float64(v) * root[i] * root[j]
			if c == 0 {
				continue
			}
			c /= damped[i] * damped[j]
			h.data[h.at(i, j)], h.data[h.at(j, i)] = float32(c), float32(c)
			b.rest[i*b.size+j] = float32(c * damped[j] / damped[i])
			b.rest[j*b.size+i] = float32(c * damped[i] / damped[j])
		}
	}
	f, err := factorize(h, 1, func(float64) {})
	if err != nil {
		return nil, err
	}
	for j := range n {
		for i := range j {
			if damped[i] > 0 && damped[j] > 0 {
				b.feed[j*b.size+i] = float32(float64(f.u.data[f.u.at(i, j)]) * damped[i] / damped[j])
			}
		}
	}
	return b, nil
}

// outputDamp is added to the squares of outputs as a share of their mean. Without it there would be no limit to what
// rows whose outputs hardly matter make up for, until they are nothing like the original's.
const outputDamp = 0.03

// roots returns the roots of squares, and those of the damped squares.
func roots(squares []float32) (roots, damped []float64) {
	mean := 0.0
	for _, v := range squares {
		mean += float64(v) / float64(len(squares))
	}
	for _, v := range squares {
		roots = append(roots, math.Sqrt(float64(v)))
		damped = append(damped, math.Sqrt(float64(v)+float64(outputDamp*mean)))
	}
	return roots, damped
}

// mostMoved is the most that a row is moved by to make up for others, as a share of its length. Types of two bits have
// errors that would leave nothing of the rows of a head that hardly matters.
const mostMoved = 0.5

// limitMove makes what a row is moved by shorter where that is more than mostMoved.
func limitMove(moved, from []float32) {
	length, move := 0.0, 0.0
	for i, w := range from {
		d := float64(moved[i]) - float64(w)
		length, move = length+float64(float64(w)*float64(w)), move+float64(d*d)
	}
	if limit := mostMoved * mostMoved * length; move > limit {
		share := math.Sqrt(limit / move)
		for i, w := range from {
			moved[i] = w + float32(share*(float64(moved[i])-float64(w)))
		}
	}
}

// rowBlocks makes the blocks of rows whose errors count together, and lists the other rows.
func (s *solver) rowBlocks() (blocks []*rowBlock, others []int, err error) {
	list := s.Outputs
	if s.outputs == 0 {
		list = nil
	}
	within := make([]bool, s.Rows)
	for _, o := range list {
		for i := range o.Squares {
			within[o.First+i] = true
		}
	}
	for r, in := range within {
		if !in {
			others = append(others, r)
		}
	}
	blocks = make([]*rowBlock, len(list))
	errs := make([]error, len(blocks))
	parallel(s.threads, len(blocks), func(_ *multiplier, i int) {
		blocks[i], errs[i] = newRowBlock(&list[i], s.outputs, s.Cols)
	})
	return blocks, others, errors.Join(errs...)
}

// solveBlocks quantizes rows whose errors count together, those of each block in their order. A tile is one row of each
// of some blocks, which do not depend on each other.
func (s *solver) solveBlocks(ctx context.Context, blocks []*rowBlock, data []byte) {
	tasks := max((len(blocks)+tileRows-1)/tileRows, min(len(blocks), s.threads))
	parallel(s.threads, tasks, func(w *multiplier, task int) {
		g := &rowGroup{s, w, blocks[task*len(blocks)/tasks : (task+1)*len(blocks)/tasks], data}
		most := 0
		for _, b := range g.blocks {
			most = max(most, b.count)
		}
		for sweep := range 1 + outputSweeps {
			for j := range most {
				if ctx.Err() == nil {
					g.step(j, sweep > 0)
				}
			}
		}
	})
}

// costs sets the solution's errors: of the type's own encoder, and of its blocks.
func (s *solver) costs(out *Solution) error {
	encoder := *s.Layer
	encoder.Worked = nil
	plain, err := encoder.Encode(s.threads)
	if err != nil {
		return err
	}
	out.Plain, out.Error = plain.Error, s.Error(out.Data, s.H, s.threads)
	return nil
}

// rowGroup is blocks of rows that a thread solves together.
type rowGroup struct {
	*solver
	mul    *multiplier
	blocks []*rowBlock
	data   []byte // of all of the layer's rows
}

// step solves row j of each block, or refines it.
func (g *rowGroup) step(j int, refine bool) {
	var blocks []*rowBlock
	for _, b := range g.blocks {
		if j < b.count {
			blocks = append(blocks, b)
		}
	}
	n, t := g.Cols, newTile(g.solver, g.mul, len(blocks))
	rowBytes, blockBytes := int(g.Type.Size(int64(n))), g.Type.BlockBytes()
	for r, b := range blocks {
		row := b.first + j
		copy(t.w.row(r), g.target[row*n:(row+1)*n])
		from := b.feed
		if refine {
			from = b.rest
		}
		g.mul.addPanels(rows{t.w.row(r), n}, 0, rows{from[j*b.size:], b.size}, 0, 1,
			b.e, b.size*kern.Rows, n/kern.Rows, b.size)
		limitMove(t.w.row(r)[:n], g.target[row*n:(row+1)*n])
	}
	if refine {
		for r, b := range blocks {
			for k := range n / t.block {
				t.unpack(r, k, g.data[(b.first+j)*rowBytes+k*blockBytes:][:blockBytes])
			}
		}
		t.refine()
		g.worked(sweepWork(len(blocks), n))
	} else {
		t.solve(make([]byte, len(blocks)*rowBytes))
	}
	decoded := make([]float32, n)
	for r, b := range blocks {
		row := b.first + j
		data := g.data[row*rowBytes : (row+1)*rowBytes]
		for k := range n / t.block {
			t.pack(r, k, data[k*blockBytes:][:blockBytes])
		}
		g.Type.Dequantize(decoded, data)
		for c, w := range g.target[row*n : (row+1)*n] {
			b.e[(c/kern.Rows*b.size+j)*kern.Rows+c%kern.Rows] = w - decoded[c]
		}
	}
}
