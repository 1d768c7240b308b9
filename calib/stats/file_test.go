package stats

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/phi3conv/phi3conv/formats"
	"github.com/phi3conv/phi3conv/formats/gguf"
)

const golden = "../../testdata/golden/"

func load(t testing.TB, path string) *File {
	t.Helper()
	s, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// Files of llama-imatrix come back byte by byte.
func TestLlamaFiles(t *testing.T) {
	s, dat := load(t, golden+"imatrix.gguf"), load(t, golden+"imatrix.dat")
	if len(s.Entries) != 16 || s.ChunkCount != 20 || s.ChunkSize != 64 || dat.ChunkCount != 20 ||
		!slices.Equal(s.Datasets, dat.Datasets) {
		t.Errorf("%d entries, %d chunks of %d, %q", len(s.Entries), s.ChunkCount, s.ChunkSize, s.Datasets)
	}
	for i := range s.Entries {
		a, b := &s.Entries[i], &dat.Entries[i]
		if a.Name != b.Name {
			t.Errorf("entry %d is %s and %s", i, a.Name, b.Name)
		}
		want := a.Importance()
		for c, v := range b.Importance() {
			if d := math.Abs(float64(v - want[c])); d > 1e-6*float64(want[c]) {
				t.Fatalf("%s, column %d: the forms differ by %g", a.Name, c, d)
			}
		}
	}
	dir := t.TempDir()
	if err := s.Write(filepath.Join(dir, "a.gguf"), nil); err != nil {
		t.Fatal(err)
	}
	if err := s.Write(filepath.Join(dir, "a.dat"), nil); err != nil {
		t.Fatal(err)
	}
	for _, form := range []string{"gguf", "dat"} {
		got, err := os.ReadFile(filepath.Join(dir, "a."+form))
		if err != nil {
			t.Fatal(err)
		}
		want, err := os.ReadFile(golden + "imatrix." + form)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("the .%s file has other bytes", form)
		}
	}
	if err := dat.Write(filepath.Join(dir, "b.dat"), nil); err == nil {
		t.Error("counts in chunks are written as tokens")
	}
}

func dat(name string, calls, cols int32, values ...float32) []byte {
	b := binary.LittleEndian.AppendUint32(nil, 1)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(name)))
	b = append(b, name...)
	b = binary.LittleEndian.AppendUint32(b, uint32(calls))
	b = binary.LittleEndian.AppendUint32(b, uint32(cols))
	for _, v := range values {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(v))
	}
	return b
}

var nan = float32(math.NaN())

func TestHostileDat(t *testing.T) {
	for _, c := range []struct {
		name, want string
		data       []byte
	}{
		{"empty", "number of entries", nil},
		{"no entries", "number of entries is 0", make([]byte, 40)},
		{"huge", "number of entries is 2147483647", append([]byte{255, 255, 255, 127}, make([]byte, 40)...)},
		{"cut", "offset 13: importance matrix: entry 1 of 1: number of columns is 9, expected 1 to 5",
			append(dat("t", 1, 9), 0, 0, 0, 0)},
		{"cut values", "columns of 8 bytes, and 4 are left", dat("t", 1, 2, 1)},
		{"negative calls", "number of calls is -1", dat("t", -1, 2, 1, 2)},
		{"NaN", "column 1 has the sum of squares NaN", dat("t", 1, 2, 1, nan)},
		{"negative", "column 0 has the sum of squares -1", dat("t", 1, 2, -1, 1)},
		{"infinite", "column 1 has the sum of squares +Inf", dat("t", 1, 2, 1, float32(math.Inf(1)))},
	} {
		path := filepath.Join(t.TempDir(), "a.dat")
		if err := os.WriteFile(path, c.data, 0o666); err != nil {
			t.Fatal(err)
		}
		_, err := Open(path)
		var e *formats.Error
		if !errors.As(err, &e) || e.Path != path || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, expected %q", c.name, err, c.want)
		}
	}
}

func TestHostileGGUF(t *testing.T) {
	type tensors = map[string][]float32
	for _, c := range []struct {
		name, want string
		change     func(md *gguf.Metadata, ts tensors)
	}{
		{"type", `general.type is "model"`, func(md *gguf.Metadata, _ tensors) { md.Set(keyType, "model") }},
		{"key", "imatrix.chunk_size is missing", func(md *gguf.Metadata, _ tensors) { md.Delete(keyChunkSize) }},
		{"counts", "t.in_sum2 without t.counts", func(_ *gguf.Metadata, ts tensors) { delete(ts, "t.counts") }},
		{"sums", "t.counts without t.in_sum2", func(_ *gguf.Metadata, ts tensors) { delete(ts, "t.in_sum2") }},
		{"nothing", "no entries", func(_ *gguf.Metadata, ts tensors) {
			delete(ts, "t.in_sum2")
			delete(ts, "t.counts")
		}},
		{"shape", "3 columns and 2 counts", func(_ *gguf.Metadata, ts tensors) { ts["t.counts"] = []float32{1, 1} }},
		{"NaN count", "count 0 is NaN", func(_ *gguf.Metadata, ts tensors) { ts["t.counts"][0] = nan }},
		{"gradients", "t.out_grad2 has the shape [2] and the type F32", func(_ *gguf.Metadata, ts tensors) {
			ts["t.out_grad2"] = []float32{1, 1}
		}},
		{"lengths", "has 1 tokens, phi3conv.calibration.lengths says 2", func(md *gguf.Metadata, _ tensors) {
			md.Set(keyWeights, "x")
			md.Set(keyTokens, []int32{1})
			md.Set(keyLengths, []int32{2})
		}},
		{"good", "", func(*gguf.Metadata, tensors) {}},
	} {
		md := new(gguf.Metadata)
		md.Set(keyType, typeImatrix)
		md.Set(keyDatasets, []string{"a"})
		md.Set(keyChunkCount, uint32(1))
		md.Set(keyChunkSize, uint32(512))
		made := tensors{"t.in_sum2": {1, 2, 3}, "t.counts": {2}, "z": {1}}
		c.change(md, made)
		var infos []gguf.TensorInfo
		var names []string
		for name, values := range made {
			names = append(names, name)
			infos = append(infos, gguf.TensorInfo{Name: name, Dims: []uint64{uint64(len(values))}})
		}
		path := filepath.Join(t.TempDir(), "a.gguf")
		w, err := gguf.Create(path, md, infos, gguf.Options{})
		if err != nil {
			t.Fatal(err)
		}
		for i, name := range names {
			var raw bytes.Buffer
			_ = binary.Write(&raw, binary.LittleEndian, made[name])
			if err := w.WriteTensorAt(i, raw.Bytes(), 0); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		s, err := Open(path)
		if c.want == "" {
			if err != nil || s.Entry("t") == nil || s.Entry("z") != nil {
				t.Errorf("%s: %v", c.name, err)
			}
			_ = s.Close()
			continue
		}
		var e *formats.Error
		if !errors.As(err, &e) || e.Path != path || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, expected %q", c.name, err, c.want)
		}
	}
}

// A matrix that met no token counts all columns alike, as in llama-quantize. Experts that few tokens reached have in
// part what all have; those with enough have their own.
func TestImportance(t *testing.T) {
	for _, c := range []struct{ e, want Entry }{
		{Entry{Sums: []float32{2, 4}, Counts: []float32{2}}, Entry{Sums: []float32{1, 2}}},
		{Entry{Sums: []float32{5, 6}, Counts: []float32{0}}, Entry{Sums: []float32{1, 1}}},
		{Entry{Sums: []float32{5, 6, 7, 8}, Counts: []float32{0, 0}}, Entry{Sums: []float32{1, 1, 1, 1}}},
		{
			Entry{Sums: []float32{4 * 96, 8 * 96, 5, 6, 416, 832}, Counts: []float32{96, 0, 416}},
			Entry{Sums: []float32{
				(384 + 32*800./512) / 128, (768 + 32*1600./512) / 128, 800. / 512, 1600. / 512, 1, 2,
			}},
		},
	} {
		if got := c.e.Importance(); !slices.Equal(got, c.want.Sums) {
			t.Errorf("%v, expected %v", got, c.want.Sums)
		}
	}
}

func FuzzDat(f *testing.F) {
	data, err := os.ReadFile(golden + "imatrix.dat")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add(dat("blk.0.attn_qkv.weight", 3, 2, 1, 2))
	f.Add(append(dat("t", 0, 1, 1), 1, 0, 0, 0, 1, 0, 0, 0, 'x'))
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := parseDat(data)
		if err == nil {
			err = s.check()
		}
		if err != nil {
			var e *formats.Error
			if !errors.As(err, &e) {
				t.Fatalf("error %v", err)
			}
			return
		}
		for i := range s.Entries {
			if imp := s.Entries[i].Importance(); len(imp) != len(s.Entries[i].Sums) {
				t.Fatal("importance of another length")
			}
		}
		_ = s.Summarize()
	})
}
