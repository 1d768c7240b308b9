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

// What every method in the table must do: quantize the tiny model of each architecture well, with the same bytes from
// any number of threads and with little memory, and refuse statistics that lack what it needs.
func TestMethods(t *testing.T) {
	for _, model := range models {
		fisher := model == tinyMoE
		s := statsOf(t, model, 80, 3)
		path := gatherOf(t, model, 2, s, Options{Memory: 1 << 30, Fisher: fisher, GradientMemory: 1 << 30})
		s = load(t, path)
		for i := range methods {
			m := &methods[i]
			t.Run(filepath.Base(model)+"/"+m.Name, func(t *testing.T) {
				if found, err := MethodByName(m.Name); found != m || err != nil {
					t.Errorf("by its name: %v, %v", found, err)
				}
				if m.Usage == "" || strings.ContainsAny(m.Usage, "\n") {
					t.Errorf("usage %q, expected a line", m.Usage)
				}
				for _, option := range m.Options {
					known := []string{"damp", "shrink", "refine", "asymmetric", "outputs", "awq", "split"}
					if !slices.Contains(known, option) {
						t.Errorf("recipes have no option %s", option)
					}
				}
				r := &Recipe{Method: m, Solve: solve.DefaultOptions(), AWQ: m.Takes("awq")}
				blocks, off := quantizeAll(t, model, r, s, QuantizeOptions{}, 1)
				if !(off < 0.2) {
					t.Errorf("the residual stream is off by %.3f of itself", off)
				}
				again, _ := quantizeAll(t, model, r, s, QuantizeOptions{MomentMemory: 1}, 3)
				sameBlocks(t, "3 threads, little memory", again, blocks)
				needsStatistics(t, r)
			})
		}
	}
}

// quantizeAll quantizes the linear layers of a model's first two blocks as Q4_K and Q5_0, but for routers, which are
// F32: what the method does not encode, by the types' own encoders. It returns the blocks, and how far the residual
// stream after the second block is off, relative to its size.
func quantizeAll(
	t *testing.T, model string, r *Recipe, s *stats.File, opt QuantizeOptions, threads int,
) (blocks map[string][]byte, off float64) {
	t.Helper()
	ctx := context.Background()
	l, original := openLayers(t, model, threads), openLayers(t, model, threads)
	r.Tensors = nil
	for i := range 2 {
		for j, name := range l.Linear(i) {
			typ := []quant.Type{quant.Q4_K, quant.Q5_0}[j%2]
			if _, cols, _ := l.Shape(name); cols%256 != 0 {
				typ = quant.Q5_0
			}
			if strings.Contains(name, "ffn_gate_inp") {
				typ = quant.F32
			}
			r.Tensors = append(r.Tensors, quant.Target{Tensor: name, Type: typ})
		}
	}
	opt.Work = filepath.Join(t.TempDir(), "work")
	encoded, err := Quantize(ctx, openLayers(t, model, threads), s, r, opt)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = encoded.Remove() }()
	blocks = map[string][]byte{}
	tokens := s.Origin.Tokens[:min(64, len(s.Origin.Tokens))]
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
	for _, f := range l.Folds(i) {
		for _, s := range f.Makers {
			if s.Cols == 1 {
				tensors = append(tensors, quant.Target{Tensor: s.Tensor, Type: quant.F32})
			}
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
			encode(data, w, target.Type, l.Experts(target.Tensor), cols, s.Entry(target.Tensor), r.Method.Needs)
		}
		blocks[target.Tensor] = data
		target.Type.Dequantize(w, data)
		if err := l.SetWeights(target.Tensor, w); err != nil {
			return err
		}
	}
	return nil
}

// encode makes a tensor's blocks by its type's own encoder.
func encode(data []byte, w []float32, typ quant.Type, experts, cols int, e *stats.Entry, needs Needs) {
	if needs < MeanSquares || !typ.IsQuantized() {
		typ.QuantizeRefit(data, w, cols, nil)
		return
	}
	size, n := len(data)/experts, len(w)/experts
	for i := range experts {
		importance := quant.Relative(e.Importance()[i*cols:][:cols])
		typ.QuantizeRefit(data[i*size:][:size], w[i*n:][:n], cols, importance)
	}
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
