package convert

import (
	"bytes"
	"encoding/json"
	"io"
	"path/filepath"
	"strings"
	"testing"

	"github.com/phi3conv/phi3conv/formats/safetensors"
	"github.com/phi3conv/phi3conv/internal/source"
	"github.com/phi3conv/phi3conv/internal/testmodel"
	"github.com/phi3conv/phi3conv/quant/policy"
)

// kept is a tensor of a checkpoint.
type kept struct {
	name  string
	dtype safetensors.DType
	shape []uint64
	data  []byte
}

// layout makes a checkpoint of another layout from the tiny model.
type layout struct {
	class string
	// change renames or divides a tensor.
	change func(x kept) []kept
	beside []string // tensors that are not the language model's
	notes  []string // what is said of them
}

func unchanged(x kept) []kept { return []kept{x} }

// divided has the rows of qkv_proj and gate_up_proj as matrices of their own. The tiny model has 4 query heads and 2 of
// keys and values, of 64 dimensions each, and 512 feed-forward columns.
func divided(x kept) []kept {
	parts := map[string][]struct {
		name string
		rows int
	}{
		"self_attn.qkv_proj": {{"self_attn.q_proj", 256}, {"self_attn.k_proj", 128}, {"self_attn.v_proj", 128}},
		"mlp.gate_up_proj":   {{"mlp.gate_proj", 512}, {"mlp.up_proj", 512}},
	}
	for fused, parts := range parts {
		if !strings.Contains(x.name, fused) {
			continue
		}
		var all []kept
		rowBytes := len(x.data) / int(x.shape[0])
		for _, p := range parts {
			name, shape := strings.Replace(x.name, fused, p.name, 1), []uint64{uint64(p.rows), x.shape[1]}
			all = append(all, kept{name, x.dtype, shape, x.data[:p.rows*rowBytes]})
			x.data = x.data[p.rows*rowBytes:]
		}
		return all
	}
	return []kept{x}
}

// underAdapters has the names of linear layers that adapters were added to.
func underAdapters(x kept) []kept {
	if strings.Contains(x.name, "_proj.") {
		x.name = strings.Replace(x.name, ".weight", ".base_layer.weight", 1)
	}
	return []kept{x}
}

var layouts = []layout{
	{class: "Phi3ForCausalLM", change: unchanged},
	{"Phi3VForCausalLM", unchanged, []string{
		"model.vision_embed_tokens.img_processor.vision_model.post_layernorm.weight",
		"model.vision_embed_tokens.sub_GN",
	}, []string{
		"left out: the part that sees (2 tensors with model.vision_embed_tokens. in the name); this is the text " +
			"model",
	}},
	{"Phi4MMForCausalLM", underAdapters, []string{
		"model.layers.0.self_attn.qkv_proj.lora_A.vision.weight",
		"model.layers.0.self_attn.qkv_proj.lora_B.speech.weight",
		"model.embed_tokens_extend.audio_embed.encoder.embed.out.bias",
	}, []string{
		"left out: the parts that see and hear (1 tensor with model.embed_tokens_extend. in the name); this is the " +
			"text model",
		"left out: the adapters for images and speech (2 tensors with .lora_A. or .lora_B. in the name); this is " +
			"the text model without adapters",
	}},
	{"Phi4MultimodalForCausalLM", unchanged, []string{"model.embed_tokens_extend.image_embed.glb_GN"},
		[]string{"left out: the parts that see and hear (1 tensor"}},
	{class: "LlamaForCausalLM", change: divided},
	{class: "MistralForCausalLM", change: divided},
}

// write makes the checkpoint, in a directory of the same name for all.
func (l *layout) write(t *testing.T) string {
	t.Helper()
	dir := testmodel.Phi3(t)
	path := filepath.Join(dir, "config.json")
	var config map[string]any
	if err := json.Unmarshal(testmodel.Read(t, path), &config); err != nil {
		t.Fatal(err)
	}
	config["architectures"], config["sliding_window"] = []string{l.class}, nil
	text, err := json.Marshal(config)
	if err != nil {
		t.Fatal(err)
	}
	testmodel.Write(t, path, text)

	f, err := safetensors.OpenDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var all []kept
	for _, x := range f.Tensors {
		data, err := io.ReadAll(x.Data())
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, l.change(kept{x.Name, x.DType, x.Shape, data})...)
	}
	_ = f.Close()
	for _, name := range l.beside {
		all = append(all, kept{name, safetensors.I64, []uint64{1}, make([]byte, 8)})
	}
	var out []safetensors.WriteTensor
	for _, x := range all {
		out = append(out, safetensors.WriteTensor{
			Name: x.name, DType: x.dtype, Shape: x.shape, Data: bytes.NewReader(x.data),
		})
	}
	if err := safetensors.Create(filepath.Join(dir, "model.safetensors"), out, nil); err != nil {
		t.Fatal(err)
	}
	return dir
}

// A model has the same file, whatever layout its checkpoint has, and what is left out is said.
func TestLayouts(t *testing.T) {
	var want []byte
	for _, l := range layouts {
		t.Run(l.class, func(t *testing.T) {
			dir := l.write(t)
			got := testmodel.Read(t, run(t, dir, withType(policy.MostlyQ4_K_M), 2))
			if want == nil {
				want = got
			}
			if !bytes.Equal(got, want) {
				t.Error("another file")
			}
			m, err := source.Open(dir)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = m.Close() }()
			p, err := NewPlan(m, withType(policy.AllF32))
			if err != nil {
				t.Fatal(err)
			}
			notes := p.Notes()
			for i, want := range l.notes {
				if i >= len(notes) || !strings.HasPrefix(notes[i], want) {
					t.Errorf("notes %q, expected %q", notes, want)
				}
			}
		})
	}
}

// A config.json that names a layout which the tensors do not have is refused.
func TestOtherLayout(t *testing.T) {
	for class, want := range map[string]string{
		"Phi3VForCausalLM":   "no tensor with model.vision_embed_tokens. in its name, as every Phi3VForCausalLM has",
		"Phi4MMForCausalLM":  "missing: model.layers.0.self_attn.qkv_proj.base_layer.weight",
		"LlamaForCausalLM":   "missing: model.layers.0.self_attn.q_proj.weight",
		"MistralForCausalLM": "missing: model.layers.0.self_attn.q_proj.weight",
	} {
		dir := (&layout{class: class, change: unchanged}).write(t)
		if _, err := source.Open(dir); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, expected %q", class, err, want)
		}
	}
	l := layout{class: "LlamaForCausalLM", change: divided, beside: []string{"model.layers.0.self_attn.q_proj.bias"}}
	const want = "tensor model.layers.0.self_attn.q_proj.bias does not belong to a LlamaForCausalLM"
	if _, err := source.Open(l.write(t)); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("%v, expected %q", err, want)
	}
}
