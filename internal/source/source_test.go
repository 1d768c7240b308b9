package source

import (
	"bytes"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/phi3conv/phi3conv/formats/gguf"
	"github.com/phi3conv/phi3conv/internal/arch"
	"github.com/phi3conv/phi3conv/quant"
)

const tiny = "../../testdata/tiny-phi3"

// small describes a complete GGUF model of one layer with LongRoPE; change edits it.
func small(t testing.TB, change func(md *gguf.Metadata, tensors map[string][]uint64)) []byte {
	t.Helper()
	md := new(gguf.Metadata)
	md.Set("general.architecture", "phi3")
	for key, v := range map[string]uint32{
		"context_length": 64, "rope.scaling.original_context_length": 16, "embedding_length": 8,
		"feed_forward_length": 16,
		"block_count":         1, "attention.head_count": 2, "attention.head_count_kv": 1, "rope.dimension_count": 4,
	} {
		md.Set("phi3."+key, v)
	}
	md.Set("phi3.attention.layer_norm_rms_epsilon", float32(1e-5))
	md.Set("phi3.rope.scaling.attn_factor", float32(1.19))
	shapes := map[string][]uint64{
		"token_embd.weight": {8, 10}, "output.weight": {8, 10}, "output_norm.weight": {8},
		"blk.0.attn_norm.weight": {8}, "blk.0.attn_qkv.weight": {8, 16}, "blk.0.attn_output.weight": {8, 8},
		"blk.0.ffn_norm.weight": {8}, "blk.0.ffn_up.weight": {8, 32}, "blk.0.ffn_down.weight": {16, 8},
		arch.LongFactors: {2}, arch.ShortFactors: {2},
	}
	change(md, shapes)
	var infos []gguf.TensorInfo
	for name, dims := range shapes {
		infos = append(infos, gguf.TensorInfo{Name: name, Type: quant.F32, Dims: dims})
	}
	path := filepath.Join(t.TempDir(), "small.gguf")
	w, err := gguf.Create(path, md, infos, gguf.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for i := range infos {
		values := make([]float32, infos[i].Elems())
		for j := range values {
			values[j] = 1 + float32(j)
		}
		b := make([]byte, 4*len(values))
		quant.F32.Quantize(b, values, len(values), nil)
		if err := w.WriteTensorAt(i, b, 0); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func open(data []byte) (*Model, error) {
	f, err := gguf.NewFile(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		return nil, err
	}
	return fromGGUF("small.gguf", f)
}

func TestGGUF(t *testing.T) {
	m, err := open(small(t, func(*gguf.Metadata, map[string][]uint64) {}))
	if err != nil {
		t.Fatal(err)
	}
	c := m.Config
	if c.VocabSize != 10 || c.Tied || c.RotaryDims != 4 || c.LongRope.Long[1] != 2 ||
		float32(c.LongRope.AttnFactor) != 1.19 || m.Params() != 764 {
		t.Errorf("%+v, %d parameters", c, m.Params())
	}
	for name, bad := range map[string]struct {
		change func(md *gguf.Metadata, tensors map[string][]uint64)
		want   string
	}{
		"architecture": {
			func(md *gguf.Metadata, _ map[string][]uint64) { md.Set("general.architecture", "llama") },
			`"llama" is not supported; supported: phi3`,
		},
		"no heads": {
			func(md *gguf.Metadata, _ map[string][]uint64) { md.Set("phi3.attention.head_count", uint32(0)) },
			"phi3.attention.head_count is 0",
		},
		"many layers": {
			func(md *gguf.Metadata, _ map[string][]uint64) { md.Set("phi3.block_count", uint32(1<<31)) },
			"phi3.block_count is 2147483648",
		},
		"text": {
			func(md *gguf.Metadata, _ map[string][]uint64) { md.Set("phi3.context_length", "4096") },
			`phi3.context_length is "4096", expected an integer`,
		},
		"NaN": {
			func(md *gguf.Metadata, _ map[string][]uint64) { md.Set("phi3.rope.freq_base", float32(math.NaN())) },
			"phi3.rope.freq_base",
		},
		"missing": {
			func(_ *gguf.Metadata, ts map[string][]uint64) { delete(ts, "blk.0.ffn_up.weight") },
			"1 of 9 tensors are missing: blk.0.ffn_up.weight",
		},
		"unknown": {
			func(_ *gguf.Metadata, ts map[string][]uint64) { ts["blk.0.ffn_gate.weight"] = []uint64{8, 8} },
			"blk.0.ffn_gate.weight does not belong",
		},
		"shape": {
			func(_ *gguf.Metadata, ts map[string][]uint64) { ts["blk.0.ffn_up.weight"] = []uint64{8, 16} },
			"has shape [16 8], expected [32 8]",
		},
		"embedding": {
			func(_ *gguf.Metadata, ts map[string][]uint64) { ts["token_embd.weight"] = []uint64{8} },
			"token_embd.weight has dimensions [8]",
		},
		"one factor": {
			func(_ *gguf.Metadata, ts map[string][]uint64) { delete(ts, arch.LongFactors) }, "only one is there",
		},
		"no factors": {func(_ *gguf.Metadata, ts map[string][]uint64) {
			delete(ts, arch.LongFactors)
			delete(ts, arch.ShortFactors)
		}, "attn_factor is there but"},
		"factors": {
			func(_ *gguf.Metadata, ts map[string][]uint64) { ts[arch.LongFactors] = []uint64{3} }, "expected F32 [2]",
		},
	} {
		if _, err := open(small(t, bad.change)); err == nil || !strings.Contains(err.Error(), bad.want) {
			t.Errorf("%s: error %v, want %q", name, err, bad.want)
		}
	}
}

func TestOpen(t *testing.T) {
	m, err := Open(tiny)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = m.Close() }()
	if m.Format != "safetensors" || m.Params() != 2_656_512 || m.Tensors[0].GGUF != "token_embd.weight" {
		t.Errorf("%s, %d parameters, first %s", m.Format, m.Params(), m.Tensors[0].GGUF)
	}
	// EachRows visits every row once, in order.
	w := &m.Tensors[0]
	next := 0
	err = w.EachRows(func(first int, values []float32) error {
		if first != next {
			t.Errorf("row %d after %d", first, next)
		}
		next += len(values) / w.Cols()
		return nil
	})
	if err != nil || next != w.Rows() {
		t.Errorf("%d of %d rows, %v", next, w.Rows(), err)
	}
	file := filepath.Join(t.TempDir(), "model.txt")
	if err := os.WriteFile(file, []byte("text"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(file); err == nil ||
		!strings.Contains(err.Error(), "neither a checkpoint directory nor a .gguf or .pmap file") {
		t.Errorf("error %v", err)
	}
	if _, err := Open(file + ".missing"); !os.IsNotExist(err) {
		t.Errorf("error %v", err)
	}
}

// A structurally valid file with hostile numbers is refused or described, never a panic.
func FuzzGGUF(f *testing.F) {
	f.Add(small(f, func(*gguf.Metadata, map[string][]uint64) {}))
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := open(data)
		if err != nil {
			return
		}
		for i := range m.Tensors {
			if err := m.Tensors[i].EachRows(func(int, []float32) error { return nil }); err != nil {
				t.Fatal(err)
			}
		}
	})
}
