package linear

import (
	"encoding/binary"
	"math"
	"sync"

	"github.com/phi3conv/phi3conv/internal/kern"
	"github.com/phi3conv/phi3conv/quant"
)

// form is what panels hold where kernels do not multiply the file's type as it is: the same weights, to the last bit,
// in another type or in one of kern's table formats.
//
//	the file's type                     panels     bits per weight in memory
//	IQ1_S, IQ2_XXS, IQ3_XXS, IQ3_S      Table32    4.375
//	IQ1_M, IQ2_XS, IQ2_S                Table16    4.625
//	TQ1_0, TQ2_0                        Q2_K       2.625
//	Q1_0, Q2_0                          Q4_0       4.5
//	MXFP4, NVFP4                        BF16       16
//
// Kernels that look up points of a grid as they multiply would need a gather for every four or eight columns; these
// need one table in a register, like IQ4_XS.
type form struct {
	from   quant.Type
	typ    quant.Type  // of the panels; from for table formats
	format kern.Format // of the panels
	table  *[16]uint8  // Product.Table, for table formats
	levels [16]float32 // what the table's codes stand for, times d and a scale
	factor float32     // levels are those of from times so much
	recode func(f *form, dst, src []byte)
}

// formOf returns the form of a type, nil for types that are multiplied as they are.
func formOf(t quant.Type) *form { return forms()[t] }

var forms = sync.OnceValue(func() map[quant.Type]*form {
	all := map[quant.Type]*form{}
	for _, t := range quant.ReadTypes() {
		if kern.HasFormat(t.GGML()) {
			continue
		}
		f := &form{from: t, typ: t}
		switch t {
		case quant.TQ1_0, quant.TQ2_0:
			f.typ, f.recode = quant.Q2_K, (*form).toQ2K
		case quant.Q1_0, quant.Q2_0:
			f.typ, f.recode = quant.Q4_0, (*form).toQ4
		case quant.MXFP4, quant.NVFP4:
			f.typ, f.recode = quant.BF16, (*form).toBF16
		default:
			f.format, f.recode = kern.Table32, (*form).toTable
			if t.Geometry().Group == 16 {
				f.format = kern.Table16
			}
			f.setTable()
		}
		if f.table == nil {
			f.format = kern.FormatOf(f.typ.GGML())
		}
		all[t] = f
	}
	return all
})

// setTable makes whole numbers of the type's levels.
func (f *form) setTable() {
	f.table, f.factor = new([16]uint8), 1
	levels := f.from.Geometry().Levels
	for _, v := range levels {
		for v*f.factor != float32(math.Trunc(float64(v*f.factor))) {
			f.factor *= 2
		}
	}
	for i, v := range levels {
		f.levels[i] = v * f.factor
		f.table[i] = uint8(128 + int(f.levels[i]))
	}
}

// rowBytes returns the size of a row of panels.
func (f *form) rowBytes(cols int) int { return kern.PanelBytes(f.format, cols) / kern.Rows }

// unpacked returns room for a block of a type.
func unpacked(t quant.Type) quant.Block {
	n := t.BlockLen()
	groups := n / t.Geometry().Group
	return quant.Block{Scale: make([]int8, groups), Min: make([]int8, groups), Codes: make([]uint8, n)}
}

// eachBlock takes the blocks of rows apart.
func (f *form) eachBlock(src []byte, use func(b *quant.Block)) {
	b, size := unpacked(f.from), f.from.BlockBytes()
	for ; len(src) > 0; src = src[size:] {
		f.from.Unpack(&b, src[:size])
		use(&b)
	}
}

func (f *form) toTable(dst, src []byte) {
	size := kern.Layouts[f.format].BlockBytes()
	f.eachBlock(src, func(b *quant.Block) {
		binary.LittleEndian.PutUint32(dst, math.Float32bits(b.D/f.factor))
		for g, s := range b.Scale {
			dst[4+g] = byte(s)
		}
		codes := dst[size-128 : size]
		for i := range codes {
			at := i/16*32 + i%16
			codes[i] = b.Codes[at] | b.Codes[at+16]<<4
		}
		dst = dst[size:]
	})
}

// decodeTable decodes blocks of a table format.
func (f *form) decodeTable(dst []float32, src []byte) {
	size := kern.Layouts[f.format].BlockBytes()
	for ; len(dst) > 0; dst, src = dst[256:], src[size:] {
		d := math.Float32frombits(binary.LittleEndian.Uint32(src))
		scales, codes := src[4:size-128], src[size-128:size]
		group := 256 / len(scales)
		for i, c := range codes {
			at := i/16*32 + i%16
			dst[at] = d * float32(int8(scales[at/group])) * f.levels[c&15]
			dst[at+16] = d * float32(int8(scales[(at+16)/group])) * f.levels[c>>4]
		}
	}
}

// toQ2K writes d·(q - 1) as d·q - d.
func (f *form) toQ2K(dst, src []byte) {
	out := unpacked(quant.Q2_K)
	for g := range out.Scale {
		out.Scale[g], out.Min[g] = 1, 1
	}
	f.eachBlock(src, func(b *quant.Block) {
		out.D, out.DMin, out.Codes = b.D, b.D, b.Codes
		quant.Q2_K.Pack(dst[:quant.Q2_K.BlockBytes()], &out)
		dst = dst[quant.Q2_K.BlockBytes():]
	})
}

// toQ4 writes d·v as d·(q - 8).
func (f *form) toQ4(dst, src []byte) {
	out, levels := unpacked(quant.Q4_0), f.from.Geometry().Levels
	f.eachBlock(src, func(b *quant.Block) {
		out.D, out.Scale[0] = b.D, 1
		for codes := b.Codes; len(codes) > 0; codes = codes[32:] {
			for i, c := range codes[:32] {
				out.Codes[i] = uint8(8 + int(levels[c]))
			}
			quant.Q4_0.Pack(dst[:quant.Q4_0.BlockBytes()], &out)
			dst = dst[quant.Q4_0.BlockBytes():]
		}
	})
}

// toBF16 decodes: products of a scale of at most four significant bits and a value of two fit.
func (f *form) toBF16(dst, src []byte) {
	values := make([]float32, len(dst)/2)
	f.from.Dequantize(values, src)
	quant.BF16.Quantize(dst, values, len(values), nil)
}
