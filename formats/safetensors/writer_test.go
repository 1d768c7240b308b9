package safetensors

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/phi3conv/phi3conv/internal/testmodel"
)

// TestWriteGolden writes what the safetensors package from PyPI wrote, byte for byte.
func TestWriteGolden(t *testing.T) {
	for _, name := range []string{"all", "none", "sharded/model-00001-of-00002"} {
		path := "testdata/" + name + ".safetensors"
		f, err := Open(path)
		if err != nil {
			t.Fatal(err)
		}
		tensors := toWrite(f)
		rand.New(rand.NewPCG(1, 2)).Shuffle(
			len(tensors), func(i, j int) { tensors[i], tensors[j] = tensors[j], tensors[i] },
		)
		var out bytes.Buffer
		if err := Write(&out, tensors, f.Metadata); err != nil {
			t.Fatal(err)
		}
		if want := testmodel.Read(t, path); !bytes.Equal(out.Bytes(), want) {
			t.Errorf("%s differs:\n%q\n%q", path, out.Bytes(), want)
		}
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestWriteEscapes has the bytes that the safetensors package from PyPI writes
// for the same names.
func TestWriteEscapes(t *testing.T) {
	var out bytes.Buffer
	err := Write(&out, []WriteTensor{
		{"a\u2028\\u2029\u2029\x00\x1f\x7f\b\f/<", U8, []uint64{1}, strings.NewReader("\x00")},
	},
		map[string]string{"k\u2028": "v\\\u2029\\u2028"})
	if err != nil {
		t.Fatal(err)
	}
	want := "\x80\x00\x00\x00\x00\x00\x00\x00" + `{"__metadata__":{"k` + "\u2028" + `":"v\\` + "\u2029" +
		`\\u2028"},"a` + "\u2028" + `\\u2029` + "\u2029" +
		`\u0000\u001f` + "\x7f" + `\b\f/<":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}   ` + "\x00"
	if out.String() != want {
		t.Errorf("got  %q\nwant %q", out.String(), want)
	}
}

// TestRoundTrip writes random files and reads them back.
func TestRoundTrip(t *testing.T) {
	for seed := range uint64(50) {
		r := rand.New(rand.NewPCG(seed, 1))
		var tensors []WriteTensor
		content := make(map[string][]byte)
		for i := range r.IntN(20) {
			name := fmt.Sprintf("%d\"\u2028<%c", i, rune(r.IntN(0xd800)))
			x := WriteTensor{Name: name, DType: DType(r.IntN(len(dtypes)))}
			for range r.IntN(4) {
				x.Shape = append(x.Shape, uint64(r.IntN(5)))
			}
			x.Shape = append(x.Shape, 4) // whole bytes for every type
			_, size, err := measure(x.DType, x.Shape)
			if err != nil {
				t.Fatal(err)
			}
			b := make([]byte, size)
			for j := range b {
				b[j] = byte(r.Uint32())
			}
			content[x.Name] = b
			x.Data = bytes.NewReader(b)
			tensors = append(tensors, x)
		}
		var metadata map[string]string
		if r.IntN(2) == 0 {
			metadata = map[string]string{"": "x", "é": "\x00\u2029"}
		}
		path := filepath.Join(t.TempDir(), "x.safetensors")
		if err := Create(path, tensors, metadata); err != nil {
			t.Fatal(err)
		}
		f, err := Open(path)
		if err != nil {
			t.Fatal(err)
		}
		if len(f.Tensors) != len(tensors) || len(f.Metadata) != len(metadata) {
			t.Errorf("seed %d: %d tensors, metadata %v", seed, len(f.Tensors), f.Metadata)
		}
		for _, x := range f.Tensors {
			if !bytes.Equal(data(t, x), content[x.Name]) {
				t.Errorf("seed %d: %q differs", seed, x.Name)
			}
			if align := max(1, x.DType.Bits()/8); x.Offset%int64(align) != 0 {
				t.Errorf("seed %d: %s of %d bytes at %d", seed, x.DType, align, x.Offset)
			}
		}
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestWriteRefuses(t *testing.T) {
	disk := errors.New("disk on fire")
	one := func(name string, d DType, data string, shape ...uint64) []WriteTensor {
		return []WriteTensor{{name, d, shape, strings.NewReader(data)}}
	}
	var exa []WriteTensor
	for i := range 9 {
		exa = append(exa, one(fmt.Sprint(i), U8, "", 1<<60)...)
	}
	many := make([]WriteTensor, maxNames)
	keys := make(map[string]string)
	for i := range maxNames + 1 {
		keys[fmt.Sprint(i)] = ""
	}
	tests := []struct {
		name     string
		tensors  []WriteTensor
		metadata map[string]string
		want     string
	}{
		{"name not UTF-8", one("\xff", U8, "x"), nil, "not valid UTF-8"},
		{"reserved name", one("__metadata__", U8, "x"), nil, `tensor name "__metadata__" is taken`},
		{"name twice", append(one("x", U8, "x"), one("x", I8, "x")...), nil, `tensor name "x" is taken`},
		{"no type", one("x", 99, "x"), nil, "DType(99) is no type"},
		{"half a byte", one("x", F4, "x"), nil, "takes 4 bits, must be whole bytes"},
		{"overflow", one("x", U8, "", 1<<32, 1<<32), nil, "too many elements"},
		{"larger than a file", exa, nil, "larger than any file"},
		{"no data", []WriteTensor{{"x", F32, []uint64{1}, nil}}, nil, `tensor "x": Data is nil, must have 4 bytes`},
		{"65 dimensions", one("x", U8, "x", slices.Repeat([]uint64{1}, 65)...), nil,
			`tensor "x": 65 dimensions, at most 64`},
		{"too many tensors", many, nil, "65536 tensors, at most 65535 are allowed"},
		{"too many keys", nil, keys, "metadata of 65537 keys, at most 65536 are allowed"},
		{"short data", one("x", F32, "abc"), nil, `tensor "x": its data ends after 3 bytes of 4`},
		{"long data", one("x", F32, "abcde"), nil, `tensor "x": its data does not end after 4 bytes`},
		{"read error", []WriteTensor{{"x", U8, nil, failingReader{disk}}}, nil, `tensor "x": disk on fire`},
		{"metadata not UTF-8", nil, map[string]string{"a": "\xff"}, `metadata "a": "\xff" is not valid UTF-8`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, "x.safetensors")
			err := Create(path, tt.tensors, tt.metadata)
			if err == nil || !strings.Contains(err.Error(), tt.want) ||
				!strings.HasPrefix(err.Error(), "write "+path+": ") {
				t.Errorf("error %.300v, want %q", err, tt.want)
			}
			entries, err := os.ReadDir(dir)
			if err != nil || len(entries) > 0 {
				t.Errorf("left %v, error %v", entries, err)
			}
		})
	}
	t.Run("write error", func(t *testing.T) {
		for n := range 2 {
			err := Write(&failingWriter{n, disk}, one("x", U8, "x"), nil)
			if !errors.Is(err, disk) {
				t.Errorf("after %d writes: error %v", n, err)
			}
		}
	})
}

type failingReader struct{ err error }

func (r failingReader) Read([]byte) (int, error) { return 0, r.err }

// failingWriter refuses writes after the first few.
type failingWriter struct {
	left int
	err  error
}

func (w *failingWriter) Write(p []byte) (int, error) {
	if w.left == 0 {
		return 0, w.err
	}
	w.left--
	return len(p), nil
}
