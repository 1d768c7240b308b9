package verify

import (
	"math"
	"strconv"

	"github.com/dustin/go-humanize"
)

// Times returns the estimate in another unit.
func (e Estimate) Times(k float64) Estimate {
	return Estimate{k * e.Value, k * e.SE, k * e.Low, k * e.High}
}

// Cells formats value, standard error and interval with as many digits as the standard error gives a meaning.
func (e Estimate) Cells() []string {
	return []string{Digits(e.Value, e.SE), Digits(e.SE, e.SE), Digits(e.Low, e.SE), Digits(e.High, e.SE)}
}

// Digits formats x to the second significant digit of scale, or with four digits if the scale is too small or not
// finite, and from 10,000 on without a part after the point. NaN is "?".
func Digits(x, scale float64) string {
	switch {
	case math.IsNaN(x):
		return "?"
	case math.IsInf(x, 1):
		return "∞"
	case math.IsInf(x, -1):
		return "-∞"
	}
	scale = math.Abs(scale)
	if size := math.Abs(x); size >= 1e9 || !(scale >= 1e-9 && scale < math.Inf(1)) {
		if size >= 1e4 && size < 1e9 {
			return strconv.FormatFloat(x, 'f', 0, 64)
		}
		return strconv.FormatFloat(x, 'g', 4, 64)
	}
	return strconv.FormatFloat(x, 'f', max(0, 1-int(math.Floor(math.Log10(scale)))), 64)
}

func bytesOf(n int64) string { return humanize.IBytes(uint64(max(0, n))) }

// short returns the first 12 digits of a hash.
func short(hash string) string { return hash[:min(12, len(hash))] }
