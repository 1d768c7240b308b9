package solve

import (
	"slices"

	"github.com/phi3conv/phi3conv/internal/kern"
	"github.com/phi3conv/phi3conv/quant"
)

// tile is some rows of a layer on their way to blocks.
type tile struct {
	*solver
	mul   *multiplier
	count int
	block int // weights in a block

	w rows // the target
	e rows // w less what the codes stand for
	x rows // a block's columns: moved weights, or gradients
	// The codes, and the scales and minima of groups and of blocks, row by row.
	codes      []uint8
	scale, min []int8
	d, dmin    []float32

	tmp     [4]rows // a block's columns
	chooser chooser
	rows    []int // 0 to count-1
	bytes   []byte
	imp     []float32
}

// newTile makes a tile of rows, whose targets are to be set.
func newTile(s *solver, mul *multiplier, count int) *tile {
	n, block := s.Cols, s.Type.BlockLen()
	t := &tile{
		solver: s, mul: mul, count: count, block: block,
		w: newRows(count, n), e: newRows(count, n), x: rows{make([]float32, count*block), block},
	}
	t.codes = make([]uint8, count*n)
	t.scale, t.min = make([]int8, count*n/s.geo.Group), make([]int8, count*n/s.geo.Group)
	t.d, t.dmin = make([]float32, count*n/block), make([]float32, count*n/block)
	for i := range t.tmp {
		t.tmp[i] = rows{make([]float32, count*block), block}
	}
	t.chooser.tile = t
	for r := range count {
		t.rows = append(t.rows, r)
	}
	t.bytes = make([]byte, count*s.Type.BlockBytes())
	t.imp = make([]float32, count*block)
	return t
}

// view returns block b of row r, without D and DMin.
func (t *tile) view(r, b int) quant.Block {
	groups := t.block / t.geo.Group
	i := r*(t.Cols/t.block) + b
	return quant.Block{
		Scale: t.scale[i*groups : (i+1)*groups], Min: t.min[i*groups : (i+1)*groups],
		Codes: t.codes[i*t.block : (i+1)*t.block],
	}
}

func (t *tile) unpack(r, b int, src []byte) {
	v := t.view(r, b)
	t.Type.Unpack(&v, src)
	i := r*(t.Cols/t.block) + b
	t.d[i], t.dmin[i] = v.D, v.DMin
	t.errors(r, b*t.block, t.block)
}

func (t *tile) pack(r, b int, dst []byte) {
	v := t.view(r, b)
	i := r*(t.Cols/t.block) + b
	v.D, v.DMin = t.d[i], t.dmin[i]
	t.Type.Pack(dst, &v)
}

// params returns the scale and the minimum of the group at a column.
func (t *tile) params(r, at int) (scale, min float32) {
	i := r*t.Cols + at
	g, b := i/t.geo.Group, i/t.block
	return t.d[b] * float32(t.scale[g]), t.dmin[b] * float32(t.min[g])
}

// errors sets e for n columns from at on, whole groups.
func (t *tile) errors(r, at, n int) {
	for end := at + n; at < end; at += t.geo.Group {
		scale, min := t.params(r, at)
		w, e := t.w.row(r)[at:at+t.geo.Group], t.e.row(r)[at:at+t.geo.Group]
		for i, c := range t.codes[r*t.Cols+at : r*t.Cols+at+t.geo.Group] {
			e[i] = w[i] - (float32(scale*t.levels.values[c]) - min)
		}
	}
}

// cost returns each row's e·h·eᵀ, and the same without damping and shrinking.
func (t *tile) cost() (damped, raw []float64) {
	damped, raw = make([]float64, t.count), make([]float64, t.count)
	for c := 0; c < t.Cols; c += t.block {
		clear(t.x.data)
		t.mul.addProduct(t.x, 0, t.e, t.count, t.h, 0, t.Cols, c, c+t.block)
		for r := range t.count {
			var sum, squares float64
			e := t.e.row(r)[c : c+t.block]
			for i, g := range t.x.row(r) {
				sum += float64(float64(g) * float64(e[i]))
				// h is (1-shrink)·H + shrink·diag(H) + add.
				diagonal := float64(t.add) + float64(t.shrink*float64(t.solver.imp[c+i]))
				squares += float64(float64(float64(e[i])*float64(e[i])) * diagonal)
			}
			damped[r] += sum
			raw[r] += (sum - squares) / (1 - t.shrink)
		}
	}
	return damped, raw
}

// solve writes the rows' blocks to dst and returns the error of the type's own encoder and
// the one that is left.
func (t *tile) solve(dst []byte) (plain, left float64) {
	n := t.Cols
	rowBytes, blockBytes := len(dst)/t.count, t.Type.BlockBytes()
	for r := range t.count {
		row := dst[r*rowBytes : (r+1)*rowBytes]
		t.Type.Quantize(row, t.w.row(r)[:n], n, t.solver.imp)
		for b := range n / t.block {
			t.unpack(r, b, row[b*blockBytes:(b+1)*blockBytes])
		}
	}
	plainCost, raw := t.cost()
	for _, v := range raw {
		plain += v
	}
	t.feedback()
	sweep := sweepWork(t.count, n)
	rest := tileWork(t.count, n, t.sweeps) - sweep
	t.worked(sweep)
	// A row goes on from whichever is better; it will become no worse.
	cost, _ := t.cost()
	for r := range t.count {
		if plainCost[r] < cost[r] {
			for b := range n / t.block {
				t.unpack(r, b, dst[r*rowBytes+b*blockBytes:][:blockBytes])
			}
		}
	}
	for range t.sweeps {
		if !t.refine() {
			break
		}
		t.worked(sweep)
		rest -= sweep
	}
	t.worked(rest)
	_, raw = t.cost()
	for r := range t.count {
		left += raw[r]
		for b := range n / t.block {
			t.pack(r, b, dst[r*rowBytes+b*blockBytes:][:blockBytes])
		}
	}
	return plain, left
}

// feedback is GPTQ: block by block, scales are chosen for the weights as moved by the
// errors so far, and codes column by column.
func (t *tile) feedback() {
	size := t.geo.Group
	for c := 0; c < t.Cols; c += t.block {
		end := c + t.block
		for r := range t.count {
			copy(t.x.row(r), t.w.row(r)[c:end])
		}
		u := t.factor.u
		t.mul.addProduct(t.x, 0, t.e, t.count, u, 0, c, c, end)
		// The type's own search, with the weights that errors have here. All rows are encoded
		// as one, so that vectors are full.
		for r := range t.count {
			copy(t.imp[r*t.block:(r+1)*t.block], t.factor.d[c:end])
		}
		t.Type.Quantize(t.bytes, t.x.data, len(t.x.data), t.imp)
		blockBytes := t.Type.BlockBytes()
		for r := range t.count {
			t.unpack(r, c/t.block, t.bytes[r*blockBytes:(r+1)*blockBytes])
		}
		for at := c; at < end; at += size {
			t.feedbackGroups(at, c)
			if at+size < end {
				t.mul.addProduct(t.x, at+size-c, t.e, t.count, u, at, at+size, at+size, end)
			}
		}
	}
}

// feedbackGroups chooses the scales, minimums and codes of the rows' groups at a column. x are the moved weights from
// column c on.
func (t *tile) feedbackGroups(at, c int) {
	size, ch := t.geo.Group, &t.chooser
	for rows := range slices.Chunk(t.rows, kern.Groups) {
		for i, r := range rows {
			copy(ch.w[i][:], t.w.row(r)[at:at+size])
			copy(ch.x[i][:], t.x.row(r)[at-c:at-c+size])
			ch.limit[i] = noLimit
		}
		ch.choose(&t.feed[at/size], at, rows)
		for _, r := range rows {
			t.errors(r, at, size)
		}
	}
}
