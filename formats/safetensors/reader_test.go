package safetensors

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/phi3conv/phi3conv/formats"
	"github.com/phi3conv/phi3conv/internal/testmodel"
)

// pattern is the data that testdata/make.py gives a tensor.
func pattern(name string, n int64) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(7*i + len([]rune(name)))
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

func newFile(b []byte) (*File, error) { return NewFile(bytes.NewReader(b), int64(len(b))) }

// file puts a header and n bytes of data together.
func file(header string, n int) []byte {
	b := binary.LittleEndian.AppendUint64(nil, uint64(len(header)))
	b = append(b, header...)
	return append(b, make([]byte, n)...)
}

// oddName is a tensor's name in testdata/all.safetensors.
const oddName = "odd \"name\" \\ é <&>\t"

// TestGolden reads the file that the safetensors package from PyPI wrote.
func TestGolden(t *testing.T) {
	f, err := Open("testdata/all.safetensors")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	if !reflect.DeepEqual(f.Metadata, map[string]string{"format": "pt"}) {
		t.Errorf("metadata: %v", f.Metadata)
	}
	want := map[string]struct {
		dtype DType
		shape []uint64
		size  int64
	}{
		"t.bool":             {BOOL, []uint64{3, 2}, 6},
		"t.float4_e2m1fn_x2": {F4, []uint64{3, 4}, 6},
		"t.uint8":            {U8, []uint64{3, 2}, 6},
		"t.int8":             {I8, []uint64{3, 2}, 6},
		"t.float8_e5m2":      {F8_E5M2, []uint64{3, 2}, 6},
		"t.float8_e4m3fn":    {F8_E4M3, []uint64{3, 2}, 6},
		"t.float8_e8m0fnu":   {F8_E8M0, []uint64{3, 2}, 6},
		"t.float8_e4m3fnuz":  {F8_E4M3FNUZ, []uint64{3, 2}, 6},
		"t.float8_e5m2fnuz":  {F8_E5M2FNUZ, []uint64{3, 2}, 6},
		"t.int16":            {I16, []uint64{3, 2}, 12},
		"t.uint16":           {U16, []uint64{3, 2}, 12},
		"t.float16":          {F16, []uint64{3, 2}, 12},
		"t.bfloat16":         {BF16, []uint64{3, 2}, 12},
		"t.int32":            {I32, []uint64{3, 2}, 24},
		"t.uint32":           {U32, []uint64{3, 2}, 24},
		"t.float32":          {F32, []uint64{3, 2}, 24},
		"t.complex64":        {C64, []uint64{3, 2}, 48},
		"t.float64":          {F64, []uint64{3, 2}, 48},
		"t.int64":            {I64, []uint64{3, 2}, 48},
		"t.uint64":           {U64, []uint64{3, 2}, 48},
		"scalar":             {F32, []uint64{}, 4},
		"empty":              {I64, []uint64{4, 0}, 0},
		oddName:              {U8, []uint64{1, 1, 5}, 5},
		"value.float16":      {F16, []uint64{2, 4}, 16},
		"value.bfloat16":     {BF16, []uint64{2, 4}, 16},
		"value.float32":      {F32, []uint64{2, 4}, 32},
		"value.float64":      {F64, []uint64{2, 4}, 64},
	}
	if len(f.Tensors) != len(want) {
		t.Errorf("%d tensors, want %d", len(f.Tensors), len(want))
	}
	for name, w := range want {
		x := f.Tensor(name)
		if x == nil {
			t.Errorf("%s is missing", name)
			continue
		}
		elems := int64(1)
		for _, n := range w.shape {
			elems *= int64(n)
		}
		if x.Name != name || x.DType != w.dtype || !slices.Equal(x.Shape, w.shape) || x.Size() != w.size ||
			x.Elems() != elems {
			t.Errorf("%s: %s %d, %d elements, %d bytes", x.Name, x.DType, x.Shape, x.Elems(), x.Size())
		}
		if !strings.HasPrefix(name, "value.") && !bytes.Equal(data(t, x), pattern(name, w.size)) {
			t.Errorf("%s: data %x", name, data(t, x))
		}
	}
	if !slices.IsSortedFunc(f.Tensors, func(a, b *Tensor) int { return int(a.Offset - b.Offset) }) {
		t.Error("tensors are not in the order of their bytes")
	}
	if f.Tensor("none") != nil {
		t.Error("Tensor finds what is not there")
	}
}

func TestReadFloat32(t *testing.T) {
	f, err := Open("testdata/all.safetensors")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	negZero := float32(math.Copysign(0, -1))
	want := map[string][]float32{ // VALUES of testdata/make.py, as the type holds them
		"value.float32": {0, negZero, 1, -1.5, 65504, 6e-5, 3.140625, -0.333251953125},
		"value.float64": {0, negZero, 1, -1.5, 65504, 6e-5, 3.140625, -0.333251953125},
		// 6e-5 is subnormal
		"value.float16":  {0, negZero, 1, -1.5, 65504, 1007.0 / (1 << 24), 3.140625, -0.333251953125},
		"value.bfloat16": {0, negZero, 1, -1.5, 65280, 0x1.f6p-15, 3.140625, -0.33203125}, // cut off
	}
	for name, want := range want {
		x := f.Tensor(name)
		for first := range len(want) {
			for n := range len(want) - first + 1 {
				got := make([]float32, n)
				if err := x.ReadFloat32(got, int64(first)); err != nil {
					t.Fatal(err)
				}
				for i, v := range got {
					if math.Float32bits(v) != math.Float32bits(want[first+i]) {
						t.Errorf("%s[%d] = %v, want %v", name, first+i, v, want[first+i])
					}
				}
			}
		}
		for _, first := range []int64{-1, 1, 8, 9, math.MaxInt64, math.MinInt64} {
			if err := x.ReadFloat32(make([]float32, 8), first); err == nil {
				t.Errorf("%s: 8 elements from %d are read", name, first)
			}
		}
	}
	for _, x := range f.Tensors {
		usable := x.DType == F16 || x.DType == BF16 || x.DType == F32 || x.DType == F64
		if err := x.ReadFloat32(make([]float32, x.Elems()), 0); (err == nil) != usable ||
			(x.DType.Usable() == nil) != usable {
			t.Errorf("%s: error %v", x.Name, err)
		}
	}
}

// The tensor is longer than the reader's buffer.
func TestReadLongFloat32(t *testing.T) {
	const n = 100_000
	raw := file(fmt.Sprintf(`{"x":{"dtype":"BF16","shape":[%d],"data_offsets":[0,%d]}}`, n, 2*n), 0)
	for i := range n {
		raw = binary.LittleEndian.AppendUint16(raw, uint16(i%0x7f80))
	}
	f, err := newFile(raw)
	if err != nil {
		t.Fatal(err)
	}
	got := make([]float32, n-1)
	if err := f.Tensors[0].ReadFloat32(got, 1); err != nil {
		t.Fatal(err)
	}
	for i, v := range got {
		if math.Float32bits(v) != uint32((i+1)%0x7f80)<<16 {
			t.Fatalf("element %d is %v", i+1, v)
		}
	}
}

// TestDTypes checks the table against what the format says about each type.
func TestDTypes(t *testing.T) {
	bits := map[string]int{
		"BOOL": 8, "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6,
		"U8": 8, "I8": 8, "F8_E5M2": 8, "F8_E4M3": 8, "F8_E8M0": 8,
		"F8_E4M3FNUZ": 8, "F8_E5M2FNUZ": 8, "I16": 16, "U16": 16, "F16": 16, "BF16": 16,
		"I32": 32, "U32": 32, "F32": 32, "C64": 64, "F64": 64, "I64": 64, "U64": 64,
	}
	if len(DTypes()) != len(bits) {
		t.Errorf("%d types, want %d", len(DTypes()), len(bits))
	}
	for name, n := range bits {
		d, ok := ParseDType(name)
		if !ok || d.String() != name || d.Bits() != n {
			t.Errorf("%s: %v %v, %d bits", name, d, ok, d.Bits())
		}
	}
	if _, ok := ParseDType("bf16"); ok {
		t.Error("names are not case-sensitive")
	}
	for d, want := range map[DType]string{
		F8_E4M3: "type F8_E4M3: calibrated 8-bit",
		F4:      "start from the 16-bit checkpoint",
		U8:      "integers are not weights",
		C64:     "complex numbers",
	} {
		if err := d.Usable(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", d, err)
		}
	}
	no := DType(99)
	if err := no.Usable(); no.String() != "DType(99)" || no.Bits() != 0 || err == nil ||
		err.Error() != "DType(99) is no type" {
		t.Errorf("%s: %d bits, %v", no, no.Bits(), err)
	}
}

const x4 = `"x":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}`

// entry is a header with one tensor.
func entry(s string) string { return `{"x":{` + s + `}}` }

// refused lists files that are refused, and what the error says.
var refused = []struct {
	name string
	file []byte
	is   error
	want string
}{
	{"empty", nil, ErrTruncated, "offset 0: file has 0 bytes"},
	{"7 bytes", make([]byte, 7), ErrTruncated, "file has 7 bytes"},
	{"no header", make([]byte, 8), nil, `offset 8: header begins with "", must be "{"`},
	{
		"header limit", append(binary.LittleEndian.AppendUint64(nil, 100_000_001), '{', '}'), nil,
		"header of 100000001 bytes, at most 100000000",
	},
	{
		"header of 2^64-1", append(bytes.Repeat([]byte{255}, 8), '{', '}'), nil,
		"header of 18446744073709551615 bytes",
	},
	{
		"header longer than the file", append(binary.LittleEndian.AppendUint64(nil, 3), '{', '}'), ErrTruncated,
		"header of 3 bytes, 2 are left",
	},
	{"leading space", file(` {}`, 0), nil, `header begins with " {}"`},
	{"array", file(`[]`, 0), nil, `header begins with "[]"`},
	{"not UTF-8", file("{\"\xff\":1}", 0), nil, "not valid UTF-8"},
	{"no JSON", file(`{x}`, 0), nil, "JSON: invalid character 'x'"},
	{"unfinished", file(`{`, 0), nil, "unexpected EOF"},
	{"unfinished entry", file(`{"x":{"dtype"`, 0), nil, "unexpected EOF"},
	{"trailing newline", file("{}\n", 0), nil, `offset 10: "\n" after the header's JSON, only spaces are allowed`},
	{"trailing object", file("{}  {}", 0), nil, `offset 12: "{}" after`},
	{"trailing zero", file("{} \x00", 0), nil, `after the header's JSON`},
	{"trailing comma", file(`{`+x4+`,}`, 4), nil, "JSON: invalid character"},
	{"name twice", file(`{`+x4+`,`+x4+`}`, 8), nil, `name "x" is there twice`},
	{
		"name twice, escaped", file(`{`+x4+`,"\u0078":{"dtype":"U8","shape":[4],"data_offsets":[4,8]}}`, 8), nil,
		`name "x" is there twice`,
	},
	{
		"field twice", file(entry(`"dtype":"U8","dtype":"U8","shape":[4],"data_offsets":[0,4]`), 4), nil,
		`name "dtype" is there twice`,
	},
	{"metadata twice", file(`{"__metadata__":{},"__metadata__":{}}`, 0), nil, `name "__metadata__" is there twice`},
	{"metadata key twice", file(`{"__metadata__":{"a":"b","a":"c"}}`, 0), nil, `name "a" is there twice`},
	{"metadata number", file(`{"__metadata__":{"a":1}}`, 0), nil, "found 1, must be a string"},
	{"metadata null", file(`{"__metadata__":null}`, 0), nil, `found <nil>, must be "{"`},
	{"metadata nested", file(`{"__metadata__":{"a":{}}}`, 0), nil, "found {, must be a string"},
	{"entry is a number", file(`{"x":1}`, 0), nil, `found 1, must be "{"`},
	{
		"unknown field", file(entry(`"dtype":"U8","shape":[4],"data_offsets":[0,4],"offsets":[0,4]`), 4), nil,
		`tensor "x": unknown field "offsets"`,
	},
	{"no dtype", file(entry(`"shape":[4],"data_offsets":[0,4]`), 4), nil, `dtype "" is missing or unknown`},
	{"no shape", file(entry(`"dtype":"U8","data_offsets":[0,1]`), 1), nil, "shape is missing"},
	{"no offsets", file(entry(`"dtype":"U8","shape":[4]`), 4), nil, "data_offsets are [], must be begin and end"},
	{
		"unknown dtype", file(entry(`"dtype":"U7","shape":[4],"data_offsets":[0,4]`), 4), nil,
		`tensor "x": dtype "U7" is missing or unknown`,
	},
	{
		"dtype is a number", file(entry(`"dtype":8,"shape":[4],"data_offsets":[0,4]`), 4), nil,
		"found 8, must be a string",
	},
	{
		"shape is a number", file(entry(`"dtype":"U8","shape":4,"data_offsets":[0,4]`), 4), nil,
		`found 4, must be "["`,
	},
	{
		"negative dimension", file(entry(`"dtype":"U8","shape":[-4],"data_offsets":[0,4]`), 4), nil,
		"found -4, must be an unsigned",
	},
	{
		"fraction", file(entry(`"dtype":"U8","shape":[4.0],"data_offsets":[0,4]`), 4), nil,
		"found 4.0, must be an unsigned",
	},
	{
		"exponent", file(entry(`"dtype":"U8","shape":[4e0],"data_offsets":[0,4]`), 4), nil,
		"found 4e0, must be an unsigned",
	},
	{
		"number as text", file(entry(`"dtype":"U8","shape":["4"],"data_offsets":[0,4]`), 4), nil,
		`found the string "4"`,
	},
	{
		"dimension of 2^64", file(entry(`"dtype":"U8","shape":[18446744073709551616],"data_offsets":[0,4]`), 4),
		nil, "must be an unsigned 64-bit",
	},
	{
		"nested shape", file(entry(`"dtype":"U8","shape":[[4]],"data_offsets":[0,4]`), 4), nil,
		"found [, must be an unsigned",
	},
	{"one offset", file(entry(`"dtype":"U8","shape":[4],"data_offsets":[4]`), 4), nil, "data_offsets are [4]"},
	{
		"three offsets", file(entry(`"dtype":"U8","shape":[4],"data_offsets":[0,4,4]`), 4), nil,
		`JSON: array of more than 2 numbers`,
	},
	{
		"many offsets", file(entry(`"dtype":"U8","shape":[4],"data_offsets":[0`+strings.Repeat(",0", 1000)+`]`), 4),
		nil, "JSON: array of more than 2 numbers",
	},
	{
		"65 dimensions",
		file(entry(`"dtype":"U8","shape":[1`+strings.Repeat(",1", 64)+`],"data_offsets":[0,1]`), 1), nil,
		"JSON: array of more than 64 numbers",
	},
	{
		"end before begin", file(entry(`"dtype":"U8","shape":[4],"data_offsets":[4,0]`), 4), nil,
		"data_offsets are [4 0]",
	},
	{
		"offset of 2^63",
		file(entry(`"dtype":"U8","shape":[4],"data_offsets":[9223372036854775804,9223372036854775808]`), 4), nil,
		"data_offsets are",
	},
	{
		"elements overflow", file(entry(`"dtype":"U8","shape":[4294967296,4294967296],"data_offsets":[0,0]`), 0),
		nil, "too many elements",
	},
	{
		"elements overflow before a zero",
		file(entry(`"dtype":"U8","shape":[4294967296,4294967296,0],"data_offsets":[0,0]`), 0), nil,
		"too many elements",
	},
	{
		"bits overflow", file(entry(`"dtype":"F64","shape":[288230376151711744],"data_offsets":[0,0]`), 0), nil,
		"too many bytes",
	},
	{
		"half a byte", file(entry(`"dtype":"F4","shape":[3],"data_offsets":[0,1]`), 1), nil,
		"takes 12 bits, must be whole bytes",
	},
	{
		"six bits", file(entry(`"dtype":"F6_E3M2","shape":[2],"data_offsets":[0,1]`), 1), nil,
		"takes 12 bits, must be whole bytes",
	},
	{
		"length and shape", file(entry(`"dtype":"F16","shape":[4],"data_offsets":[0,4]`), 4), nil,
		`tensor "x": data_offsets [0 4] span 4 bytes, F16 [4] takes 8`,
	},
	{
		"gap at the start", file(entry(`"dtype":"U8","shape":[4],"data_offsets":[1,5]`), 5), ErrGap,
		`offset 61: tensor "x": 4 bytes of data at 1 of 5`,
	},
	{"gap", file(`{`+x4+`,"y":{"dtype":"U8","shape":[1],"data_offsets":[5,6]}}`, 6), ErrGap, `tensor "y"`},
	{"overlap", file(`{`+x4+`,"y":{"dtype":"U8","shape":[3],"data_offsets":[3,6]}}`, 6), ErrOverlap, `tensor "y"`},
	{
		"same place", file(`{`+x4+`,"y":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}}`, 4), ErrOverlap,
		`tensor "y"`,
	},
	{
		"empty tensor inside another", file(`{`+x4+`,"y":{"dtype":"U8","shape":[0],"data_offsets":[2,2]}}`, 4),
		ErrOverlap, `tensor "y"`,
	},
	{"data missing", file(`{`+x4+`}`, 3), ErrTruncated, `tensor "x": 4 bytes of data at 0 of 3`},
	{"trailing data", file(`{`+x4+`}`, 5), ErrGap, "1 bytes after the last tensor"},
	{"data without tensors", file(`{}`, 1), ErrGap, "1 bytes after the last tensor"},
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
		file []byte
	}{
		{"nothing", file(`{}`, 0)},
		{"padding", file(`{}      `, 0)},
		{
			"spaces inside",
			file("{ \"x\" :\n{ \"dtype\" : \"U8\" , \"shape\" : [ 4 ] , \"data_offsets\" : [ 0 , 4 ] } }", 4),
		},
		{
			"other order of fields and tensors",
			file(
				`{"y":{"data_offsets":[1,3],"shape":[2],"dtype":"U8"},`+
					`"x":{"shape":[],"dtype":"I8","data_offsets":[0,1]}}`,
				3,
			),
		},
		{
			"empty tensors anywhere",
			file(
				`{"a":{"dtype":"F64","shape":[0],"data_offsets":[0,0]},`+
					`"b":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},`+
					`"c":{"dtype":"U8","shape":[2,0],"data_offsets":[1,1]}}`,
				1,
			),
		},
		{"six bits", file(`{"x":{"dtype":"F6_E2M3","shape":[2,2],"data_offsets":[0,3]}}`, 3)},
		{"64 dimensions", file(`{"x":{"dtype":"U8","shape":[1`+strings.Repeat(",1", 63)+`],"data_offsets":[0,1]}}`, 1)},
		{"empty name", file(`{"":{"dtype":"U8","shape":[],"data_offsets":[0,1]}}`, 1)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := newFile(tt.file); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestTruncated cuts the golden file after every byte. No prefix is valid.
func TestTruncated(t *testing.T) {
	whole := testmodel.Read(t, "testdata/all.safetensors")
	for n := range whole {
		if _, err := newFile(whole[:n]); !errors.Is(err, ErrTruncated) {
			t.Fatalf("%d bytes of %d: error %v", n, len(whole), err)
		}
	}
	if _, err := newFile(append(whole, 0)); !errors.Is(err, ErrGap) {
		t.Errorf("a byte more: error %v", err)
	}
	f, err := newFile(whole)
	if err != nil {
		t.Fatal(err)
	}
	for n := range f.Tensors[0].Offset { // a file that shrinks while it is open
		if _, err := NewFile(bytes.NewReader(whole[:n]), int64(len(whole))); !errors.Is(err, ErrTruncated) {
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
	whole := testmodel.Read(t, "testdata/all.safetensors")
	f, err := newFile(whole)
	if err != nil {
		t.Fatal(err)
	}
	refused := 0
	for i := range f.Tensors[0].Offset {
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
		if n > 2<<20 {
			t.Errorf("byte %d: %d bytes allocated", i, n)
		}
	}
	if refused == 0 {
		t.Error("nothing refused")
	}
}

// TestErrorLength puts long things wherever an error shows something.
func TestErrorLength(t *testing.T) {
	long := strings.Repeat("a", 100_000)
	digits := strings.Repeat("1", 100_000)
	list := strings.Repeat("1,", 100_000) + "1"
	entry := func(name, dtype, shape, offsets string) string {
		return fmt.Sprintf(`"%s":{"dtype":"%s","shape":[%s],"data_offsets":[%s]}`, name, dtype, shape, offsets)
	}
	ok := entry(long, "U8", "4", "0,4")
	for name, header := range map[string]string{
		"name twice":    `{` + ok + `,` + ok + `}`,
		"field":         `{"` + long + `":{"` + long + `":1}}`,
		"dtype":         `{` + entry(long, long, "4", "0,4") + `}`,
		"shape":         `{` + entry(long, "U8", list, "0,4") + `}`,
		"no shape":      `{"` + long + `":{"dtype":"U8","data_offsets":[0,4]}}`,
		"many elements": `{` + entry(long, "U8", "4294967296,4294967296", "0,4") + `}`,
		"offsets":       `{` + entry(long, "U8", "4", list) + `}`,
		"one offset":    `{` + entry(long, "U8", "4", "4") + `}`,
		"size":          `{` + entry(long, "U8", "4", "0,3") + `}`,
		"gap":           `{` + entry(long, "U8", "4", "1,5") + `}`,
		"number":        `{` + entry(long, "U8", digits, "0,4") + `}`,
		"metadata":      `{"__metadata__":{"` + long + `":` + digits + `}}`,
	} {
		if _, err := newFile(file(header, 4)); err == nil || len(err.Error()) > 1000 {
			t.Errorf("%s: error %.300v", name, err)
		}
	}
	for name, index := range map[string]string{
		"file":      `{"weight_map":{"` + long + `":"` + long + `"}}`,
		"file name": `{"weight_map":{"` + long + `":"` + long + `.safetensors"}}`,
	} {
		if _, err := parseIndex([]byte(index)); err == nil || len(err.Error()) > 1000 {
			t.Errorf("%s: error %.300v", name, err)
		}
	}
}

// TestSmallElements reads headers made of the smallest elements there are. All
// that is allocated, garbage included, is a few copies of the header and at most
// 1.5 KiB for each of the names allowed, about 100 MB.
func TestSmallElements(t *testing.T) {
	object := func(n int, entry string) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, `,"%x":%s`, i, entry)
		}
		return `{` + b.String()[1:] + `}`
	}
	const entry = `{"dtype":"U8","shape":[0],"data_offsets":[0,0]}`
	for _, tt := range []struct {
		name, header string
		refused      bool
	}{
		{"more tensors", object(2*maxNames, entry), true},
		{"metadata", `{"__metadata__":` + object(maxNames, `""`) + `}`, false},
		{"more metadata", `{"__metadata__":` + object(8*maxNames, `""`) + `}`, true},
	} {
		var err error
		b := file(tt.header, 0)
		n := allocated(func() { _, err = newFile(b) })
		if refused := err != nil &&
			strings.Contains(err.Error(), "JSON: object of more than 65536 names"); refused != tt.refused ||
			n > uint64(1536*maxNames+4*len(b)) {
			t.Errorf("%s: %d bytes allocated for %d, error %v", tt.name, n, len(b), err)
		}
	}
	index := []byte(`{"weight_map":` + object(maxNames+1, `"x.safetensors"`) + `}`)
	if _, err := parseIndex(index); err == nil || !strings.Contains(err.Error(), "object of more than 65536 names") {
		t.Errorf("index: error %v", err)
	}
}

func TestReadError(t *testing.T) {
	want := errors.New("disk on fire")
	if _, err := NewFile(failing{want}, 1000); !errors.Is(err, want) ||
		!strings.Contains(err.Error(), "offset 0: read") {
		t.Errorf("error %v", err)
	}
	if _, err := Open(t.TempDir()); err == nil || !strings.Contains(err.Error(), "not a regular file") {
		t.Errorf("directory: error %v", err)
	}
	if _, err := Open("testdata/missing.safetensors"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("missing file: error %v", err)
	}
	path := filepath.Join(t.TempDir(), "x.safetensors")
	if err := os.WriteFile(path, file(`{}x`, 0), 0o666); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(path); err == nil || !strings.HasPrefix(err.Error(), path+": offset 10: ") {
		t.Errorf("error without the path: %v", err)
	}
}

type failing struct{ err error }

func (f failing) ReadAt(p []byte, off int64) (int, error) { return 0, f.err }

// FuzzReader parses a file of any header and data. What parses must survive a
// write and a read.
func FuzzReader(f *testing.F) {
	for _, name := range []string{"all", "none", "sharded/model-00001-of-00002"} {
		b := testmodel.Read(f, "testdata/"+name+".safetensors")
		end := 8 + binary.LittleEndian.Uint64(b)
		f.Add(string(b[8:end]), b[end:])
	}
	f.Add(`{"__metadata__":{"a":"b"},"x":{"dtype":"F4","shape":[2,1],"data_offsets":[0,1]}}  `, []byte{7})
	f.Fuzz(func(t *testing.T, header string, data []byte) {
		x, err := newFile(append(file(header, 0), data...))
		if err != nil {
			var fe *formats.Error
			if !errors.As(err, &fe) {
				t.Fatalf("error of type %T: %v", err, err)
			}
			return
		}
		var out bytes.Buffer
		if err := Write(&out, toWrite(x), x.Metadata); err != nil {
			t.Fatal(err)
		}
		y, err := newFile(out.Bytes())
		if err != nil {
			t.Fatal(err)
		}
		sameFile(t, x, y)
	})
}

// toWrite gives the tensors of a file to a writer.
func toWrite(f *File) []WriteTensor {
	list := make([]WriteTensor, len(f.Tensors))
	for i, x := range f.Tensors {
		list[i] = WriteTensor{x.Name, x.DType, x.Shape, x.Data()}
	}
	return list
}

// sameFile compares all but the order of tensors.
func sameFile(t *testing.T, x, y *File) {
	t.Helper()
	if !maps.Equal(x.Metadata, y.Metadata) {
		t.Errorf("metadata: %v and %v", x.Metadata, y.Metadata)
	}
	if len(x.Tensors) != len(y.Tensors) {
		t.Fatalf("%d and %d tensors", len(x.Tensors), len(y.Tensors))
	}
	for _, a := range x.Tensors {
		b := y.Tensor(a.Name)
		if b == nil || a.DType != b.DType || !slices.Equal(a.Shape, b.Shape) || !bytes.Equal(data(t, a), data(t, b)) {
			t.Errorf("%s differs", a.Name)
		}
	}
}
