package source

import (
	"bytes"
	"encoding/json"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/phi3conv/phi3conv/formats/safetensors"
	"github.com/phi3conv/phi3conv/internal/arch"
	"github.com/phi3conv/phi3conv/internal/testmodel"
)

// checkpoint copies the tiny model with its configuration and its tensors changed, and returns the directory.
func checkpoint(
	t *testing.T, config map[string]any, change func(tensors []safetensors.WriteTensor) []safetensors.WriteTensor,
) string {
	t.Helper()
	dir := testmodel.Phi3(t)
	path := filepath.Join(dir, "config.json")
	fields := map[string]any{}
	if err := json.Unmarshal(testmodel.Read(t, path), &fields); err != nil {
		t.Fatal(err)
	}
	for key, v := range config {
		fields[key] = v
	}
	data, err := json.Marshal(fields)
	if err != nil {
		t.Fatal(err)
	}
	testmodel.Write(t, path, data)
	rewrite(t, filepath.Join(dir, "model.safetensors"), change)
	return dir
}

// rewrite changes the tensors of a file.
func rewrite(
	t *testing.T, path string, change func(tensors []safetensors.WriteTensor) []safetensors.WriteTensor,
) {
	t.Helper()
	f, err := safetensors.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	var all []safetensors.WriteTensor
	for _, x := range f.Tensors {
		data := make([]byte, x.Size())
		if _, err := x.ReadAt(data, 0); err != nil {
			t.Fatal(err)
		}
		all = append(all, safetensors.WriteTensor{
			Name: x.Name, DType: x.DType, Shape: x.Shape, Data: bytes.NewReader(data),
		})
	}
	_ = f.Close()
	var out bytes.Buffer
	if err := safetensors.Write(&out, change(all), nil); err != nil {
		t.Fatal(err)
	}
	testmodel.Write(t, path, out.Bytes())
}

func unchanged(all []safetensors.WriteTensor) []safetensors.WriteTensor { return all }

// weights returns the bytes of all tensors.
func weights(t *testing.T, m *Model) map[string][]byte {
	t.Helper()
	all := map[string][]byte{}
	for i := range m.Tensors {
		x := &m.Tensors[i]
		all[x.GGUF] = make([]byte, x.Bytes())
		if err := x.ReadRows(all[x.GGUF], 0); err != nil {
			t.Fatal(err)
		}
	}
	return all
}

// A checkpoint that ties the output matrix to the embedding is not tied if it has another matrix, and loads if the only
// copy has the output matrix's name: transformers 5.24, modeling_utils.tie_weights.
func TestTied(t *testing.T) {
	tied := map[string]any{"tie_word_embeddings": true}
	without := func(name string) func([]safetensors.WriteTensor) []safetensors.WriteTensor {
		return func(all []safetensors.WriteTensor) []safetensors.WriteTensor {
			return slices.DeleteFunc(all, func(x safetensors.WriteTensor) bool { return x.Name == name })
		}
	}
	index := func(all []safetensors.WriteTensor, name string) int {
		return slices.IndexFunc(all, func(x safetensors.WriteTensor) bool { return x.Name == name })
	}
	same := func(all []safetensors.WriteTensor) []safetensors.WriteTensor {
		from, to := index(all, arch.HFEmbedding), index(all, arch.HFOutput)
		data := make([]byte, all[from].Data.(*bytes.Reader).Size())
		if _, err := all[from].Data.(*bytes.Reader).ReadAt(data, 0); err != nil {
			t.Fatal(err)
		}
		all[to].Data = bytes.NewReader(data)
		return all
	}
	alone := func(all []safetensors.WriteTensor) []safetensors.WriteTensor {
		all = without(arch.HFEmbedding)(same(all))
		return all
	}
	plain, err := Open(tiny)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = plain.Close() }()
	want := weights(t, plain)
	for name, c := range map[string]struct {
		config map[string]any
		change func([]safetensors.WriteTensor) []safetensors.WriteTensor
		tied   bool
		err    string
	}{
		"another head":           {tied, unchanged, false, ""},
		"the same twice":         {tied, same, true, ""},
		"no head":                {tied, without(arch.HFOutput), true, ""},
		"under the other name":   {tied, alone, true, ""},
		"not tied, no head":      {nil, without(arch.HFOutput), false, "1 of 27 tensors are missing: lm_head.weight"},
		"not tied, no embedding": {nil, alone, false, "1 of 27 tensors are missing: model.embed_tokens.weight"},
	} {
		m, err := Open(checkpoint(t, c.config, c.change))
		if c.err != "" {
			if err == nil || !strings.Contains(err.Error(), c.err) {
				t.Errorf("%s: %v, expected %q", name, err, c.err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		got := weights(t, m)
		if m.Config.Tied != c.tied || !bytes.Equal(got[arch.Embedding], want[arch.Embedding]) ||
			!c.tied && !bytes.Equal(got[arch.Output], want[arch.Output]) || c.tied && got[arch.Output] != nil {
			t.Errorf("%s: tied %v, expected %v, or other weights", name, m.Config.Tied, c.tied)
		}
		if said := strings.Join(m.Notes, "; "); strings.Contains(said, arch.HFOutput) != (name == "another head") {
			t.Errorf("%s: notes %q", name, said)
		}
		_ = m.Close()
	}
}

// A checkpoint whose names have those of tools around them is the same model. What is ambiguous or not merged is
// refused.
func TestWrappedNames(t *testing.T) {
	plain, err := Open(tiny)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = plain.Close() }()
	want := weights(t, plain)
	prefix := func(p string) func(string) string { return func(name string) string { return p + name } }
	for tool, rename := range map[string]func(string) string{
		"torch.compile":     prefix("_orig_mod."),
		"DDP":               prefix("module."),
		"PEFT":              prefix("base_model.model."),
		"DDP of a compiled": prefix("module._orig_mod."),
		"FSDP":              prefix("_fsdp_wrapped_module."),
		"a part that is compiled": func(name string) string {
			return strings.Replace(name, ".self_attn.", "._orig_mod.self_attn.", 1)
		},
		"checkpointed": func(name string) string {
			return strings.Replace(name, ".mlp.", "._checkpoint_wrapped_module.mlp.", 1)
		},
		"the text part": func(name string) string {
			return strings.Replace(name, "model.", "model.language_model.", 1)
		},
		"a model within another": prefix("language_model."),
		"some of them": func(name string) string {
			return strings.Replace(name, "model.layers.1.", "module.model.layers.1.", 1)
		},
	} {
		m, err := Open(checkpoint(t, nil, func(all []safetensors.WriteTensor) []safetensors.WriteTensor {
			for i := range all {
				all[i].Name = rename(all[i].Name)
			}
			return all
		}))
		if err != nil {
			t.Errorf("%s: %v", tool, err)
			continue
		}
		got := weights(t, m)
		for name := range want {
			if !bytes.Equal(got[name], want[name]) {
				t.Errorf("%s: another %s", tool, name)
			}
		}
		if len(m.Notes) != 1 || !strings.Contains(m.Notes[0], "which was taken off") {
			t.Errorf("%s: notes %q", tool, m.Notes)
		}
		_ = m.Close()
	}
	for name, c := range map[string]struct{ from, to, want string }{
		"twice":      {"model.norm.weight", "module.lm_head.weight", "would both be lm_head.weight"},
		"an adapter": {"model.norm.weight", "model.norm.lora_A.weight", "an adapter that was not merged"},
		"unknown":    {"model.norm.weight", "model.normal.weight", "not of a Phi3ForCausalLM: model.normal.weight"},
	} {
		_, err := Open(checkpoint(t, nil, func(all []safetensors.WriteTensor) []safetensors.WriteTensor {
			for i := range all {
				if all[i].Name == c.from {
					all[i].Name = c.to
				}
			}
			return all
		}))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, expected %q", name, err, c.want)
		}
	}
}

// A quantization_config counts only with tensors that are quantized; a pointer of Git LFS is named.
func TestLeftovers(t *testing.T) {
	config := map[string]any{"quantization_config": map[string]any{"quant_method": "gptq", "bits": 4}}
	m, err := Open(checkpoint(t, config, unchanged))
	if err != nil {
		t.Fatal(err)
	}
	if len(m.Notes) != 1 || !strings.Contains(m.Notes[0], "quantization_config in config.json is left over (gptq)") {
		t.Errorf("notes %q", m.Notes)
	}
	_ = m.Close()
	packed := func(all []safetensors.WriteTensor) []safetensors.WriteTensor {
		all[0].DType, all[0].Shape[1] = safetensors.I8, 2*all[0].Shape[1]
		return all
	}
	_, err = Open(checkpoint(t, config, packed))
	if err == nil || !strings.Contains(err.Error(), "already quantized") || !strings.Contains(err.Error(), "type I8") {
		t.Errorf("packed weights: %v", err)
	}
	pointer := []byte("version https://git-lfs.github.com/spec/v1\noid sha256:" + strings.Repeat("0", 64) +
		"\nsize 9\n")
	for _, file := range []string{"config.json", "model.safetensors", "phi.gguf"} {
		dir := testmodel.Phi3(t)
		path := testmodel.Write(t, filepath.Join(dir, file), pointer)
		if strings.HasSuffix(file, ".gguf") {
			dir = path
		}
		if _, err := Open(dir); err == nil || !strings.Contains(err.Error(), "Git LFS") ||
			!strings.Contains(err.Error(), file) {
			t.Errorf("%s: %v", file, err)
		}
	}
}
