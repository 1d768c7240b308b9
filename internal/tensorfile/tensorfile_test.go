package tensorfile

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/phi3conv/phi3conv/formats/gguf"
	"github.com/phi3conv/phi3conv/quant"
)

// values reads a whole tensor.
func values(t *testing.T, x *Tensor) (all []float32, data []byte) {
	t.Helper()
	for r := x.Reader(); ; {
		v, b, err := r.Next()
		if err == io.EOF {
			return all, data
		} else if err != nil {
			t.Fatal(err)
		}
		all, data = append(all, v...), append(data, b...)
	}
}

func TestSafetensors(t *testing.T) {
	f, err := Open("../../formats/safetensors/testdata/all.safetensors")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	want := []float32{0, 0, 1, -1.5, 65504, 6e-5, 3.140625, -0.333251953125}
	for name, typ := range map[string]string{"value.float32": "F32", "value.float64": "F64"} {
		x := f.Tensor(name)
		if got, _ := values(t, x); !slices.Equal(got, want) || x.Type != typ || !slices.Equal(x.Shape, []uint64{2, 4}) {
			t.Errorf("%s is %s %d %v, expected %s [2 4] %v", name, x.Type, x.Shape, got, typ, want)
		}
	}
	if got, _ := values(t, f.Tensor("value.float16")); got[3] != -1.5 || got[4] != 65504 {
		t.Errorf("value.float16 is %v", got)
	}
	if got, _ := values(t, f.Tensor("scalar")); len(got) != 1 {
		t.Errorf("scalar is %v", got)
	}
	for _, name := range []string{"t.int64", "t.float8_e4m3fn"} {
		if f.Tensor(name).Unusable == nil {
			t.Errorf("%s is usable", name)
		}
	}
	if f.Tensor("none") != nil {
		t.Error("found a tensor that is not there")
	}
}

func TestDirectory(t *testing.T) {
	f, err := Open("../../formats/safetensors/testdata/sharded")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	if len(f.Tensors) != 3 || filepath.Base(f.Tensor("a.weight").Path) != "model-00002-of-00002.safetensors" {
		t.Errorf("got %+v", f.Tensors)
	}
}

// A tensor longer than a piece, of blocks: it must be decoded as in one go.
func TestGGUF(t *testing.T) {
	const rows, cols = 3, ChunkElems / 2
	data := make([]byte, quant.Q4_K.Size(rows*cols))
	for i := range data {
		data[i] = byte(7 * i % 61) // no scale is NaN
	}
	path := filepath.Join(t.TempDir(), "x") // the name does not matter
	w, err := gguf.Create(
		path, nil, []gguf.TensorInfo{{Name: "x", Type: quant.Q4_K, Dims: []uint64{cols, rows}}}, gguf.Options{},
	)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Abort()
	if err := errors.Join(w.WriteTensorAt(0, data, 0), w.Close()); err != nil {
		t.Fatal(err)
	}
	f, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	x := f.Tensor("x")
	want := make([]float32, rows*cols)
	quant.Q4_K.Dequantize(want, data)
	got, raw := values(t, x)
	if !slices.Equal(got, want) || !slices.Equal(raw, data) {
		t.Error("read piece by piece, the tensor is another")
	}
	if !slices.Equal(x.Shape, []uint64{rows, cols}) || x.Type != "Q4_K" || x.Bytes != int64(len(data)) {
		t.Errorf("got %+v", x)
	}
	if row, col := x.Place(2*cols + 5); row != 2 || col != 5 {
		t.Errorf("place %d, %d, expected 2, 5", row, col)
	}

	// The file shrinks after it was opened.
	if err := os.Truncate(path, x.Offset+100); err != nil {
		t.Fatal(err)
	}
	if _, _, err := x.Reader().Next(); !errors.Is(err, io.ErrUnexpectedEOF) ||
		!strings.Contains(err.Error(), "tensor x") {
		t.Errorf("truncated: %v", err)
	}
}

func TestFromValues(t *testing.T) {
	x := FromValues("v", []float32{1, -2, 0.5})
	if got, _ := values(t, &x); !slices.Equal(got, []float32{1, -2, 0.5}) {
		t.Errorf("got %v", got)
	}
	if row, col := x.Place(2); row != 0 || col != 2 {
		t.Errorf("place %d, %d, expected 0, 2", row, col)
	}
}

func TestOpenRefuses(t *testing.T) {
	dir := t.TempDir()
	text := filepath.Join(dir, "text")
	if err := os.WriteFile(text, []byte("GGML"), 0o666); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(text); err == nil || !strings.Contains(err.Error(), "neither a GGUF file") {
		t.Errorf("text: %v", err)
	}
	if _, err := Open(filepath.Join(dir, "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
	if _, err := Open(dir); err == nil {
		t.Error("an empty directory was opened")
	}
}
