package kern_test

import (
	"encoding/binary"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/phi3conv/phi3conv/internal/kern"
	"github.com/phi3conv/phi3conv/quant"
)

// A product is the float64 dot product of the weights that package quant decodes and
// of the decoded activations, up to rounding.
//
// Float formats: each column's addition is rounded by 2⁻²⁴ of the sum so far.
//
// The others: decoding rounds a weight at most three times, a block's two integers
// and two factors are rounded once each, and so is each of its two additions, by
// 2⁻²⁴ of the sum so far. All this is relative to terms that partly cancel, since
// codes carry an offset; for random blocks they are in sum less than 16 times as
// large as all |weight·activation|.
func TestProductsAgainstQuant(t *testing.T) {
	for _, typ := range quant.Types() {
		if !kern.HasFormat(typ.GGML()) {
			continue // package linear tests what it makes of it
		}
		for _, s := range kern.Sets() {
			t.Run(typ.String()+"/"+s.Name, func(t *testing.T) {
				r := rand.New(rand.NewPCG(11, 12))
				for range 10 {
					compareWithQuant(t, r, s, kern.FormatOf(typ.GGML()), typ)
				}
			})
		}
	}
}

func compareWithQuant(t *testing.T, r *rand.Rand, s *kern.Set, f kern.Format, typ quant.Type) {
	blocks, tokens := 1+r.IntN(12), 1+r.IntN(9)
	cols, isFloat := blocks*kern.Layouts[f].Cols, f <= kern.BF16
	if isFloat {
		cols = 2 * blocks
		blocks = cols
	}
	rows := make([]byte, kern.Rows*int(typ.Size(int64(cols))))
	kern.RandomBlocks(r, f, rows)
	panel := make([]byte, kern.PanelBytes(f, cols))
	kern.Interleave(f, panel, rows, kern.Rows)
	w := make([]float32, kern.Rows*cols)
	typ.Dequantize(w, rows)

	// x holds the activations, a what the product reads.
	x := make([]float64, tokens*cols)
	p := &kern.Product{T: int64(tokens), Blocks: int64(blocks), OutStride: 4 * kern.Rows, Panels: 1}
	var a []byte
	if isFloat {
		p.AStride = int64(4 * cols)
		for i := range x {
			v := float32(r.NormFloat64())
			x[i] = float64(v)
			a = binary.LittleEndian.AppendUint32(a, math.Float32bits(v))
		}
	} else {
		size := kern.A32Bytes
		if kern.Layouts[f].Cols == 256 {
			size = kern.A256Bytes
		}
		p.AStride = int64(tokens * size)
		a = make([]byte, blocks*tokens*size)
		for b := range blocks {
			for token := range tokens {
				values := kern.RandomRecord(r, a[(b*tokens+token)*size:][:size])
				copy(x[token*cols+b*len(values):], values)
			}
		}
	}
	out := make([]float32, kern.Rows*tokens)
	p.Out, p.W, p.A, p.Scratch = &out[0], &panel[0], &a[0], kern.NewScratch()
	s.Products[f](p)

	roundings := float64(blocks)
	if !isFloat {
		roundings = 16 * float64(2*blocks+5)
	}
	for i, got := range out {
		row, token := i%kern.Rows, i/kern.Rows
		var sum, size float64
		for c := range cols {
			v := float64(w[row*cols+c]) * x[token*cols+c]
			sum += v
			size += math.Abs(v)
		}
		if e := math.Abs(float64(got) - sum); !(e <= roundings*(0x1p-24*size+0x1p-149)) {
			t.Fatalf("%d blocks, token %d row %d: %g, want %g, off by %g of %g", blocks, token, row, got, sum, e, size)
		}
	}
}
