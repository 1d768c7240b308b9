package calib

import (
	"context"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/phi3conv/phi3conv/calib/solve"
	"github.com/phi3conv/phi3conv/calib/stats"
	"github.com/phi3conv/phi3conv/quant"
	"github.com/phi3conv/phi3conv/runtime"
)

// What every method in the table must do: quantize the tiny model well, with the same bytes from any number of threads,
// and refuse statistics that lack what it needs.
func TestMethods(t *testing.T) {
	s := tinyStats(t, 80, 3)
	path := gather(t, 2, s, Options{Memory: 1 << 30})
	s = load(t, path)
	for i := range methods {
		m := &methods[i]
		t.Run(m.Name, func(t *testing.T) {
			if found, err := MethodByName(m.Name); found != m || err != nil {
				t.Errorf("by its name: %v, %v", found, err)
			}
			if m.Usage == "" || strings.ContainsAny(m.Usage, "\n") {
				t.Errorf("usage %q, expected a line", m.Usage)
			}
			for _, option := range m.Options {
				if !slices.Contains([]string{"damp", "shrink", "refine", "asymmetric", "awq", "split"}, option) {
					t.Errorf("recipes have no option %s", option)
				}
			}
			r := &Recipe{Method: m, Solve: solve.DefaultOptions(), AWQ: m.Takes("awq")}
			blocks, off := quantizeAll(t, r, s, 1)
			if !(off < 0.2) {
				t.Errorf("the residual stream is off by %.3f of itself", off)
			}
			again, _ := quantizeAll(t, r, s, 3)
			sameBlocks(t, "3 threads", again, blocks)
			needsStatistics(t, r)
		})
	}
}

// quantizeAll quantizes the linear layers of the tiny model's first two blocks as Q4_K and Q5_0: what the method does
// not encode, by the types' own encoders. It returns the blocks, and how far the residual stream after the second block
// is off, relative to its size.
func quantizeAll(t *testing.T, r *Recipe, s *stats.File, threads int) (blocks map[string][]byte, off float64) {
	t.Helper()
	ctx := context.Background()
	l, original := openLayers(t, tiny, threads), openLayers(t, tiny, threads)
	r.Tensors = nil
	for i := range 2 {
		for j, name := range l.Linear(i) {
			typ := []quant.Type{quant.Q4_K, quant.Q5_0}[j%2]
			r.Tensors = append(r.Tensors, quant.Target{Tensor: name, Type: typ})
		}
	}
	opt := QuantizeOptions{Work: filepath.Join(t.TempDir(), "work")}
	encoded, err := Quantize(ctx, openLayers(t, tiny, threads), s, r, opt)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = encoded.Remove() }()
	blocks = map[string][]byte{}
	tokens := s.Origin.Tokens[:64]
	x := make([]float32, len(tokens)*l.Hidden())
	if err := l.Embed(x, tokens); err != nil {
		t.Fatal(err)
	}
	y := slices.Clone(x)
	for i := range 2 {
		for _, step := range []func() error{
			func() error { return l.Load(ctx, i) },
			func() error { return original.Load(ctx, i) },
			func() error { return setBlock(l, i, encoded, r, s, blocks) },
			func() error { return l.Forward(ctx, x, []int{len(tokens)}, runtime.Pass{}) },
			func() error { return original.Forward(ctx, y, []int{len(tokens)}, runtime.Pass{}) },
		} {
			if err := step(); err != nil {
				t.Fatal(err)
			}
		}
	}
	size := 0.0
	for i, v := range y {
		off, size = off+math.Pow(float64(x[i]-v), 2), size+math.Pow(float64(v), 2)
	}
	return blocks, math.Sqrt(off / size)
}

// setBlock puts what was quantized of block i into its place in l.
func setBlock(l *runtime.Layers, i int, encoded *Encoded, r *Recipe, s *stats.File, blocks map[string][]byte) error {
	tensors := slices.Clone(r.Tensors)
	for _, f := range folds(l, i) {
		if f.Width == 1 {
			tensors = append(tensors, quant.Target{Tensor: f.By, Type: quant.F32})
		}
	}
	for _, target := range tensors {
		if !strings.HasPrefix(target.Tensor, fmt.Sprintf("blk.%d.", i)) {
			continue
		}
		rows, cols, err := l.Shape(target.Tensor)
		if err != nil {
			return err
		}
		w, err := l.Weights(target.Tensor)
		if err != nil {
			return err
		}
		data := make([]byte, target.Type.Size(int64(rows*cols)))
		if from := encoded.Tensor(target.Tensor); from != nil {
			if _, err := from.ReadAt(data, 0); err != nil {
				return err
			}
		} else {
			var importance []float32
			if r.Method.Needs >= MeanSquares && target.Type.IsQuantized() {
				importance = quant.Relative(s.Entry(target.Tensor).Importance())
			}
			target.Type.QuantizeRefit(data, w, cols, importance)
		}
		blocks[target.Tensor] = data
		target.Type.Dequantize(w, data)
		if err := l.SetWeights(target.Tensor, w); err != nil {
			return err
		}
	}
	return nil
}

// needsStatistics checks what the method refuses.
func needsStatistics(t *testing.T, r *Recipe) {
	t.Helper()
	l := openLayers(t, tiny, 1)
	opt := QuantizeOptions{Work: filepath.Join(t.TempDir(), "work")}
	if r.Method.Needs >= MeanSquares {
		_, err := Quantize(t.Context(), l, nil, r, opt)
		if err == nil || !strings.Contains(err.Error(), r.Method.Name+" needs statistics") {
			t.Errorf("without statistics: %v", err)
		}
	}
	if r.Method.Needs >= Tokens {
		foreign := load(t, golden+"imatrix.gguf")
		_, err := Quantize(t.Context(), l, foreign, r, opt)
		if err == nil || !strings.Contains(err.Error(), foreign.Path+": it does not hold the tokens") {
			t.Errorf("with another program's statistics: %v", err)
		}
	}
}
