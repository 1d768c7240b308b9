package inspect

import (
	"errors"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/phi3conv/phi3conv/formats"
	"github.com/phi3conv/phi3conv/internal/testmodel"
)

func open(t *testing.T, path string) *Model {
	t.Helper()
	m, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = m.Close() })
	return m
}

func TestOverview(t *testing.T) {
	for _, tc := range []struct {
		path            string
		format          string
		files, tensors  int
		parameters      int64
		metadata, types int
	}{
		{"../../../formats/gguf/testdata/all.gguf", "GGUF", 1, 8, 934, 27, 6},
		{"../../../formats/gguf/testdata/split-00002-of-00003.gguf", "GGUF", 3, 6, 112, 2, 1},
		{"../../../formats/safetensors/testdata/all.safetensors", "safetensors", 1, 27, 164, 1, 20},
		{"../../../formats/safetensors/testdata/sharded", "safetensors", 2, 3, 48, 1, 1},
		{testmodel.Phi3(t), "safetensors", 1, 27, 2656512, 1, 1},
	} {
		o := open(t, tc.path).Overview()
		var sum int64
		for _, x := range o.Tensors {
			sum += x.Elems
		}
		if o.Format != tc.format || len(o.Files) != tc.files || len(o.Tensors) != tc.tensors ||
			len(o.Metadata) != tc.metadata || len(o.Total.Types) != tc.types {
			t.Errorf("%s: %+v", tc.path, o)
		}
		if o.Total.Elems != tc.parameters || sum != tc.parameters {
			t.Errorf("%s: %d parameters in all, %d in tensors, expected %d", tc.path, o.Total.Elems, sum, tc.parameters)
		}
	}
	o := open(t, testmodel.Phi3(t)).Overview()
	if string(o.Config["hidden_size"]) != "256" || !strings.HasPrefix(o.Model, "phi3: 4 layers") {
		t.Errorf("config %s, model %q", o.Config, o.Model)
	}
}

// What a model is stands on one line.
func TestDescribe(t *testing.T) {
	for model, want := range map[string]string{
		"tiny-phi2": "phi2: 2 layers of width 256, 8 heads of 32, feed-forward 256, 368 tokens, context 512, " +
			"LayerNorm, GELU, attention and feed-forward in parallel, 12 rotary dimensions",
		"tiny-phi3small": "phi3small: 2 layers of width 256, 8 heads of 32 (2 for keys and values), " +
			"feed-forward 256, 736 tokens, context 512, LayerNorm, GeGELU up to 20, block-sparse attention in 1 " +
			"layer (blocks of 8; 2 local, and one of 4 before), embeddings × 10, logits × 0.125, " +
			"attention scores × 0.03125, 91 tokens never predicted, tied embedding",
		"tiny-phimoe": "phimoe: 2 layers of width 256, 4 heads of 32 (2 for keys and values), feed-forward 32, " +
			"576 tokens, context 512, LayerNorm, 8 experts, 2 for a token (jitter 0.1), sliding window 127",
	} {
		if got := open(t, testmodel.Copy(t, model)).Overview().Model; got != want {
			t.Errorf("%s:\n%s\nexpected\n%s", model, got, want)
		}
	}
}

// A tensor has the same statistics under either name.
func TestStatistics(t *testing.T) {
	m := open(t, testmodel.Phi3(t))
	names := []string{"model.layers.2.mlp.down_proj.weight", "blk.2.ffn_down.weight"}
	all, err := m.Statistics(t.Context(), names, 2)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range all.Tensors {
		var sum int64
		for _, n := range s.Counts {
			sum += n
		}
		if s.Name != names[0] || sum != s.Elems || s.NaN+s.Inf != 0 || len(s.Farthest) != 5 || s.Std <= 0 {
			t.Errorf("%+v", s)
		}
		if len(s.Edges) != len(s.Counts)+1 || s.AbsMax != max(s.Max, -s.Min) || s.Mean != all.Tensors[0].Mean {
			t.Errorf("%+v", s)
		}
	}
	_, err = m.Statistics(t.Context(), []string{"blk.9.ffn_up.weight"}, 1)
	if err == nil || !strings.Contains(err.Error(), `no tensor "blk.9.ffn_up.weight"`) {
		t.Errorf("a tensor that is not there: %v", err)
	}
	integers := open(t, "../../../formats/safetensors/testdata/all.safetensors")
	var bad *formats.Error
	if _, err = integers.Statistics(t.Context(), []string{"t.int64"}, 1); !errors.As(err, &bad) {
		t.Errorf("integers: %v", err)
	}
}

// The tensors of a checkpoint have the names and the keys of its GGUF file.
func TestGGUFNames(t *testing.T) {
	model := testmodel.Phi3(t)
	m := open(t, model)
	var names []string
	for _, tensor := range m.Tensors() {
		names = append(names, tensor.GGUF)
	}
	if len(names) != 27 || !slices.Contains(names, "blk.3.attn_qkv.weight") {
		t.Errorf("tensors %q", names)
	}
	md, notes := m.Metadata()
	if n, _ := md.Uint("phi3.block_count"); n != 4 || len(notes) != 0 {
		t.Errorf("%d layers, notes %q", n, notes)
	}
	if _, ok := md.Get("tokenizer.ggml.tokens"); !ok {
		t.Error("no tokens")
	}
	for _, name := range []string{"tokenizer.json", "tokenizer.model"} {
		if err := os.Remove(filepath.Join(model, name)); err != nil {
			t.Fatal(err)
		}
	}
	_, notes = m.Metadata()
	if len(notes) != 1 || !strings.HasPrefix(notes[0], "keys of the tokenizer are left out: ") {
		t.Errorf("without a tokenizer: notes %q", notes)
	}
}

func TestKeyText(t *testing.T) {
	many := make([]uint8, 20)
	for _, tc := range []struct {
		value     any
		typ, text string
		first     int
		cut       bool
	}{
		{uint32(7), "uint32", "7", 0, false},
		{"ä\n", "string", `"ä\n"`, 0, false},
		{math.Inf(1), "float64", "+Inf", 0, false},
		{float32(math.NaN()), "float32", "not finite", 0, false},
		{[]float32{0.5, float32(math.NaN())}, "float32[2]", "[0.5, not finite]", 2, false},
		{[]any{[]uint8{1}, []int16{-2, 3}}, "array[2]", "[[1], [-2, 3]]", 2, false},
		{many, "uint8[20]", "[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, …]", 16, true},
	} {
		k := NewKey("k", tc.value)
		if k.Type != tc.typ || k.Text() != tc.text || k.Cut != tc.cut {
			t.Errorf("%v: type %s, text %s, shortened %t", tc.value, k.Type, k.Text(), k.Cut)
		}
		if list, ok := k.Value.([]any); ok && len(list) != tc.first {
			t.Errorf("%v: %d elements, expected %d", tc.value, len(list), tc.first)
		}
	}
}

func TestFirstRunes(t *testing.T) {
	for _, s := range []string{strings.Repeat("a", maxText), strings.Repeat("😀", maxText)} {
		if got := len(firstRunes(s)); got != maxText {
			t.Errorf("%q: %d", s, got)
		}
		if got := len(firstRunes(strings.Repeat(s, 50))); got <= maxText || got > 4*(maxText+1) {
			t.Errorf("%q…: %d", s, got)
		}
	}
}
