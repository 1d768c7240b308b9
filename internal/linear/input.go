package linear

import (
	"unsafe"

	"github.com/phi3conv/phi3conv/internal/kern"
	"github.com/phi3conv/phi3conv/internal/work"
)

// activation is how the input of a product is encoded: a type of activations.
type activation uint8

const (
	asF32  activation = iota // float32, for float weights and the float32 mode
	asBF16                   // bfloat16, for BF16 weights where the CPU multiplies those
	as256                    // kern.A256, for K types
	as32                     // kern.A32, for the other quantized types
)

// Input is the input of a product, encoded as the kernel of a matrix wants it: a row of cols columns for each token.
// [Input.Prepare] comes first, then [Input.Encode] for each token, then [Product.Multiply]. The zero value stands for
// an input that needs no encoding.
type Input struct {
	kind   activation
	tokens int
	cols   int
	f32    []float32 // for asF32: the rows themselves
	stride int       // values from a row of f32 to the next
	enc    []byte    // otherwise: records or bfloat16 values
}

// Mode says how inputs are encoded.
type Mode uint8

// The modes.
const (
	Fast    Mode = iota // as the weights have it
	Batched             // the same, and results do not depend on how many tokens are multiplied together
	Float32             // not at all
)

// activation returns how m takes its input for that many tokens. A single token stays in float32 with BF16 weights if
// its result need not be that of several: there reading the weights takes the time, not multiplying them.
func (m *Matrix) activation(mode Mode, tokens int) activation {
	switch l := kern.Layouts[m.format]; {
	case mode == Float32, m.format == kern.F32, m.format == kern.F16:
		return asF32
	case m.format == kern.BF16:
		if kern.Best().ProductBF16 != nil && (tokens > 1 || mode == Batched) {
			return asBF16
		}
		return asF32
	case l.Cols == 256:
		return as256
	}
	return as32
}

// encodedBytes returns the size of in.enc for cols columns of that many tokens.
func encodedBytes(kind activation, tokens, cols int) int {
	switch kind {
	case asBF16:
		return tokens * (cols + cols&1) * 2
	case as256:
		return tokens * cols / 256 * kern.A256Bytes
	case as32:
		return tokens * cols / 32 * kern.A32Bytes
	}
	return 0
}

// Prepare makes room for that many tokens as the input of m. Their rows of float32 are stride values apart.
func (in *Input) Prepare(m *Matrix, mode Mode, tokens, stride int) {
	in.kind, in.tokens, in.cols, in.stride = m.activation(mode, tokens), tokens, m.Cols, stride
	in.enc = work.Resize(in.enc, encodedBytes(in.kind, tokens, m.Cols))
}

// Suits reports whether what has been encoded is the input of m too, which has as many columns.
func (in *Input) Suits(m *Matrix, mode Mode, tokens int) bool {
	return m.activation(mode, tokens) == in.kind
}

// Encodes reports whether [Input.Encode] does anything.
func (in *Input) Encodes() bool { return in.kind != asF32 }

// Encode encodes x as the row of token t. Threads may encode different tokens at the same time.
func (in *Input) Encode(t int, x []float32) {
	v := &kern.Best().Vector
	switch in.kind {
	case as256:
		v.Quantize256(in.enc[t*kern.A256Bytes:], x[:in.cols], in.tokens*kern.A256Bytes)
	case as32:
		v.Quantize32(in.enc[t*kern.A32Bytes:], x[:in.cols], in.tokens*kern.A32Bytes)
	case asBF16:
		n := in.cols + in.cols&1
		row := unsafe.Slice((*uint16)(unsafe.Pointer(&in.enc[2*t*n])), n)
		v.ToBF16(row, x[:n]) // a row is padded with zeros
	}
}
