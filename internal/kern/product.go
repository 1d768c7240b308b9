package kern

import "unsafe"

// Product is one call of a product kernel: 16 rows of weights times the activations
// of T tokens, Out[t][r] = Σ over columns of W[r]·A[t].
//
// Float formats (F32, F16, BF16). A is float32, token by token. Each result is one
// chain of fused multiply-adds in the order of the columns, starting from 0 or,
// with Add, from what Out holds: the same bits from every set. One call takes Panels
// panels, PanelBytes apart, so that a single token has several chains under way and a
// value of A is loaded once for several panels; 4 are enough for that. Panel p's results
// begin 16·p floats after panel 0's. Of many tokens, F32 panels take A in tiles as [LayTiles] makes them, with Tiled: a
// kernel then reads it from the first byte to the last. AStride is that of tiles.
//
// The other formats take several panels with a single token, or few (see [Form.Panels]), without a gap between them.
// That is faster than a call for each, since the CPU loads the next panel's weights while it waits for the last of this
// one's.
//
// K formats (blocks of 256). A holds for each block, for each token an [A256] record.
// For each block b, in order:
//
//	isum = Σ over groups g of scale[g]·Σ code·q      int32, exact
//	msum = Σ over groups g of min[g]·sum[g]          int32, exact
//	out  = fma(float32(isum), d·a.d, out)
//	out  = fma(float32(msum), m·a.d, out)
//
// where code, scale, min, d and m are those of [Format], q is the record's int8, sum[g] the sum of q in the
// group, a.d the record's D, and d·a.d and m·a.d are rounded to float32.
//
// Block formats (blocks of 32). A holds for each block, for each token an [A32] record.
// For each block, in order:
//
//	out = fma(float32(Σ code·q), d·a.d, out)
//	out = fma(a.s, m, out)
//
// The results are the same bits from every set, provided that the weights' scales
// are finite. Integers cannot overflow: |q| ≤ 127.
//
// Assembly reads this struct by the offsets beside the fields.
type Product struct {
	Out       *float32 // 0: token t's 16 results begin OutStride·t bytes further
	W         *byte    // 8: the panel; its alignment may be that of its values
	A         *byte    // 16: the activations
	Scratch   *byte    // 24: ScratchBytes of memory for the kernel, 64-byte aligned
	T         int64    // 32: tokens, at least 1
	Blocks    int64    // 40: blocks in a row, at least 1; columns for float formats, even for BF16
	OutStride int64    // 48: bytes from a token to the next in Out
	AStride   int64    // 56: bytes in A from a token to the next for float formats, else from a block to the next
	Add       int64    // 64: 1 to add to what Out holds (float formats only), else 0

	Panels     int64 // 72: panels, at least 1; exactly 1 for more than few tokens, unless the format is a float format
	PanelBytes int64 // 80: bytes from a panel to the next (float formats only)

	// How the weights of a single token are prefetched, see [Form].
	Hint  Hint  // 88
	Ahead int64 // 96: bytes

	Table *[16]uint8 // 104: the codes that nibbles stand for (Table32 and Table16 only)

	Tiled int64 // 112: 1 if A is in tiles (F32 only), else 0
	Few   int64 // 120: the tokens up to which a kernel with a way for few takes it, see [Set].Few
}

// TileTokens is how many tokens' activations lie together in a tile.
const TileTokens = 6

// TiledLen returns how many values the tiles of rows take.
func TiledLen(tokens, cols int) int {
	return (tokens + TileTokens - 1) / TileTokens * TileTokens * cols
}

// LayTiles lays rows of cols values, stride values apart in src, as tiles: TileTokens rows in each, for each column
// their values side by side. Of the rows that the last tile lacks, nothing is written.
func LayTiles(dst, src []float32, stride, tokens, cols int) {
	const n = TileTokens
	for ; tokens >= n; tokens -= n {
		a, b, c := src[:cols], src[stride:][:cols], src[2*stride:][:cols]
		d, e, f := src[3*stride:][:cols], src[4*stride:][:cols], src[5*stride:][:cols]
		for i := range a {
			to := (*[n]float32)(dst[n*i:])
			to[0], to[1], to[2], to[3], to[4], to[5] = a[i], b[i], c[i], d[i], e[i], f[i]
		}
		dst = dst[n*cols:]
		if tokens > n {
			src = src[n*stride:]
		}
	}
	for t := range tokens {
		for i, v := range src[t*stride:][:cols] {
			dst[n*i+t] = v
		}
	}
}

// ScratchBytes is the size of Product.Scratch.
const ScratchBytes = 64 << 10

// NewScratch returns memory for [Product.Scratch].
func NewScratch() *byte {
	b := make([]byte, ScratchBytes+63)
	return &b[-uintptr(unsafe.Pointer(&b[0]))%64]
}

// A256 is the layout of 256 columns of a token's activations: x = d·q.
// d = max|x|/127; q = x·(127/max|x|) rounded to even. If max|x| is less than 2^-119,
// so that 127/max|x| might overflow, d and all q are 0; if an x is not finite, d is
// NaN and all q are 0.
// Only the layout matters to kernels: records lie A256Bytes apart.
type A256 struct {
	Q     [256]int8
	Sum16 [16]int16 // 256: sums of 16 q
	Sum32 [8]int16  // 288: sums of 32 q
	D     float32   // 304
	_     [12]byte
}

// A32 is the layout of 32 columns of a token's activations, quantized as A256 is.
type A32 struct {
	Q [32]int8
	D float32 // 32
	S float32 // 36: D·float32(sum of q), rounded to float32
}

// Sizes of the records.
const (
	A256Bytes = 320
	A32Bytes  = 40
)

// IQ4Values are the values that the codes of IQ4_NL and IQ4_XS stand for.
var IQ4Values = [16]int8{-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113}

// over returns base with the kernels that top has in their place.
func over(base, top [NumFormats]func(*Product)) [NumFormats]func(*Product) {
	for f, k := range top {
		if k != nil {
			base[f] = k
		}
	}
	return base
}
