package tensorstats

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"

	"github.com/phi3conv/phi3conv/internal/floats"
	"github.com/phi3conv/phi3conv/internal/report"
	"github.com/phi3conv/phi3conv/quant"
)

// Rows compares the rows of a matrix b with those of a reference a, and finds the few that no quantization makes: with
// a flipped bit in a scale's exponent, swapped, or damaged otherwise. The documentation of the package says how.
type Rows struct {
	typ  quant.Type // of b
	cols int

	// Channels may be scaled: b is a with columns multiplied by factors and rows by gains, where nothing is lost.
	sampleA, sampleB []float32 // rows, for the factors
	factors          []float64 // of the columns; nil before they are known
	gains            []float64 // of the rows; nil for 1, NaN where unknown

	a, b   []float32 // the row that is being added
	blocks []byte    // of b's row
	ref    []float64 // a's row with factors
	parts  []part
	gain   []float64 // scratch of rowGain

	tan2     []float64 // of the angle of each row of b with a's, squared; +Inf from 90° on
	norm2    []float64 // of each row of a, with factors
	flips    []flip
	tested   int // blocks that were tested for flips
	repair   repair
	suspects []suspect // at most maxSuspects, those of the greatest angles
}

// part is a row's share that is one block of b.
type part struct{ aa, ab, bb float64 }

// flip is a block that fits the reference with another bit in its scale.
type flip struct {
	row, col int
	what     string
	log      float64 // of the probability that a good block does so
}

// suspect is a row that may be swapped with another.
type suspect struct {
	row  int
	tan2 float64
	a, b []float32 // unit vectors, a with factors
}

// UnlikeRow is a row that is unlike the reference's.
type UnlikeRow struct {
	Tensor string  `json:"tensor"`
	Row    int     `json:"row"`    // from 0; those of stacked matrices are counted through
	Cosine float64 `json:"cosine"` // of its angle with the reference's row, 0 from 90° on
	Median float64 `json:"median"` // cosine, of the tensor's rows
	Why    string  `json:"why"`    // what it looks like
}

// Cells are the tensor, the row, the cosines and what the row looks like.
func (u *UnlikeRow) Cells() []string {
	return []string{report.Printable(u.Tensor), strconv.Itoa(u.Row), fmt.Sprintf("%.4f", u.Cosine),
		fmt.Sprintf("%.4f", u.Median), u.Why}
}

const (
	leastTan2    = 1e-6 // below it are roundings of float16 and float32
	floatTan2    = 1e-4 // of a row of F32, F16 or BF16: ten times what rounding to BF16 does
	noiseTan2    = 24   // noise of so many times the row's power: a cosine of 0.2
	noiseFactor  = 4    // and so many times that of the median row
	partTan2     = 0.1  // a row from here on is damaged if it is
	partFactor   = 1000 // so many times as far as the median row
	maxSuspects  = 64
	swapped      = 0.5  // share of the distance of two rows' directions that is left when they are swapped back
	leastRows    = 64   // a matrix of fewer rows does not tell what is usual,
	leastCols    = 32   // nor does one of fewer columns
	leastNorm2   = 1e-4 // of the median row; smaller ones are dead, and methods do with them what they like
	unusualShare = 16   // if more than a row of so many is unlike, the models differ otherwise than by damage
)

// NewRows begins the comparison of matrices with rows of so many values, of which b's are of the type. It returns nil
// for matrices of few rows or columns, which do not tell what is usual.
func NewRows(typ quant.Type, rows, cols int) *Rows {
	if rows < leastRows || cols < leastCols || cols%typ.BlockLen() != 0 {
		return nil
	}
	return &Rows{typ: typ, cols: cols}
}

// Add takes the next values of both matrices, in order, and the bytes that b's are encoded in. There must be equally
// many, and only whole blocks.
func (r *Rows) Add(a, b []float32, blocks []byte) {
	for len(a) > 0 {
		n := min(len(a), r.cols-len(r.a))
		bytes := int(r.typ.Size(int64(n)))
		r.a, r.b, r.blocks = append(r.a, a[:n]...), append(r.b, b[:n]...), append(r.blocks, blocks[:bytes]...)
		a, b, blocks = a[n:], b[n:], blocks[bytes:]
		if len(r.a) == r.cols {
			r.addRow()
			r.a, r.b, r.blocks = r.a[:0], r.b[:0], r.blocks[:0]
		}
	}
}

// addRow compares the row that is complete.
func (r *Rows) addRow() {
	n := len(r.a)
	if r.typ.IsQuantized() {
		n = r.typ.BlockLen()
	}
	factors := r.Factors()
	r.ref, r.parts = r.ref[:0], r.parts[:0]
	var sum part
	for at := 0; at < r.cols; at += n {
		var p part
		for i, x := range r.a[at : at+n] {
			x, y := float64(x)*factors[at+i], float64(r.b[at+i])
			r.ref = append(r.ref, x)
			p.aa += float64(x * x)
			p.ab += float64(x * y)
			p.bb += float64(y * y)
		}
		sum.aa, sum.ab, sum.bb = sum.aa+p.aa, sum.ab+p.ab, sum.bb+p.bb
		r.parts = append(r.parts, p)
	}
	tan2 := math.Inf(1)
	if sum.ab > 0 && floats.Finite(sum.ab*sum.ab) && floats.Finite(sum.bb) {
		tan2 = max(0, sum.aa*sum.bb/(sum.ab*sum.ab)-1)
	}
	row := len(r.tan2)
	r.tan2, r.norm2 = append(r.tan2, tan2), append(r.norm2, sum.aa)
	if r.typ.IsQuantized() {
		r.findFlips(row, sum.aa)
	}
	r.suspect(row, tan2, &sum)
}

// Unlike returns the rows that are unlike the reference's, the worst first.
func (r *Rows) Unlike(tensor string) []UnlikeRow {
	norms := slices.Sorted(slices.Values(r.norm2))
	if len(norms) == 0 {
		return nil
	}
	alive := leastNorm2 * norms[len(norms)/2]
	var angles []float64
	for i, t := range r.tan2 {
		if r.norm2[i] >= alive {
			angles = append(angles, t)
		}
	}
	slices.Sort(angles)
	median := max(angles[len(angles)/2], leastTan2)
	limit := min(max(noiseTan2, noiseFactor*median), max(partTan2, partFactor*median))
	if !r.typ.IsQuantized() {
		limit = floatTan2
	}
	why := make(map[int]string)
	for i, t := range r.tan2 {
		if r.norm2[i] >= alive && t > limit {
			why[i] = "damaged"
		}
	}
	r.nameSwapped(why)
	r.nameFlips(why)
	if len(why) > max(8, len(r.tan2)/unusualShare) {
		return nil
	}
	cosine := func(tan2 float64) float64 { return 1 / math.Sqrt(1+tan2) }
	var list []UnlikeRow
	for i, t := range r.tan2 {
		if w := why[i]; w != "" {
			list = append(list, UnlikeRow{tensor, i, cosine(t), cosine(median), w})
		}
	}
	slices.SortStableFunc(list, func(a, b UnlikeRow) int { return cmp.Compare(a.Cosine, b.Cosine) })
	return list
}
