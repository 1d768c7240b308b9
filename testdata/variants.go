package testdata

import (
	_ "embed"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"math"
	"os"
	"path/filepath"
)

// Variant is a small random Phi-3 model with logits by transformers. A formula makes its weights.
type Variant struct {
	Name   string          `json:"name"`
	DType  string          `json:"dtype"`  // of the checkpoint: F32, F16 or BF16
	SHA256 string          `json:"sha256"` // of the tensors' bytes in file order, hexadecimal
	Config json.RawMessage `json:"config"` // config.json
	Cases  []Case          `json:"cases"`
}

// Case is one sequence and the logits of one forward pass over all of it, in float32.
type Case struct {
	Name      string `json:"name"`
	Tokens    []int  `json:"tokens"`
	Positions []int  `json:"positions"` // ascending; 0 is the first token
	Logits    Logits `json:"logits"`    // len(Positions) × vocab_size
}

// Logits is base64 of little-endian float32 in JSON.
type Logits []float32

// UnmarshalJSON implements [json.Unmarshaler].
func (l *Logits) UnmarshalJSON(text []byte) error {
	var b []byte
	if err := json.Unmarshal(text, &b); err != nil {
		return err
	}
	*l = make(Logits, len(b)/4)
	_, err := binary.Decode(b, binary.LittleEndian, *l)
	return err
}

//go:embed golden/variants.json
var variants []byte

// Variants returns the models of golden/variants.json.
func Variants() []Variant {
	var file struct{ Variants []Variant }
	if err := json.Unmarshal(variants, &file); err != nil {
		panic(fmt.Sprintf("golden/variants.json: %v", err)) // embedded, and made by golden_variants.py
	}
	return file.Variants
}

// tensor is one tensor of a variant. A matrix has shape rows × columns and values around 0 of about 2^up/√columns; a
// norm has one dimension and values from 1 up to 2.
type tensor struct {
	name  string
	shape []int
	up    int
}

// tensors lists the tensors in file order.
func (v Variant) tensors() ([]tensor, error) {
	var c struct {
		Vocab        int  `json:"vocab_size"`
		Hidden       int  `json:"hidden_size"`
		Intermediate int  `json:"intermediate_size"`
		Layers       int  `json:"num_hidden_layers"`
		Heads        int  `json:"num_attention_heads"`
		KVHeads      int  `json:"num_key_value_heads"`
		Tied         bool `json:"tie_word_embeddings"`
	}
	if err := json.Unmarshal(v.Config, &c); err != nil {
		return nil, err
	}
	d := c.Hidden
	all := []tensor{{"model.embed_tokens.weight", []int{c.Vocab, d}, 2}}
	for i := range c.Layers {
		layer := fmt.Sprintf("model.layers.%d.", i)
		all = append(all,
			tensor{layer + "input_layernorm.weight", []int{d}, 0},
			tensor{layer + "self_attn.qkv_proj.weight", []int{d + 2*c.KVHeads*(d/c.Heads), d}, 1},
			tensor{layer + "self_attn.o_proj.weight", []int{d, d}, 0},
			tensor{layer + "post_attention_layernorm.weight", []int{d}, 0},
			tensor{layer + "mlp.gate_up_proj.weight", []int{2 * c.Intermediate, d}, 1},
			tensor{layer + "mlp.down_proj.weight", []int{d, c.Intermediate}, 0},
		)
	}
	all = append(all, tensor{"model.norm.weight", []int{d}, 0})
	if !c.Tied {
		all = append(all, tensor{"lm_head.weight", []int{c.Vocab, d}, 2})
	}
	return all, nil
}

// appendWeights appends the tensor's bytes. A type with b significant bits gets integers of b bits times a power of
// two, thus holds every value exactly; the bits are the upper ones of splitmix64, seeded with the FNV-1a hash of the
// names.
func (v Variant) appendWeights(data []byte, t tensor) ([]byte, error) {
	bits, ok := map[string]int{"F32": 24, "F16": 11, "BF16": 8}[v.DType]
	if !ok {
		return nil, fmt.Errorf("type %q, expected F32, F16 or BF16", v.DType)
	}
	n, low, step := 1, 0, 1-bits // a weight is 2^step × (low + a random integer)
	for _, d := range t.shape {
		n *= d
	}
	if len(t.shape) == 1 {
		low = 1 << (bits - 1)
		bits-- // so that all are below 2
	} else {
		low = -1 << (bits - 1)
		step += t.up
		for s := t.shape[1]; s >= 2; s /= 4 { // 4^k ≤ 2×columns k times
			step--
		}
	}
	hash := fnv.New64a()
	_, _ = hash.Write([]byte(v.Name + "/" + t.name)) // never fails
	state := hash.Sum64()
	for range n {
		state += 0x9e3779b97f4a7c15
		z := (state ^ state>>30) * 0xbf58476d1ce4e5b9
		z = (z ^ z>>27) * 0x94d049bb133111eb
		z ^= z >> 31
		x := math.Float32bits(float32(math.Ldexp(float64(low+int(z>>(64-bits))), step)))
		switch v.DType {
		case "F32":
			data = binary.LittleEndian.AppendUint32(data, x)
		case "BF16":
			data = binary.LittleEndian.AppendUint16(data, uint16(x>>16))
		case "F16": // exact: 0, or at least 2^-14, the least normal number
			half := uint16(x >> 16 & 0x8000)
			if x<<1 != 0 {
				half |= uint16((x&0x7fffffff)>>13 - (127-15)<<10)
			}
			data = binary.LittleEndian.AppendUint16(data, half)
		}
	}
	return data, nil
}

// Write writes the model's config.json and model.safetensors into the directory dir, which is created if needed. There
// is no tokenizer. Files that exist already are replaced.
func (v Variant) Write(dir string) error {
	tensors, err := v.tensors()
	if err != nil {
		return fmt.Errorf("variant %s: config.json: %w", v.Name, err)
	}
	type entry struct {
		DType   string `json:"dtype"`
		Shape   []int  `json:"shape"`
		Offsets [2]int `json:"data_offsets"`
	}
	header, data := map[string]entry{}, []byte(nil)
	for _, t := range tensors {
		begin := len(data)
		if data, err = v.appendWeights(data, t); err != nil {
			return fmt.Errorf("variant %s: %w", v.Name, err)
		}
		header[t.name] = entry{v.DType, t.shape, [2]int{begin, len(data)}}
	}
	text, err := json.Marshal(header)
	if err != nil {
		return fmt.Errorf("variant %s: %w", v.Name, err)
	}
	for len(text)%8 != 0 {
		text = append(text, ' ')
	}
	file := append(binary.LittleEndian.AppendUint64(nil, uint64(len(text))), text...)
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return fmt.Errorf("variant %s: %w", v.Name, err)
	}
	if err := os.WriteFile(filepath.Join(dir, "config.json"), v.Config, 0o666); err != nil {
		return fmt.Errorf("variant %s: %w", v.Name, err)
	}
	if err := os.WriteFile(filepath.Join(dir, "model.safetensors"), append(file, data...), 0o666); err != nil {
		return fmt.Errorf("variant %s: %w", v.Name, err)
	}
	return nil
}
