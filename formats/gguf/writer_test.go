package gguf

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/phi3conv/phi3conv/internal/testmodel"
	"github.com/phi3conv/phi3conv/quant"
)

func infos(f *File) []TensorInfo {
	list := make([]TensorInfo, len(f.Tensors))
	for i, x := range f.Tensors {
		list[i] = x.TensorInfo
	}
	return list
}

// write writes a file or split set whose tensors hold pattern.
func write(t *testing.T, path string, md *Metadata, tensors []TensorInfo, opt Options) {
	t.Helper()
	w, err := Create(path, md, tensors, opt)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Abort()
	for i := range tensors {
		if err := w.WriteTensorAt(i, pattern(tensors[i].Name, tensors[i].Size()), 0); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
}

func fileNames(t *testing.T, dir string) string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	names := make([]string, len(entries))
	for i, e := range entries {
		names[i] = e.Name()
	}
	return strings.Join(names, " ")
}

// TestWriteGolden writes what the gguf package from PyPI wrote, byte for byte.
func TestWriteGolden(t *testing.T) {
	dir := t.TempDir()
	f := open(t, "testdata/all.gguf")
	write(t, filepath.Join(dir, "all.gguf"), f.Metadata, infos(f), Options{})
	f = open(t, "testdata/split-00001-of-00003.gguf")
	write(t, filepath.Join(dir, "split.gguf"), f.Metadata, infos(f), Options{SplitMaxSize: 200})
	for _, name := range strings.Fields(fileNames(t, dir)) {
		got, want := testmodel.Read(t, filepath.Join(dir, name)), testmodel.Read(t, filepath.Join("testdata", name))
		if !bytes.Equal(got, want) {
			t.Errorf("%s differs", name)
		}
	}
	if got := fileNames(t, dir); got != "all.gguf split-00001-of-00003.gguf split-00002-of-00003.gguf "+
		"split-00003-of-00003.gguf" {
		t.Error(got)
	}
}

// randomMetadata has n keys of all types.
func randomMetadata(r *rand.Rand, n int) *Metadata {
	md := new(Metadata)
	for i := range n {
		md.Set(fmt.Sprintf("key.%d", i), randomValue(r, 0))
	}
	return md
}

func randomValue(r *rand.Rand, depth int) any {
	str := func() string { return strings.Repeat("é", r.IntN(5)) }
	list := r.IntN(2) == 0 || depth > 0
	switch kind := r.IntN(13); kind {
	case 0:
		return oneOrMany(r, list, func() uint8 { return uint8(r.Uint32()) })
	case 1:
		return oneOrMany(r, list, func() int8 { return int8(r.Uint32()) })
	case 2:
		return oneOrMany(r, list, func() uint16 { return uint16(r.Uint32()) })
	case 3:
		return oneOrMany(r, list, func() int16 { return int16(r.Uint32()) })
	case 4:
		return oneOrMany(r, list, r.Uint32)
	case 5:
		return oneOrMany(r, list, func() int32 { return int32(r.Uint32()) })
	case 6:
		return oneOrMany(r, list, func() float32 { return math.Float32frombits(r.Uint32()) })
	case 7:
		return oneOrMany(r, list, func() bool { return r.IntN(2) == 0 })
	case 8:
		return oneOrMany(r, list, str)
	case 9:
		return oneOrMany(r, list, r.Uint64)
	case 10:
		return oneOrMany(r, list, func() int64 { return int64(r.Uint64()) })
	case 11:
		return oneOrMany(r, list, func() float64 { return math.Float64frombits(r.Uint64()) })
	default:
		if depth == 3 {
			return []string{str()}
		}
		a := make([]any, r.IntN(4))
		for i := range a {
			a[i] = randomValue(r, depth+1)
		}
		return a
	}
}

func oneOrMany[T any](r *rand.Rand, list bool, next func() T) any {
	if !list {
		return next()
	}
	a := make([]T, r.IntN(4))
	for i := range a {
		a[i] = next()
	}
	return a
}

func randomTensors(r *rand.Rand, n int) []TensorInfo {
	list := make([]TensorInfo, n)
	for i := range list {
		typ := quant.ReadTypes()[r.IntN(len(quant.ReadTypes()))]
		dims := []uint64{uint64(typ.BlockLen() * (1 + r.IntN(3)))}
		for range r.IntN(4) {
			dims = append(dims, uint64(1+r.IntN(3)))
		}
		list[i] = TensorInfo{fmt.Sprintf("tensor.%d", i), typ, dims}
	}
	return list
}

// TestRoundTrip writes random files and split sets and reads them back.
func TestRoundTrip(t *testing.T) {
	for seed := range uint64(30) {
		r := rand.New(rand.NewPCG(seed, 3))
		md := randomMetadata(r, r.IntN(12))
		if r.IntN(2) == 0 {
			md.Set(alignmentKey, uint32(8)<<r.IntN(6))
		}
		tensors := randomTensors(r, r.IntN(12))
		opt := Options{}
		if r.IntN(2) == 0 {
			opt.SplitMaxSize = 1 + r.Int64N(3000)
		}
		path := filepath.Join(t.TempDir(), "x.gguf")
		plan, err := Layout(path, md, tensors, opt)
		if err != nil {
			t.Fatal(err)
		}
		write(t, path, md, tensors, opt)
		f := open(t, plan[0].Path)
		want := &File{Metadata: md, Tensors: f.Tensors}
		sameFile(t, want, f) // the metadata
		for i, x := range f.Tensors {
			if x.Name != tensors[i].Name || !bytes.Equal(data(t, x), pattern(x.Name, x.Size())) {
				t.Errorf("seed %d: tensor %d differs", seed, i)
			}
		}
		if len(f.Tensors) != len(tensors) || len(f.Shards) != len(plan) {
			t.Fatalf("seed %d: %d tensors in %d files", seed, len(f.Tensors), len(f.Shards))
		}
		for i, s := range f.Shards {
			if s != plan[i] {
				t.Errorf("seed %d: file %d is %+v, planned %+v", seed, i, s, plan[i])
			}
		}
	}
}

func TestSplitSizes(t *testing.T) {
	// Sizes with padding: 32, 64, 128, 32, 32.
	var tensors []TensorInfo
	for i, n := range []uint64{1, 9, 30, 8, 2} {
		tensors = append(tensors, TensorInfo{fmt.Sprint(i), quant.F32, []uint64{n}})
	}
	for _, tt := range []struct {
		max  int64
		want string // tensors in each file
	}{
		{0, "[5]"},
		{math.MaxInt64, "[5]"},
		{288, "[5]"},
		{287, "[4 1]"},
		{224, "[3 2]"},
		{160, "[2 2 1]"},
		{96, "[2 1 2]"}, // the tensor of 128 bytes has its own file
		{95, "[1 1 1 2]"},
		{1, "[1 1 1 1 1]"},
	} {
		shards, err := Layout("dir/m.gguf", nil, tensors, Options{SplitMaxSize: tt.max})
		if err != nil {
			t.Fatal(err)
		}
		var counts []int
		for i, s := range shards {
			counts = append(counts, s.Count)
			want := fmt.Sprintf("dir/m-%05d-of-%05d.gguf", i+1, len(shards))
			if len(shards) == 1 {
				want = "dir/m.gguf"
			}
			if s.Path != want {
				t.Errorf("limit %d: path %s", tt.max, s.Path)
			}
		}
		if got := fmt.Sprint(counts); got != tt.want {
			t.Errorf("limit %d: %s, want %s", tt.max, got, tt.want)
		}
	}
}

func TestWriterRefuses(t *testing.T) {
	ok := TensorInfo{"x", quant.F32, []uint64{1}}
	deep := any([]uint8{1})
	for range maxDepth {
		deep = []any{deep}
	}
	many := make([]TensorInfo, 65536)
	for i := range many {
		many[i] = TensorInfo{fmt.Sprint(i), quant.F32, []uint64{8}}
	}
	tests := []struct {
		name    string
		key     string
		value   any
		tensors []TensorInfo
		want    string
	}{
		{"empty key", "", uint32(1), nil, "key: empty name"},
		{"long key", strings.Repeat("k", 65536), uint32(1), nil, "has 65536 bytes"},
		{"key not UTF-8", "\xff", uint32(1), nil, "not valid UTF-8"},
		{"int", "k", 1, nil, `key "k": value of type int, which the format does not have`},
		{"nil", "k", nil, nil, "value of type <nil>"},
		{"struct", "k", struct{}{}, nil, "value of type struct {}"},
		{"number in []any", "k", []any{uint32(1)}, nil, "element of type uint32 in a []any, which holds arrays only"},
		{"nil in []any", "k", []any{nil}, nil, "value of type <nil>"},
		{"too deep", "k", deep, nil, "nested more than 8 deep"},
		{"split key", "split.count", uint16(1), nil, `key "split.count" is set by the writer`},
		{"alignment type", "general.alignment", uint64(32), nil, "general.alignment is 32 (uint64), must be a uint32"},
		{"alignment 0", "general.alignment", uint32(0), nil, "general.alignment is 0"},
		{"alignment 4", "general.alignment", uint32(4), nil, "general.alignment is 4"},
		{"alignment 48", "general.alignment", uint32(48), nil, "general.alignment is 48"},
		{"no name", "k", uint32(1), []TensorInfo{{"", quant.F32, nil}}, "tensor 0: empty name"},
		{
			"name of 64 bytes", "k", uint32(1), []TensorInfo{{strings.Repeat("n", 64), quant.F32, nil}},
			"has 64 bytes, at most 63",
		},
		{"name not UTF-8", "k", uint32(1), []TensorInfo{{"\xff", quant.F32, nil}}, "not valid UTF-8"},
		{"name twice", "k", uint32(1), []TensorInfo{ok, ok}, `second tensor of the name "x"`},
		{"no type", "k", uint32(1), []TensorInfo{{"x", 99, []uint64{1}}}, "Type(99) is no type"},
		{"five dimensions", "k", uint32(1), []TensorInfo{{"x", quant.F32, []uint64{1, 1, 1, 1, 1}}}, "5 dimensions"},
		{"no elements", "k", uint32(1), []TensorInfo{{"x", quant.F32, []uint64{0}}}, "there is no element"},
		{
			"ragged row", "k", uint32(1), []TensorInfo{{"x", quant.Q4_K, []uint64{128}}},
			"rows of 128 elements, type Q4_K needs a multiple of 256",
		},
		{"too large", "k", uint32(1), []TensorInfo{{"x", quant.F32, []uint64{1 << 60}}}, "too many elements"},
		{
			"too large together", "k", uint32(1),
			[]TensorInfo{
				{"x", quant.F32, []uint64{1 << 59}}, {"y", quant.F32, []uint64{1 << 59}},
				{"z", quant.F32, []uint64{1 << 59}},
			},
			"larger than any file",
		},
		{"zero byte in a key", "a\x00", uint32(1), nil, `name "a\x00" has a zero byte`},
		{
			"zero byte in a name", "k", uint32(1), []TensorInfo{{"a\x00", quant.F32, nil}},
			`tensor 0: name "a\x00" has a zero byte`,
		},
		{"text not UTF-8", "k", "a\xff", nil, `key "k": string "a\xff" is not valid UTF-8`},
		{
			"texts not UTF-8", "k", []any{[]string{"a", "\xff"}}, nil,
			`key "k": element 1: string "\xff" is not valid UTF-8`,
		},
		{"too many files", "k", uint32(1), many, "65536 files of 1 bytes, at most 65535"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) { refuses(t, tt.key, tt.value, tt.tensors, tt.want) })
	}
}

// refuses writes a file with a key and tensors, which must not be possible.
func refuses(t *testing.T, key string, value any, tensors []TensorInfo, want string) {
	dir := t.TempDir()
	path := filepath.Join(dir, "x.gguf")
	md := new(Metadata)
	md.Set(key, value)
	opt := Options{}
	if len(tensors) > 3 {
		opt.SplitMaxSize = 1
	}
	_, err := Create(path, md, tensors, opt)
	if err == nil || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), path+": ") {
		t.Errorf("error %.300v, want %q", err, want)
	}
	if names := fileNames(t, dir); names != "" {
		t.Errorf("left %s", names)
	}
}

// TestWriterLimits refuses options, and counts that a reader would refuse.
func TestWriterLimits(t *testing.T) {
	if _, err := Layout("x.gguf", nil, nil, Options{SplitMaxSize: -1}); err == nil ||
		!strings.Contains(err.Error(), "files of -1 bytes") {
		t.Errorf("negative size: error %v", err)
	}
	tensors := make([]TensorInfo, maxTensors+1)
	for i := range tensors {
		tensors[i] = TensorInfo{fmt.Sprint(i), quant.F32, nil}
	}
	if _, err := Layout("x.gguf", nil, tensors, Options{}); err == nil ||
		!strings.Contains(err.Error(), "65537 tensors, at most 65536") {
		t.Errorf("tensors: error %v", err)
	}
	// the limit is for a file
	if _, err := Layout("x.gguf", nil, tensors, Options{SplitMaxSize: 32 * maxTensors}); err != nil {
		t.Error(err)
	}
	md := new(Metadata)
	for i := range maxKeys + 1 {
		md.Set(fmt.Sprint(i), true)
	}
	if _, err := Layout("x.gguf", md, nil, Options{}); err == nil ||
		!strings.Contains(err.Error(), "65537 keys, at most 65536") {
		t.Errorf("keys: error %v", err)
	}
}

// TestWriteConcurrently writes tensors in parts from many goroutines.
func TestWriteConcurrently(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	tensors := randomTensors(r, 20)
	path := filepath.Join(t.TempDir(), "x.gguf")
	w, err := Create(path, nil, tensors, Options{SplitMaxSize: 4000})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Abort()
	var wg sync.WaitGroup
	for i := range tensors {
		b := pattern(tensors[i].Name, tensors[i].Size())
		for off := 0; off < len(b); off += 100 {
			part := b[off:min(off+100, len(b))]
			wg.Go(func() {
				if i%2 == 0 {
					if err := w.WriteTensorAt(i, part, int64(off)); err != nil {
						t.Error(err)
					}
					return
				}
				f, at := w.TensorFile(i)
				if _, err := f.WriteAt(part, at+int64(off)); err != nil {
					t.Error(err)
				}
				if err := w.Wrote(i, int64(len(part))); err != nil {
					t.Error(err)
				}
			})
		}
	}
	wg.Wait()
	shards := w.plan.shards
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	for _, x := range open(t, shards[0].Path).Tensors {
		if !bytes.Equal(data(t, x), pattern(x.Name, x.Size())) {
			t.Errorf("%s differs", x.Name)
		}
	}
}

func TestIncomplete(t *testing.T) {
	tensors := []TensorInfo{{"x", quant.F32, []uint64{4}}, {"y", quant.F32, []uint64{4}}}
	tests := []struct {
		name string
		do   func(w *Writer) error
		want string
	}{
		{"nothing", func(w *Writer) error { return nil }, `tensor "y": 0 bytes written of 16`},
		{
			"a part", func(w *Writer) error { return w.WriteTensorAt(1, make([]byte, 12), 4) },
			`tensor "y": 12 bytes written of 16`,
		},
		{"twice", func(w *Writer) error {
			return errors.Join(w.WriteTensorAt(1, make([]byte, 12), 0), w.WriteTensorAt(1, make([]byte, 12), 4))
		}, `tensor "y": 24 bytes written of 16`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			w, err := Create(filepath.Join(dir, "x.gguf"), nil, tensors, Options{SplitMaxSize: 32})
			if err != nil {
				t.Fatal(err)
			}
			if err := errors.Join(w.WriteTensorAt(0, make([]byte, 16), 0), tt.do(w)); err != nil {
				t.Fatal(err)
			}
			if err := w.Close(); err == nil || err.Error() != tt.want {
				t.Errorf("error %v, want %q", err, tt.want)
			}
			if err := w.Close(); err == nil {
				t.Error("second Close succeeds")
			}
			if names := fileNames(t, dir); names != "" {
				t.Errorf("left %s", names)
			}
		})
	}
	t.Run("range", func(t *testing.T) {
		w, err := NewWriter(new(buffer), nil, tensors)
		if err != nil {
			t.Fatal(err)
		}
		for _, off := range []int64{-1, 13, 16, math.MaxInt64, math.MinInt64} {
			if err := w.WriteTensorAt(0, make([]byte, 4), off); err == nil {
				t.Errorf("write at %d succeeds", off)
			}
		}
		if f, _ := w.TensorFile(0); f != nil {
			t.Error("a file where there is none")
		}
	})
}

func TestAbort(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "x.gguf")
	tensors := []TensorInfo{{"x", quant.F32, []uint64{4}}}
	write(t, path, nil, tensors, Options{})
	before := testmodel.Read(t, path)
	md := new(Metadata)
	md.Set("k", "v")
	w, err := Create(path, md, tensors, Options{})
	if err != nil {
		t.Fatal(err)
	}
	w.Abort()
	w.Abort()
	if got := testmodel.Read(t, path); !bytes.Equal(got, before) || fileNames(t, dir) != "x.gguf" {
		t.Errorf("the old file is not what it was; files: %s", fileNames(t, dir))
	}
	write(t, path, md, tensors, Options{})
	if got := testmodel.Read(t, path); bytes.Equal(got, before) {
		t.Error("the old file is still there")
	}
}

// TestCommitFails lets a rename fail in the middle: nothing may remain that
// looks like a complete set.
func TestCommitFails(t *testing.T) {
	tensors := []TensorInfo{{"x", quant.F32, []uint64{8}}, {"y", quant.F32, []uint64{8}}, {"z", quant.F32, []uint64{8}}}
	dir := t.TempDir()
	path := filepath.Join(dir, "x.gguf")
	write(t, path, nil, tensors, Options{SplitMaxSize: 32}) // an older set
	w, err := Create(path, nil, tensors, Options{SplitMaxSize: 32})
	if err != nil {
		t.Fatal(err)
	}
	for i := range tensors {
		if err := w.WriteTensorAt(i, make([]byte, 32), 0); err != nil {
			t.Fatal(err)
		}
	}
	second := splitPath(path, 1, 3)
	if err := errors.Join(os.Remove(second), os.MkdirAll(filepath.Join(second, "full"), 0o777)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err == nil || !strings.Contains(err.Error(), second) {
		t.Errorf("error %v", err)
	}
	if got := fileNames(t, dir); got != filepath.Base(second) {
		t.Errorf("left %s", got)
	}
}

func TestWriteError(t *testing.T) {
	want := errors.New("disk full")
	tensors := []TensorInfo{{"x", quant.F32, []uint64{1}}}
	for limit := range 3 {
		w, err := NewWriter(&failingWriter{limit, want}, nil, tensors)
		if err == nil {
			err = w.WriteTensorAt(0, make([]byte, 4), 0)
		}
		if err == nil {
			err = w.Close()
		}
		if !errors.Is(err, want) {
			t.Errorf("after %d writes: error %v", limit, err)
		}
	}
	path := filepath.Join(t.TempDir(), "x.gguf")
	w, err := Create(path, nil, tensors, Options{})
	if err != nil {
		t.Fatal(err)
	}
	w.Abort()
	if err := w.WriteTensorAt(0, make([]byte, 4), 0); !errors.Is(err, os.ErrClosed) ||
		err.Error() != `write `+path+`: tensor "x": file already closed` {
		t.Errorf("after Abort: error %v", err)
	}
	if _, err := Create(
		filepath.Join(t.TempDir(), "none", "x.gguf"), nil, tensors, Options{},
	); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("missing directory: error %v", err)
	}
}

// failingWriter refuses writes after the first few.
type failingWriter struct {
	left int
	err  error
}

func (w *failingWriter) WriteAt(p []byte, off int64) (int, error) {
	if w.left == 0 {
		return 0, w.err
	}
	w.left--
	return len(p), nil
}

// TestData checks that a tensor can't be read beyond its end.
func TestData(t *testing.T) {
	x := open(t, "testdata/all.gguf").Tensor("half")
	if n, err := x.ReadAt(make([]byte, 5), 8); n != 4 || err != io.EOF {
		t.Errorf("%d bytes, error %v", n, err)
	}
	if _, ok := x.Source().(*os.File); !ok {
		t.Errorf("Source is a %T", x.Source())
	}
}
