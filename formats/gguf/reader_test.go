package gguf

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"testing"

	"github.com/phi3conv/phi3conv/formats"
	"github.com/phi3conv/phi3conv/internal/testmodel"
	"github.com/phi3conv/phi3conv/quant"
)

// pattern is the data that testdata/make.py gives a tensor.
func pattern(name string, n int64) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(7*i + len(name))
	}
	return b
}

func data(t *testing.T, x *Tensor) []byte {
	t.Helper()
	b, err := io.ReadAll(x.Data())
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func open(t *testing.T, path string) *File {
	t.Helper()
	f, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return f
}

func newFile(b []byte) (*File, error) { return NewFile(bytes.NewReader(b), int64(len(b))) }

// TestGolden reads the file that the gguf package from PyPI wrote.
func TestGolden(t *testing.T) {
	keys := []struct {
		key   string
		value any
	}{
		{"general.architecture", "test"},
		{"general.alignment", uint32(64)},
		{"v.u8", uint8(200)},
		{"v.i8", int8(-100)},
		{"v.u16", uint16(60000)},
		{"v.i16", int16(-30000)},
		{"v.u32", uint32(4000000000)},
		{"v.i32", int32(-2000000000)},
		{"v.f32", float32(0.1)},
		{"v.bool", true},
		{"v.str", "Phi-3 \u2581 é\n"},
		{"v.u64", uint64(1<<63 + 1)},
		{"v.i64", int64(-1 << 62)},
		{"v.f64", 0.1},
		{"a.u8", []uint8{0, 255}},
		{"a.i8", []int8{-128, 127}},
		{"a.u16", []uint16{0, 65535}},
		{"a.i16", []int16{-32768, 32767}},
		{"a.u32", []uint32{0, math.MaxUint32}},
		{"a.i32", []int32{1, -2, 3}},
		{"a.f32", []float32{0.5, -1.5}},
		{"a.bool", []bool{true, false, true}},
		{"a.str", []string{"", "<s>", "\u2581the"}},
		{"a.u64", []uint64{0, math.MaxUint64}},
		{"a.i64", []int64{math.MinInt64, math.MaxInt64}},
		{"a.f64", []float64{0.25, 1e300}},
		{"a.nested", []any{[]int32{1, 2}, []int32{3}}},
	}
	tensors := []goldenTensor{
		{TensorInfo{"one", quant.F32, []uint64{3}}, 1, 3, 12},
		{TensorInfo{"norm.weight", quant.F32, []uint64{5}}, 1, 5, 20},
		{TensorInfo{"half", quant.F16, []uint64{3, 2}}, 2, 3, 12},
		{TensorInfo{"brain", quant.BF16, []uint64{3, 2, 2}}, 4, 3, 24},
		{TensorInfo{"four.dims", quant.F32, []uint64{2, 3, 1, 2}}, 6, 2, 48},
		{TensorInfo{"blk.0.attn_q.weight", quant.Q8_0, []uint64{64, 2}}, 2, 64, 136},
		{TensorInfo{"blk.0.ffn_up.weight", quant.Q4_K, []uint64{256, 2}}, 2, 256, 288},
		{TensorInfo{"blk.0.ffn_down.weight", quant.IQ4_XS, []uint64{256, 1}}, 1, 256, 136},
	}
	raw := testmodel.Read(t, "testdata/all.gguf")
	for _, version := range []byte{2, 3} { // the two have the same layout
		raw[4] = version
		f, err := newFile(raw)
		if err != nil {
			t.Fatal(err)
		}
		if f.Version != uint32(version) || f.Alignment != 64 {
			t.Errorf("version %d, alignment %d", f.Version, f.Alignment)
		}
		i := 0
		for k, v := range f.Metadata.All() {
			if i < len(keys) && (k != keys[i].key || !reflect.DeepEqual(v, keys[i].value)) {
				t.Errorf("key %d: %s = %#v, want %s = %#v", i, k, v, keys[i].key, keys[i].value)
			}
			i++
		}
		if i != len(keys) || len(f.Tensors) != len(tensors) {
			t.Fatalf("%d keys, %d tensors", i, len(f.Tensors))
		}
		for i, want := range tensors {
			checkGolden(t, f, i, want)
			if got := f.Tensors[i]; !bytes.Equal(raw[got.Offset:][:want.size], pattern(got.Name, want.size)) {
				t.Errorf("%s: wrong offset", got.Name)
			}
		}
		if f.Tensor("none") != nil {
			t.Error("Tensor finds what is not there")
		}
	}
}

type goldenTensor struct {
	TensorInfo
	rows, cols, size int64
}

func checkGolden(t *testing.T, f *File, i int, want goldenTensor) {
	t.Helper()
	got := f.Tensors[i]
	if !reflect.DeepEqual(got.TensorInfo, want.TensorInfo) {
		t.Errorf("tensor %d: %v, want %v", i, got.TensorInfo, want.TensorInfo)
	}
	if got.Rows() != want.rows || got.Cols() != want.cols || got.Elems() != want.rows*want.cols ||
		got.Size() != want.size {
		t.Errorf("%s: %d rows, %d columns, %d elements, %d bytes",
			got.Name, got.Rows(), got.Cols(), got.Elems(), got.Size())
	}
	if !bytes.Equal(data(t, got), pattern(got.Name, want.size)) {
		t.Errorf("%s: wrong data", got.Name)
	}
	if f.Tensor(want.Name) != got {
		t.Errorf("Tensor(%q) does not find it", want.Name)
	}
}

// splitNames are the tensors of the split set of testdata/make.py.
var splitNames = []string{"blk.0.a", "blk.0.b", "blk.0.c", "blk.1.a", "blk.1.b", "blk.1.c"}

func TestGoldenSplit(t *testing.T) {
	for no := range 3 {
		f := open(t, splitPath("testdata/split.gguf", no, 3))
		if got := maps.Collect(f.Metadata.All()); !reflect.DeepEqual(
			got, map[string]any{"general.architecture": "test", "test.block_count": uint32(2)},
		) {
			t.Errorf("metadata: %v", got)
		}
		for i, s := range f.Shards {
			if want := splitPath("testdata/split.gguf", i, 3); s.Path != want || s.First != 2*i || s.Count != 2 {
				t.Errorf("shard %d: %+v", i, s)
			}
		}
		if len(f.Tensors) != len(splitNames) {
			t.Fatalf("%d tensors", len(f.Tensors))
		}
		for i, x := range f.Tensors {
			if x.Name != splitNames[i] || f.Tensor(x.Name) != x || x.Path != f.Shards[i/2].Path {
				t.Errorf("tensor %d: %s in %s", i, x.Name, x.Path)
			}
			if !bytes.Equal(data(t, x), pattern(x.Name, x.Size())) {
				t.Errorf("%s: wrong data", x.Name)
			}
		}
	}
}

// partName names one of the three files of a split model.
func partName(no int) string { return fmt.Sprintf("x-%05d-of-00003.gguf", no) }

func copyPart(t *testing.T, dir string, from, to int) {
	if err := os.WriteFile(
		filepath.Join(dir, partName(to)), testmodel.Read(t, splitPath("testdata/split.gguf", from-1, 3)), 0o666,
	); err != nil {
		t.Fatal(err)
	}
}

// patch changes the value of a key of file no; len(value) must fit the type.
func patch(t *testing.T, dir string, no int, key string, value raw) {
	path := filepath.Join(dir, partName(no))
	b := testmodel.Read(t, path)
	at := bytes.Index(b, []byte(key)) + len(key) + 4
	copy(b[at:], value)
	if err := os.WriteFile(path, b, 0o666); err != nil {
		t.Fatal(err)
	}
}

// rename makes a key of file no one that nobody knows.
func rename(t *testing.T, dir string, no int, key string) {
	path := filepath.Join(dir, partName(no))
	b := bytes.Replace(testmodel.Read(t, path), []byte(key), []byte(strings.ToUpper(key)), 1)
	if err := os.WriteFile(path, b, 0o666); err != nil {
		t.Fatal(err)
	}
}

// splitRefused lists what is wrong with a split model, and what the error says.
var splitRefused = []struct {
	name string
	edit func(t *testing.T, dir string) // of a directory with the three good files
	want string                         // in the error for the first file, with the name of the file at fault
}{
	{
		"missing", func(t *testing.T, dir string) { _ = os.Remove(filepath.Join(dir, partName(2))) },
		partName(2) + ": the file is missing",
	},
	{"repeated", func(t *testing.T, dir string) { copyPart(t, dir, 2, 3) }, partName(3) + ": split.no is 1, must be 2"},
	{"swapped", func(t *testing.T, dir string) {
		copyPart(t, dir, 2, 3)
		copyPart(t, dir, 3, 2)
	}, partName(2) + ": split.no is 2, must be 1"},
	{
		"other count", func(t *testing.T, dir string) { patch(t, dir, 3, "split.count", raw{4, 0}) },
		partName(3) + ": split.count is 4, must be 3",
	},
	{
		"no split.no", func(t *testing.T, dir string) { rename(t, dir, 3, "split.no") },
		partName(3) + ": split.no is missing",
	},
	{
		"other split.no", func(t *testing.T, dir string) { patch(t, dir, 1, "split.no", raw{7, 0}) },
		partName(1) + ": split.no is 7, must be 0",
	},
	{
		"other total", func(t *testing.T, dir string) { patch(t, dir, 1, "split.tensors.count", raw{}.u32(7)) },
		partName(1) + ": split.tensors.count is 7, but the files have 6",
	},
	{
		"negative total",
		func(t *testing.T, dir string) { patch(t, dir, 1, "split.tensors.count", raw{}.u32(math.MaxUint32)) },
		partName(1) + ": split.tensors.count is -1",
	},
	{"tensor twice", func(t *testing.T, dir string) {
		copyPart(t, dir, 2, 3)
		patch(t, dir, 3, "split.no", raw{2, 0})
	}, partName(3) + `: tensor "blk.0.c" is also in`},
	{
		"count unlike the name", func(t *testing.T, dir string) { patch(t, dir, 1, "split.count", raw{2, 0}) },
		partName(1) + ": split.count is 2, but the name says 3",
	},
}

func TestSplitRefused(t *testing.T) {
	for _, tt := range splitRefused {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			for no := 1; no <= 3; no++ {
				copyPart(t, dir, no, no)
			}
			f, err := Open(filepath.Join(dir, partName(2)))
			if err != nil {
				t.Fatal(err)
			}
			_ = f.Close()
			tt.edit(t, dir)
			_, err = Open(filepath.Join(dir, partName(1)))
			if !errors.Is(err, ErrSplit) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want %q", err, tt.want)
			}
		})
	}
	t.Run("renamed", func(t *testing.T) {
		for _, name := range []string{"model.gguf", "x-00000-of-00003.gguf", "x-00004-of-00003.gguf"} {
			path := filepath.Join(t.TempDir(), name)
			if err := os.WriteFile(path, testmodel.Read(t, "testdata/split-00001-of-00003.gguf"), 0o666); err != nil {
				t.Fatal(err)
			}
			if _, err := Open(path); !errors.Is(err, ErrSplit) {
				t.Errorf("%s: error %v", name, err)
			}
		}
	})
}

// raw builds files that the writer would refuse to build.
type raw []byte

func head(version uint32, tensors, keys uint64) raw {
	return raw("GGUF").u32(version).u64(tensors).u64(keys)
}
func (r raw) u32(v uint32) raw  { return le.AppendUint32(r, v) }
func (r raw) u64(v uint64) raw  { return le.AppendUint64(r, v) }
func (r raw) str(s string) raw  { return appendString(r, s) }
func (r raw) add(s string) raw  { return append(r, s...) }
func (r raw) zeros(n int) raw   { return append(r, make([]byte, n)...) }
func (r raw) pad(align int) raw { return r.zeros(int(alignUp(int64(len(r)), int64(align))) - len(r)) }

func (r raw) key(name string, typ uint32) raw { return r.str(name).u32(typ) }

func (r raw) tensor(name string, typ uint32, off uint64, dims ...uint64) raw {
	r = r.str(name).u32(uint32(len(dims)))
	for _, d := range dims {
		r = r.u64(d)
	}
	return r.u32(typ).u64(off)
}

const huge = math.MaxUint64

// nested is an array of arrays.
func nested(depth int) raw {
	r := head(3, 0, 1).key("k", 9)
	for range depth - 1 {
		r = r.u32(9).u64(1)
	}
	return r.u32(0).u64(1).add("x")
}

// refused lists files that are refused, and what the error says.
var refused = []struct {
	name string
	file raw
	is   error
	want string
}{
	{"empty", raw{}, ErrTruncated, "offset 0: 4 bytes needed, 0 left"},
	{"other magic", raw("GGML").zeros(40), ErrNotGGUF, `file begins with "GGML", must be "GGUF"`},
	{"version 0", head(0, 0, 0), ErrUnsupported, "offset 4: GGUF version 0"},
	{"version 1", head(1, 0, 0), ErrUnsupported, "obsolete"},
	{"version 4", head(4, 0, 0), ErrUnsupported, "GGUF version 4"},
	{"big-endian", head(3<<24, 0, 0), ErrUnsupported, "GGUF version 3 in big-endian byte order"},
	{
		"tensor count", head(3, huge, 0), ErrTruncated,
		"18446744073709551615 tensors of at least 25 bytes needed, 8 left",
	},
	{"key count", head(3, 0, 1<<40), ErrTruncated, "1099511627776 keys of at least 14 bytes needed, 0 left"},
	{
		"key length", head(3, 0, 1).u64(huge).zeros(20), ErrTruncated,
		"key 0: string of 18446744073709551615 bytes needed, 20 left",
	},
	{"empty key", head(3, 0, 1).key("", 0).zeros(9), nil, "key 0: empty name"},
	{"long key", head(3, 0, 1).key(strings.Repeat("k", 65536), 0).add("x"), nil, "has 65536 bytes, at most 65535"},
	{
		"key not UTF-8", head(3, 0, 1).key("a\xff", 0).add("x"), nil,
		`offset 24: key 0: name "a\xff" is not valid UTF-8`,
	},
	{"key twice", head(3, 0, 2).key("k", 0).add("x").key("k", 0).add("x"), nil, `key "k": it is there twice`},
	{"value type", head(3, 0, 1).key("k", 13).zeros(8), nil, `key "k": value type 13, must be 0 to 12`},
	{"element type", head(3, 0, 1).key("k", 9).u32(99).u64(0), nil, `key "k": array of value type 99`},
	{"bool", head(3, 0, 1).key("k", 7).add("\x02"), nil, `offset 37: key "k": bool is 2, must be 0 or 1`},
	{"bool in array", head(3, 0, 1).key("k", 9).u32(7).u64(2).add("\x01\xff"), nil, "bool is 255"},
	{
		"string length", head(3, 0, 1).key("k", 8).u64(1 << 62).zeros(5), ErrTruncated,
		`key "k": string of 4611686018427387904 bytes needed, 5 left`,
	},
	{
		"array length", head(3, 0, 1).key("k", 9).u32(10).u64(3).zeros(23), ErrTruncated,
		"3 array elements of at least 8 bytes needed, 23 left",
	},
	{
		"array overflow", head(3, 0, 1).key("k", 9).u32(10).u64(1 << 61).zeros(23), ErrTruncated,
		"2305843009213693952 array elements",
	},
	{
		"array of arrays length", head(3, 0, 1).key("k", 9).u32(9).u64(2).zeros(23), ErrTruncated,
		"2 arrays of at least 12 bytes",
	},
	{"nested too deep", nested(9), nil, "arrays nested more than 8 deep"},
	{
		"alignment 0", head(3, 0, 1).key("general.alignment", 4).u32(0), nil,
		"general.alignment is 0, must be a power of two",
	},
	{"alignment 24", head(3, 0, 1).key("general.alignment", 4).u32(24), nil, "general.alignment is 24"},
	{
		"alignment 2^63", head(3, 0, 1).key("general.alignment", 10).u64(1 << 63), nil,
		"general.alignment is 9223372036854775808",
	},
	{
		"alignment is text", head(3, 0, 1).key("general.alignment", 8).str("32"), nil,
		`general.alignment is "32", must`,
	},
	{
		"alignment is a long text", head(3, 0, 1).key("general.alignment", 8).str(strings.Repeat("3", 1000)), nil,
		`general.alignment is "` + strings.Repeat("3", 80) + `", must`,
	},
	{
		"alignment is an array", head(3, 0, 1).key("general.alignment", 9).u32(0).u64(1).add("x"), nil,
		"general.alignment is a []uint8, must",
	},
	{"zero byte in a key", head(3, 0, 1).key("a\x00b", 0).add("x"), nil, `name "a\x00b" has a zero byte`},
	{
		"zero byte in a name", head(3, 1, 0).tensor("a\x00b", 0, 0, 1).pad(32).zeros(32), nil,
		`tensor 0: name "a\x00b" has a zero byte`,
	},
	{
		"long key, bad value", head(3, 0, 1).key(strings.Repeat("k", 60000), 7).add("\x02"), nil,
		`key "` + strings.Repeat("k", 80) + `": bool is 2`,
	},
	{
		"too many tensors", head(3, 65537, 0).zeros(65537 * 25), nil,
		"offset 8: 65537 tensors, at most 65536 are allowed",
	},
	{"too many keys", head(3, 0, 65537).zeros(65537 * 14), nil, "offset 16: 65537 keys, at most 65536 are allowed"},
	{"empty tensor name", head(3, 1, 0).tensor("", 0, 0, 1).pad(32).zeros(32), nil, "tensor 0: empty name"},
	{
		"long tensor name", head(3, 1, 0).tensor(strings.Repeat("n", 65), 0, 0, 1).pad(32).zeros(32), nil,
		"has 65 bytes, at most 64",
	},
	{
		"tensor twice", head(3, 2, 0).tensor("x", 0, 0, 1).tensor("x", 0, 32, 1).pad(32).zeros(64), nil,
		`tensor "x": it is there twice`,
	},
	{
		"five dimensions", head(3, 1, 0).tensor("x", 0, 0, 1, 1, 1, 1, 1).pad(32).zeros(32), nil,
		`tensor "x": 5 dimensions, at most 4`,
	},
	{
		"zero dimension", head(3, 1, 0).tensor("x", 0, 0, 4, 0).pad(32).zeros(32), nil,
		"dimensions [4 0]: there is no element",
	},
	{
		"dimensions overflow", head(3, 1, 0).tensor("x", 0, 0, 1<<32, 1<<32, 1<<32).pad(32).zeros(32), nil,
		"too many elements",
	},
	{
		"dimensions overflow to 0", head(3, 1, 0).tensor("x", 0, 0, 1<<32, 1<<32).pad(32).zeros(32), nil,
		"too many elements",
	},
	{"size overflow", head(3, 1, 0).tensor("x", 0, 0, 1<<62).pad(32).zeros(32), nil, "too many elements"},
	{
		"known type", head(3, 1, 0).tensor("x", 26, 0, 256).pad(32).zeros(96), ErrUnsupported,
		`tensor "x": tensor type 26 (I32)`,
	},
	{
		"unknown type", head(3, 1, 0).tensor("x", 4, 0, 256).pad(32).zeros(96), ErrUnsupported,
		"tensor type 4 (unknown type 4)",
	},
	{
		"ragged row", head(3, 1, 0).tensor("x", 8, 0, 48).pad(32).zeros(96), nil,
		"rows of 48 elements, type Q8_0 needs a multiple of 32",
	},
	{"ragged scalar", head(3, 1, 0).tensor("x", 8, 0).pad(32).zeros(96), nil, "rows of 1 elements"},
	{
		"unaligned", head(3, 1, 0).tensor("x", 0, 16, 1).pad(32).zeros(64), ErrUnaligned,
		`tensor "x": data at 16 of the data section, must be a multiple of 32`,
	},
	{
		"data missing", head(3, 1, 0).tensor("x", 0, 0, 9).pad(32).zeros(35), ErrTruncated,
		`tensor "x": 36 bytes at 0 of the data section, the file has 99 bytes`,
	},
	{"no data section", head(3, 1, 0).tensor("x", 0, 0, 1), ErrTruncated, `tensor "x": 4 bytes at 0`},
	{
		"data far away", head(3, 1, 0).tensor("x", 0, huge&^31, 1).pad(32).zeros(32), ErrTruncated,
		"data at 18446744073709551584",
	},
	{"data after the end", head(3, 1, 0).tensor("x", 0, 64, 1).pad(32).zeros(32), ErrTruncated, "4 bytes at 64"},
	{
		"overlap", head(3, 2, 0).tensor("x", 0, 0, 9).tensor("y", 0, 32, 1).pad(32).zeros(64), ErrOverlap,
		`tensor "y" begins inside "x"`,
	},
	{
		"overlap, other order", head(3, 2, 0).tensor("y", 0, 32, 1).tensor("x", 0, 0, 9).pad(32).zeros(64),
		ErrOverlap, `tensor "y" begins inside "x"`,
	},
	{
		"same place", head(3, 2, 0).tensor("x", 0, 0, 1).tensor("y", 0, 0, 1).pad(32).zeros(32), ErrOverlap,
		"begins inside",
	},
}

func TestRefused(t *testing.T) {
	for _, tt := range refused {
		t.Run(tt.name, func(t *testing.T) {
			_, err := newFile(tt.file)
			var fe *formats.Error
			if !errors.As(err, &fe) || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("error %v, want %q", err, tt.want)
			}
			if tt.is != nil && !errors.Is(err, tt.is) {
				t.Errorf("error %v is not %v", err, tt.is)
			}
		})
	}
}

func TestAccepted(t *testing.T) {
	tests := []struct {
		name string
		file raw
	}{
		{"nothing", head(3, 0, 0)},
		{"empty arrays", head(3, 0, 3).key("a", 9).u32(8).u64(0).key("b", 9).u32(9).u64(0).key("c", 9).u32(6).u64(0)},
		{
			"nested 8 deep",
			nested(8),
		},
		{"scalar", head(3, 1, 0).tensor("x", 0, 0).pad(32).zeros(4)},
		{"no padding at the end", head(3, 1, 0).tensor("x", 0, 0, 1).pad(32).zeros(4)},
		{"gap and trailing bytes", head(3, 2, 0).tensor("x", 0, 32, 1).tensor("y", 0, 128, 1).pad(32).zeros(999)},
		{"name of 64 bytes", head(3, 1, 0).tensor(strings.Repeat("n", 64), 0, 0, 1).pad(32).zeros(4)},
		{
			"alignment of another type",
			head(3, 1, 1).key("general.alignment", 11).u64(8).tensor("x", 0, 8, 1).pad(8).zeros(12),
		},
		{"text that is not UTF-8", head(3, 0, 1).key("k", 8).str("\xff")},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := newFile(tt.file); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestTruncated cuts the golden file after every byte.
func TestTruncated(t *testing.T) {
	whole := testmodel.Read(t, "testdata/all.gguf")
	f, err := newFile(whole)
	if err != nil {
		t.Fatal(err)
	}
	last := f.Tensors[len(f.Tensors)-1]
	end := last.Offset + last.Size() // what follows is padding
	for n := range whole {
		_, err := newFile(whole[:n])
		if wantErr := int64(n) < end; (err != nil) != wantErr || err != nil && !errors.Is(err, ErrTruncated) {
			t.Fatalf("%d bytes of %d: error %v", n, len(whole), err)
		}
	}
	// A file that shrinks while it is open.
	for n := range f.Shards[0].DataOffset {
		if _, err := NewFile(bytes.NewReader(whole[:n]), int64(len(whole))); n < f.Shards[0].DataOffset-63 &&
			!errors.Is(err, ErrTruncated) {
			t.Fatalf("file shrunk to %d bytes: error %v", n, err)
		}
	}
}

// allocated returns the bytes that f allocates.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// TestBitFlips flips every bit of the header. Whatever is read must be within
// the file, and memory in proportion to it.
func TestBitFlips(t *testing.T) {
	whole := testmodel.Read(t, "testdata/all.gguf")
	f, err := newFile(whole)
	if err != nil {
		t.Fatal(err)
	}
	refused := 0
	for i := range f.Shards[0].DataOffset {
		n := allocated(func() {
			for bit := range 8 {
				b := bytes.Clone(whole)
				b[i] ^= 1 << bit
				f, err := newFile(b)
				if err != nil {
					refused++
					continue
				}
				for _, x := range f.Tensors {
					_ = data(t, x)
				}
			}
		})
		if n > 2<<20 { // eight times the decoder's buffer and little more
			t.Errorf("byte %d: %d bytes allocated", i, n)
		}
	}
	if refused == 0 {
		t.Error("nothing refused")
	}
}

// zeros is a large file of zeros after a head.
type zeros []byte

func (z zeros) ReadAt(p []byte, off int64) (int, error) {
	clear(p)
	if off < int64(len(z)) {
		copy(p, z[off:])
	}
	return len(p), nil
}

// TestHostileCounts claims what would fit in a very large file.
func TestHostileCounts(t *testing.T) {
	const size = 1 << 40
	for name, file := range map[string]raw{
		"tensors":       head(3, 1<<35, 0),
		"keys":          head(3, 0, 1<<36),
		"small tensors": head(3, 1<<23, 0),
		"small keys":    head(3, 0, 1<<23),
		"key length":    head(3, 0, 1).u64(1 << 39),
		"string":        head(3, 0, 1).key("k", 8).u64(1 << 39),
		"array":         head(3, 0, 1).key("k", 9).u32(12).u64(1 << 36),
		"strings":       head(3, 0, 1).key("k", 9).u32(8).u64(1 << 36),
		"arrays":        head(3, 0, 1).key("k", 9).u32(9).u64(1 << 35),
	} {
		var err error
		n := allocated(func() { _, err = NewFile(zeros(file), size) })
		if err == nil || n > 1<<20 {
			t.Errorf("%s: %d bytes allocated, error %v", name, n, err)
		}
	}
}

// TestSmallElements reads headers made of the smallest elements there are:
// memory must stay in proportion to the file.
func TestSmallElements(t *testing.T) {
	keys := func(n int) raw {
		r := head(3, 0, uint64(n))
		for i := range n {
			r = r.key(fmt.Sprintf("%x", i), 0).add("x")
		}
		return r
	}
	tensors := func(n int) raw {
		r := head(3, uint64(n), 0)
		for i := range n {
			r = r.tensor(fmt.Sprintf("%x", i), 0, uint64(32*i))
		}
		return r.pad(32).zeros(32 * n)
	}
	array := func(typ uint32, n, size int) raw {
		return head(3, 0, 1).key("k", 9).u32(typ).u64(uint64(n)).zeros(n * size)
	}
	for _, tt := range []struct {
		name    string
		file    raw
		refused bool
	}{
		{"keys", keys(maxKeys), false},
		{"more keys", keys(4 * maxKeys), true},
		{"tensors", tensors(maxTensors), false},
		{"more tensors", tensors(4 * maxTensors), true},
		{"empty strings", array(8, 500_000, 8), false},
		{"empty arrays", array(9, 300_000, 12), false},
		{"bytes", array(0, 4_000_000, 1), false},
	} {
		var err error
		n := allocated(func() { _, err = newFile(tt.file) })
		limit := uint64(20 * len(tt.file))
		if tt.refused {
			limit = 1 << 20
		}
		if (err != nil) != tt.refused || n > limit {
			t.Errorf("%s: %d bytes allocated for %d, error %v", tt.name, n, len(tt.file), err)
		}
	}
}

func TestReadError(t *testing.T) {
	want := errors.New("disk on fire")
	_, err := NewFile(failing{want}, 1000)
	if !errors.Is(err, want) || !strings.Contains(err.Error(), "offset 0: read") {
		t.Errorf("error %v", err)
	}
	if _, err := Open(t.TempDir()); !errors.Is(err, ErrNotGGUF) {
		t.Errorf("directory: error %v", err)
	}
	if _, err := Open("testdata/none.gguf"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("missing file: error %v", err)
	}
	path := filepath.Join(t.TempDir(), "x.gguf")
	if err := os.WriteFile(path, head(9, 0, 0), 0o666); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(path); err == nil || !strings.HasPrefix(err.Error(), path+": offset 4: ") {
		t.Errorf("error without the path: %v", err)
	}
}

type failing struct{ err error }

func (f failing) ReadAt(p []byte, off int64) (int, error) { return 0, f.err }

// TestLongString crosses the decoder's buffer in every way.
func TestLongString(t *testing.T) {
	for _, n := range []int{bufferSize - 50, bufferSize - 1, bufferSize, bufferSize + 1, 3*bufferSize + 7} {
		s := strings.Repeat("x", n)
		f, err := newFile(
			head(3, 0, 3).key("a", 8).str(s).key("b", 9).u32(8).u64(2).str(s).str("end").key("c", 4).u32(7),
		)
		if err != nil {
			t.Fatal(err)
		}
		a, _ := f.Metadata.Str("a")
		b, _ := f.Metadata.Strings("b")
		c, _ := f.Metadata.Uint("c")
		if a != s || len(b) != 2 || b[0] != s || b[1] != "end" || c != 7 {
			t.Errorf("%d characters: read back wrongly", n)
		}
	}
}

// FuzzReader parses any bytes; what parses must survive a write and a read.
func FuzzReader(f *testing.F) {
	for _, name := range []string{"all", "split-00001-of-00003", "split-00002-of-00003"} {
		f.Add(testmodel.Read(f, "testdata/"+name+".gguf"))
	}
	f.Add([]byte(head(2, 1, 1).key("general.alignment", 4).u32(8).tensor("x", 0, 0, 1).pad(8).zeros(4)))
	f.Add([]byte(head(3, 0, 1).key("k", 9).u32(9).u64(1).u32(7).u64(1).add("\x01")))
	f.Fuzz(func(t *testing.T, b []byte) {
		x, err := newFile(b)
		if err != nil {
			var fe *formats.Error
			if !errors.As(err, &fe) {
				t.Fatalf("error of type %T: %v", err, err)
			}
			return
		}
		for _, key := range splitKeys {
			x.Metadata.Delete(key)
		}
		if _, ok := x.Metadata.Get(alignmentKey); ok {
			x.Metadata.Set(alignmentKey, uint32(max(8, x.Alignment)))
		}
		for _, x := range x.Tensors {
			if len(x.Name) > maxWrittenName {
				return
			}
		}
		for _, v := range x.Metadata.All() {
			if _, err := appendValue(nil, v, 0); err != nil && strings.Contains(err.Error(), "UTF-8") {
				return
			}
		}
		if x.Alignment > 1<<16 {
			return // megabytes of padding
		}
		y, err := newFile(encode(t, x))
		if err != nil {
			t.Fatal(err)
		}
		sameFile(t, x, y)
	})
}

// encode writes the file with a Writer.
func encode(t testing.TB, f *File) []byte {
	t.Helper()
	infos := make([]TensorInfo, len(f.Tensors))
	for i, x := range f.Tensors {
		infos[i] = x.TensorInfo
	}
	var out buffer
	w, err := NewWriter(&out, f.Metadata, infos)
	if err != nil {
		t.Fatal(err)
	}
	for i, x := range f.Tensors {
		b, err := io.ReadAll(x.Data())
		if err != nil {
			t.Fatal(err)
		}
		if err := w.WriteTensorAt(i, b, 0); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out
}

// buffer is a file in memory.
type buffer []byte

func (b *buffer) WriteAt(p []byte, off int64) (int, error) {
	if n := int(off) + len(p); n > len(*b) {
		*b = append(*b, make([]byte, n-len(*b))...)
	}
	return copy((*b)[off:], p), nil
}

func sameFile(t testing.TB, x, y *File) {
	t.Helper()
	// Values are compared as they are encoded, so that a NaN equals itself.
	text := func(f *File) (s string) {
		for k, v := range f.Metadata.All() {
			b, err := appendValue(nil, v, 0)
			s += fmt.Sprintf("%q: %x %v\n", k, b, err)
		}
		for _, x := range f.Tensors {
			b, err := io.ReadAll(x.Data())
			s += fmt.Sprintf("%q %s %d: %x %v\n", x.Name, x.Type, x.Dims, b, err)
		}
		return s
	}
	if a, b := text(x), text(y); a != b {
		t.Errorf("files differ:\n%s\n%s", a, b)
	}
}
