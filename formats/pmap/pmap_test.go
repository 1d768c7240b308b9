package pmap

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/phi3conv/phi3conv/formats"
	"github.com/phi3conv/phi3conv/formats/gguf"
	"github.com/phi3conv/phi3conv/quant"
)

// model is a GGUF file with a tensor of every type in many shapes.
func model(t testing.TB) (md *gguf.Metadata, tensors []TensorInfo, data [][]byte) {
	t.Helper()
	md = new(gguf.Metadata)
	md.Set("general.architecture", "test")
	md.Set("test.list", []string{"a", "", "long enough to be seen"})
	rng := rand.New(rand.NewPCG(1, 2))
	add := func(name string, typ quant.Type, l Layout, dims ...uint64) {
		info := TensorInfo{gguf.TensorInfo{Name: name, Type: typ, Dims: dims}, l}
		b := make([]byte, info.Size())
		for i := range b {
			b[i] = byte(rng.Uint32())
		}
		tensors, data = append(tensors, info), append(data, b)
	}
	for _, typ := range quant.ReadTypes() {
		for _, rows := range []uint64{1, 15, 16, 17, 40} {
			if !HasPanels(typ) {
				break
			}
			add(fmt.Sprintf("%s.%d", typ, rows), typ, Panels, uint64(2*typ.BlockLen()), rows)
		}
		add(fmt.Sprintf("%s.rows", typ), typ, Rows, uint64(typ.BlockLen()), 3)
	}
	add("odd", quant.BF16, Panels, 5, 18)
	add("cube", quant.F16, Panels, 6, 5, 4)
	add("vector", quant.F32, Rows, 7)
	add("scalar", quant.F32, Rows)
	return md, tensors, data
}

// create writes the model in pieces of the given number of rows, the last first.
func create(
	t testing.TB, path string, step int, md *gguf.Metadata, tensors []TensorInfo, data [][]byte, extra ...Extra,
) {
	t.Helper()
	w, err := Create(path, md, tensors, extra...)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Abort()
	for i := range tensors {
		info := &tensors[i]
		rowBytes := int(info.Type.Size(info.Cols()))
		for first := (int(info.Rows()) - 1) / step * step; first >= 0; first -= step {
			rows := data[i][first*rowBytes : min(first+step, int(info.Rows()))*rowBytes]
			if err := w.WriteRows(i, first, rows); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := w.Close(2); err != nil {
		t.Fatal(err)
	}
}

func file(t testing.TB, extra ...Extra) string {
	md, tensors, data := model(t)
	path := filepath.Join(t.TempDir(), "m.pmap")
	create(t, path, 16, md, tensors, data, extra...)
	return path
}

// small is a file of four tensors.
func small(t testing.TB, extra ...Extra) []byte {
	md, tensors, data := model(t)
	path := filepath.Join(t.TempDir(), "m.pmap")
	create(t, path, 16, md, tensors[3:7], data[3:7], extra...)
	return content(t, path)
}

func content(t testing.TB, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// A .pmap file is the GGUF file of the same tensors, byte for byte, however it was
// written and whatever part is read at a time.
func TestImage(t *testing.T) {
	md, tensors, data := model(t)
	dir := t.TempDir()
	infos := make([]gguf.TensorInfo, len(tensors))
	for i := range tensors {
		infos[i] = tensors[i].TensorInfo
	}
	g, err := gguf.Create(filepath.Join(dir, "m.gguf"), md, infos, gguf.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for i := range data {
		if err := g.WriteTensorAt(i, data[i], 0); err != nil {
			t.Fatal(err)
		}
	}
	if err := g.Close(); err != nil {
		t.Fatal(err)
	}
	want := content(t, filepath.Join(dir, "m.gguf"))

	path := filepath.Join(dir, "m.pmap")
	create(t, path, 16, md, tensors, data)
	create(t, filepath.Join(dir, "other.pmap"), 32, md, tensors, data)
	if !bytes.Equal(content(t, path), content(t, filepath.Join(dir, "other.pmap"))) {
		t.Error("pieces of 16 and of 32 rows give different files")
	}
	f, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	if size := content(t, path); int64(len(size)) != mustSize(t, md, tensors) {
		t.Errorf("%d bytes, Size says %d", len(size), mustSize(t, md, tensors))
	}
	got, err := io.ReadAll(f.Image())
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Fatal("the image is not the GGUF file")
	}
	rng := rand.New(rand.NewPCG(3, 4))
	for range 2000 {
		from := rng.Int64N(int64(len(want)))
		n := rng.Int64N(min(3000, int64(len(want))-from))
		part := make([]byte, n)
		if k, err := f.Image().ReadAt(part, from); int64(k) != n || !bytes.Equal(part, want[from:from+n]) {
			t.Fatalf("%d bytes from %d: %d read, %v", n, from, k, err)
		}
	}
	if n, err := f.Image().ReadAt(make([]byte, 10), int64(len(want))-3); n != 3 || err != io.EOF {
		t.Errorf("across the end: %d, %v", n, err)
	}
	for i, g := range f.GGUF().Tensors {
		got, err := io.ReadAll(g.Data())
		if err != nil || !bytes.Equal(got, data[i]) {
			t.Errorf("tensor %s differs: %v", g.Name, err)
		}
	}
	if err := f.Check(context.Background(), 2, nil); err != nil {
		t.Error(err)
	}
}

func mustSize(t *testing.T, md *gguf.Metadata, tensors []TensorInfo) int64 {
	t.Helper()
	n, err := Size(md, tensors)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// What is mapped begins at multiples of 64 bytes of memory and is what the file holds.
func TestMapped(t *testing.T) {
	path := file(t)
	f, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	b := content(t, path)
	for i := range f.Tensors {
		tt := &f.Tensors[i]
		if tt.Position%64 != 0 {
			t.Errorf("tensor %s at %d", tt.Name, tt.Position)
		}
		if !bytes.Equal(f.Mapped(tt), b[tt.Position:tt.Position+tt.Len]) {
			t.Errorf("tensor %s is mapped elsewhere", tt.Name)
		}
	}
	for _, s := range f.Sections {
		if s.Offset%pageBytes != 0 {
			t.Errorf("section %s at %d", s.Name, s.Offset)
		}
	}
}

// A decoder reads a row of a tied embedding for every token.
func TestRowsAllocateNothing(t *testing.T) {
	f, err := Open(file(t))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	for i := range f.Tensors {
		x := &f.Tensors[i]
		if x.Layout != Panels || x.Rows() < 2 {
			continue
		}
		row := make([]byte, x.Type.Size(x.Cols()))
		read := func() {
			if _, err := f.readTensor(x, row, int64(len(row))); err != nil {
				t.Fatal(err)
			}
		}
		read()
		if n := testing.AllocsPerRun(20, read); n > 0 {
			t.Errorf("%s: %v allocations for a row", x.Name, n)
		}
	}
}

func check(b []byte) error {
	f, err := NewFile(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		return err
	}
	if _, err := io.Copy(io.Discard, f.Image()); err != nil {
		return err
	}
	return f.Check(context.Background(), 1, nil)
}

// Every flipped bit is noticed: all of the header, the table of contents, the tensor table and the hashes,
// and 10,000 anywhere.
func TestFlips(t *testing.T) {
	b := small(t, Extra{"note", []byte("anything")})
	if err := check(b); err != nil {
		t.Fatal(err)
	}
	flip := func(bit int) {
		b[bit/8] ^= 1 << (bit % 8)
		if err := check(b); err == nil {
			t.Errorf("bit %d of byte %d", bit%8, bit/8)
		}
		b[bit/8] ^= 1 << (bit % 8)
	}
	for bit := range 8 * (headerBytes + 5*entryBytes) {
		flip(bit)
	}
	f, err := NewFile(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{sectionTensors, sectionSHA256} {
		s, _ := f.Section(name)
		for bit := range 8 * min(s.Len, 200) {
			flip(int(8*s.Offset + bit))
		}
	}
	n := 10000
	if testing.Short() {
		n = 300
	}
	rng := rand.New(rand.NewPCG(5, 6))
	for range n {
		flip(rng.IntN(8 * len(b)))
	}
}

// A file that ends early is refused wherever it ends.
func TestTruncated(t *testing.T) {
	b := small(t)
	step := 1
	if testing.Short() {
		step = 101
	}
	for n := 0; n < len(b); n += step {
		if _, err := NewFile(bytes.NewReader(b[:n]), int64(n)); err == nil {
			t.Fatalf("accepted with %d of %d bytes", n, len(b))
		}
	}
	if _, err := NewFile(bytes.NewReader(append(b, 0)), int64(len(b)+1)); err == nil {
		t.Error("accepted with a byte more")
	}
}

// Damage is named down to the tensor.
func TestDamageNamed(t *testing.T) {
	path := file(t)
	b := content(t, path)
	f, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	target := f.Tensor("Q4_K.17")
	b[target.Position+100] ^= 4
	err = check(b)
	if !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), "tensor Q4_K.17:") {
		t.Errorf("got %v", err)
	}
	b[target.Position+100] ^= 4
	first, _ := f.Section(sectionWeights)
	b[first.Offset-1] ^= 1 // between sections
	if err := check(b); err == nil || !strings.Contains(err.Error(), "padding") {
		t.Errorf("got %v", err)
	}
}

func TestRefused(t *testing.T) {
	whole := content(t, file(t, Extra{"note", []byte("anything")}))
	entry := func(i int) int { return headerBytes + i*entryBytes }
	for _, c := range []struct {
		name   string
		change func(b []byte)
		want   string
		is     error
	}{
		{"magic", func(b []byte) { b[0] = 'Q' }, `offset 0: begins with "QMAP`, ErrNotPMAP},
		{"as text", func(b []byte) { copy(b, "PMAP\n\x1a\n") }, "must be", ErrNotPMAP},
		{"version", func(b []byte) { b[8] = 2 }, "offset 8: version 2, version 1 is read", ErrUnsupported},
		{"many sections", func(b []byte) { le.PutUint32(b[12:], 1<<31) }, "offset 12: 2147483648 sections", ErrDamaged},
		{"length", func(b []byte) { le.PutUint64(b[16:], 5) }, "its header says 5", io.ErrUnexpectedEOF},
		{"section missing", func(b []byte) {
			copy(b[entry(2):], "sensors")
			b[entry(2)+16] = 0
		}, `section "tensors" is missing`, ErrDamaged},
		{"section twice", func(b []byte) { copy(b[entry(1):], "gguf") }, `a second section "gguf"`, ErrDamaged},
		{
			"unknown and required", func(b []byte) { b[entry(1)+16] = flagRequired },
			`section "note" is required and this program does not know it`, ErrUnsupported,
		},
		{
			"overlap", func(b []byte) { copy(b[entry(1)+24:entry(1)+32], b[entry(0)+24:]) },
			`section "note" has 8 bytes at 16384`, ErrDamaged,
		},
		{
			"huge section", func(b []byte) { le.PutUint64(b[entry(3)+32:], 1<<63) },
			`section "weights" has 9223372036854775808 bytes`, ErrDamaged,
		},
		{"section checksum", func(b []byte) { b[entry(0)+20] ^= 1 }, `section "gguf" has checksum`, ErrDamaged},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := bytes.Clone(whole)
			c.change(b)
			sign(b)
			_, err := NewFile(bytes.NewReader(b), int64(len(b)))
			var e *formats.Error
			if !errors.As(err, &e) || !errors.Is(err, c.is) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
	b := bytes.Clone(whole)
	copy(b[entry(1):], "noise") // unknown and optional
	sign(b)
	if _, err := NewFile(bytes.NewReader(b), int64(len(b))); err != nil {
		t.Error(err)
	}
}

// sign corrects the checksum of header and table of contents, as far as they are there.
func sign(b []byte) {
	n := headerBytes + int(min(le.Uint32(b[12:]), maxSections))*entryBytes
	if n <= len(b) {
		clear(b[24:28])
		le.PutUint32(b[24:], checksum(b[:n]))
	}
}

func TestWriterMistakes(t *testing.T) {
	md, tensors, data := model(t)
	path := filepath.Join(t.TempDir(), "m.pmap")
	w, err := Create(path, md, tensors)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.WriteRows(4, 8, data[4][:4]); err == nil { // F32.40
		t.Error("wrote from the middle of a panel")
	}
	if err := w.WriteRows(4, 32, append(data[4], 0)); err == nil {
		t.Error("wrote more than there is")
	}
	if err := w.Close(1); err == nil || !strings.Contains(err.Error(), "rows written of") {
		t.Errorf("Close: %v", err)
	}
	if entries, err := os.ReadDir(filepath.Dir(path)); err != nil || len(entries) > 0 {
		t.Errorf("left behind: %v %v", entries, err)
	}
	if _, err := Create(path, md, tensors, Extra{Name: strings.Repeat("x", 17)}); err == nil {
		t.Error("a long section name was accepted")
	}
	for _, extra := range [][]Extra{{{Name: "weights"}}, {{Name: "a"}, {Name: "a"}}} {
		if _, err := Create(path, md, tensors, extra...); err == nil {
			t.Errorf("a section name that is taken was accepted: %v", extra)
		}
	}
}

func TestSection(t *testing.T) {
	f, err := Open(file(t, Extra{SectionSeal, []byte("a seal")}))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	r, err := f.SectionReader(SectionSeal)
	if err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(r); err != nil || string(b) != "a seal" {
		t.Errorf("%q, %v", b, err)
	}
	if _, err := f.SectionReader("other"); err == nil {
		t.Error("a section that is not there was found")
	}
}

// Whatever a file says, reading it ends with its content or an error. The checksum of
// the header is made right, so that what it protects is reached.
func FuzzOpen(f *testing.F) {
	b := small(f)
	f.Add(b)
	f.Add(b[:len(b)-1])
	f.Add(b[:100])
	f.Fuzz(func(t *testing.T, b []byte) {
		b = bytes.Clone(b)
		if len(b) > headerBytes {
			sign(b)
		}
		file, err := NewFile(bytes.NewReader(b), int64(len(b)))
		if err != nil {
			var e *formats.Error
			if !errors.As(err, &e) {
				t.Errorf("an error without a place: %v", err)
			}
			return
		}
		_, _ = io.Copy(io.Discard, io.LimitReader(file.Image(), 1<<20))
		_ = file.Check(context.Background(), 1, nil)
	})
}
