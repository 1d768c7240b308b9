package text

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// words are random tokens, of which each piece is different.
func words(seed uint64, n int) []int32 {
	rng := rand.New(rand.NewPCG(seed, 1))
	list := make([]int32, n)
	for i := range list {
		list[i] = rng.Int32N(32000)
	}
	return list
}

// The estimate is near the share of pieces that two texts have in common, whichever is longer.
func TestSketch(t *testing.T) {
	calibration := words(1, 50000)
	sketch := NewSketch(calibration, []int32{20000, 30000})
	if len(sketch) != SketchSize || !slices.IsSorted(sketch) {
		t.Fatalf("%d hashes", len(sketch))
	}
	for _, c := range []struct {
		name string
		text []int32
		want float64
	}{
		{"the same", calibration, 1},
		{"a part of it", calibration[5000:9000], 1},
		{"half of it", slices.Concat(calibration[5000:9000], words(2, 4000)), 0.5},
		{"much longer", slices.Concat(calibration, words(3, 200000)), 1},
		{"another", words(4, 50000), 0},
		{"too short for a piece", calibration[:20], 0},
	} {
		got, hits := sketch.Overlap(c.text, []int32{int32(len(c.text))})
		if math.Abs(got-c.want) > 0.1 || (hits == 0) != (c.want == 0) {
			t.Errorf("%s: %v from %d, expected %v", c.name, got, hits, c.want)
		}
	}
}

// The sketch of a short text has all its pieces; those of few different tokens do not count. A known hash: first bytes
// of sha256sum of the tokens 0 to 31 as 32-bit integers, by Python's hashlib.
func TestSmallSketch(t *testing.T) {
	counting := make([]int32, 33)
	for i := range counting {
		counting[i] = int32(i)
	}
	s := NewSketch(counting, []int32{33})
	if len(s) != 2 || !slices.Contains(s, uint64(0xafbc67011b6f94a5)) {
		t.Errorf("%x", s)
	}
	if s := NewSketch(make([]int32, 100), []int32{100}); len(s) != 0 {
		t.Errorf("one token only: %x", s)
	}
	if s := NewSketch(counting, []int32{16, 17}); len(s) != 0 {
		t.Errorf("sequences without a piece: %x", s)
	}
}
