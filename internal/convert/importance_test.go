package convert

import (
	"bytes"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/phi3conv/phi3conv/formats/gguf"
	"github.com/phi3conv/phi3conv/internal/arch"
	"github.com/phi3conv/phi3conv/internal/source"
	"github.com/phi3conv/phi3conv/quant"
	"github.com/phi3conv/phi3conv/quant/policy"
)

// importance returns an importance matrix of the tiny model's linear layers, with different columns.
func importance(t *testing.T, m *source.Model) *Imatrix {
	t.Helper()
	all := &Imatrix{Path: "dir/stats.gguf", Datasets: []string{"text.txt", "more.txt"}, Chunks: 7}
	for i := range m.Tensors {
		if s := &m.Tensors[i]; len(s.Shape) == 2 && s.GGUF != arch.Embedding {
			columns := make([]float32, s.Cols())
			for k := range columns {
				columns[k] = float32(1+(k*7+i)%13) / 3
			}
			all.Tensors = append(all.Tensors, Importance{s.GGUF, columns})
		}
	}
	return all
}

func openTiny(t *testing.T) *source.Model {
	t.Helper()
	m, err := source.Open(tiny)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = m.Close() })
	return m
}

// runPlan writes a plan and returns the opened file.
func runPlan(t *testing.T, p *Plan) *gguf.File {
	t.Helper()
	path := filepath.Join(t.TempDir(), "out.gguf")
	if err := p.Run(t.Context(), path, Limits{Threads: 2, Memory: 1 << 30}); err != nil {
		t.Fatal(err)
	}
	f, err := gguf.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return f
}

func tensorData(t *testing.T, f *gguf.File, name string) []byte {
	t.Helper()
	x := f.Tensor(name)
	if x == nil {
		t.Fatalf("%s is missing", name)
	}
	b := make([]byte, x.Size())
	if _, err := x.ReadAt(b, 0); err != nil {
		t.Fatal(err)
	}
	return b
}

// Each matrix is encoded with the importance of its own columns, made relative; parts with that of the whole. The file
// says where it comes from under llama-quantize's keys.
func TestImportance(t *testing.T) {
	m := openTiny(t)
	all := importance(t, m)
	opt := withType(policy.MostlyQ4_0)
	opt.Imatrix = all
	opt.Policy.Pure = true
	whole, err := NewPlan(m, opt)
	if err != nil {
		t.Fatal(err)
	}
	f := runPlan(t, whole)
	for key, want := range map[string]any{
		"quantize.imatrix.file": "stats.gguf", "quantize.imatrix.dataset": "text.txt",
		"quantize.imatrix.entries_count": uint32(17), "quantize.imatrix.chunks_count": uint32(7),
	} {
		if got, _ := f.Metadata.Get(key); got != want {
			t.Errorf("%s is %v, expected %v", key, got, want)
		}
	}
	for i := range m.Tensors {
		s := &m.Tensors[i]
		if len(s.Shape) != 2 {
			continue
		}
		raw, row := make([]byte, s.RowBytes()), make([]float32, s.Cols())
		if err := s.ReadRows(raw, 3); err != nil {
			t.Fatal(err)
		}
		s.Decode(row, raw)
		var relative []float32 // of the embedding none
		if columns := all.tensor(s.GGUF); columns != nil {
			relative = quant.Relative(columns)
		}
		want := make([]byte, quant.Q4_0.Size(int64(s.Cols())))
		quant.Q4_0.QuantizeRefit(want, row, s.Cols(), relative)
		if got := tensorData(t, f, s.GGUF)[3*len(want):]; !bytes.Equal(got[:len(want)], want) {
			t.Errorf("%s: row 3 differs", s.GGUF)
		}
	}
	opt.Split = true
	parts, err := NewPlan(m, opt)
	if err != nil {
		t.Fatal(err)
	}
	g := runPlan(t, parts)
	var joined []byte
	for _, name := range []string{"attn_q", "attn_k", "attn_v"} {
		joined = append(joined, tensorData(t, g, "blk.2."+name+".weight")...)
	}
	if !bytes.Equal(joined, tensorData(t, f, "blk.2.attn_qkv.weight")) {
		t.Error("parts have other blocks than the whole")
	}
	if notes := parts.Notes(); len(notes) != 0 {
		t.Errorf("notes %q", notes)
	}
}

// What the importance matrix has nothing for is noted; what is another model's is refused by name.
func TestImportanceOfAnotherModel(t *testing.T) {
	m := openTiny(t)
	plan := func(change func(x *Imatrix)) (*Plan, error) {
		opt := withType(policy.MostlyQ4_0)
		opt.Imatrix = importance(t, m)
		change(opt.Imatrix)
		return NewPlan(m, opt)
	}
	p, err := plan(func(x *Imatrix) { x.Tensors, x.Chunks, x.Datasets = x.Tensors[2:], 0, nil })
	if err != nil {
		t.Fatal(err)
	}
	if n := p.Notes(); len(n) != 1 || n[0] != "--imatrix has nothing for 2 of the tensors that are quantized" {
		t.Errorf("notes %q", n)
	}
	for _, key := range []string{"quantize.imatrix.dataset", "quantize.imatrix.chunks_count"} {
		if v, ok := p.Metadata.Get(key); ok {
			t.Errorf("%s is %v, and is not known", key, v)
		}
	}
	for want, change := range map[string]func(x *Imatrix){
		"for 10 columns, and the model has 256": func(x *Imatrix) { x.Tensors[1].Columns = x.Tensors[1].Columns[:10] },
		"statistics of blk.9.ffn_up.weight, which the model does not have": func(x *Imatrix) {
			x.Tensors = append(x.Tensors, Importance{"blk.9.ffn_up.weight", []float32{1}})
		},
		"statistics of no tensor": func(x *Imatrix) { x.Tensors = nil },
	} {
		if _, err := plan(change); err == nil || !strings.Contains(err.Error(), want) ||
			!strings.HasPrefix(err.Error(), "dir/stats.gguf: ") {
			t.Errorf("%v, expected %q", err, want)
		}
	}
}

// An embedding that is the output matrix too takes the output matrix's importance.
func TestImportanceTied(t *testing.T) {
	m := openTiny(t)
	m.Config.Tied = true
	m.Tensors = slices.DeleteFunc(m.Tensors, func(s source.Tensor) bool { return s.GGUF == arch.Output })
	opt := withType(policy.MostlyQ4_0)
	opt.Imatrix = &Imatrix{Path: "stats.gguf", Tensors: []Importance{{arch.Output, make([]float32, 256)}}}
	for i := range opt.Imatrix.Tensors[0].Columns {
		opt.Imatrix.Tensors[0].Columns[i] = 1
	}
	p, err := NewPlan(m, opt)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range p.Tensors {
		if (s.importance != nil) != (s.Name == arch.Embedding) {
			t.Errorf("%s: %d columns of importance", s.Name, len(s.importance))
		}
	}
}

// Blocks that a method has made are written as they are, whatever the pieces; other tensors are encoded.
func TestSetEncoded(t *testing.T) {
	m := openTiny(t)
	plan := func() *Plan {
		p, err := NewPlan(m, withType(policy.MostlyQ8_0))
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	want := runPlan(t, plan())
	p := plan()
	const name = "blk.1.ffn_down.weight"
	i := slices.IndexFunc(p.Tensors, func(s Tensor) bool { return s.Name == name })
	blocks := make([]byte, p.Tensors[i].Size())
	for k := range blocks {
		blocks[k] = byte(k * 31 >> 3)
	}
	p.Tensors[i].SetEncoded(bytes.NewReader(blocks))
	path := filepath.Join(t.TempDir(), "out.gguf")
	if err := p.Run(t.Context(), path, Limits{Threads: 2, Memory: 20_000}); err != nil { // small pieces
		t.Fatal(err)
	}
	f, err := gguf.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	for _, x := range want.Tensors {
		expected := tensorData(t, want, x.Name)
		if x.Name == name {
			expected = blocks
		}
		if !bytes.Equal(tensorData(t, f, x.Name), expected) {
			t.Errorf("%s differs", x.Name)
		}
	}
	p = plan()
	p.Tensors[i].SetEncoded(bytes.NewReader(blocks[:len(blocks)-1]))
	if err := p.Run(t.Context(), filepath.Join(t.TempDir(), "short.gguf"), Limits{Memory: 1 << 30}); err == nil {
		t.Error("too few blocks were written")
	}
}

// Rows of each of stacked experts have that expert's importance.
func TestImportanceOfExperts(t *testing.T) {
	m, err := source.Open("../../testdata/tiny-phimoe")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = m.Close() })
	const name, experts, rows, cols = "blk.1.ffn_up_exps.weight", 8, 32, 256
	columns := make([]float32, experts*cols)
	for i := range columns {
		columns[i] = float32(1+i*i%97) / 3
	}
	opt := withType(policy.MostlyQ4_0)
	opt.Imatrix = &Imatrix{Path: "stats.gguf", Tensors: []Importance{{name, columns}}}
	p, err := NewPlan(m, opt)
	if err != nil {
		t.Fatal(err)
	}
	got := tensorData(t, runPlan(t, p), name)
	s := m.Stored(name)[0]
	rowBytes := int(quant.Q4_0.Size(cols))
	for r := range experts * rows {
		raw, row, want := make([]byte, s.RowBytes()), make([]float32, cols), make([]byte, rowBytes)
		if err := s.ReadRows(raw, r); err != nil {
			t.Fatal(err)
		}
		s.Decode(row, raw)
		quant.Q4_0.QuantizeRefit(want, row, cols, quant.Relative(columns[r/rows*cols:][:cols]))
		if !bytes.Equal(got[r*rowBytes:][:rowBytes], want) {
			t.Fatalf("row %d differs", r)
		}
	}
	opt.Imatrix.Tensors[0].Columns = columns[:cols]
	const want = "for 256 columns, and the model has 2048"
	if _, err := NewPlan(m, opt); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("one row for all experts: %v, expected %q", err, want)
	}
}
