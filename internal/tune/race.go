package tune

import (
	"cmp"
	"math"
	"math/rand/v2"
	"slices"
)

// outcome is what a race found out.
type outcome struct {
	best    int       // the fastest candidate; the default, 0, unless another is faster by more than gain
	ratio   float64   // median over the rounds of the best's time to the default's
	err     float64   // standard error of ratio
	rounds  int       // that all candidates still in the race have done
	seconds []float64 // each candidate's time for a unit of work: the lower quartile
}

const (
	gain        = 0.02 // what a candidate must win to replace the default
	leastRounds = 5    // to know an error
	maxRounds   = 60
	finalists   = 3 // besides the default
)

// race times n candidates in turns, so that what else the machine does meets all of them alike. sample returns the
// seconds of a unit of work by a candidate, and more says whether there is time for another. Every third round the
// slower half leaves, judged by each one's fastest sample: what disturbs a sample makes it slower. Without time for a
// round of all there is no outcome.
func race(n int, sample func(i int) float64, more func() bool) (o outcome, ok bool) {
	times := make([][]float64, n)
	in := make([]int, n) // the candidates in the race
	for i := range in {
		in[i] = i
	}
	random := rand.New(rand.NewPCG(1, uint64(n)))
	for ; o.rounds < maxRounds && more(); o.rounds++ {
		if o.rounds > 0 && o.rounds%3 == 0 && len(in) > finalists+1 {
			slices.SortFunc(in[1:], func(a, b int) int {
				return cmp.Compare(slices.Min(times[a]), slices.Min(times[b]))
			})
			in = in[:1+max(finalists, len(in)/2)]
		}
		round := make([]float64, len(in))
		for _, k := range random.Perm(len(in)) {
			if !more() {
				round = nil // which is not complete
				break
			}
			round[k] = sample(in[k])
		}
		if round == nil {
			break
		}
		for k, i := range in {
			times[i] = append(times[i], round[k])
		}
	}
	if o.rounds == 0 {
		return o, false
	}
	for _, t := range times {
		o.seconds = append(o.seconds, quantile(t, 0.25))
	}
	o.ratio = 1
	for _, i := range in {
		ratios := make([]float64, o.rounds)
		for r := range ratios {
			ratios[r] = times[i][r] / times[0][r]
		}
		err := 1.0 // unknown
		if o.rounds >= leastRounds {
			err = spread(ratios) / math.Sqrt(float64(o.rounds))
		}
		if m := median(ratios); i > 0 && m < min(o.ratio, 1-gain) {
			o.best, o.ratio, o.err = i, m, err
		} else if o.best == 0 {
			o.err = max(o.err, err) // of the nearest to the default, too
		}
	}
	return o, true
}

// sure reports whether another race can be expected to have the same outcome.
func (o *outcome) sure() bool { return o.rounds >= leastRounds && o.err < gain }

func median(x []float64) float64 { return quantile(x, 0.5) }

// quantile returns a quantile of x, which is not changed.
func quantile(x []float64, q float64) float64 {
	s := slices.Sorted(slices.Values(x))
	at := q * float64(len(s)-1)
	i := int(at)
	if i+1 >= len(s) {
		return s[len(s)-1]
	}
	return s[i] + (at-float64(i))*(s[i+1]-s[i])
}

// spread estimates the standard error of the median of one value, from the quartiles: of normal values they are 1.35
// standard deviations apart, and a median is off by 1.25 times as much as a mean.
func spread(x []float64) float64 { return 1.25 / 1.35 * (quantile(x, 0.75) - quantile(x, 0.25)) }
