package stats

import (
	"fmt"
	"math"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/phi3conv/phi3conv/runtime"
)

func TestOutputBlocks(t *testing.T) {
	if got, want := OutputBlocks([]int{576, 192, 257}), []int{192, 192, 192, 192, 128, 129}; !slices.Equal(got, want) {
		t.Errorf("%v, expected %v", got, want)
	}
}

// someGradients returns sequences of gradients at 40 outputs: the first 20 go together, the others do not.
func someGradients(sequences int) (all []runtime.Inputs) {
	r := rand.New(rand.NewPCG(1, 2))
	for range sequences {
		in := runtime.Inputs{Rows: 50, Cols: 40, Stride: 48, X: make([]float32, 50*48)}
		for t := range in.Rows {
			common := r.NormFloat64()
			for c := range in.Cols {
				v := r.NormFloat64()
				if c < 20 {
					v += common
				}
				in.X[t*in.Stride+c] = float32(v * float64(1+c%3))
			}
		}
		all = append(all, in)
	}
	return all
}

// Correlations are the true ones, 0.5, nearly, and nothing where there is noise alone.
func TestOutputSums(t *testing.T) {
	for _, sequences := range []int{1, 4, 40} {
		s := NewOutputSums([]int{20, 20})
		squares := make([]float64, 40)
		for _, in := range someGradients(sequences) {
			s.Add(in, 2)
			for t := range in.Rows {
				for c, v := range in.Row(t) {
					squares[c] += float64(v) * float64(v)
				}
			}
		}
		m := s.Moments(sequences, 50*sequences)
		for c, want := range squares {
			if math.Abs(float64(m.Squares[c])-want) > 1e-5*want {
				t.Errorf("output %d has the squares %g, expected %g", c, m.Squares[c], want)
			}
		}
		mean, noise := 0.0, 0.0
		for i, r := range m.Pairs {
			if i < 190 {
				mean += float64(r) / 190
			} else {
				noise += float64(r) * float64(r) / 190
			}
		}
		least, most := 0.4, 0.55
		if sequences == 1 {
			least, most = 0, 0 // one sequence does not tell what is noise
		}
		if mean < least || mean > most || math.Sqrt(noise) > 0.05 {
			t.Errorf("%d sequences: correlations %g, and %g of noise", sequences, mean, math.Sqrt(noise))
		}
	}
}

// fileMoments is Gradients with outputs.
type fileMoments OutputMoments

func (m *fileMoments) Parts(string) int                       { return 0 }
func (m *fileMoments) Norms(string) ([][]float32, error)      { return nil, nil }
func (m *fileMoments) Blocks(string) []int                    { return []int{2} }
func (m *fileMoments) Outputs(string) (*OutputMoments, error) { return (*OutputMoments)(m), nil }

func TestOutputMomentsFile(t *testing.T) {
	nan := float32(math.NaN())
	for _, c := range []struct {
		squares, pairs []float32
		blocks         []int
		want           string
	}{
		{[]float32{1, 2, 3}, []float32{0.5}, []int{2, 1}, ""},
		{[]float32{1, 2, 3}, []float32{0.5}, []int{3}, "3 outputs of a and 1 pairs of them, expected 3 and 3"},
		{[]float32{1, 2}, []float32{0.5}, []int{2, 1}, "2 outputs of a"},
		{[]float32{1, -2, 3}, []float32{0.5}, []int{2, 1}, "a squared gradient of a is -2"},
		{[]float32{1, 2, 3}, []float32{nan}, []int{2, 1}, "a correlation of gradients of a is NaN"},
		{[]float32{1, 2, 3}, []float32{2}, []int{2, 1}, "a correlation of gradients of a is 2"},
	} {
		s := &File{Entries: []Entry{
			{Name: "a", Sums: []float32{1}, Counts: []float32{1}, Outputs: len(c.squares)},
			{Name: "b", Sums: []float32{1}, Counts: []float32{1}},
		}}
		path := filepath.Join(t.TempDir(), "stats.gguf")
		if err := s.Write(path, &fileMoments{c.squares, c.pairs}); err != nil {
			t.Fatal(err)
		}
		s, err := Open(path)
		if err != nil {
			t.Fatal(err)
		}
		got, err := s.OutputMoments("a", c.blocks)
		if c.want == "" {
			if err != nil || !slices.Equal(got.Squares, c.squares) || !slices.Equal(got.Pairs, c.pairs) {
				t.Errorf("%v, %v", got, err)
			}
		} else if err == nil || !strings.Contains(fmt.Sprint(err), c.want) {
			t.Errorf("%v, expected %q", err, c.want)
		}
		if got, err := s.OutputMoments("b", nil); got != nil || err != nil || !s.HasOutputs() {
			t.Errorf("%v, %v of an entry without outputs", got, err)
		}
		_ = s.Close()
	}
}
