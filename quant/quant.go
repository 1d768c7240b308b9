package quant

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/phi3conv/phi3conv/internal/kern"
)

// Type is an element type that a tensor can be stored in. The zero value is F32. Methods but String, CanWrite and
// CheckWrite panic for a value that is none of the constants: [ByGGML] and [ByName] return no other.
type Type uint8

// The types, under ggml's names. Their order is this package's own: files
// carry the number that [Type.GGML] returns.
const (
	F32 Type = iota
	F16
	BF16
	Q4_0
	Q4_1
	Q5_0
	Q5_1
	Q8_0
	Q2_K
	Q3_K
	Q4_K
	Q5_K
	Q6_K
	IQ4_NL
	IQ4_XS
	IQ3_S
	IQ3_XXS
	IQ2_S
	IQ2_XS
	// Those from here on are only read.
	IQ2_XXS
	IQ1_S
	IQ1_M
	TQ1_0
	TQ2_0
	MXFP4
	NVFP4
	Q1_0
	Q2_0
)

// firstReadOnly is the first type that is only read.
const firstReadOnly = IQ2_XXS

// spec is one row of the table of types.
type spec struct {
	name  string
	ggml  uint32 // ggml's enum ggml_type, the number in a GGUF file
	elems int    // elements in a block
	bytes int    // bytes in a block
	// scales are the offsets of the float16 scales and minima of a block.
	scales []int

	// dequantize decodes len(dst)/elems blocks.
	dequantize func(dst []float32, src []byte)
	// quantize encodes one row of len(src) elements, a multiple of elems.
	// imp is nil or holds one weight ≥ 0 for each column. s is scratch space.
	// It is nil for a type that is only read.
	quantize func(dst []byte, src, imp []float32, s *scratch)
	// codes takes a block apart; it is empty for float types.
	codes codes
	// bad reports whether a block whose scales are not those above has a value that is infinite or not a number.
	// It is nil where there can be none.
	bad func(block []byte) bool
}

// types is the table of types: a new block type is its own file and one line here.
var types = [...]spec{
	F32:    {"F32", 0, 1, 4, nil, dequantizeF32, quantizeF32, codes{}, nil},
	F16:    {"F16", 1, 1, 2, nil, dequantizeF16, quantizeF16, codes{}, nil},
	BF16:   {"BF16", 30, 1, 2, nil, dequantizeBF16, quantizeBF16, codes{}, nil},
	Q4_0:   {"Q4_0", 2, 32, 18, []int{0}, dequantizeQ4_0, quantizeQ4_0, codesQ4_0, nil},
	Q4_1:   {"Q4_1", 3, 32, 20, []int{0, 2}, dequantizeQ4_1, quantizeQ4_1, codesQ4_1, nil},
	Q5_0:   {"Q5_0", 6, 32, 22, []int{0}, dequantizeQ5_0, quantizeQ5_0, codesQ5_0, nil},
	Q5_1:   {"Q5_1", 7, 32, 24, []int{0, 2}, dequantizeQ5_1, quantizeQ5_1, codesQ5_1, nil},
	Q8_0:   {"Q8_0", 8, 32, 34, []int{0}, dequantizeQ8_0, quantizeQ8_0, codesQ8_0, nil},
	Q2_K:   {"Q2_K", 10, 256, 84, []int{80, 82}, dequantizeQ2_K, quantizeQ2_K, codesQ2_K, nil},
	Q3_K:   {"Q3_K", 11, 256, 110, []int{108}, dequantizeQ3_K, quantizeQ3_K, codesQ3_K, nil},
	Q4_K:   {"Q4_K", 12, 256, 144, []int{0, 2}, dequantizeQ4_K, encoderQ4_K.quantize, codesQ4_K, nil},
	Q5_K:   {"Q5_K", 13, 256, 176, []int{0, 2}, dequantizeQ5_K, encoderQ5_K.quantize, codesQ5_K, nil},
	Q6_K:   {"Q6_K", 14, 256, 210, []int{208}, dequantizeQ6_K, quantizeQ6_K, codesQ6_K, nil},
	IQ4_NL: {"IQ4_NL", 20, 32, 18, []int{0}, dequantizeIQ4_NL, quantizeIQ4_NL, codesIQ4_NL, nil},
	IQ4_XS: {"IQ4_XS", 23, 256, 136, []int{0}, dequantizeIQ4_XS, quantizeIQ4_XS, codesIQ4_XS, nil},

	IQ3_S:   {"IQ3_S", 21, 256, 110, []int{0}, dequantizeIQ3_S, quantizeIQ3_S, codesIQ3_S, nil},
	IQ3_XXS: {"IQ3_XXS", 18, 256, 98, []int{0}, dequantizeIQ3_XXS, quantizeIQ3_XXS, codesIQ3_XXS, nil},
	IQ2_S:   {"IQ2_S", 22, 256, 82, []int{0}, dequantizeIQ2_S, quantizeIQ2_S, codesIQ2_S, nil},
	IQ2_XS:  {"IQ2_XS", 17, 256, 74, []int{0}, dequantizeIQ2_XS, quantizeIQ2_XS, codesIQ2_XS, nil},
	IQ2_XXS: {"IQ2_XXS", 16, 256, 66, []int{0}, dequantizeIQ2_XXS, nil, codesIQ2_XXS, nil},
	IQ1_S:   {"IQ1_S", 19, 256, 50, []int{0}, dequantizeIQ1_S, nil, codesIQ1_S, nil},
	IQ1_M:   {"IQ1_M", 29, 256, 56, nil, dequantizeIQ1_M, nil, codesIQ1_M, badIQ1_M},
	TQ1_0:   {"TQ1_0", 34, 256, 54, []int{52}, dequantizeTQ1_0, nil, codesTQ1_0, nil},
	TQ2_0:   {"TQ2_0", 35, 256, 66, []int{64}, dequantizeTQ2_0, nil, codesTQ2_0, nil},
	MXFP4:   {"MXFP4", 39, 32, 17, nil, dequantizeMXFP4, nil, codes{}, badMXFP4},
	NVFP4:   {"NVFP4", 40, 64, 36, nil, dequantizeNVFP4, nil, codes{}, nil},
	Q1_0:    {"Q1_0", 41, 128, 18, []int{0}, dequantizeQ1_0, nil, codesQ1_0, nil},
	Q2_0:    {"Q2_0", 42, 64, 18, []int{0}, dequantizeQ2_0, nil, codesQ2_0, nil},
}

// Types lists every type that can be written, in the order of the constants.
func Types() []Type { return ReadTypes()[:firstReadOnly] }

// ReadTypes lists every type: those of [Types], and those that are only read.
func ReadTypes() []Type {
	all := make([]Type, len(types))
	for i := range all {
		all[i] = Type(i)
	}
	return all
}

// TypeNames lists the names of all types, separated by spaces.
func TypeNames() string { return names(ReadTypes()) }

func names(list []Type) string {
	var names []string
	for _, t := range list {
		names = append(names, t.String())
	}
	return strings.Join(names, " ")
}

// CanWrite reports whether the type has an encoder. A type that has none is decoded, run and converted from, and
// blocks of it can be copied.
func (t Type) CanWrite() bool { return t < firstReadOnly }

// CheckWrite returns an error that names the type and says why unless [Type.CanWrite].
func (t Type) CheckWrite() error {
	if t.CanWrite() {
		return nil
	}
	return fmt.Errorf("%s is only read: %s; written types: %s", t, readOnlyReason(t), names(Types()))
}

// readOnlyReason says why a type is not written.
func readOnlyReason(t Type) string {
	switch t {
	case TQ1_0, TQ2_0, Q1_0, Q2_0:
		return "it holds models that were trained with such weights, and rounding others to them destroys a model"
	case MXFP4, NVFP4:
		return "it holds models that were trained with such weights; for others IQ4_XS is smaller and nearer"
	}
	return "fewer than 2.3 bits are left for a weight, which destroys models of this size"
}

// String returns ggml's name, such as "Q4_K".
func (t Type) String() string {
	if int(t) >= len(types) {
		return fmt.Sprintf("Type(%d)", uint8(t))
	}
	return types[t].name
}

// GGML returns the type's number in ggml's enum ggml_type, which GGUF files carry.
func (t Type) GGML() uint32 { return types[t].ggml }

// BlockLen returns the number of elements in a block: 1 for F32, F16 and BF16, 32, 64, 128 or 256 for the others. A
// row's length must be a multiple of it.
func (t Type) BlockLen() int { return types[t].elems }

// BlockBytes returns the number of bytes in a block.
func (t Type) BlockBytes() int { return types[t].bytes }

// BitsPerWeight returns how many bits each of so many weights takes that together take so many bytes, NaN without
// weights.
func BitsPerWeight(bytes, weights int64) float64 { return 8 * float64(bytes) / float64(weights) }

// BitsPerWeight returns the storage cost of an element in bits.
func (t Type) BitsPerWeight() float64 {
	return 8 * float64(types[t].bytes) / float64(types[t].elems)
}

// ScaleOffsets returns the offsets in a block of its float16 scales and minima, none for float types. The first
// is that of the scale that multiplies all codes.
func (t Type) ScaleOffsets() []int { return slices.Clone(types[t].scales) }

// BadScale returns the offset in blocks of the first scale or minimum that is infinite or not a number, or that of the
// block where that is no float16, or -1.
func (t Type) BadScale(blocks []byte) int {
	s := &types[t]
	if len(s.scales) == 0 && s.bad == nil {
		return -1
	}
	for at := 0; at < len(blocks); at += s.bytes {
		if s.bad != nil && s.bad(blocks[at:]) {
			return at
		}
		for _, off := range s.scales {
			if blocks[at+off+1]&0x7c == 0x7c { // all bits of the exponent are set
				return at + off
			}
		}
	}
	return -1
}

// IsQuantized reports whether the type has blocks with shared scales, which is
// every type but F32, F16 and BF16.
func (t Type) IsQuantized() bool { return types[t].elems > 1 }

// Size returns the number of bytes that n elements take. n must be a multiple of [Type.BlockLen].
func (t Type) Size(n int64) int64 {
	return n / int64(types[t].elems) * int64(types[t].bytes)
}

// ByName finds a type by its name in any case, such as "q4_K".
func ByName(name string) (Type, error) {
	for i := range types {
		if strings.EqualFold(types[i].name, name) {
			return Type(i), nil
		}
	}
	return 0, fmt.Errorf("unknown tensor type %q; known: %s", name, TypeNames())
}

// ByGGML finds a type by its number in a GGUF file. ok is false for numbers
// that this package does not read; [GGMLName] names them.
func ByGGML(id uint32) (t Type, ok bool) {
	for i := range types {
		if types[i].ggml == id {
			return Type(i), true
		}
	}
	return 0, false
}

// GGMLName returns ggml's name for a type number, whether or not this package
// reads that type, or "unknown type N".
func GGMLName(id uint32) string {
	if t, ok := ByGGML(id); ok {
		return t.String()
	}
	if name, ok := otherGGMLTypes[id]; ok {
		return name
	}
	return fmt.Sprintf("unknown type %d", id)
}

// otherGGMLTypes are the types of ggml that this package does not read, so that
// an error can say what a file holds.
var otherGGMLTypes = map[uint32]string{
	9: "Q8_1", 15: "Q8_K", 24: "I8", 25: "I16", 26: "I32", 27: "I64", 28: "F64",
}

// Dequantize decodes src into dst as float32. len(dst) must be a multiple of
// the block length and src must hold as many blocks.
func (t Type) Dequantize(dst []float32, src []byte) {
	s := &types[t]
	if len(dst)%s.elems != 0 || len(dst)/s.elems*s.bytes != len(src) {
		panic(fmt.Sprintf("quant: %s: %d elements do not fit %d bytes", s.name, len(dst), len(src)))
	}
	s.dequantize(dst, src)
}

// Quantize encodes a matrix of rows with cols columns each, stored row by row
// in src, into dst. cols must be a multiple of the block length and dst as long
// as [Type.Size] of len(src).
//
// imp is nil or gives each column a weight ≥ 0, its importance: the encoder
// then minimises the squared error weighted by it, in the manner of llama.cpp's
// importance matrix (the mean square of the activations that meet the column).
// Only their ratios matter. They must be finite.
// Without it each type uses the weighting that ggml's reference encoder uses.
//
// The values must pass [CheckRange], and the type [Type.CanWrite]. The result depends on the
// input only: not on the CPU nor on how rows are split over calls.
func (t Type) Quantize(dst []byte, src []float32, cols int, imp []float32) {
	t.quantize(dst, src, cols, imp, false)
}

// QuantizeRefit is [Type.Quantize] with scales and minima of K-quants that are chosen again, given imp,
// among those that blocks can hold. The error is lower. As scales for error feedback,
// whose codes are not the nearest, these are worse.
func (t Type) QuantizeRefit(dst []byte, src []float32, cols int, imp []float32) {
	t.quantize(dst, src, cols, imp, true)
}

func (t Type) quantize(dst []byte, src []float32, cols int, imp []float32, refit bool) {
	s := &types[t]
	if s.quantize == nil {
		panic(fmt.Sprintf("quant: %s is only read", s.name))
	}
	if cols <= 0 || cols%s.elems != 0 || len(src)%cols != 0 || len(src)/s.elems*s.bytes != len(dst) ||
		(imp != nil && len(imp) != cols) {
		panic(fmt.Sprintf("quant: %s: %d elements in rows of %d, importance of %d, into %d bytes",
			s.name, len(src), cols, len(imp), len(dst)))
	}
	imp = Relative(imp)
	rowBytes := cols / s.elems * s.bytes
	sc := getScratch()
	defer scratchPool.Put(sc)
	sc.refits = refit && imp != nil
	for len(src) > 0 {
		s.quantize(dst[:rowBytes], src[:cols], imp, sc)
		dst, src = dst[rowBytes:], src[cols:]
	}
}

// Relative scales importance by a power of two, which changes no ratio, so that the largest is
// at least 1 and below 2: sums of products then neither overflow nor vanish. [Type.Quantize] does
// it by itself, and takes what is scaled already as it is.
func Relative(imp []float32) []float32 {
	if imp == nil || kern.Best().Below(imp, 2) && !kern.Best().Below(imp, 1) {
		return imp
	}
	largest := slices.Max(imp)
	if !(largest > 0) {
		return imp
	}
	_, exp := math.Frexp(float64(largest))
	scaled := make([]float32, len(imp))
	for i, v := range imp {
		scaled[i] = float32(math.Ldexp(float64(v), 1-exp))
	}
	return scaled
}

// Limit is the magnitude from which [CheckRange] refuses a weight: it would
// become infinite as a float16, which the scales of blocks are.
const Limit = 65520

// CheckRange returns the index of the first value that is NaN, infinite or of
// magnitude [Limit] or more, or -1. Such values cannot be quantized.
func CheckRange(x []float32) int {
	if kern.Best().Below(x, Limit) {
		return -1
	}
	for i, v := range x {
		if !(abs(v) < Limit) {
			return i
		}
	}
	return -1
}
