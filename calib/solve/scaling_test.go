package solve

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/phi3conv/phi3conv/internal/kern"
	"github.com/phi3conv/phi3conv/quant"
	"github.com/phi3conv/phi3conv/runtime"
)

// identity is a fold in which each column of a matrix reads a channel of its own, which a vector makes.
func identity(rows, cols int) *runtime.Fold {
	f := runtime.Fold{
		Makers: []runtime.Span{{Tensor: "norm", Rows: cols, Cols: 1}}, Channels: cols, Channel: make([]int, cols),
		Readers: []runtime.Span{{Tensor: "w", Rows: rows, Cols: cols}},
	}
	for c := range f.Channel {
		f.Channel[c] = c
	}
	return &f
}

// scale begins a search for factors of a layer's columns.
func scale(l *Layer, threads int) *scaling {
	var list []ScaledRow
	for row := range slices.Chunk(l.W, l.Cols) {
		list = append(list, ScaledRow{slices.Clone(row), l.Type})
	}
	return newScaling(identity(l.Rows, l.Cols), list, l.H, threads)
}

// The loss is the error of the scaled weights under the scaled inputs' second moments, but for the sampling of rows.
func TestScalingLoss(t *testing.T) {
	for _, typ := range []quant.Type{quant.Q4_K, quant.Q4_0, quant.Q3_K} {
		l := randomLayer(typ, 40, 256, 500)
		s := scale(l, 2)
		factors := s.factors(2, 8)
		// To powers of two, with which scaling is exact: else rounding decides between equally good scales.
		for i, f := range factors {
			factors[i] = float32(math.Exp2(math.Round(math.Log2(float64(f)))))
		}
		unit := float64(s.imp[0] / l.H[0])
		ones := make([]float32, 256)
		for i := range ones {
			ones[i] = 1
		}
		apply := Scaling{*s.Fold, factors}
		apply.Apply("norm", 0, ones)
		apply.Apply("w", 0, l.W)
		for i := range 256 {
			for j := range 256 {
				l.H[i*256+j] /= factors[i] * factors[j]
			}
		}
		encoded, err := l.Encode(2)
		if err != nil {
			t.Fatal(err)
		}
		got, want := s.loss(factors)/unit, encoded.Error
		if math.Abs(got-want) > 1e-5*want {
			t.Errorf("%s: loss %g, want %g", typ, got, want)
		}
		for i, f := range factors {
			if dead := i%61 == 60; dead && f != 1 || math.Abs(float64(ones[i]*f)-1) > 1e-6 {
				t.Errorf("factor %d is %g, the other side's %g", i, f, ones[i])
			}
		}
	}
}

// Channels of which some matter much more are rounded in finer steps.
func TestScalingGains(t *testing.T) {
	l := randomLayer(quant.Q4_0, 40, 256, 500)
	for r := range l.Rows {
		for c := range l.Cols {
			if c%9 == 0 {
				l.W[r*l.Cols+c] *= 0.2
			}
		}
	}
	for i := range l.Cols {
		for j := range l.Cols {
			for _, k := range []int{i, j} {
				if k%9 == 0 {
					l.H[i*l.Cols+j] *= 10
				}
			}
		}
	}
	factors, share := scale(l, 1).search(func(float64) {})
	if share > 0.7 || !(factors[9] > 2*factors[10]) {
		t.Errorf("share %g, factors %g and %g", share, factors[9], factors[10])
	}
	for _, h := range []float32{0, 1e-38, 1e35} {
		for i := range l.H {
			l.H[i] = h
		}
		factors, share := scale(l, 1).search(func(float64) {})
		if math.IsNaN(share) || share > 1 || !kern.Best().Below(factors, 2*maxFactor) {
			t.Errorf("moments of %g: share %g", h, share)
		}
	}
}

// The same factors from every kernel set and on every architecture: those of testdata/scaled.txt.
func TestScalingSameBytes(t *testing.T) {
	defer func() { _ = kern.SelectFromEnv() }()
	b, err := os.ReadFile("testdata/scaled.txt")
	if err != nil {
		t.Fatal(err)
	}
	for _, typ := range []quant.Type{quant.Q4_K, quant.Q4_0, quant.IQ4_NL} {
		l := fixedLayer(typ, 36, 256)
		for i, set := range kern.Sets() {
			if i == 0 && typ != quant.Q4_0 {
				continue // the portable one is slow
			}
			if err := kern.Select(set.Name); err != nil {
				t.Fatal(err)
			}
			factors, share := scale(l, 1+i).search(func(float64) {})
			hash := sha256.New()
			_ = binary.Write(hash, binary.LittleEndian, factors) // a hash takes everything
			line := fmt.Sprintf("%s %.12g %x\n", typ, share, hash.Sum(nil))
			if !strings.Contains(string(b), line) {
				t.Errorf("%s kernels: testdata/scaled.txt lacks\n%s", set.Name, line)
			}
		}
	}
}
