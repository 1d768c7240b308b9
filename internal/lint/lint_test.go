package lint

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/phi3conv/phi3conv/formats/gguf"
	"github.com/phi3conv/phi3conv/formats/safetensors"
	"github.com/phi3conv/phi3conv/internal/arch"
	"github.com/phi3conv/phi3conv/internal/source"
	"github.com/phi3conv/phi3conv/internal/testmodel"
	"github.com/phi3conv/phi3conv/internal/vocab"
	"github.com/phi3conv/phi3conv/quant"
	"github.com/phi3conv/phi3conv/quant/policy"
	"github.com/phi3conv/phi3conv/testdata"
)

// file is a GGUF file that a test changes before it is written.
type file struct {
	md      *gguf.Metadata
	tensors []tensor
}

type tensor struct {
	gguf.TensorInfo
	data []byte
}

// tiny returns the tiny model as a Q8_0 file.
func tiny(t *testing.T) *file {
	t.Helper()
	m, err := buildTiny()
	if err != nil {
		t.Fatal(err)
	}
	return m.clone()
}

// clone copies a file, so that a test may change it.
func (f *file) clone() *file {
	m := f
	f = &file{md: m.md.Clone()}
	for _, x := range m.tensors {
		x.Dims, x.data = slices.Clone(x.Dims), slices.Clone(x.data)
		f.tensors = append(f.tensors, x)
	}
	return f
}

var buildTiny = sync.OnceValues(func() (*file, error) { return build("tiny-phi3") })

// build makes a Q8_0 file of a model of testdata.
func build(model string) (*file, error) {
	dir, err := os.MkdirTemp("", "phi3conv-lint-")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	if err := testdata.Write(model, dir); err != nil {
		return nil, err
	}
	m, err := source.Open(dir)
	if err != nil {
		return nil, err
	}
	defer func() { _ = m.Close() }()
	v, err := vocab.Load(dir, m.Config.VocabSize)
	if err != nil {
		return nil, err
	}
	f := &file{md: new(gguf.Metadata)}
	f.md.Set("general.architecture", m.Config.Arch.Name)
	f.md.Set("general.name", "Tiny Phi-3")
	f.md.Set("general.file_type", policy.MostlyQ8_0.GGUF())
	f.md.Set("general.quantization_version", uint32(2))
	for _, kv := range m.Config.Metadata() {
		f.md.Set(kv.Key, kv.Value)
	}
	for key, value := range v.All() {
		f.md.Set(key, value)
	}
	for i := range m.Tensors {
		x := &m.Tensors[i]
		typ := quant.Q8_0
		if len(x.Shape) == 1 || strings.Contains(x.GGUF, "ffn_gate_inp") {
			typ = quant.F32
		}
		out := tensor{TensorInfo: gguf.TensorInfo{Name: x.GGUF, Type: typ, Dims: slices.Clone(x.Shape)}}
		slices.Reverse(out.Dims)
		err := x.EachRows(func(_ int, values []float32) error {
			part := make([]byte, typ.Size(int64(len(values))))
			typ.Quantize(part, values, x.Cols(), nil)
			out.data = append(out.data, part...)
			return nil
		})
		if err != nil {
			return nil, err
		}
		f.tensors = append(f.tensors, out)
	}
	return f, nil
}

// others are the tiny models of the other architectures.
var others = sync.OnceValue(func() map[string]*file {
	all := make(map[string]*file)
	for _, name := range []string{"tiny-phi2", "tiny-phi3small", "tiny-phimoe"} {
		f, err := build(name)
		if err != nil {
			panic(err) // it is part of the repository
		}
		all[name] = f
	}
	return all
})

// of replaces the file by that of another model, and changes it.
func of(model string, changes ...func(*file)) func(*file) {
	return func(f *file) {
		*f = *others()[model].clone()
		if model != "tiny-phimoe" { // whose tokenizer is Phi-3's, and so the name must be
			f.md.Set("general.name", model)
		}
		for _, change := range changes {
			change(f)
		}
	}
}

// tensor finds a tensor; the caller may change it.
func (f *file) tensor(name string) *tensor {
	return &f.tensors[f.index(name)]
}

func (f *file) index(name string) int {
	return slices.IndexFunc(f.tensors, func(t tensor) bool { return t.Name == name })
}

func (f *file) remove(name string) {
	i := f.index(name)
	f.tensors = slices.Delete(f.tensors, i, i+1)
}

func (f *file) add(name string, typ quant.Type, data []byte, dims ...uint64) {
	f.tensors = append(f.tensors, tensor{gguf.TensorInfo{Name: name, Type: typ, Dims: dims}, data})
}

func (f *file) write(t *testing.T, path string) {
	t.Helper()
	infos := make([]gguf.TensorInfo, len(f.tensors))
	for i := range f.tensors {
		infos[i] = f.tensors[i].TensorInfo
	}
	w, err := gguf.Create(path, f.md, infos, gguf.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Abort()
	for i := range f.tensors {
		if err := w.WriteTensorAt(i, f.tensors[i].data, 0); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
}

func floats(x ...float32) []byte {
	var b []byte
	for _, v := range x {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(v))
	}
	return b
}

// fill sets the values of an F32 tensor.
func (t *tensor) fill(value func(i int) float32) {
	for i := range len(t.data) / 4 {
		binary.LittleEndian.PutUint32(t.data[4*i:], math.Float32bits(value(i)))
	}
}

// scales changes the scales of a Q8_0 tensor.
func (t *tensor) scales(change func(block int, bits uint16) uint16) {
	size := quant.Q8_0.BlockBytes()
	for i := range len(t.data) / size {
		b := t.data[i*size:]
		binary.LittleEndian.PutUint16(b, change(i, binary.LittleEndian.Uint16(b)))
	}
}

// long makes the model one with LongRoPE.
func long(f *file) {
	f.md.Set("phi3.context_length", uint32(4096))
	f.md.Set("phi3.rope.scaling.attn_factor", float32(math.Sqrt(1+math.Log(8)/math.Log(512))))
	factors := make([]float32, 32)
	for i := range factors {
		factors[i] = 1 + float32(i)/4
	}
	f.add(arch.LongFactors, quant.F32, floats(factors...), 32)
	f.add(arch.ShortFactors, quant.F32, floats(slices.Repeat([]float32{1}, 32)...), 32)
}

// byteLevel gives the model a tokenizer like Phi-4's.
func byteLevel(f *file) {
	for _, key := range []string{scoresKey, "tokenizer.ggml.eot_token_id", "tokenizer.ggml.eom_token_id",
		"tokenizer.ggml.unknown_token_id", "phi3conv.rstrip_token_ids"} {
		f.md.Delete(key)
	}
	words := []string{"<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|im_sep|>", "<|dummy|>", "a", "b", "Ġ", "ab",
		"Ġab"}
	types := []int32{3, 3, 3, 3, 3, 1, 1, 1, 1, 1}
	for i := len(words); i < 576; i++ {
		words, types = append(words, "[PAD"+string(rune(0x1000+i))+"]"), append(types, 5)
	}
	f.md.Set("general.name", "Tiny Four")
	f.md.Set(modelKey, "gpt2")
	f.md.Set(preKey, "dbrx")
	f.md.Set(tokensKey, words)
	f.md.Set(typesKey, types)
	f.md.Set(mergesKey, []string{"a b", "Ġ ab"})
	f.md.Set("tokenizer.ggml.bos_token_id", uint32(0))
	f.md.Set("tokenizer.ggml.eos_token_id", uint32(2))
	f.md.Set("tokenizer.ggml.padding_token_id", uint32(4))
	f.md.Set(stopsKey, []int32{0, 2})
	f.md.Set(templateKey, "{% for m in messages %}<|im_start|>{{ m.role }}<|im_sep|>{{ m.content }}<|im_end|>"+
		"{% endfor %}")
}

// id returns the id of a token.
func id(f *file, token string) int {
	tokens, _ := f.md.Strings(tokensKey)
	return slices.Index(tokens, token)
}

func set(key string, value any) func(*file) { return func(f *file) { f.md.Set(key, value) } }

func unset(keys ...string) func(*file) {
	return func(f *file) {
		for _, key := range keys {
			f.md.Delete(key)
		}
	}
}

// onlyEOS takes all stop ids away but eos.
var onlyEOS = unset(stopsKey, "tokenizer.ggml.eot_token_id", "tokenizer.ggml.eom_token_id")

// all does one change after the other.
func all(changes ...func(*file)) func(*file) {
	return func(f *file) {
		for _, change := range changes {
			change(f)
		}
	}
}

// edit changes a JSON file of a directory.
func edit(name string, change func(fields map[string]any)) func(*testing.T, string) {
	return func(t *testing.T, dir string) {
		path := filepath.Join(dir, name)
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		var fields map[string]any
		if err := json.Unmarshal(data, &fields); err != nil {
			t.Fatal(err)
		}
		change(fields)
		if data, err = json.Marshal(fields); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, data, 0o666); err != nil {
			t.Fatal(err)
		}
	}
}

// weights changes the tensors of a directory.
func weights(change func([]safetensors.WriteTensor) []safetensors.WriteTensor) func(*testing.T, string) {
	return func(t *testing.T, dir string) {
		f, err := safetensors.OpenDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = f.Close() }()
		var all []safetensors.WriteTensor
		for _, x := range f.Tensors {
			all = append(all, safetensors.WriteTensor{Name: x.Name, DType: x.DType, Shape: x.Shape, Data: x.Data()})
		}
		path := filepath.Join(dir, "new")
		if err := safetensors.Create(path, change(all), nil); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(path, filepath.Join(dir, "model.safetensors")); err != nil {
			t.Fatal(err)
		}
	}
}

// bytesOf changes the bytes of a file in a directory, or of the file itself.
func bytesOf(name string, change func(data []byte) []byte) func(*testing.T, string) {
	return func(t *testing.T, path string) {
		path = filepath.Join(path, name)
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, change(data), 0o666); err != nil {
			t.Fatal(err)
		}
	}
}

// entry changes the ggml type and the offset of a matrix in the header.
func entry(name string, change func(typ, offset []byte)) func(*testing.T, string) {
	return bytesOf("", func(data []byte) []byte {
		at := strings.Index(string(data), name) + len(name) + 4 + 2*8 // the number of dimensions, two dimensions
		change(data[at:at+4], data[at+4:at+12])
		return data
	})
}

// longer gives a PhiMoE the keys of a context that was extended, with the factor of llama.cpp's formula.
func longer(f *file) {
	f.md.Set("phimoe.context_length", uint32(4096))
	f.md.Set("phimoe.rope.scaling.original_context_length", uint32(512))
	f.md.Set("phimoe.rope.scaling.attn_factor", float32(math.Sqrt(1+math.Log(8)/math.Log(512))))
	for i := range f.tensors {
		if slices.Contains(factorNames, f.tensors[i].Name) {
			return
		}
	}
	for _, name := range factorNames {
		f.add(name, quant.F32, floats(slices.Repeat([]float32{2}, 16)...), 16)
	}
}

const medium = "{% for message in messages %}{% if (message['role'] == 'user') %}{{'<|user|>' + '\n' + " +
	"message['content'] + '<|end|>' + '\n' + '<|assistant|>' + '\n'}}" +
	"{% elif (message['role'] == 'assistant') %}{{message['content'] + '<|end|>' + '\n'}}{% endif %}{% endfor %}"

// damages makes every check fire, each at least once.
var damages = []struct {
	name    string
	code    string
	subject string
	gguf    func(f *file)                   // changes the GGUF file before it is written,
	file    func(t *testing.T, path string) // or afterwards,
	dir     func(t *testing.T, path string) // or a checkpoint directory
}{
	{"truncated GGUF", "PHI101", "tiny.gguf", nil, bytesOf("", func(b []byte) []byte { return b[:len(b)-1000] }), nil},
	{"header cut off", "PHI101", "tiny.gguf", nil, bytesOf("", func(b []byte) []byte { return b[:1000] }), nil},
	{"truncated safetensors", "PHI101", "model.safetensors",
		nil, nil, bytesOf("model.safetensors", func(b []byte) []byte { return b[:len(b)-1000] })},
	{"unaligned", "PHI102", "tiny.gguf", nil, entry("blk.2.ffn_up.weight", func(_, off []byte) { off[0]++ }), nil},
	{"overlapping", "PHI103", "tiny.gguf", nil, entry("blk.2.ffn_up.weight", func(_, off []byte) { clear(off) }), nil},
	{"bytes after the end", "PHI104", "model.safetensors",
		nil, nil, bytesOf("model.safetensors", func(b []byte) []byte { return append(b, 0) })},
	{"no weights", "PHI105", "dir", nil, nil, func(t *testing.T, dir string) {
		if err := os.Remove(filepath.Join(dir, "model.safetensors")); err != nil {
			t.Fatal(err)
		}
	}},
	{"type I32", "PHI108", "tiny.gguf", nil, entry("blk.2.ffn_up.weight", func(typ, _ []byte) { typ[0] = 26 }), nil},
	{"version 1", "PHI106", "tiny.gguf", nil, bytesOf("", func(b []byte) []byte { b[4] = 1; return b }), nil},
	{"name twice", "PHI107", "tiny.gguf", nil, bytesOf("", func(b []byte) []byte {
		return []byte(strings.Replace(string(b), "blk.1.attn_norm", "blk.0.attn_norm", 1))
	}), nil},

	{"Phi-3-small", "PHI206", "general.architecture", of("tiny-phi3small"), nil, nil},
	{"Phi-2 with one matrix for both", "PHI206", arch.Output, of("tiny-phi2", func(f *file) { f.remove(arch.Output) }),
		nil, nil},
	{"wide heads", "PHI206", "phimoe.attention.key_length", of("tiny-phimoe"), nil, nil},
	{"PhiMoE by llama.cpp", "PHI205", "metadata", of("tiny-phimoe", unset("phimoe.router_jitter_noise")), nil, nil},
	{"PhiMoE by llama.cpp", "PHI311", "phimoe.rope.scaling.attn_factor",
		of("tiny-phimoe", unset("phimoe.router_jitter_noise"), longer), nil, nil},
	{"another mask", "PHI410", "tokenizer.ggml.suppress_tokens",
		of("tiny-phi3small", set("tokenizer.ggml.suppress_tokens", []int32{1})), nil, nil},
	{"no mask", "PHI410", "tokenizer.ggml.suppress_tokens",
		of("tiny-phi3small", unset("tokenizer.ggml.suppress_tokens")), nil, nil},
	{"an expert fewer", "PHI603", "blk.0.ffn_up_exps.weight", of("tiny-phimoe", func(f *file) {
		x := f.tensor("blk.0.ffn_up_exps.weight")
		x.data = x.data[:len(x.data)/8*7]
		x.Dims[2]--
	}), nil, nil},

	{"another architecture", "PHI201", "general.architecture", set("general.architecture", "llama"), nil, nil},
	{"another architecture", "PHI201", "architectures",
		nil, nil, edit("config.json",
			func(c map[string]any) { c["architectures"] = []string{"Qwen2ForCausalLM"} })},
	{"no architecture", "PHI202", "metadata", unset("general.architecture"), nil, nil},
	{"no layer count", "PHI202", "metadata", unset("phi3.block_count"), nil, nil},
	{"too many rotary dimensions", "PHI202", "metadata", set("phi3.rope.dimension_count", uint32(96)), nil, nil},
	{"no heads", "PHI202", "config.json",
		nil, nil, edit("config.json", func(c map[string]any) { c["num_attention_heads"] = 0 })},
	{"no config.json", "PHI202", "config.json", nil, nil, func(t *testing.T, dir string) {
		if err := os.Remove(filepath.Join(dir, "config.json")); err != nil {
			t.Fatal(err)
		}
	}},
	{"no quantization version", "PHI203", "general.quantization_version",
		unset("general.quantization_version"), nil, nil},
	{"quantization version 1", "PHI203", "general.quantization_version",
		set("general.quantization_version", uint32(1)), nil, nil},
	{"Q8_0 called Q4_K_M", "PHI204", "general.file_type", set("general.file_type", uint32(15)), nil, nil},

	{"factors missing", "PHI301", arch.LongFactors,
		all(long, func(f *file) { f.remove(arch.LongFactors); f.remove(arch.ShortFactors) }), nil, nil},
	{"short factors missing", "PHI301", arch.ShortFactors,
		all(long, func(f *file) { f.remove(arch.ShortFactors) }), nil, nil},
	{"attention factor only", "PHI301", arch.ShortFactors, set("phi3.rope.scaling.attn_factor", float32(1)), nil, nil},
	{"long context without any sign of LongRoPE", "PHI301", arch.LongFactors,
		all(set("phi3.context_length", uint32(131072)),
			set("phi3.rope.scaling.original_context_length", uint32(131072))), nil, nil},
	{"rope_scaling null", "PHI302", "config.json",
		nil, nil, edit("config.json", func(c map[string]any) { c["max_position_embeddings"] = 4096 })},
	{"one end token", "PHI205", "metadata", onlyEOS, nil, nil},
	{"attention factor missing", "PHI205", "metadata", all(long, unset("phi3.rope.scaling.attn_factor")), nil, nil},
	{"attention factor missing", "PHI303", "phi3.rope.scaling.attn_factor",
		all(long, unset("phi3.rope.scaling.attn_factor")), nil, nil},
	{"attention factor of yarn", "PHI304", "phi3.rope.scaling.attn_factor",
		all(long, set("phi3.rope.scaling.attn_factor", float32(0.1*math.Log(8)+1))), nil, nil},
	{"compiled", "PHI607", "_orig_mod.lm_head.weight", nil, nil,
		weights(func(all []safetensors.WriteTensor) []safetensors.WriteTensor {
			for i := range all {
				all[i].Name = "_orig_mod." + all[i].Name
			}
			return all
		})},
	{"an expert of another type", "PHI608", "model.layers.1.block_sparse_moe.experts.3.w2.weight", nil, nil,
		func(t *testing.T, dir string) {
			other := testmodel.Copy(t, "tiny-phimoe")
			for _, name := range []string{"config.json", "model.safetensors"} {
				testmodel.Write(t, filepath.Join(dir, name), testmodel.Read(t, filepath.Join(other, name)))
			}
			weights(func(all []safetensors.WriteTensor) []safetensors.WriteTensor {
				for i := range all {
					if x := &all[i]; x.Name == "model.layers.1.block_sparse_moe.experts.3.w2.weight" {
						x.DType, x.Data = safetensors.F32, bytes.NewReader(make([]byte, 4*256*32))
					}
				}
				return all
			})(t, dir)
		}},
	{"tied", "PHI606", "lm_head.weight", nil, nil,
		edit("config.json", func(c map[string]any) { c["tie_word_embeddings"] = true })},
	{"half of the rotary dimensions", "PHI305", arch.LongFactors,
		all(long, set("phi3.rope.dimension_count", uint32(32))), nil, nil},
	{"half of the rotary dimensions", "PHI306", "phi3.rope.dimension_count",
		set("phi3.rope.dimension_count", uint32(32)), nil, nil},
	{"original context missing", "PHI307", "phi3.rope.scaling.original_context_length",
		all(long, unset("phi3.rope.scaling.original_context_length")), nil, nil},
	{"rope_parameters of a tool", "PHI310", "config.json", nil, nil, edit("config.json", func(c map[string]any) {
		c["rope_scaling"] = map[string]any{"rope_type": "default", "rope_theta": 10000}
		c["rope_parameters"] = map[string]any{"rope_type": "default", "rope_theta": 20000}
	})},
	{"no sliding window", "PHI308", "config.json", nil, nil, edit("config.json", func(c map[string]any) {
		c["max_position_embeddings"], c["original_max_position_embeddings"] = 4096, 4096
		c["vocab_size"], c["sliding_window"] = 32064, nil
	})},
	{"sliding window 0", "PHI308", "phi3.attention.sliding_window", func(f *file) {
		f.md.Set("phi3.context_length", uint32(4096))
		f.md.Set("phi3.rope.scaling.original_context_length", uint32(4096))
		f.md.Set("phi3.attention.sliding_window", uint32(0))
		e := f.tensor(arch.Embedding)
		e.Dims[1], e.data = 32064, make([]byte, quant.Q8_0.Size(32064*256))
	}, nil, nil},
	{"factor 0", "PHI309", arch.ShortFactors,
		all(long, func(f *file) { clear(f.tensor(arch.ShortFactors).data[:4]) }), nil, nil},
	{"factor NaN", "PHI309", arch.LongFactors,
		all(long, func(f *file) { copy(f.tensor(arch.LongFactors).data, floats(float32(math.NaN()))) }), nil, nil},

	{"no tokens", "PHI401", tokensKey, unset(tokensKey), nil, nil},
	{"token list of numbers", "PHI401", tokensKey, set(tokensKey, []int32{1, 2}), nil, nil},
	{"id as a text", "PHI401", "tokenizer.ggml.bos_token_id", set("tokenizer.ggml.bos_token_id", "<s>"), nil, nil},
	{"unknown tokenizer", "PHI401", modelKey, set(modelKey, "wordpiece"), nil, nil},
	{"broken tokenizer.json", "PHI401", "tokenizer.json",
		nil, nil, bytesOf("tokenizer.json", func(b []byte) []byte { return b[:len(b)/2] })},
	{"a token less", "PHI402", tokensKey, func(f *file) {
		tokens, _ := f.md.Strings(tokensKey)
		types, _ := f.md.Int32s(typesKey)
		scores, _ := f.md.Float32s(scoresKey)
		f.md.Set(tokensKey, tokens[:575])
		f.md.Set(typesKey, types[:575])
		f.md.Set(scoresKey, scores[:575])
	}, nil, nil},
	{"a type less", "PHI403", typesKey, func(f *file) {
		types, _ := f.md.Int32s(typesKey)
		f.md.Set(typesKey, types[1:])
	}, nil, nil},
	{"type 9", "PHI403", typesKey, func(f *file) {
		types, _ := f.md.Int32s(typesKey)
		types = slices.Clone(types)
		types[300] = 9
		f.md.Set(typesKey, types)
	}, nil, nil},
	{"no scores", "PHI403", scoresKey, unset(scoresKey), nil, nil},
	{"token twice", "PHI404", tokensKey, func(f *file) {
		tokens, _ := f.md.Strings(tokensKey)
		tokens = slices.Clone(tokens)
		tokens[570] = tokens[571]
		f.md.Set(tokensKey, tokens)
	}, nil, nil},
	{"merge of an unknown token", "PHI405", mergesKey,
		all(byteLevel, set(mergesKey, []string{"a b", "a c"})), nil, nil},
	{"merge without a space", "PHI405", mergesKey, all(byteLevel, set(mergesKey, []string{"", "ab"})), nil, nil},
	{"no merges", "PHI405", mergesKey, all(byteLevel, unset(mergesKey)), nil, nil},
	{"no pre-tokenizer", "PHI406", preKey, all(byteLevel, unset(preKey)), nil, nil},
	{"pre-tokenizer default", "PHI406", preKey, all(byteLevel, set(preKey, "default")), nil, nil},
	{"name without Phi-3", "PHI407", "general.name", set("general.name", "Tiny"), nil, nil},
	{"name with phi3", "PHI408", "general.name", all(byteLevel, set("general.name", "my-Phi3-four")), nil, nil},
	{"tokenizer_config.json adds BOS, tokenizer.json does not", "PHI411", "tokenizer_config.json",
		nil, nil, bytesOf("tokenizer_config.json", func(b []byte) []byte {
			return bytes.Replace(b, []byte(`"add_bos_token": false`), []byte(`"add_bos_token": true`), 1)
		})},
	{"<|end|> is a normal token", "PHI409", "<|end|>", func(f *file) {
		types, _ := f.md.Int32s(typesKey)
		types = slices.Clone(types)
		types[id(f, "<|end|>")] = int32(vocab.Normal)
		f.md.Set(typesKey, types)
	}, nil, nil},

	{"no eos", "PHI501", "tokenizer.ggml.eos_token_id", unset("tokenizer.ggml.eos_token_id"), nil, nil},
	{"eos beyond the vocabulary", "PHI502", "tokenizer.ggml.eos_token_id",
		set("tokenizer.ggml.eos_token_id", uint32(32000)), nil, nil},
	{"negative stop id", "PHI502", stopsKey, set(stopsKey, []int32{512, 519, 513, -1}), nil, nil},
	{"only eos", "PHI503", "<|end|>", onlyEOS, nil, nil},
	{"only eos", "PHI504", "<|end|>",
		nil, nil, edit("generation_config.json", func(c map[string]any) { c["eos_token_id"] = 512 })},
	{"only eos", "PHI505", "<|assistant|>", onlyEOS, nil, nil},
	{"no <|endoftext|>", "PHI505", "<|endoftext|>", all(byteLevel, unset(stopsKey)), nil, nil},
	{"ids of Phi-4's first release", "PHI506", "tokenizer.ggml.eos_token_id", all(byteLevel, unset(stopsKey),
		set("tokenizer.ggml.eos_token_id", uint32(0)), set("tokenizer.ggml.padding_token_id", uint32(0))), nil, nil},
	{"pad is <|end|>", "PHI507", "tokenizer.ggml.padding_token_id",
		set("tokenizer.ggml.padding_token_id", uint32(519)), nil, nil},
	{"no template", "PHI508", templateKey, unset(templateKey), nil, nil},
	{"no template", "PHI508", templateKey,
		nil, nil, edit("tokenizer_config.json", func(c map[string]any) { delete(c, "chat_template") })},
	{"template of another model", "PHI509", templateKey,
		set(templateKey, "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"),
		nil, nil},
	{"template with tools", "PHI510", templateKey, func(f *file) {
		template, _ := f.md.Str(templateKey)
		f.md.Set(templateKey, template+"{% if tools %}<|tool|>{% endif %}")
	}, nil, nil},
	{"template of Phi-3-medium", "PHI511", templateKey, set(templateKey, medium), nil, nil},
	{"bos twice", "PHI512", addBOSKey, all(set(addBOSKey, true), set(templateKey, "{{ bos_token }}"+medium)), nil, nil},
	{"bos twice by default", "PHI512", addBOSKey,
		all(unset(addBOSKey), set(templateKey, "{{- bos_token -}}"+medium)), nil, nil},
	{"adds no bos", "PHI513", addBOSKey, all(set(addBOSKey, true), unset("tokenizer.ggml.bos_token_id")), nil, nil},
	{"adds eos", "PHI514", addEOSKey, set(addEOSKey, true), nil, nil},

	{"matrix missing", "PHI601", "blk.1.ffn_down.weight",
		func(f *file) { f.remove("blk.1.ffn_down.weight") }, nil, nil},
	{"matrix missing", "PHI601", "model.layers.1.mlp.down_proj.weight",
		nil, nil, weights(func(all []safetensors.WriteTensor) []safetensors.WriteTensor {
			return slices.DeleteFunc(all,
				func(t safetensors.WriteTensor) bool { return t.Name == "model.layers.1.mlp.down_proj.weight" })
		})},
	{"no tensors", "PHI601", "tiny.gguf", func(f *file) { f.tensors = nil }, nil, nil},
	{"head of Phi-3 missing", "PHI601", "output.weight", func(f *file) {
		f.remove("output.weight")
		e := f.tensor(arch.Embedding)
		e.Dims[1], e.data = 32064, make([]byte, quant.Q8_0.Size(32064*256))
	}, nil, nil},
	{"an adapter", "PHI602", "blk.0.lora_a",
		func(f *file) { f.add("blk.0.lora_a", quant.F32, floats(1, 2), 2) }, nil, nil},
	{"an adapter", "PHI602", "lora_a", nil, nil, weights(func(all []safetensors.WriteTensor) []safetensors.WriteTensor {
		return append(all, safetensors.WriteTensor{Name: "lora_a", DType: safetensors.F32, Shape: []uint64{2},
			Data: strings.NewReader(string(floats(1, 2)))})
	})},
	{"transposed", "PHI603", "blk.1.ffn_up.weight",
		func(f *file) { slices.Reverse(f.tensor("blk.1.ffn_up.weight").Dims) }, nil, nil},
	{"norm as F16", "PHI604", "output_norm.weight", func(f *file) {
		x := f.tensor("output_norm.weight")
		x.Type, x.data = quant.F16, x.data[:len(x.data)/2]
	}, nil, nil},
	{"matrix of integers", "PHI605", "model.norm.weight",
		nil, nil, weights(func(all []safetensors.WriteTensor) []safetensors.WriteTensor {
			for i := range all {
				if all[i].Name == "model.norm.weight" {
					all[i].DType = safetensors.I16
				}
			}
			return all
		})},

	{"NaN", "PHI701", "output_norm.weight",
		func(f *file) { copy(f.tensor("output_norm.weight").data[40:], floats(float32(math.NaN()))) }, nil, nil},
	{"infinite scale", "PHI701", "blk.3.ffn_up.weight", func(f *file) {
		f.tensor("blk.3.ffn_up.weight").scales(func(block int, bits uint16) uint16 {
			if block == 5000 {
				return 0x7c00
			}
			return bits
		})
	}, nil, nil},
	{"zero matrix", "PHI702", "blk.3.ffn_up.weight",
		func(f *file) { clear(f.tensor("blk.3.ffn_up.weight").data) }, nil, nil},
	{"zero norm", "PHI702", "blk.3.ffn_norm.weight",
		func(f *file) { clear(f.tensor("blk.3.ffn_norm.weight").data) }, nil, nil},
	{"norm of ones", "PHI703", "blk.3.ffn_norm.weight",
		func(f *file) { f.tensor("blk.3.ffn_norm.weight").fill(func(int) float32 { return 1 }) }, nil, nil},
	{"bytes swapped", "PHI704", "blk.3.ffn_norm.weight", func(f *file) {
		f.tensor("blk.3.ffn_norm.weight").fill(func(i int) float32 { return float32(i) * 1e30 })
	}, nil, nil},
	{"a matrix twice", "PHI705", "blk.3.ffn_up.weight",
		func(f *file) { f.tensor("blk.3.ffn_up.weight").data = f.tensor("blk.2.ffn_up.weight").data }, nil, nil},
	{"scales of zero", "PHI706", "blk.3.ffn_up.weight", func(f *file) {
		f.tensor("blk.3.ffn_up.weight").scales(func(block int, bits uint16) uint16 {
			if block%101 == 0 {
				return 0
			}
			return bits
		})
	}, nil, nil},
	{"scales of 2 bits", "PHI707", "blk.3.ffn_up.weight", func(f *file) {
		f.tensor("blk.3.ffn_up.weight").scales(func(block int, _ uint16) uint16 { return 1 + uint16(block%3) })
	}, nil, nil},
}

func run(t *testing.T, path string, opt Options) *Report {
	t.Helper()
	r, err := Run(context.Background(), path, opt)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestDamage(t *testing.T) {
	for _, d := range damages {
		t.Run(d.code+" "+d.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "tiny.gguf")
			if d.dir != nil {
				path = filepath.Join(t.TempDir(), "dir")
				if err := testdata.Write("tiny-phi3", path); err != nil {
					t.Fatal(err)
				}
				d.dir(t, path)
			} else {
				f := tiny(t)
				if d.gguf != nil {
					d.gguf(f)
				}
				f.write(t, path)
				if d.file != nil {
					d.file(t, path)
				}
			}
			r := run(t, path, Options{Threads: 2})
			found := slices.ContainsFunc(r.Findings, func(f Finding) bool {
				return f.Code == d.code && f.Subject == d.subject
			})
			if !found {
				t.Errorf("expected %s about %s, got %d findings:", d.code, d.subject, len(r.Findings))
				for _, f := range r.Findings {
					t.Errorf("  %s %s: %s", f.Code, f.Subject, f.Message)
				}
			}
		})
	}
}

// A check that has no damage to show for it, or no words, is not done.
func TestEveryCheckFires(t *testing.T) {
	fires := make(map[string]bool)
	for _, d := range damages {
		fires[d.code] = true
	}
	codes := make([]string, 0, len(checks))
	for _, c := range Checks() {
		codes = append(codes, c.Code)
		if !fires[c.Code] {
			t.Errorf("%s: no test makes it fire", c.Code)
		}
		delete(fires, c.Code)
		if c.Title == "" || c.Why == "" || c.Fix == "" || !slices.Contains(Severities(), c.Severity) {
			t.Errorf("%s is not described: %+v", c.Code, c)
		}
	}
	if !slices.IsSorted(codes) || len(slices.Compact(slices.Clone(codes))) != len(codes) {
		t.Errorf("codes are not sorted or not distinct: %s", codes)
	}
	for code := range fires {
		t.Errorf("test for %s, which is no check", code)
	}
}

// fused puts q, k and v of a Phi-2 into one tensor, as old converters did.
func fused(f *file) {
	for layer := range 2 {
		for _, kind := range []string{"weight", "bias"} {
			var all tensor
			for _, part := range []string{"q", "k", "v"} {
				name := fmt.Sprintf("blk.%d.attn_%s.%s", layer, part, kind)
				x := f.tensor(name)
				all.Type, all.data = x.Type, append(all.data, x.data...)
				if all.Dims == nil {
					all.Dims = slices.Clone(x.Dims)
				} else {
					all.Dims[len(all.Dims)-1] += x.Dims[len(x.Dims)-1]
				}
				f.remove(name)
			}
			all.Name = fmt.Sprintf("blk.%d.attn_qkv.%s", layer, kind)
			f.tensors = append(f.tensors, all)
		}
	}
}

// The tiny models of all architectures are in order, as checkpoints and as GGUF files.
func TestFamily(t *testing.T) {
	for name, want := range map[string][]string{
		"tiny-phi2": {}, "tiny-phi3small": {"PHI206"}, "tiny-phimoe": {"PHI206"},
	} {
		for _, form := range []string{"checkpoint", "GGUF"} {
			path := filepath.Join(t.TempDir(), name)
			codes := []string{}
			if form == "GGUF" {
				f := new(file)
				of(name)(f)
				f.write(t, path)
			} else if err := testdata.Write(name, path); err != nil {
				t.Fatal(err)
			}
			for _, f := range run(t, path, Options{Threads: 2}).Findings {
				if codes = append(codes, f.Code); f.Code != "PHI206" {
					t.Errorf("%s, %s: %s %s: %s", name, form, f.Code, f.Subject, f.Message)
				}
			}
			if form == "GGUF" && !slices.Equal(codes, want) || form != "GGUF" && len(codes) > 0 {
				t.Errorf("%s, %s: %q", name, form, codes)
			}
		}
	}
}

// longConfig gives a checkpoint LongRoPE.
var longConfig = edit("config.json", func(c map[string]any) {
	c["max_position_embeddings"] = 4096
	c["rope_scaling"] = map[string]any{"type": "longrope", "short_factor": slices.Repeat([]float64{1}, 32),
		"long_factor": slices.Repeat([]float64{2}, 32)}
})

// What is unusual but right must not be reported.
func TestSound(t *testing.T) {
	for _, tc := range []struct {
		name string
		gguf func(f *file)
		dir  func(t *testing.T, dir string)
	}{
		{"the tiny model", func(*file) {}, nil},
		{"the tiny checkpoint", nil, func(*testing.T, string) {}},
		{"LongRoPE", long, nil},
		{"LongRoPE in config.json", nil, longConfig},
		{"partial rotary", all(long, func(f *file) {
			f.md.Set("phi3.rope.dimension_count", uint32(48))
			for _, name := range factorNames {
				x := f.tensor(name)
				x.Dims[0], x.data = 24, x.data[:4*24]
			}
		}), nil},
		{"byte-level", byteLevel, nil},
		{"tied", func(f *file) { f.remove("output.weight") }, nil},
		{"tied, under the other name", nil, func(t *testing.T, dir string) {
			edit("config.json", func(c map[string]any) { c["tie_word_embeddings"] = true })(t, dir)
			weights(func(all []safetensors.WriteTensor) []safetensors.WriteTensor {
				embedding := func(x safetensors.WriteTensor) bool { return x.Name == arch.HFEmbedding }
				return slices.DeleteFunc(all, embedding)
			})(t, dir)
		}},
		{"old rotary tables", nil, weights(func(all []safetensors.WriteTensor) []safetensors.WriteTensor {
			return append(all, safetensors.WriteTensor{Name: "model.layers.0.self_attn.rotary_emb.inv_freq",
				DType: safetensors.F32, Shape: []uint64{2},
				Data: strings.NewReader(string(floats(1, 0.5)))})
		})},
		{"Phi-2", of("tiny-phi2"), nil},
		{"Phi-2 with q, k and v in one", of("tiny-phi2", fused), nil},
		{"q, k and v apart", func(f *file) {
			x := f.tensor("blk.0.attn_qkv.weight")
			row := len(x.data) / int(x.Dims[1])
			f.add("blk.0.attn_q.weight", x.Type, x.data[:256*row], 256, 256)
			f.add("blk.0.attn_k.weight", x.Type, x.data[256*row:384*row], 256, 128)
			f.add("blk.0.attn_v.weight", x.Type, x.data[384*row:], 256, 128)
			f.remove("blk.0.attn_qkv.weight")
		}, nil},
		{"unused tokens are zero", func(f *file) {
			x := f.tensor(arch.Embedding)
			clear(x.data[len(x.data)*9/10:])
		}, nil},
		{"padded width", func(f *file) { // the last block of each row
			f.tensor("blk.0.ffn_up.weight").scales(func(block int, bits uint16) uint16 {
				if block%8 == 7 {
					return 0
				}
				return bits
			})
		}, nil},
		{"no BOS in the template, added by default", unset(addBOSKey), nil},
		{"name in capitals", set("general.name", "TINY PHI3"), nil},
		{"no padding token, as -1", set("tokenizer.ggml.padding_token_id", int32(-1)), nil},
		{"integers of another width", all(set("phi3.block_count", uint64(4)),
			set("tokenizer.ggml.eos_token_id", int32(512)), set(stopsKey, []uint32{512, 513, 519})), nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "tiny")
			if tc.dir != nil {
				if err := testdata.Write("tiny-phi3", path); err != nil {
					t.Fatal(err)
				}
				tc.dir(t, path)
			} else {
				f := tiny(t)
				tc.gguf(f)
				f.write(t, path)
			}
			r := run(t, path, Options{})
			for _, f := range r.Findings {
				t.Errorf("%s %s: %s", f.Code, f.Subject, f.Message)
			}
			if r.Checks < 30 {
				t.Errorf("%d checks were run", r.Checks)
			}
		})
	}
}

// A type that is not read here is no fault of the file.
func TestUnsupportedType(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tiny.gguf")
	tiny(t).write(t, path)
	entry("blk.2.ffn_up.weight", func(typ, _ []byte) { typ[0] = 26 })(t, path)
	r := run(t, path, Options{})
	if len(r.Findings) != 1 || r.Count(Warning) != 1 || !strings.Contains(r.Findings[0].Message, "I32") {
		t.Errorf("got %+v", r.Findings)
	}
}

func TestOptions(t *testing.T) {
	f := tiny(t)
	clear(f.tensor("blk.3.ffn_up.weight").data)
	for _, name := range []string{"blk.0.attn_norm.weight", "blk.1.attn_norm.weight", "output_norm.weight"} {
		copy(f.tensor(name).data, floats(float32(math.Inf(1))))
	}
	path := filepath.Join(t.TempDir(), "tiny.gguf")
	f.write(t, path)

	var mu sync.Mutex
	var done, total int64
	one := run(t, path, Options{Threads: 1})
	four := run(t, path, Options{Threads: 4, Progress: func(d, n int64) {
		mu.Lock()
		defer mu.Unlock()
		done, total = max(done, d), n
	}})
	if !reflect.DeepEqual(one, four) {
		t.Errorf("one thread found %v, four %v", one, four)
	}
	if one.Count(Error) != 4 || one.Count(Warning) != 0 || one.Format != "GGUF" {
		t.Errorf("got %+v", one)
	}
	var want int64
	for i := range f.tensors {
		want += int64(len(f.tensors[i].data))
	}
	if done != want || total != want {
		t.Errorf("progress ended at %d of %d, expected %d", done, total, want)
	}
	fast := run(t, path, Options{Fast: true})
	if len(fast.Findings) != 0 || fast.Checks >= one.Checks || !fast.Fast {
		t.Errorf("fast: %+v", fast)
	}
}

func TestRunRefuses(t *testing.T) {
	text := filepath.Join(t.TempDir(), "text.gguf")
	if err := os.WriteFile(text, []byte("GG"), 0o666); err != nil {
		t.Fatal(err)
	}
	_, err := Run(context.Background(), text, Options{})
	if err == nil || !strings.Contains(err.Error(), "neither a GGUF file nor") {
		t.Errorf("text file: %v", err)
	}
	_, err = Run(context.Background(), filepath.Join(t.TempDir(), "none"), Options{})
	if !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
	path := filepath.Join(t.TempDir(), "tiny.gguf")
	tiny(t).write(t, path)
	canceled, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := Run(canceled, path, Options{}); !errors.Is(err, context.Canceled) {
		t.Errorf("canceled: %v", err)
	}
}

func TestSplitSet(t *testing.T) {
	const name = "split-00002-of-00003.gguf"
	data, err := os.ReadFile(filepath.Join("../../formats/gguf/testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, data, 0o666); err != nil {
		t.Fatal(err)
	}
	r := run(t, path, Options{})
	if len(r.Findings) != 1 || r.Findings[0].Code != "PHI105" || r.Findings[0].Subject != "split-00001-of-00003.gguf" {
		t.Errorf("got %+v", r.Findings)
	}
}

// FuzzRun checks that no GGUF file can do more than be reported.
func FuzzRun(f *testing.F) {
	seed := func(change func(*file)) {
		m, err := buildTiny()
		if err != nil {
			f.Fatal(err)
		}
		small := &file{md: m.md.Clone()}
		for key, n := range map[string]uint32{"embedding_length": 32, "feed_forward_length": 32, "block_count": 1,
			"attention.head_count": 1, "attention.head_count_kv": 1, "rope.dimension_count": 32} {
			small.md.Set("phi3."+key, n)
		}
		small.md.Set(tokensKey, []string{"<unk>", "<s>", "</s>", "<|endoftext|>", "<|end|>", "<|user|>"})
		small.md.Set(typesKey, []int32{3, 3, 4, 3, 3, 3})
		small.md.Set(scoresKey, make([]float32, 6))
		small.md.Set(stopsKey, []int32{3, 4})
		small.add(arch.Embedding, quant.Q8_0, make([]byte, quant.Q8_0.Size(6*32)), 32, 6)
		small.add("blk.0.ffn_down.weight", quant.F16, make([]byte, 2*32*32), 32, 32)
		small.add("output_norm.weight", quant.F32, make([]byte, 4*32), 32)
		small.add(arch.LongFactors, quant.F32, make([]byte, 4*16), 16)
		change(small)
		infos := make([]gguf.TensorInfo, len(small.tensors))
		for i := range infos {
			infos[i] = small.tensors[i].TensorInfo
		}
		var out memory
		w, err := gguf.NewWriter(&out, small.md, infos)
		if err != nil {
			f.Fatal(err)
		}
		for i := range small.tensors {
			if err := w.WriteTensorAt(i, small.tensors[i].data, 0); err != nil {
				f.Fatal(err)
			}
		}
		if err := w.Close(); err != nil {
			f.Fatal(err)
		}
		f.Add([]byte(out))
	}
	seed(func(*file) {})
	seed(func(f *file) {
		f.md.Set(modelKey, "gpt2")
		f.md.Set(mergesKey, []string{"a b", " "})
		f.md.Set(templateKey, medium)
	})
	f.Fuzz(func(t *testing.T, data []byte) {
		path := filepath.Join(t.TempDir(), "fuzz.gguf")
		if err := os.WriteFile(path, data, 0o666); err != nil {
			t.Fatal(err)
		}
		r, err := Run(context.Background(), path, Options{Threads: 1})
		if err == nil && len(r.Findings) == 0 {
			t.Error("nothing found in a model with missing tensors")
		}
	})
}

// memory is a file in memory.
type memory []byte

func (m *memory) WriteAt(p []byte, off int64) (int, error) {
	if need := int(off) + len(p); need > len(*m) {
		*m = append(*m, make([]byte, need-len(*m))...)
	}
	return copy((*m)[off:], p), nil
}
