package stats

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/phi3conv/phi3conv/formats"
)

// Parts of any number have all sequences once, in order, and whole spans of one run.
func TestPortions(t *testing.T) {
	for _, lengths := range [][]int32{
		slices.Repeat([]int32{512}, 128), slices.Repeat([]int32{512}, 5), slices.Repeat([]int32{40, 700, 3}, 20), {7},
	} {
		whole, err := Shard{1, 1}.Of(lengths)
		if err != nil || whole.First != 0 || len(whole.Spans) > maxSpans {
			t.Fatal(whole, err)
		}
		for n := 1; n <= len(whole.Spans); n++ {
			var spans [][]int32
			token, sequence := 0, 0
			for i := range n {
				p, err := Shard{i + 1, n}.Of(lengths)
				if err != nil || p.First != token || p.Sequence != sequence || len(p.Spans) == 0 {
					t.Fatalf("part %d of %d: %+v, %v", i+1, n, p, err)
				}
				spans = append(spans, p.Spans...)
				token, sequence = p.End, sequence+len(p.Lengths)
			}
			if !slices.EqualFunc(spans, whole.Spans, slices.Equal) || sequence != len(lengths) {
				t.Errorf("%d parts of %d sequences: other spans than those of one run", n, len(lengths))
			}
		}
		if _, err := (Shard{1, len(whole.Spans) + 1}).Of(lengths); err == nil {
			t.Errorf("%d parts of %d spans", len(whole.Spans)+1, len(whole.Spans))
		}
	}
}

// Sums are rounded once, after those of all spans are added up in order.
func TestAdd(t *testing.T) {
	s := &File{ChunkSize: 4}
	s.Add("t", 2, 2, []float64{3, 1, 2, 8, 1 << 24, 4, 5, 10, 20, 8.4, 1, 30}, nil)
	want := Entry{Name: "t", Counts: []float32{8, 16}, Sums: []float32{11, 22, 1<<24 + 1, 34}}
	e := s.Entries[0]
	if !slices.Equal(e.Counts, want.Counts) || !slices.Equal(e.Sums, want.Sums) || s.ChunkCount != 2 {
		t.Errorf("%+v of %d chunks", e, s.ChunkCount)
	}
}

// header is that of a part of a text of 4 sequences of 512 tokens.
func header(i, n int) *ShardHeader {
	return &ShardHeader{
		Shard: Shard{i, n}, Datasets: []string{"text"}, ChunkSize: 512,
		Layers: []ShardLayer{{Name: "t", Experts: 1, Cols: 2}},
		Origin: &Origin{Weights: "w", Tokens: make([]int32, 2048), Lengths: []int32{512, 512, 512, 512}},
	}
}

// write writes a part whose values are all 1.
func (h *ShardHeader) writeOnes(t testing.TB, dir, name string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	p, err := h.Shard.Of(h.Origin.Lengths)
	if err != nil {
		t.Fatal(err)
	}
	err = h.Write(path, func(w io.Writer, l *ShardLayer) error {
		if h.Gradients {
			return binary.Write(w, binary.LittleEndian, slices.Repeat([]float32{1}, int(l.size(h, p)/4)))
		}
		return binary.Write(w, binary.LittleEndian, slices.Repeat([]float64{1}, int(l.size(h, p)/8)))
	})
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// What does not belong together is refused, with the file's name.
func TestMergeRefuses(t *testing.T) {
	for _, c := range []struct {
		want   string
		change func(parts []*ShardHeader)
	}{
		{"part 2 of 2 is missing", func(p []*ShardHeader) {
			p[0].Fisher = true
			*p[1] = *p[0]
			p[1].Gradients = true
		}},
		{"part 1 of 2 is there twice", func(p []*ShardHeader) { p[1].Shard.I = 1 }},
		{"a part of 2 and one of 4", func(p []*ShardHeader) { p[1].Shard.N = 4 }},
		{"it has another model than", func(p []*ShardHeader) { p[1].Origin.Weights = "v" }},
		{"another text", func(p []*ShardHeader) { p[1].Origin.Tokens[2047] = 1 }},
		{"another text", func(p []*ShardHeader) { p[1].Datasets[0] = "other" }},
		{"another seed", func(p []*ShardHeader) { p[1].Origin.Seed = 1 }},
		{"another --fisher", func(p []*ShardHeader) { p[1].Fisher = true }},
		{"other layers", func(p []*ShardHeader) { p[1].Layers[0].Cols = 3 }},
		{"files with these are missing", func(p []*ShardHeader) { p[0].Fisher, p[1].Fisher = true, true }},
		{"no statistics, only gradients", func(p []*ShardHeader) {
			for _, h := range p {
				h.Gradients, h.Fisher, h.Layers[0].Parts = true, true, 1
			}
		}},
		{"", func([]*ShardHeader) {}},
	} {
		dir := t.TempDir()
		parts := []*ShardHeader{header(1, 2), header(2, 2)}
		c.change(parts)
		paths := []string{parts[0].writeOnes(t, dir, "a.shard"), parts[1].writeOnes(t, dir, "b.shard")}
		s, err := Merge(t.Context(), paths, filepath.Join(dir, "out.gguf"))
		if c.want == "" {
			if err != nil || s.Entries[0].Counts[0] != 4 {
				t.Errorf("%+v, %v", s, err)
			}
			continue
		}
		var e *formats.Error
		if !errors.As(err, &e) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v, expected %q", err, c.want)
		}
		if _, err := os.Stat(filepath.Join(dir, "out.gguf")); err == nil {
			t.Errorf("%s: a file was written", c.want)
		}
	}
}

// A file that is damaged is refused, or its values are.
func TestShardDamaged(t *testing.T) {
	dir := t.TempDir()
	good, err := os.ReadFile(header(1, 1).writeOnes(t, dir, "good.shard"))
	if err != nil {
		t.Fatal(err)
	}
	for want, data := range map[string][]byte{
		"no file of calibrate --shard": []byte("GGUF"),
		"reading the header":           good[:60],
		"it was not copied as a whole": good[:len(good)-1],
		"unknown field":                bytes.Replace(good, []byte("Fisher"), []byte("fishes"), 1),
		"can be divided into":          bytes.Replace(good, []byte(`"n":1`), []byte(`"n":9`), 1),
		"has 0 matrices of 2 columns":  bytes.Replace(good, []byte(`"Experts":1`), []byte(`"Experts":0`), 1),
		"is not finite or negative":    append(bytes.Clone(good[:len(good)-1]), 0xbf),
		"":                             good,
	} {
		path := filepath.Join(dir, "bad.shard")
		if err := os.WriteFile(path, data, 0o666); err != nil {
			t.Fatal(err)
		}
		_, err := Merge(t.Context(), []string{path}, filepath.Join(dir, "out.gguf"))
		var e *formats.Error
		if want == "" && err == nil {
			continue
		}
		if !errors.As(err, &e) || e.Path != path || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, expected %q", err, want)
		}
	}
}

func FuzzShard(f *testing.F) {
	for _, gradients := range []bool{false, true} {
		h := header(1, 2)
		h.Gradients, h.Fisher, h.Outputs = gradients, gradients, gradients
		h.Layers[0].Parts, h.Layers[0].Blocks = 2, []int{3}
		h.Origin.Tokens, h.Origin.Lengths = make([]int32, 1024), []int32{512, 512}
		data, err := os.ReadFile(h.writeOnes(f, f.TempDir(), "a.shard"))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		path := filepath.Join(t.TempDir(), "a.shard")
		if err := os.WriteFile(path, data, 0o666); err != nil {
			t.Fatal(err)
		}
		s, err := OpenShard(path)
		if err != nil {
			var e *formats.Error
			if !errors.As(err, &e) {
				t.Fatalf("error %v", err)
			}
			return
		}
		defer func() { _ = s.Close() }()
		all := Shards{s}
		for i, l := range s.Layers {
			if !s.Gradients {
				_, _ = all.Sums(i)
				continue
			}
			_, _ = all.Norms(l.Name)
			if l.Blocks != nil {
				_, _ = all.Outputs(l.Name)
			}
		}
	})
}
