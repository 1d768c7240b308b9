package tensorstats

import (
	"cmp"
	"math"
	"slices"

	"github.com/phi3conv/phi3conv/internal/floats"
)

// Histogram and outliers of a [Distribution].
const (
	Bins     = 16 // of the histogram
	Sigmas   = 6  // standard deviations from the mean beyond which a value is an outlier
	maxTop   = 5  // values in Top
	binSigma = 0.5
)

// Distribution accumulates where the finite values of a tensor lie, in a second
// pass after its [Stats].
type Distribution struct {
	// Outliers is the number of values more than [Sigmas] standard deviations
	// from the mean.
	Outliers int64
	// Top lists the values farthest from the mean, the farthest first, of equals
	// the first of the tensor; at most five.
	Top []Extreme
	// Bin counts values: each of the [Bins] is half a standard deviation wide,
	// together they are centred at the mean. The first and the last bin also
	// hold everything beyond them.
	Bin [Bins]int64

	mean, std float64
	next      int64 // index of the next value
	worst     float64
}

// Extreme is a value and its place in the tensor, counted in row-major order.
type Extreme struct {
	Index int64
	Value float32
}

// NewDistribution begins the second pass over the tensor that s describes.
func NewDistribution(s *Stats) *Distribution {
	return &Distribution{mean: s.Mean(), std: s.Std(), worst: -1}
}

// Edge returns the lower edge of bin i, counting from 0; Edge(Bins) is the upper
// edge of the last.
func (d *Distribution) Edge(i int) float64 {
	return d.mean + float64(float64(i-Bins/2)*binSigma*d.std)
}

// Sigma returns how many standard deviations v is from the mean, 0 if all values
// are equal.
func (d *Distribution) Sigma(v float32) float64 {
	if d.std == 0 {
		return 0
	}
	return (float64(v) - d.mean) / d.std
}

// Add takes the next values of the tensor.
func (d *Distribution) Add(x []float32) {
	scale := 0.0 // of a tensor of equal values
	if d.std > 0 {
		scale = 1 / (binSigma * d.std)
	}
	limit := Sigmas * d.std
	for i, v := range x {
		if !floats.Finite(v) {
			continue
		}
		from := float64(v) - d.mean
		far := math.Abs(from)
		if far > limit && d.std > 0 {
			d.Outliers++
		}
		if far > d.worst {
			d.addTop(Extreme{d.next + int64(i), v})
		}
		bin := int(math.Floor(max(-Bins, min(Bins, float64(from*scale))))) + Bins/2
		d.Bin[max(0, min(Bins-1, bin))]++
	}
	d.next += int64(len(x))
}

func (d *Distribution) addTop(e Extreme) {
	far := func(e Extreme) float64 { return math.Abs(float64(e.Value) - d.mean) }
	d.Top = append(d.Top, e)
	slices.SortStableFunc(d.Top, func(a, b Extreme) int { return cmp.Compare(far(b), far(a)) })
	d.Top = d.Top[:min(len(d.Top), maxTop)]
	if len(d.Top) == maxTop {
		d.worst = far(d.Top[maxTop-1])
	}
}
