package tensorstats

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"github.com/phi3conv/phi3conv/internal/floats"
)

// suspect keeps a row that is far from the reference's, if it is among the farthest.
func (r *Rows) suspect(row int, tan2 float64, sum *part) {
	if tan2 <= leastTan2 || sum.aa == 0 || sum.bb == 0 || !floats.Finite(sum.bb) {
		return
	}
	if len(r.suspects) == maxSuspects {
		nearest := slices.MinFunc(r.suspects, func(a, b suspect) int { return cmp.Compare(a.tan2, b.tan2) })
		if nearest.tan2 >= tan2 {
			return
		}
		r.suspects = slices.DeleteFunc(r.suspects, func(s suspect) bool { return s.row == nearest.row })
	}
	s := suspect{row: row, tan2: tan2, a: make([]float32, r.cols), b: make([]float32, r.cols)}
	for i, x := range r.ref {
		s.a[i] = float32(x / math.Sqrt(sum.aa))
		s.b[i] = float32(float64(r.b[i]) / math.Sqrt(sum.bb))
	}
	r.suspects = append(r.suspects, s)
}

// nameSwapped says which rows are each other's.
func (r *Rows) nameSwapped(why map[int]string) {
	for i := range r.suspects {
		for j := range i {
			x, y := &r.suspects[i], &r.suspects[j]
			apart := sin2(x.a, y.a)
			if sin2(x.b, y.a) < swapped*apart && sin2(y.b, x.a) < swapped*apart {
				why[x.row], why[y.row] = fmt.Sprintf("swapped with row %d", y.row),
					fmt.Sprintf("swapped with row %d", x.row)
			}
		}
	}
}

// sin2 is the square of the sine of the angle of unit vectors, 1 from 90° on.
func sin2(a, b []float32) float64 {
	cos := 0.0
	for i, x := range a {
		cos += float64(float64(x) * float64(b[i]))
	}
	return 1 - float64(max(0, cos)*max(0, cos)) // rounded: fused it would not be 0 of equal rows
}
