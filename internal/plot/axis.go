package plot

import (
	"math"
	"slices"
	"strconv"
)

// Axis is one of the two axes of a [Chart]. What is drawn extends its range, which the caller may then
// change.
type Axis struct {
	Label    string
	Log      bool // places are proportional to the logarithm; all values are greater than 0
	Min, Max float64
	Ticks    []Tick // in place of those that follow from the range
	Names    bool   // the ticks name rows or columns: no line, marks or grid
}

// Tick is a place on an axis. One without a label has a shorter mark.
type Tick struct {
	At    float64
	Label string
}

func newAxis(label string) Axis { return Axis{Label: label, Min: math.Inf(1), Max: math.Inf(-1)} }

// include extends the range.
func (a *Axis) include(v float64) { a.Min, a.Max = min(a.Min, v), max(a.Max, v) }

// Widen adds a part of the range at both of its ends.
func (a *Axis) Widen(part float64) {
	if a.Log {
		factor := math.Pow(a.Max/a.Min, part)
		if factor == 1 {
			factor = 10
		}
		a.Min, a.Max = a.Min/factor, a.Max*factor
		return
	}
	d := part * (a.Max - a.Min)
	if d == 0 {
		d = 1
	}
	a.Min, a.Max = a.Min-d, a.Max+d
}

// At returns where a value is: 0 at the beginning of the axis, 1 at its end.
func (a *Axis) At(v float64) float64 {
	if a.Log {
		return math.Log(v/a.Min) / math.Log(a.Max/a.Min)
	}
	return (v - a.Min) / (a.Max - a.Min)
}

// Inside returns the value of the range that is nearest to v.
func (a *Axis) Inside(v float64) float64 { return min(max(v, a.Min), a.Max) }

// ticks returns those that the axis shows.
func (a *Axis) ticks() []Tick {
	switch {
	case a.Ticks != nil:
		return a.Ticks
	case a.Log:
		return logTicks(a.Min, a.Max)
	}
	return linearTicks(a.Min, a.Max)
}

// linearTicks returns at most seven ticks at multiples of 1, 2 or 5 times a power of 10, none with a digit too many.
func linearTicks(low, high float64) []Tick {
	span := high - low
	if !(span > 0) || math.IsInf(span, 1) {
		return nil
	}
	step := math.Pow(10, math.Floor(math.Log10(span/5)))
	for _, k := range []float64{1, 2, 5, 10} {
		if span/(k*step) <= 6 {
			step *= k
			break
		}
	}
	decimals := max(0, -int(math.Floor(math.Log10(step)+1e-9)))
	var ticks []Tick
	first := math.Ceil(low/step - 1e-9)
	for i := range 7 {
		v := (first + float64(i)) * step
		if v > high+step*1e-9 {
			break
		}
		ticks = append(ticks, Tick{v, strconv.FormatFloat(v+0, 'f', decimals, 64)}) // +0: not -0
	}
	return ticks
}

// logTicks returns nine ticks in a decade, with at most about seven labels.
func logTicks(low, high float64) []Tick {
	if !(low > 0) || !(high > low) || math.IsInf(high, 1) {
		return nil
	}
	lowDecades, highDecades := math.Log10(low), math.Log10(high)
	labelled := []int{1}
	span := highDecades - lowDecades + 1e-9 // 7 decades may be a little less, on one CPU and not on another
	every := 1 + int(span)/7
	if span < 2 {
		labelled = []int{1, 2, 5}
	}
	var ticks []Tick
	for d := int(math.Floor(lowDecades)); d <= int(math.Ceil(highDecades)); d++ {
		for k := 1; k < 10; k++ {
			if at := float64(d) + math.Log10(float64(k)); at < lowDecades-1e-9 || at > highDecades+1e-9 {
				continue
			}
			t := Tick{At: float64(k) * math.Pow(10, float64(d))}
			if d%every == 0 && slices.Contains(labelled, k) {
				t.Label = powerText(k, d)
			}
			ticks = append(ticks, t)
		}
	}
	return ticks
}

// powerText writes k·10^d, k from 1 to 9.
func powerText(k, d int) string {
	if d < -4 || d > 5 {
		return strconv.Itoa(k) + "e" + strconv.Itoa(d)
	}
	return strconv.FormatFloat(float64(k)*math.Pow(10, float64(d)), 'f', max(0, -d), 64)
}
