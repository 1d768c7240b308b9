// Package arch describes model architectures: what their config.json means, which
// tensors they have under which names and shapes, and which keys carry their
// numbers in a GGUF file. Converter and runtime read the same description.
package arch

import (
	"fmt"
	"slices"
	"strings"
)

// Arch describes one architecture.
type Arch struct {
	Name string   // general.architecture, and the prefix of its GGUF keys
	HF   []string // the names in config.json's "architectures"
	For  string   // the published models, for messages

	Tokenizer Tokenizer // what its tokenizer's files do not say

	// parse reads the fields of config.json.
	parse func(r *reader) *Config
	// block describes a block.
	block func(c *Config, layer int) Block
	// head describes what comes after the blocks.
	head func(c *Config) Head
	// metadata lists the GGUF keys in file order.
	metadata func(c *Config) []KV
	// fromMetadata is the inverse of metadata.
	fromMetadata func(r *reader) *Config
	// others, if not nil, lists what checkpoints of one of the names HF hold beside the model.
	others func(class string) []Others
}

// Archs is the table of architectures: a new one is its own file and one line here.
var Archs = []*Arch{
	&phi3,
	&phi2,
	&phi3small,
	&phimoe,
}

// Config holds the numbers that define a model of an architecture.
type Config struct {
	Arch  *Arch
	Class string // the one of Arch.HF that config.json names; empty for a GGUF file

	VocabSize    int // rows of the embedding
	Hidden       int // width of the residual stream
	Intermediate int // width of the feed-forward layer, or of each expert
	Layers       int
	Heads        int // query heads
	KVHeads      int // key and value heads; divides Heads
	HeadDim      int
	Context      int // longest sequence, in tokens

	LayerNorm bool    // norms are LayerNorm, with biases; otherwise RMSNorm, without
	NormEps   float64 // ε of the norms

	RotaryDims int     // leading dimensions of each head that RoPE turns; even
	RopeTheta  float64 // base of the RoPE frequencies
	RopeScale  float64 // positions are multiplied by it; ignored with LongRoPE
	LongRope   *LongRope
	// OriginalContext is the context of the first training phase, in tokens.
	OriginalContext int

	AttnScale     float64 // factor of the products of queries and keys
	SlidingWindow int     // keys that a query sees, 0 for all before it
	Sparse        *BlockSparse

	Activation Activation
	GateLimit  float64 // of GeGELU: see there; 0 for none
	Parallel   bool    // feed-forward reads what attention reads, and both results are added to the stream
	Experts    *Experts

	EmbeddingScale float64 // factor of the embeddings
	LogitScale     float64 // factor of the logits

	NoAttnBias bool // the checkpoint has no biases in attention, where its architecture may have them
	NoHeadBias bool // nor in the output layer
	Tied       bool // the output projection is the embedding

	// Quantized is the method of a quantization_config, "" for none. It may be left over: the tensors show.
	Quantized string

	// Assumed says which keys a GGUF file leaves out and what was taken in their place, a phrase for each.
	Assumed []string
	// Resolved says where a checkpoint contradicts itself and what counts, a sentence for each.
	Resolved []string
}

// LongRope holds the LongRoPE factors (arXiv 2402.13753): frequency i is divided by
// Short[i], or by Long[i] once the sequence is longer than OriginalContext.
type LongRope struct {
	Short, Long []float32 // RotaryDims/2 each
	// AttnFactor multiplies cos and sin of sequences that use Long, AttnFactorShort those of the others.
	AttnFactor, AttnFactorShort float64
}

// Activation is what a feed-forward layer computes between its matrices.
type Activation uint8

// The activations. g and u are the outputs of gate and up.
const (
	SwiGLU Activation = iota // silu(g)·u
	GELU                     // gelu(u), in its tanh form; there is no gate
	GeGELU                   // g·σ(1.702·g)·(u + 1), after g = min(g, limit) and u = clamp(u, ±limit)
)

// BlockSparse is attention that does not see all keys. Positions are divided into blocks. A query in block q sees, in
// head h of all query heads, the keys before it in block k if q - k < LocalBlocks or (k + h·HeadStep + 1) is a multiple
// of Stride.
type BlockSparse struct {
	BlockSize, LocalBlocks, Stride, HeadStep int
	Layers                                   []bool // of each layer: whether it is sparse
}

// Local returns the first block that queries of every head see all keys of, for a query at position pos.
func (s *BlockSparse) Local(pos int) int { return max(0, pos/s.BlockSize-s.LocalBlocks+1) }

// Vertical returns the first block that queries of a head see however far they are. Every Stride-th block after it is
// another one.
func (s *BlockSparse) Vertical(head int) int { return s.Stride - 1 - head*s.HeadStep%s.Stride }

// Experts says how a feed-forward layer divides its tokens among experts, by the sparsemixer of arXiv 2409.12136: Used
// experts of the greatest router logits, one after the other. The weight of each is its share of the softmax over those
// left whose logit s is not further below the greatest m than (m - s)/max(|s|, m) ≤ 2·Jitter.
type Experts struct {
	Count, Used int
	Jitter      float64
}

// Tensor is one tensor of a model.
type Tensor struct {
	HF    string   // name in the published checkpoint; of several that it is made of, the first
	GGUF  string   // name in a GGUF file
	Shape []uint64 // rows, columns; or one length; or of stacked experts their number, rows, columns
	// From lists the ways in which a checkpoint may hold it: each says which rows of which tensors follow each other.
	// Nil means all of HF.
	From [][]Rows
	// Fused are rows of a tensor in which GGUF files of other programs may hold it; nil if there are none.
	Fused []Rows
	// Zero says that it is zeros which no checkpoint holds.
	Zero bool
	// Parts are tensors that a GGUF file may hold in its place, its rows from the first to the
	// last; nil if there is no such choice.
	Parts []Tensor
	// Whole is the GGUF name of what a part is a part of, and First the row there that is its first.
	Whole string
	First int
}

// Rows are some rows of a tensor of a file: Count from row First on, each Step rows after the one before. The rows
// of a vector are its elements, those of stacked matrices are counted through.
type Rows struct {
	Name               string
	Shape              []uint64 // of the whole tensor
	First, Count, Step int
}

// Others are tensors of a checkpoint that are not the language model's.
type Others struct {
	What   string   // what they are
	Left   string   // what the model is without them
	Names  []string // parts of names, one of which each has
	Needed bool     // a checkpoint without them is not what its config.json says
}

// Has reports whether a tensor of the checkpoint is one of them.
func (o *Others) Has(hf string) bool {
	return slices.ContainsFunc(o.Names, func(part string) bool { return strings.Contains(hf, part) })
}

// Ways lists the ways in which a checkpoint or a GGUF file may hold the tensor: each says which rows of which tensors
// follow each other.
func (t *Tensor) Ways(inGGUF bool) [][]Rows {
	var shape []int
	for _, d := range t.Shape {
		shape = append(shape, int(d))
	}
	switch {
	case !inGGUF && t.From != nil:
		return t.From
	case !inGGUF:
		return [][]Rows{{all(t.HF, shape...)}}
	case t.Fused != nil:
		return [][]Rows{{all(t.GGUF, shape...)}, t.Fused}
	}
	return [][]Rows{{all(t.GGUF, shape...)}}
}

// Role returns the tensor that t is in an unsplit file: its own name, or that of what it is a part of.
func (t *Tensor) Role() string {
	if t.Whole != "" {
		return t.Whole
	}
	return t.GGUF
}

// KV is one GGUF key. Value is a uint32, a float32, a string or a []bool.
type KV struct {
	Key   string
	Value any
}

// TensorsOf lists the tensors that a GGUF file is expected to have, where has reports whether it has
// one of that name: parts in place of a tensor that is not there where one of them is.
func (c *Config) TensorsOf(has func(gguf string) bool) []Tensor {
	var all []Tensor
	for _, t := range c.Tensors() {
		if !has(t.GGUF) && slices.ContainsFunc(t.Parts, func(p Tensor) bool { return has(p.GGUF) }) {
			all = append(all, t.Parts...)
		} else {
			all = append(all, t)
		}
	}
	return all
}

// Params returns the number of weights of all tensors that a GGUF file holds, and the number without those of all
// experts but one.
func (c *Config) Params() (all, oneExpert int64) {
	for _, t := range c.Tensors() {
		n := int64(1)
		for _, d := range t.Shape {
			n *= int64(d)
		}
		all += n
		if len(t.Shape) == 3 {
			n /= int64(t.Shape[0])
		}
		oneExpert += n
	}
	for _, factors := range c.FactorTensors() {
		all, oneExpert = all+int64(len(factors)), oneExpert+int64(len(factors))
	}
	return all, oneExpert
}

// Others lists what the checkpoint holds beside the model.
func (c *Config) Others() []Others {
	if c.Arch.others == nil {
		return nil
	}
	return c.Arch.others(c.Class)
}

// IsTable reports whether a tensor of a checkpoint is a table of RoPE's angles, which old versions stored in each
// layer.
func IsTable(hf string) bool { return strings.HasSuffix(hf, "rotary_emb.inv_freq") }

// Ignorable reports whether a tensor of a checkpoint carries nothing that the model needs: a table of angles, or a
// second copy of tied weights.
func (c *Config) Ignorable(hf string) bool { return IsTable(hf) || c.Tied && hf == HFOutput }

// MaskedTokens lists the tokens that the model never predicts: their logits are the lowest float32.
func (c *Config) MaskedTokens() []int32 { return c.Arch.Tokenizer.Masked(c.VocabSize) }

// Metadata lists the GGUF keys that hold the configuration, in llama.cpp's order.
func (c *Config) Metadata() []KV { return c.Arch.metadata(c) }

// FactorTensors returns the tensors that a GGUF file holds beside those of the
// checkpoint, by name: the LongRoPE factors.
func (c *Config) FactorTensors() map[string][]float32 {
	if c.LongRope == nil {
		return nil
	}
	return map[string][]float32{LongFactors: c.LongRope.Long, ShortFactors: c.LongRope.Short}
}

// Names in a GGUF file of the matrices outside the blocks. Where the embedding is tied, it is the output matrix too.
const (
	Embedding = "token_embd.weight"
	Output    = "output.weight"
)

// Names of the LongRoPE factor tensors in a GGUF file.
const (
	LongFactors  = "rope_factors_long.weight"
	ShortFactors = "rope_factors_short.weight"
)

// Supported names the architectures and their models, for messages.
func Supported() string {
	var b strings.Builder
	for i, a := range Archs {
		if i > 0 {
			b.WriteString("; ")
		}
		fmt.Fprintf(&b, "%s (%s)", strings.Join(a.HF, ", "), a.For)
	}
	return b.String()
}

// ParseConfig reads a config.json. Errors name the key, its value and what was expected.
func ParseConfig(data []byte) (*Config, error) {
	r, err := newReader(data)
	if err != nil {
		return nil, err
	}
	names := r.strings("architectures")
	if r.err != nil {
		return nil, r.err
	}
	for _, a := range Archs {
		for _, name := range names {
			if a.Has(name) {
				r.class = name
				return finish(a, a.parse(r), r)
			}
		}
	}
	if len(names) == 0 {
		return nil, fmt.Errorf(`"architectures" is missing; supported: %s`, Supported())
	}
	return nil, CheckClasses(names)
}

// CheckClasses returns an error if config.json names architectures and none of them is supported.
func CheckClasses(names []string) error {
	if len(names) == 0 || slices.ContainsFunc(Archs, func(a *Arch) bool { return slices.ContainsFunc(names, a.Has) }) {
		return nil
	}
	return fmt.Errorf("architecture %s is not supported; supported: %s", strings.Join(names, ", "), Supported())
}

// CheckName returns an error if general.architecture of a GGUF file is there and not supported.
func CheckName(name any) error {
	var supported []string
	for _, a := range Archs {
		if name == nil || name == a.Name {
			return nil
		}
		supported = append(supported, a.Name)
	}
	return fmt.Errorf("general.architecture %q is not supported; supported: %s", name, strings.Join(supported, ", "))
}

// Has reports whether name is one of the architecture's names in config.json.
func (a *Arch) Has(name string) bool { return slices.Contains(a.HF, name) }

// FromMetadata reads the configuration from a GGUF file's metadata. get returns a
// key's value. VocabSize, Tied and the LongRoPE factors are not among the
// keys: they follow from the tensors, and the caller sets them.
func FromMetadata(get func(key string) (any, bool)) (*Config, error) {
	v, ok := get("general.architecture")
	if !ok {
		return nil, fmt.Errorf("general.architecture is missing")
	}
	for _, a := range Archs {
		if v == a.Name {
			r := &reader{prefix: a.Name + ".", get: get}
			return finish(a, a.fromMetadata(r), r)
		}
	}
	return nil, CheckName(v)
}

func finish(a *Arch, c *Config, r *reader) (*Config, error) {
	if r.err != nil {
		return nil, r.err
	}
	c.Arch, c.Class = a, r.class
	if err := c.check(); err != nil {
		return nil, err
	}
	return c, nil
}

// check refuses numbers that contradict each other. Single numbers have been
// checked when they were read.
func (c *Config) check() error {
	switch {
	case c.Heads%c.KVHeads != 0:
		return fmt.Errorf("%d key-value heads do not divide %d attention heads", c.KVHeads, c.Heads)
	case c.RotaryDims%2 != 0 || c.RotaryDims < 2 || c.RotaryDims > c.HeadDim:
		return fmt.Errorf("%d rotary dimensions, expected an even number up to the head dimension %d",
			c.RotaryDims, c.HeadDim)
	case c.Layers*c.KVHeads > maxParts:
		return fmt.Errorf("%d layers of %d key-value heads, expected at most %d in all", c.Layers, c.KVHeads, maxParts)
	case c.Experts != nil && c.Layers*c.Experts.Count > maxParts:
		return fmt.Errorf("%d layers of %d experts, expected at most %d in all", c.Layers, c.Experts.Count, maxParts)
	case c.Experts != nil && c.Experts.Used > c.Experts.Count:
		return fmt.Errorf("a token uses %d experts of %d", c.Experts.Used, c.Experts.Count)
	case c.Sparse != nil && len(c.Sparse.Layers) != c.Layers:
		return fmt.Errorf("%d layers are said to be sparse or not, expected %d", len(c.Sparse.Layers), c.Layers)
	}
	return nil
}
