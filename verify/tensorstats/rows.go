package tensorstats

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"

	"github.com/phi3conv/phi3conv/internal/report"
)

// Rows compares the rows of a matrix b with those of a reference a, and finds the few that are unlike the
// reference's although the others are not: swapped, or damaged.
type Rows struct {
	cols, at    int // values in a row; those seen of the one that is being added
	dot, aa, bb float64
	tan2        []float64 // of the angle of each row of b with a's, squared; +Inf from 90° on
	norm2       []float64 // of each row of a
}

// NewRows begins the comparison of matrices with rows of so many values.
func NewRows(cols int) *Rows { return &Rows{cols: cols} }

// Add takes the next values of both matrices, in order; they must be equally many.
func (r *Rows) Add(a, b []float32) {
	b = b[:len(a)]
	for len(a) > 0 {
		n := min(len(a), r.cols-r.at)
		dot, aa, bb := r.dot, r.aa, r.bb
		for i, x := range a[:n] {
			x, y := float64(x), float64(b[i])
			dot += float64(x * y)
			aa += float64(x * x)
			bb += float64(y * y)
		}
		r.dot, r.aa, r.bb = dot, aa, bb
		a, b = a[n:], b[n:]
		if r.at += n; r.at < r.cols {
			return
		}
		tan2 := math.Inf(1)
		if dot > 0 && dot*dot < math.Inf(1) {
			tan2 = max(0, aa*bb/(dot*dot)-1)
		}
		r.tan2, r.norm2 = append(r.tan2, tan2), append(r.norm2, aa)
		r.at, r.dot, r.aa, r.bb = 0, 0, 0, 0
	}
}

// Cells are the tensor, the row and the cosines.
func (u *UnlikeRow) Cells() []string {
	return []string{report.Printable(u.Tensor), strconv.Itoa(u.Row), fmt.Sprintf("%.4f", u.Cosine),
		fmt.Sprintf("%.4f", u.Median)}
}

// UnlikeRow is a row that is unlike the reference's.
type UnlikeRow struct {
	Tensor string  `json:"tensor"`
	Row    int     `json:"row"`    // from 0
	Cosine float64 `json:"cosine"` // of its angle with the reference's row, 0 from 90° on
	Median float64 `json:"median"` // cosine, of the tensor's rows
}

// Which rows are unlike. Quantization turns rows by angles that scatter: of 64 files of one model, by 5 methods in 11
// types, with 2 to 8 bits, none has a row beyond 6.0 times the distance from the median to the 99th percentile, in
// logarithms, where tan² is above the least. An exponent bit of a block's scale gives 9.8 and more.
const (
	unlikeTan2   = 0.1  // less is not told from quantization
	unlikeFactor = 8    // times the distance from the median to the 99th percentile
	leastTan2    = 1e-6 // below are roundings of float16 and float32
	leastSpread  = 0.25 // of ln tan² from the median to the 99th percentile
	leastRows    = 64   // fewer do not tell what is usual
	leastNorm2   = 1e-4 // of the median row; smaller ones are dead, and methods do with them what they like
)

// Unlike returns the rows that are unlike the reference's, the worst first.
func (r *Rows) Unlike(tensor string) []UnlikeRow {
	if len(r.tan2) < leastRows {
		return nil
	}
	norms := slices.Sorted(slices.Values(r.norm2))
	alive := leastNorm2 * norms[len(norms)/2]
	var logs []float64
	for i, t := range r.tan2 {
		if r.norm2[i] >= alive {
			logs = append(logs, math.Log(max(t, leastTan2)))
		}
	}
	slices.Sort(logs)
	median := logs[len(logs)/2]
	high := logs[max(len(logs)/2, len(logs)-1-max(8, len(logs)/100))] // a few unlike rows are not what is usual
	limit := max(math.Log(unlikeTan2), median+unlikeFactor*max(leastSpread, high-median))
	cosine := func(tan2 float64) float64 { return 1 / math.Sqrt(1+tan2) }
	var list []UnlikeRow
	for i, t := range r.tan2 {
		if r.norm2[i] >= alive && math.Log(t) > limit {
			list = append(list, UnlikeRow{tensor, i, cosine(t), cosine(math.Exp(median))})
		}
	}
	slices.SortStableFunc(list, func(a, b UnlikeRow) int { return cmp.Compare(a.Cosine, b.Cosine) })
	return list
}
