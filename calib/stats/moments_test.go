package stats

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/phi3conv/phi3conv/internal/kern"
	"github.com/phi3conv/phi3conv/runtime"
)

func randomInputs(rows, cols, stride int) runtime.Inputs {
	r := rand.New(rand.NewPCG(1, uint64(cols)))
	in := runtime.Inputs{Tensor: "t", Rows: rows, Cols: cols, Stride: stride, X: make([]float32, rows*stride)}
	for i := range in.X {
		in.X[i] = float32(r.NormFloat64())
	}
	return in
}

func randomWeights(n int) []float32 {
	w := make([]float32, n)
	for i := range w {
		w[i] = float32(i%5) / 2
	}
	return w
}

func moments(in runtime.Inputs, w []float32, threads int) *Moments {
	m := NewMoments(in.Cols, true)
	m.Add(in, w, threads)
	m.Add(in, w, threads)
	return m
}

// Against plain float64 sums, within the error that the documentation states.
func TestMoments(t *testing.T) {
	for _, cols := range []int{1, 15, 16, 64, 65, 200, 600} {
		for _, rows := range []int{1, 3, 256, 300} {
			if testing.Short() && cols*rows > 20000 {
				continue
			}
			in := randomInputs(rows, cols, cols+7)
			for _, weights := range [][]float32{nil, randomWeights(rows)} {
				m := moments(in, weights, 2)
				sums, matrix, count := m.Sums(), m.Matrix(), 0.0
				for i := range cols {
					for j := 0; j <= i; j++ {
						want, bound := 0.0, 0.0
						count = 0
						for r := range rows {
							w := 2.0
							if weights != nil {
								w *= float64(weights[r])
							}
							p := w * float64(in.Row(r)[i]) * float64(in.Row(r)[j])
							want, bound, count = want+p, bound+math.Abs(p), count+w
						}
						bound = bound*momentRows/(1<<24) + 1e-30
						got := float64(matrix[i*cols+j])
						if math.Abs(got-want) > bound || matrix[i*cols+j] != matrix[j*cols+i] {
							t.Fatalf("%d rows of %d: element %d,%d is %g, expected %g ± %g",
								rows, cols, i, j, got, want, bound)
						}
						if i == j && math.Abs(float64(sums[i])-want) > 1e-6*want {
							t.Fatalf("%d rows of %d: sum %d is %g, expected %g", rows, cols, i, sums[i], want)
						}
					}
				}
				if m.Count != count {
					t.Errorf("count %g, expected %g", m.Count, count)
				}
			}
		}
	}
}

// The same bits with any number of threads and from every kernel set.
func TestMomentsSameBits(t *testing.T) {
	defer func() { _ = kern.SelectFromEnv() }()
	in := randomInputs(300, 130, 144)
	w := randomWeights(300)
	if err := kern.Select("generic"); err != nil {
		t.Fatal(err)
	}
	want := moments(in, w, 1)
	for _, set := range kern.Sets() {
		if err := kern.Select(set.Name); err != nil {
			t.Fatal(err)
		}
		for _, threads := range []int{1, 3} {
			got := moments(in, w, threads)
			if !slices.Equal(got.Sums(), want.Sums()) || !slices.Equal(got.Matrix(), want.Matrix()) {
				t.Errorf("%s with %d threads: other bits", set.Name, threads)
			}
		}
	}
}

func BenchmarkMoments(b *testing.B) {
	for _, full := range []bool{false, true} {
		name := map[bool]string{false: "squares", true: "matrix"}[full]
		b.Run(name, func(b *testing.B) {
			in := randomInputs(512, 3072, 3200)
			m := NewMoments(in.Cols, full)
			for b.Loop() {
				m.Add(in, nil, 2)
			}
			operations := float64(in.Rows) * float64(in.Cols) * float64(in.Cols) // half the products, 2 each
			b.ReportMetric(operations*float64(b.N)/b.Elapsed().Seconds()/1e9, "GFLOP/s")
		})
	}
}

// An expert with few tokens gets the mean squares of all for those that are missing, on the diagonal alone; one with
// enough is left alone.
func TestFloor(t *testing.T) {
	few, all := randomInputs(32, 200, 200), randomInputs(300, 200, 208)
	m, pooled := NewMoments(200, true), NewMoments(200, false)
	m.Add(few, nil, 2)
	pooled.Add(all, nil, 2)
	before, sums, mean := m.Matrix(), m.Sums(), pooled.Sums()
	m.Floor(pooled)
	after := m.Matrix()
	for i := range 200 {
		for j := range 200 {
			want := before[i*200+j]
			if i == j {
				want = sums[i] + mean[i]/300*(FloorTokens-32)
			}
			if got := after[i*200+j]; math.Abs(float64(got-want)) > 1e-5*math.Abs(float64(want)) {
				t.Fatalf("element %d,%d is %g, expected %g", i, j, got, want)
			}
		}
	}
	if m.Count != FloorTokens {
		t.Errorf("count %g", m.Count)
	}
	enough := NewMoments(200, true)
	enough.Add(all, nil, 1)
	want := enough.Matrix()
	if enough.Floor(m); !slices.Equal(enough.Matrix(), want) {
		t.Error("an expert with enough tokens changes")
	}
}
