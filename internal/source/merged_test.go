package source

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/phi3conv/phi3conv/formats/safetensors"
	"github.com/phi3conv/phi3conv/internal/arch"
	"github.com/phi3conv/phi3conv/internal/testmodel"
)

// adapterCase is a case of testdata/make/golden_lora.py.
type adapterCase struct {
	Tied    bool
	Config  json.RawMessage
	Tensors map[string][]uint64
	Changed map[string]struct {
		Rows         []int
		Values       [][]float32
		Sum, Squares float64
	}
}

// write makes the adapter's directory.
func (c *adapterCase) write(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	testmodel.Write(t, filepath.Join(dir, "adapter_config.json"), c.Config)
	var names []string
	for name := range c.Tensors {
		names = append(names, name)
	}
	slices.Sort(names)
	var all []safetensors.WriteTensor
	for i, name := range names {
		n := 1
		for _, d := range c.Tensors[name] {
			n *= int(d)
		}
		x := make([]float32, n)
		for k := range x {
			if x[k] = float32((k*7919+i*104729)%1000-500) / 1024; strings.Contains(name, "magnitude") {
				x[k] = float32(math.Abs(float64(x[k]))) + 0.25
			}
		}
		all = append(all, safetensors.WriteTensor{
			Name: name, DType: safetensors.F32, Shape: c.Tensors[name], Data: strings.NewReader(string(encode(x))),
		})
	}
	if err := safetensors.Create(filepath.Join(dir, "adapter_model.safetensors"), all, nil); err != nil {
		t.Fatal(err)
	}
	return dir
}

func adapterCases(t *testing.T) map[string]adapterCase {
	t.Helper()
	var cases map[string]adapterCase
	if err := json.Unmarshal(testmodel.Read(t, "../../testdata/golden/lora.json"), &cases); err != nil {
		t.Fatal(err)
	}
	return cases
}

// float32s returns the values of all tensors, by their names in the checkpoint.
func float32s(t *testing.T, m *Model) map[string][]float32 {
	t.Helper()
	all := map[string][]float32{}
	for i := range m.Tensors {
		x := &m.Tensors[i]
		err := x.EachRows(func(_ int, values []float32) error {
			all[x.HF] = append(all[x.HF], values...)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return all
}

// Adapters are merged as peft's merge_and_unload does it in float32.
func TestMerged(t *testing.T) {
	for name, c := range adapterCases(t) {
		// A tied checkpoint holds the embedding alone.
		dir := checkpoint(t, map[string]any{"tie_word_embeddings": c.Tied},
			func(all []safetensors.WriteTensor) []safetensors.WriteTensor {
				return slices.DeleteFunc(all, func(x safetensors.WriteTensor) bool {
					return c.Tied && x.Name == arch.HFOutput
				})
			})
		plain, err := Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		before := float32s(t, plain)
		_ = plain.Close()
		m, err := OpenMerged(dir, c.write(t))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		after := float32s(t, m)
		tied := m.Config.Tied
		_ = m.Close()
		for hf, x := range after {
			want, changed := c.Changed[hf]
			if !changed {
				if !slices.Equal(x, before[hf]) && before[hf] != nil {
					t.Errorf("%s: %s is another, expected no change", name, hf)
				}
				continue
			}
			cols := 256
			if strings.Contains(hf, "down_proj") {
				cols = 512
			}
			sum, squares := 0.0, 0.0
			for _, v := range x {
				sum, squares = sum+float64(v), squares+float64(v)*float64(v)
			}
			if math.Abs(squares/want.Squares-1) > 1e-6 || math.Abs(sum-want.Sum) > 1e-6*float64(len(x)) {
				t.Errorf("%s: %s: sum %g, of squares %g, expected %g and %g", name, hf, sum, squares, want.Sum,
					want.Squares)
			}
			for i, row := range want.Rows {
				for j, v := range want.Values[i] {
					if got := x[row*cols+j]; math.Abs(float64(got-v)) > 1e-6*max(1, math.Abs(float64(v))) {
						t.Errorf("%s: %s[%d,%d] is %g, expected %g", name, hf, row, j, got, v)
					}
				}
			}
			delete(c.Changed, hf)
		}
		if tied {
			delete(c.Changed, arch.HFOutput) // the embedding
		}
		if len(c.Changed) > 0 {
			t.Errorf("%s: not changed: %v", name, len(c.Changed))
		}
	}
}

// What an adapter asks for beyond that is refused by name, and its directory is named in place of a model's.
func TestAdapterRefused(t *testing.T) {
	plain := adapterCases(t)["plain"]
	for key, c := range map[string]struct {
		value any
		want  string
	}{
		"peft_type":               {"IA3", `peft_type is "IA3", expected "LORA"`},
		"trainable_token_indices": {[]int{1}, "trainable_token_indices is set, which is not supported"},
		"init_lora_weights":       {"pissa", "which changes the base's weights too"},
		"lora_alpha":              {nil, "lora_alpha is missing"},
		"use_dora":                {true, "has or lacks a magnitude"},
		"alpha_pattern":           {map[string]any{"(": 1}, "no regular expression"},
	} {
		var fields map[string]any
		if err := json.Unmarshal(plain.Config, &fields); err != nil {
			t.Fatal(err)
		}
		fields[key] = c.value
		bad := plain
		var err error
		if bad.Config, err = json.Marshal(fields); err != nil {
			t.Fatal(err)
		}
		if _, err := OpenMerged(tiny, bad.write(t)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, expected %q", key, err, c.want)
		}
	}
	const module = "base_model.model.model.layers.0.self_attn.o_proj."
	for what, c := range map[string]struct {
		change func(tensors map[string][]uint64)
		want   string
	}{
		"no B":    {func(x map[string][]uint64) { delete(x, module+"lora_B.weight") }, "has only one of A and B"},
		"rank":    {func(x map[string][]uint64) { x[module+"lora_B.weight"] = []uint64{256, 5} }, "expected 4 columns"},
		"shape":   {func(x map[string][]uint64) { x[module+"lora_B.weight"] = []uint64{255, 4} }, "model's has shape"},
		"unknown": {func(x map[string][]uint64) { x[module+"lora_C.weight"] = []uint64{1} }, "is not known"},
		"other": {func(x map[string][]uint64) { x["base_model.model.model.layers.9.mlp.bias"] = []uint64{1} },
			"changes model.layers.9.mlp.bias, which a Phi3ForCausalLM does not have"},
	} {
		bad := plain
		bad.Tensors = map[string][]uint64{}
		for name, shape := range plain.Tensors {
			bad.Tensors[name] = shape
		}
		c.change(bad.Tensors)
		if _, err := OpenMerged(tiny, bad.write(t)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, expected %q", what, err, c.want)
		}
	}
	dir := plain.write(t)
	const want = "a LoRA adapter of tiny-phi3, not a model: phi3conv convert BASE --lora"
	if _, err := Open(dir); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("an adapter's directory: %v", err)
	}
	if err := os.CopyFS(dir, os.DirFS(tiny)); err != nil {
		t.Fatal(err)
	}
	m, err := Open(dir)
	if err != nil {
		t.Fatalf("a model with an adapter beside it: %v", err)
	}
	_ = m.Close()
}
