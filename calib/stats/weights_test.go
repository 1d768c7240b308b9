package stats

import (
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestTokenWeights(t *testing.T) {
	many := make([]float32, 100) // mean 1, of which one token has 60
	for i := range many {
		many[i] = 40.0 / 99
	}
	many[7] = 60
	clipped := slices.Repeat([]float32{40.0 / 99 / 0.6}, 100) // 20 are left of 60: the mean is 0.6
	clipped[7] = 20 / 0.6
	for _, c := range []struct {
		name  string
		parts [][]float32
		want  []float32
	}{
		{"parts are added", [][]float32{{1, 0, 3}, {1, 0, 1}}, []float32{1, 0, 2}},
		{"no gradient", [][]float32{{0, 0}}, []float32{1, 1}},
		{"clipped", [][]float32{many}, clipped},
		{"tiny", [][]float32{{1e-38, 3e-38}}, []float32{0.5, 1.5}},
		{"great", [][]float32{{1e38, 3e38}, {1e38, 3e38}}, []float32{0.5, 1.5}},
	} {
		got := TokenWeights(c.parts...)
		for i, w := range c.want {
			if math.Abs(float64(got[i]-w)) > 1e-6*float64(w) {
				t.Errorf("%s: weight %d is %g, expected %g", c.name, i, got[i], w)
			}
		}
	}
}

func TestGradientValues(t *testing.T) {
	for _, bad := range []float32{float32(math.NaN()), float32(math.Inf(1)), -1} {
		s := &File{Origin: &Origin{Weights: "w", Tokens: []int32{1, 2}, Lengths: []int32{2}}, Entries: []Entry{
			{Name: "a", Sums: []float32{1}, Counts: []float32{1}},
			{Name: "b", Sums: []float32{1}, Counts: []float32{1}, Parts: 2},
		}}
		path := filepath.Join(t.TempDir(), "stats.gguf")
		if err := s.Write(path, norms{{1, 2}, {3, bad}}); err != nil {
			t.Fatal(err)
		}
		s, err := Open(path)
		if err != nil {
			t.Fatal(err)
		}
		for name, want := range map[string]string{
			"a": "no gradients of a: calibrate with --fisher",
			"b": fmt.Sprintf("squared gradients of b have the value %g", bad),
			"c": "no gradients of c",
		} {
			_, err := s.Gradients(name)
			if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), path) {
				t.Errorf("%v, expected %q", err, want)
			}
		}
		_ = s.Close()
	}
}

// The tokens that reach an expert have mean 1, however few they are; others count 1.
func TestExpertWeights(t *testing.T) {
	for _, c := range []struct{ part, want []float32 }{
		{[]float32{0, 1, 0, 3}, []float32{1, 0.5, 1, 1.5}},
		{[]float32{0, 0}, []float32{1, 1}},
	} {
		if got := ExpertWeights(c.part); !slices.Equal(got, c.want) {
			t.Errorf("%g, expected %g", got, c.want)
		}
	}
	parts := [][]float32{{1, 3}, {0, 2}}
	got := MatrixWeights(parts, 2)
	if !slices.Equal(got[0], []float32{0.5, 1.5}) || !slices.Equal(got[1], []float32{1, 1}) {
		t.Errorf("of two experts: %g", got)
	}
	if got := MatrixWeights(parts, 1); len(got) != 1 || !slices.Equal(got[0], TokenWeights(parts...)) {
		t.Errorf("of one matrix with two parts: %g", got)
	}
}

// Square roots are taken in place, of each matrix's weights.
func TestRoots(t *testing.T) {
	got := roots([][]float32{{0.25, 4}, {1}})
	if len(got) != 2 || !slices.Equal(got[0], []float32{0.5, 2}) || !slices.Equal(got[1], []float32{1}) {
		t.Errorf("%g", got)
	}
}

// norms is Gradients without outputs.
type norms [][]float32

func (n norms) Norms(string) ([][]float32, error)      { return n, nil }
func (n norms) Parts(string) int                       { return len(n) }
func (n norms) Blocks(string) []int                    { return nil }
func (n norms) Outputs(string) (*OutputMoments, error) { return nil, nil }
