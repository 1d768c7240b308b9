// Package kern holds the numeric inner loops, once in portable Go and once for
// each instruction set that has a faster way. A [Set] is one implementation of all of them.
//
// All sets compute the same bits: they work on the same lanes in the same order, and
// each kernel either rounds every operation to float32 (all that quantizes, see
// [Tile]) or fuses multiplication and addition everywhere that its definition says
// so ([Product], [Vector]). The portable set is the definition; the tests compare
// the others with it.
package kern

import (
	"fmt"
	"os"
	"strings"
)

// Groups is the number of groups in a [Tile].
const Groups = 16

// Tile is the working memory for quantizing 16 groups of N consecutive weights,
// N = 16 or 32. The kernels vectorize across groups: X, W and L hold element i of
// group g at [16*i+g], so that each lane sums its own group in index order.
//
// Go assembly reads this layout; _asm/kernels.go repeats its offsets.
type Tile struct {
	X     [512]float32 // the weights, one group per lane
	W     [512]float32 // their importance in the error, one group per lane
	L     [512]float32 // scratch space: candidate codes
	Src   [512]float32 // the weights in their own order: element i of group g at [N*g+i]
	Codes [512]int32   // the result of the Encode kernels, in Src's order

	Scale, Min, SumW         [Groups]float32 // results and inputs, see each kernel
	SumX, SumL, SumXL, SumL2 [Groups]float32 // results of CodeSums

	Table [32]float32 // non-uniform codes: [0] the lowest, [k] the step to code k, [16+k] the midpoint below it
	Steps [40]float32 // candidate factors

	N, NSteps int64
	Lo, Hi, C float32 // code limits and an offset, see each kernel
	InvN      float32 // 1/N

	// Tiny is the magnitude below which a group counts as zero, Signs is -0 and
	// One is 1: constants that the assembly takes from here. Init sets them.
	Tiny, Signs, One float32
}

// Init sets the constants that kernels read.
func (t *Tile) Init() {
	t.Tiny, t.Signs, t.One = 1e-15, negativeZero(), 1
}

// SetN sets the length of a group to n, 16 or 32.
func (t *Tile) SetN(n int) {
	t.N, t.InvN = int64(n), 1/float32(n)
}

// Feedback is the working memory for choosing the codes of 16 groups of N consecutive weights, N = 16 or 32, with error
// feedback. As in a [Tile], element i of group g is at [16*i+g].
//
// Go assembly reads this layout; _asm/feedback.go repeats its offsets.
type Feedback struct {
	X, W [512]float32 // weights as moved by the errors of columns before the group, and the weights themselves
	L, E [512]float32 // the results: codes, between Lo and Hi, and W less what they stand for

	Scale, Inv, Min [Groups]float32 // a code l stands for Scale·l - Min; Inv is 1/Scale or 0
	Cost            [Groups]float32 // the result

	U      *[32][32]float32 // U[i][k], k > i, is how an error of column i moves column k
	D      *[32]float32     // what errors of the columns cost
	N      int64
	Lo, Hi float32
}

// Set is one implementation of every kernel.
type Set struct {
	Name string

	// Transpose lays 16 groups of n elements side by side: dst[16*i+g] = src[n*g+i].
	Transpose func(dst, src *[512]float32, n int)

	// WeightAbs sets W = C·rms + |X|, rms being the group's root mean square.
	WeightAbs func(t *Tile)
	// WeightSquare sets W = X².
	WeightSquare func(t *Tile)

	// MinMax sets Min and Scale to the least and the greatest X of each group.
	MinMax func(t *Tile)
	// AbsMax sets Scale to the X of greatest magnitude, the first of equals.
	AbsMax func(t *Tile)

	// ScaleMin finds Scale ≥ 0 and Min ≤ 0 that minimise Σ W·(Scale·l + Min - X)²
	// with l in 0…Hi. Candidates are the least squares fits to the codes
	// round(f/(highest - Min)·(X - Min)), f in Steps[:NSteps], Min the best so
	// far. SumW = Σ W.
	ScaleMin func(t *Tile)
	// ScaleMinAbs is ScaleMin with the absolute instead of the squared error.
	ScaleMinAbs func(t *Tile)
	// ScaleSymmetric finds Scale that minimises Σ W·(Scale·l - X)² with l in
	// Lo…Hi. Candidates are the fits to the codes round(f/top·X), f in
	// Steps[:NSteps], top the X of greatest magnitude. SumW = Σ W.
	ScaleSymmetric func(t *Tile)
	// ScaleDescent finds the same from the codes for Steps[0] by coordinate descent.
	ScaleDescent func(t *Tile)
	// ScaleTable finds what ScaleSymmetric does for the codes of Table.
	ScaleTable func(t *Tile)

	// CodeSums takes the codes l = round((X + Min)/Scale) in Lo…Hi and sums over each group:
	// SumW = Σ W, SumX = Σ W·X, SumL = Σ W·l, SumXL = Σ W·X·l and SumL2 = Σ W·l². They say
	// what the group's error is with these codes and any scale and minimum. Scale must not be 0.
	CodeSums func(t *Tile)

	// EncodeRound sets Codes = round((Src + Min)/Scale) limited to Lo…Hi, plus C.
	// Scale must not be 0.
	EncodeRound func(t *Tile)
	// EncodeFloor sets Codes = floor((Src - Min)·Scale + C), at most Hi.
	EncodeFloor func(t *Tile)
	// EncodeAway sets Codes = Src·Scale rounded, halves away from zero. C must be ½.
	EncodeAway func(t *Tile)
	// EncodeTable sets Codes to the index of the code nearest to Src·Scale.
	EncodeTable func(t *Tile)

	// Feedback goes through the columns i of each group in order. With x = X + Σ E_k·U[k][i] over the columns k before
	// it, added up in order, L = round((x + Min)·Inv) limited to Lo…Hi, v = Scale·L - Min and E = W - v. Cost is
	// Σ D·(x - v)².
	Feedback func(f *Feedback)

	// ExpandBF16 converts len(dst) bfloat16 values to float32. len(src) = 2·len(dst).
	ExpandBF16 func(dst []float32, src []byte)
	// Below reports whether |v| < limit for every v in x. A NaN is not below.
	Below func(x []float32, limit float32) bool

	// Read reads b, whose length is a multiple of 256, as fast as a core can. It returns
	// the exclusive or of pieces of 32 bytes.
	Read func(b []byte) [32]byte

	// Peaks are loops of nothing but multiply-adds, indexed by [Multiplication].
	Peaks [NumMultiplications]Peak

	// Products is indexed by [Format]. See [Product].
	Products [NumFormats]func(*Product)
	// Several are kernels in their place for several tokens; where one is nil there is none.
	Several [NumFormats]func(*Product)
	// Many are kernels in their place for at least [LeastMany] tokens; where one is nil there is none.
	Many [NumFormats]func(*Product)
	// Wide are kernels for several tokens, too, that scale wider sums in other instructions; where one is nil there is
	// none.
	Wide [NumFormats]func(*Product)
	// Few are the numbers of tokens up to which Products have a way of their own, with several panels, if Product.Few
	// says so; 0 where there is none.
	Few [NumFormats]int
	// ProductBF16 multiplies BF16 panels with activations that are bfloat16 too, a
	// row of them for each token; otherwise as Products[BF16]. The sum's order and
	// rounding are the CPU's own. It is nil where the CPU has no such instruction.
	ProductBF16 func(*Product)

	// Interleave2 and Interleave4 copy units of 2 and 4 bytes from 16 rows to a panel.
	// They are nil in the portable set: call [Interleave].
	Interleave2, Interleave4 func(panel, rows *byte, u *Units)

	Vector
}

// Vector is the part of a [Set] that works on vectors of activations. Lengths are
// multiples of 16 unless said otherwise: rows are padded with zeros. A sum over
// elements is taken in 16 lanes, lane i adding elements i, i+16, i+32… in order;
// then lanes i and i+8 are added, then i and i+4, i+2, i+1. Every operation rounds
// to float32, from the left; only the squares of RMSNorm, LayerNorm included, and the steps
// inside exp are fused multiply-adds. A NaN or an infinity gives what the formula gives, from every
// set, but one NaN may differ from another.
type Vector struct {
	// RMSNorm sets dst = x·r·w, r = 1/sqrt(Σx²/n + eps). dst may be x.
	RMSNorm func(dst, x, w []float32, n int, eps float32)
	// LayerNorm sets dst = d·r·w + b with d = x - Σx/n and r = 1/sqrt(Σd²/n + eps): RMSNorm of d, plus b. In the
	// padding, which begins at n, d counts as 0. dst may be x.
	LayerNorm func(dst, x, w, b []float32, n int, eps float32)
	// Softmax sets x[i] = exp(scale·x[i] - m)/Σ for lo ≤ i < hi, m being the greatest
	// scale·x[i], and x[i] = 0 for the others. lo < hi. A NaN among the x[i] makes all
	// of them NaN.
	Softmax func(x []float32, lo, hi int, scale float32)
	// SiluMul sets dst = gate/(1 + exp(-gate))·up. dst may be gate or up.
	SiluMul func(dst, gate, up []float32)
	// Gelu sets dst = x/(1 + exp(-z)), z = x·(2√(2/π) + 2√(2/π)·0.044715·x²). It is 0.5·x·(1 + tanh(z/2)), the tanh
	// form of GELU, gelu_new elsewhere. dst may be x.
	Gelu func(dst, x []float32)
	// Gegelu sets dst = g/(1 + exp(-1.702·g))·(l + 1), g = min(gate, limit) and l = up limited to ±limit, but
	// infinities stay. limit is not negative; an infinite one changes nothing. dst may be gate or up.
	Gegelu func(dst, gate, up []float32, limit float32)
	// Sigmoid sets dst = 1/(1 + exp(-x)). dst may be x.
	Sigmoid func(dst, x []float32)
	// Rope turns the pairs (x[i], x[i+len(cos)]): first·cos - second·sin and
	// second·cos + first·sin, each product rounded. len(x) = 2·len(cos), of any length.
	Rope func(x, cos, sin []float32)
	// Add sets dst += x.
	Add func(dst, x []float32)
	// AddSum sets dst += a + b, a + b first.
	AddSum func(dst, a, b []float32)

	// Quantize256 encodes len(x)/256 blocks as [A256] records stride bytes apart.
	Quantize256 func(dst []byte, x []float32, stride int)
	// Quantize32 encodes len(x)/32 blocks as [A32] records stride bytes apart.
	Quantize32 func(dst []byte, x []float32, stride int)

	// ToF16 and ToBF16 round to the nearest even. A NaN keeps its upper bits and
	// becomes quiet. Any length.
	ToF16, ToBF16 func(dst []uint16, x []float32)
	// ExpandF16 converts to float32. Any length.
	ExpandF16 func(dst []float32, x []uint16)
	// ExpandPairs converts units of a panel of [BF16], 16 rows of two columns, to those of [F32]: dst[32·k+i] and
	// dst[32·k+16+i] are the lower and the upper half of x[16·k+i]. len(dst) = 2·len(x).
	ExpandPairs func(dst []float32, x []uint32)
	// ScaleLanes sets dst[16·k+i] = q[16·k+i]·scale[i].
	ScaleLanes func(dst []float32, q []int8, scale *[16]float32)
	// ScaleRows sets dst[16·k+i] = q[16·k+i]·scale[k].
	ScaleRows func(dst []float32, q []int8, scale []float32)
}

// Names are the names of the implementations for all instruction sets.
var Names = []string{"generic", "avx2", "avxvnni", "avx512", "avx512vnni", "amx", "neon", "dotprod", "i8mm"}

// Sets lists the implementations that this CPU can run, the portable one first
// and the fastest last.
func Sets() []*Set { return sets }

// best is one for the whole process, not for a model or a call, since all sets give the same bits. Only [Select]
// changes it, before kernels run.
var (
	sets = append([]*Set{&generic}, native()...)
	best = sets[len(sets)-1]
)

// Best returns the implementation in use: the fastest, or the one that the
// environment variable PHI3CONV_CPU names, see [Select].
func Best() *Set { return best }

// Select makes the named implementation the one in use. An empty name means
// the fastest. It must not be called while kernels run.
func Select(name string) error {
	s := sets[len(sets)-1]
	if name != "" {
		s = find(name)
	}
	if s == nil {
		names := make([]string, len(sets))
		for i := range sets {
			names[i] = sets[i].Name
		}
		return fmt.Errorf("this CPU or build has no kernels %q; it has: %s", name, strings.Join(names, " "))
	}
	best = s
	chooseDefaults()
	return nil
}

// SelectFromEnv calls [Select] with the environment variable PHI3CONV_CPU.
func SelectFromEnv() error {
	if err := Select(os.Getenv("PHI3CONV_CPU")); err != nil {
		return fmt.Errorf("PHI3CONV_CPU: %w", err)
	}
	return nil
}

func find(name string) *Set {
	for _, s := range sets {
		if s.Name == name {
			return s
		}
	}
	return nil
}
