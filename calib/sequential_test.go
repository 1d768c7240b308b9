package calib

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/phi3conv/phi3conv/calib/solve"
	"github.com/phi3conv/phi3conv/calib/stats"
	"github.com/phi3conv/phi3conv/internal/usage"
	"github.com/phi3conv/phi3conv/quant"
	"github.com/phi3conv/phi3conv/runtime"
	"github.com/phi3conv/phi3conv/runtime/tokenizer"
)

const tinyModel = "../testdata/tiny-phi3"

// tinyTokens returns statistics that hold nothing but sequences of the tiny model.
func tinyTokens(t *testing.T, sequences, length int) *stats.File {
	t.Helper()
	tok, err := tokenizer.Open(tinyModel)
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile("../testdata/tiny-phi3-calib.txt")
	if err != nil {
		t.Fatal(err)
	}
	tokens := tok.Encode(string(text), tokenizer.EncodeOptions{})[:sequences*length]
	s := &stats.File{Origin: &stats.Origin{Tokens: tokens}}
	for range sequences {
		s.Origin.Lengths = append(s.Origin.Lengths, int32(length))
	}
	return s
}

// recipe is one of the method gptq, with channels not scaled.
func recipe(t *testing.T, how solve.Options) *Recipe {
	t.Helper()
	m, err := MethodByName("gptq")
	if err != nil {
		t.Fatal(err)
	}
	return &Recipe{Method: m, Solve: how}
}

// A type that the method cannot make is a mistake of who asks for it, and its tensor is named.
func TestRefusedType(t *testing.T) {
	l, err := runtime.OpenLayers(tinyModel, runtime.Options{Threads: 1, Batch: BatchTokens})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	r := recipe(t, solve.DefaultOptions())
	r.Tensors = []quant.Target{{Tensor: l.Linear(1)[0], Type: quant.Q4_0}}
	how := sequential{check: func(typ quant.Type) error { return fmt.Errorf("%s has no geometry", typ) }}
	work := filepath.Join(t.TempDir(), "work")
	_, err = how.quantize(t.Context(), l, tinyTokens(t, 1, 16), r, QuantizeOptions{Work: work})
	var mistake *usage.Error
	if !errors.As(err, &mistake) || err.Error() != l.Linear(1)[0]+": Q4_0 has no geometry" {
		t.Errorf("got %v", err)
	}
	if _, err := os.Stat(work); err == nil {
		t.Error("work was begun")
	}
}

// quantizeTiny returns the blocks of every linear layer of the tiny model. It sets the recipe's tensors.
func quantizeTiny(
	ctx context.Context, t *testing.T, s *stats.File, threads int, r *Recipe, opt QuantizeOptions,
) (map[string][]byte, error) {
	t.Helper()
	l, err := runtime.OpenLayers(tinyModel, runtime.Options{Threads: threads, Batch: BatchTokens})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	// A mixture of types, a type that is not quantized, and a tensor that is no linear layer.
	targets := []quant.Target{{Tensor: "token_embd.weight", Type: quant.Q4_0}, {Tensor: l.Output(), Type: quant.Q5_0}}
	for i := range l.Count() {
		for j, name := range l.Linear(i) {
			typ := []quant.Type{quant.Q4_K, quant.Q4_0, quant.Q6_K, quant.F16, quant.IQ4_NL}[(i+j)%5]
			targets = append(targets, quant.Target{Tensor: name, Type: typ})
		}
	}
	r.Tensors = targets
	e, err := Quantize(ctx, l, s, r, opt)
	if err != nil {
		return nil, err
	}
	for i := range l.Count() { // with AWQ
		for _, name := range []string{"attn_norm", "ffn_norm"} {
			targets = append(targets, quant.Target{Tensor: fmt.Sprintf("blk.%d.%s.weight", i, name), Type: quant.F32})
		}
	}
	blocks := map[string][]byte{}
	for _, target := range targets {
		if r := e.Tensor(target.Tensor); r != nil {
			rows, cols, err := l.Shape(target.Tensor)
			if err != nil {
				t.Fatal(err)
			}
			b := make([]byte, target.Type.Size(int64(rows*cols)))
			if _, err := r.ReadAt(b, 0); err != nil {
				t.Fatal(err)
			}
			blocks[target.Tensor] = b
		} else if target.Type.IsQuantized() && target.Tensor != "token_embd.weight" {
			t.Errorf("%s is missing", target.Tensor)
		}
	}
	return blocks, e.Remove()
}

func sameBlocks(t *testing.T, what string, got, want map[string][]byte) {
	t.Helper()
	if len(got) != len(want) {
		t.Errorf("%s: %d tensors, want %d", what, len(got), len(want))
	}
	for name := range want {
		if !bytes.Equal(got[name], want[name]) {
			t.Errorf("%s: other blocks of %s", what, name)
		}
	}
}

// The same blocks with any number of threads, and when a run was interrupted; every layer's
// error is less than that of the type's own encoder.
func TestQuantizeModel(t *testing.T) {
	s := tinyTokens(t, 6, 80)
	work := filepath.Join(t.TempDir(), "work")
	opt := QuantizeOptions{Work: work}
	r := recipe(t, solve.Options{Damp: []float64{0.01}, Sweeps: 1, Asymmetric: 0.5})
	layers := 0
	opt.Solved = func(tensor string, s *solve.Solution) {
		layers++
		if !(s.Error < s.Plain) {
			t.Errorf("%s: error %g, and %g of the encoder", tensor, s.Error, s.Plain)
		}
	}
	want, err := quantizeTiny(context.Background(), t, s, 1, r, opt)
	if err != nil {
		t.Fatal(err)
	}
	if layers != len(want) || layers == 0 {
		t.Errorf("%d layers solved, %d tensors", layers, len(want))
	}
	got, err := quantizeTiny(context.Background(), t, s, 3, r, opt)
	if err != nil {
		t.Fatal(err)
	}
	sameBlocks(t, "3 threads", got, want)

	ctx, cancel := context.WithCancel(context.Background())
	opt.Progress = func(int64, int64) {
		if savedSteps(t, opt.Work) == 2 {
			cancel()
		}
	}
	if _, err := quantizeTiny(ctx, t, s, 2, r, opt); !errors.Is(err, context.Canceled) {
		t.Fatalf("error %v", err)
	}
	resumed := 0
	opt.Progress, opt.Resumed = nil, func(blocks int) { resumed = blocks }
	got, err = quantizeTiny(context.Background(), t, s, 2, r, opt)
	if err != nil {
		t.Fatal(err)
	}
	if resumed != 2 {
		t.Errorf("continued after block %d", resumed)
	}
	sameBlocks(t, "continued", got, want)
	if _, err := os.Stat(work); err == nil {
		t.Error("the work file is left")
	}

	if err := os.WriteFile(work, []byte("something that is not ours"), 0o666); err != nil {
		t.Fatal(err)
	}
	if _, err := quantizeTiny(context.Background(), t, s, 1, r, opt); err == nil {
		t.Error("another file was taken for a work file")
	}
}

// Statistics with gradients weigh the tokens, for each part of a layer's outputs if split.
func TestQuantizeWeighted(t *testing.T) {
	plain := tinyTokens(t, 3, 80)
	r := recipe(t, solve.Options{Damp: []float64{0.01}})
	opt := QuantizeOptions{Work: filepath.Join(t.TempDir(), "work")}
	want, err := quantizeTiny(context.Background(), t, plain, 2, r, opt)
	if err != nil {
		t.Fatal(err)
	}
	l, err := runtime.OpenLayers(tinyModel, runtime.Options{Threads: 2, Batch: BatchTokens})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	path := filepath.Join(t.TempDir(), "stats.gguf")
	s := &stats.File{ChunkSize: 80, Origin: plain.Origin}
	how := Options{Fisher: true, Outputs: true, GradientMemory: 1 << 30, Memory: 1 << 30, Work: path + ".work"}
	if err := Calibrate(context.Background(), l, s, path, how); err != nil {
		t.Fatal(err)
	}
	if s, err = stats.Open(path); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	weighted, err := quantizeTiny(context.Background(), t, s, 2, r, opt)
	if err != nil {
		t.Fatal(err)
	}
	r.Solve.Outputs = 0.5
	var mistake *usage.Error
	if _, err := quantizeTiny(context.Background(), t, plain, 2, r, opt); !errors.As(err, &mistake) {
		t.Errorf("statistics without gradients: %v", err)
	}
	together, err := quantizeTiny(context.Background(), t, s, 2, r, opt)
	if err != nil {
		t.Fatal(err)
	}
	r.Solve.Outputs, r.Split = 0, true
	split, err := quantizeTiny(context.Background(), t, s, 2, r, opt)
	if err != nil {
		t.Fatal(err)
	}
	name := l.Linear(0)[0]
	if bytes.Equal(weighted[name], want[name]) || bytes.Equal(split[name], weighted[name]) ||
		bytes.Equal(together[name], weighted[name]) {
		t.Error("gradients make no difference")
	}
}
