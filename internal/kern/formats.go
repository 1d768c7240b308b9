package kern

import (
	"fmt"
	"math"
)

// Rows is the number of rows in a panel.
const Rows = 16

// Format is a format of weights that the product kernels read: one of ggml's types.
// [FormatOf] finds it by ggml's number.
//
// Codes are unsigned; what a signed type would subtract from them is in m, see [Product]. A weight of a block of 32
// is d·code + m:
//
//	         code            m
//	Q4_0     0…15            -8·d
//	Q4_1     0…15            m
//	Q5_0     0…31            -16·d
//	Q5_1     0…31            m
//	Q8_0     128 + value     -128·d
//	IQ4_NL   128 + value     -128·d
//
// A weight of group g of a block of 256 is d·scale[g]·code + m·min[g]:
//
//	         code            groups  scale          min              m
//	Q2_K     0…3             16      4 bits         4 bits           -dmin
//	Q3_K     0…7             16      6 bits - 32    scale            -4·d
//	Q4_K     0…15            8       6 bits         6 bits           -dmin
//	Q5_K     0…31            8       6 bits         6 bits           -dmin
//	Q6_K     0…63            16      int8           scale            -32·d
//	IQ4_XS   128 + value     8       6 bits - 32    scale            -128·d
//	Table32  128 + value     8       int8           scale            -128·d
//	Table16  128 + value     16      int8           scale            -128·d
//
// The last two are no types of files: package linear makes them of types whose codes stand for several weights at once,
// exactly. Codes have 4 bits, and the values that these stand for are those of [Product.Table].
type Format uint8

// The formats.
const (
	F32 Format = iota
	F16
	BF16
	Q4_0
	Q4_1
	Q5_0
	Q5_1
	Q8_0
	IQ4_NL
	Q2_K
	Q3_K
	Q4_K
	Q5_K
	Q6_K
	IQ4_XS
	Table32
	Table16
	NumFormats
)

// Panels.
//
// Weights are laid out in panels of 16 rows, so that one vector holds the same
// columns of every row, whatever its width: AVX-512 reads a panel 16 rows at a time,
// AVX2 as two halves, NEON as four quarters. A block of a row is cut into units
// of 2 or 4 bytes, in the order of its bytes; a panel holds, block by block and unit by
// unit, the 16 rows' units side by side:
//
//	for each block b, for each unit u, for r in 0…15: unit u of block b of row r
//
// A panel therefore takes exactly as many bytes as its rows do, and the rows can
// be recovered from it. Rows that are missing in the last panel are zero.
// In every format a unit of 4 bytes holds codes of consecutive columns of a row,
// or scales of consecutive groups.
//
// A BF16 block is a pair of columns here (an odd last column is paired with zero),
// so that a unit is what a bfloat16 dot product takes.

// Layout is how a format's blocks are cut into units: Head units of 2 bytes,
// Quads units of 4, Tail units of 2.
type Layout struct {
	name string // ggml's
	ggml uint32 // ggml's number

	Cols              int // columns in a block
	Head, Quads, Tail int
}

// BlockBytes returns the number of bytes of a block of one row.
func (l Layout) BlockBytes() int { return 2*l.Head + 4*l.Quads + 2*l.Tail }

// Layouts is the table of formats.
var Layouts = [NumFormats]Layout{
	F32:    {"F32", 0, 1, 0, 1, 0},
	F16:    {"F16", 1, 1, 1, 0, 0},
	BF16:   {"BF16", 30, 2, 0, 1, 0},
	Q4_0:   {"Q4_0", 2, 32, 1, 4, 0},      // d | codes
	Q4_1:   {"Q4_1", 3, 32, 2, 4, 0},      // d, m | codes
	Q5_0:   {"Q5_0", 6, 32, 1, 5, 0},      // d | fifth bits, codes
	Q5_1:   {"Q5_1", 7, 32, 2, 5, 0},      // d, m | fifth bits, codes
	Q8_0:   {"Q8_0", 8, 32, 1, 8, 0},      // d | codes
	IQ4_NL: {"IQ4_NL", 20, 32, 1, 4, 0},   // d | codes
	Q2_K:   {"Q2_K", 10, 256, 0, 20, 2},   // scales and minima (4), codes (16) | d, dmin
	Q3_K:   {"Q3_K", 11, 256, 0, 27, 1},   // third bits (8), codes (16), scales (3) | d
	Q4_K:   {"Q4_K", 12, 256, 2, 35, 0},   // d, dmin | scales and minima (3), codes (32)
	Q5_K:   {"Q5_K", 13, 256, 2, 43, 0},   // d, dmin | scales and minima (3), fifth bits (8), codes (32)
	Q6_K:   {"Q6_K", 14, 256, 0, 52, 1},   // codes (32), upper bits (16), scales (4) | d
	IQ4_XS: {"IQ4_XS", 23, 256, 2, 33, 0}, // d, upper bits of scales | scales (1), codes (32)

	Table32: {"Table32", noType, 256, 0, 35, 0}, // d as float32 (1), scales (2), codes (32)
	Table16: {"Table16", noType, 256, 0, 37, 0}, // d as float32 (1), scales (4), codes (32)
}

// noType is the number of formats that are no types of files.
const noType = math.MaxUint32

// String returns ggml's name.
func (f Format) String() string { return Layouts[f].name }

// FormatOf returns the format of ggml's type of this number. It panics unless [HasFormat].
func FormatOf(ggml uint32) Format {
	f, ok := formatOf(ggml)
	if !ok {
		panic(fmt.Sprintf("kern: no format for ggml's type %d", ggml))
	}
	return f
}

// HasFormat reports whether kernels multiply ggml's type of this number as it is. Package linear makes other formats of
// the types that have none.
func HasFormat(ggml uint32) bool {
	_, ok := formatOf(ggml)
	return ok
}

func formatOf(ggml uint32) (Format, bool) {
	for f := range Layouts {
		if Layouts[f].ggml == ggml && ggml != noType {
			return Format(f), true
		}
	}
	return 0, false
}
