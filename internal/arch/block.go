package arch

import (
	"fmt"
	"slices"
	"strings"
)

// Block is what one block of a model consists of. Attention adds its result to the residual stream, and so does the
// feed-forward layer after it; in a parallel block both read the same norm of the stream before them.
type Block struct {
	AttnNorm Norm
	QKV      []Linear     // matrices with one input; their rows one after the other are those of q, k and v
	Sparse   *BlockSparse // the pattern of attention; nil if it sees all keys
	AttnOut  Linear

	FFNNorm Norm     // none (Weight.GGUF is "") if the block is parallel
	Router  *Linear  // a row for each expert; nil without experts
	Up      []Linear // matrices with one input; their rows one after the other are those of gate and up
	Down    Linear
}

// Head is what turns the residual stream after the last block into logits.
type Head struct {
	Norm   Norm
	Output Linear // its weight is the embedding where that is tied
}

// Norm is the weight of a norm, and the bias of a LayerNorm.
type Norm struct {
	Weight Tensor
	Bias   *Tensor // or nil
}

// Linear is a linear layer. That of experts is a stack of matrices with the same outputs.
type Linear struct {
	Weight  Tensor
	Bias    *Tensor // or nil
	Outputs []Outputs
}

// Outputs are output rows of a linear layer that belong together.
type Outputs struct {
	Name string // what they are: q, k, v, gate or up; empty for all rows of a layer
	Rows int
}

// Block describes block number layer.
func (c *Config) Block(layer int) Block {
	b := c.Arch.block(c, layer)
	if c.Sparse != nil && c.Sparse.Layers[layer] {
		b.Sparse = c.Sparse
	}
	return b
}

// Linear lists the linear layers of the block in the order of use.
func (b *Block) Linear() []Linear {
	all := append(slices.Clone(b.QKV), b.AttnOut)
	if b.Router != nil {
		all = append(all, *b.Router)
	}
	return append(append(all, b.Up...), b.Down)
}

// Head describes what comes after the blocks.
func (c *Config) Head() Head { return c.Arch.head(c) }

// Tensors lists the model's tensors in the order of a GGUF file.
func (c *Config) Tensors() []Tensor {
	head := c.Head()
	all := []Tensor{c.embedding()}
	for l := range c.Layers {
		b := c.Block(l)
		all = b.AttnNorm.append(all)
		for _, m := range b.QKV {
			all = m.append(all)
		}
		all = b.AttnOut.append(all)
		if b.FFNNorm.Weight.GGUF != "" {
			all = b.FFNNorm.append(all)
		}
		if b.Router != nil {
			all = b.Router.append(all)
		}
		for _, m := range b.Up {
			all = m.append(all)
		}
		all = b.Down.append(all)
	}
	all = head.Norm.append(all)
	if !c.Tied {
		return head.Output.append(all)
	}
	if head.Output.Bias != nil {
		all = append(all, *head.Output.Bias)
	}
	return all
}

func (n *Norm) append(all []Tensor) []Tensor {
	all = append(all, n.Weight)
	if n.Bias != nil {
		all = append(all, *n.Bias)
	}
	return all
}

func (l *Linear) append(all []Tensor) []Tensor {
	all = append(all, l.Weight)
	if l.Bias != nil {
		all = append(all, *l.Bias)
	}
	return all
}

// embedding describes the embedding. A checkpoint whose output matrix is the same may hold it under that name.
func (c *Config) embedding() Tensor {
	t := names{}.tensor(HFEmbedding, Embedding, c.VocabSize, c.Hidden)
	if c.Tied {
		for _, hf := range []string{HFEmbedding, HFOutput} {
			t.From = append(t.From, []Rows{all(hf, c.VocabSize, c.Hidden)})
		}
	}
	return t
}

// Names in a checkpoint of the matrices outside the blocks.
const (
	HFEmbedding = "model.embed_tokens.weight"
	HFOutput    = "lm_head.weight"
)

// names makes the tensors of a block, or of what is outside of them, from the beginnings of their names.
type names struct{ hf, gguf string }

// ofBlock names the tensors of a block as all checkpoints do.
func ofBlock(layer int) names {
	return names{fmt.Sprintf("model.layers.%d.", layer), fmt.Sprintf("blk.%d.", layer)}
}

// tensor makes a tensor that the checkpoint holds as it is.
func (n names) tensor(hf, gguf string, shape ...int) Tensor {
	return Tensor{HF: n.hf + hf, GGUF: n.gguf + gguf, Shape: shapeOf(shape...)}
}

// norm makes a norm, with a bias if that is set.
func (n names) norm(hf, gguf string, width int, bias bool) Norm {
	norm := Norm{Weight: n.tensor(hf+".weight", gguf+".weight", width)}
	if bias {
		b := n.tensor(hf+".bias", gguf+".bias", width)
		norm.Bias = &b
	}
	return norm
}

// linear makes a linear layer, with a bias if that is set.
func (n names) linear(hf, gguf string, rows, cols int, bias bool) Linear {
	l := Linear{Weight: n.tensor(hf+".weight", gguf+".weight", rows, cols), Outputs: []Outputs{{Rows: rows}}}
	if bias {
		b := n.tensor(hf+".bias", gguf+".bias", rows)
		l.Bias = &b
	}
	return l
}

// gather makes a linear layer with a bias of rows of another one in the checkpoint, which has hfRows.
func (n names) gather(hf, gguf string, hfRows, cols int, ranges []Rows) Linear {
	rows := 0
	for _, r := range ranges {
		rows += r.Count
	}
	l := n.linear(hf, gguf, rows, cols, true)
	for _, t := range []*Tensor{&l.Weight, l.Bias} {
		shape := append([]uint64{uint64(hfRows)}, t.Shape[1:]...)
		var from []Rows
		for _, r := range ranges {
			r.Name, r.Shape = t.HF, shape
			from = append(from, r)
		}
		t.From = [][]Rows{from}
	}
	return l
}

// orZero makes a bias zeros if the checkpoint has none.
func (l Linear) orZero(none bool) Linear {
	l.Bias.Zero = none
	return l
}

// usualHead makes the head that most models have. norm is its name in the checkpoint.
func (c *Config) usualHead(norm string, bias bool) Head {
	n := names{}
	h := Head{
		Norm:   n.norm("model."+norm, "output_norm", c.Hidden, c.LayerNorm),
		Output: n.linear("lm_head", "output", c.VocabSize, c.Hidden, bias),
	}
	if c.Tied {
		h.Output.Weight = c.embedding()
	}
	return h
}

// all returns all rows of a matrix, or all elements of a vector.
func all(name string, shape ...int) Rows {
	rows := shape[0]
	for _, d := range shape[1:max(1, len(shape)-1)] {
		rows *= d
	}
	return Rows{Name: name, Shape: shapeOf(shape...), Count: rows, Step: 1}
}

func shapeOf(dims ...int) []uint64 {
	shape := make([]uint64, len(dims))
	for i, d := range dims {
		shape[i] = uint64(d)
	}
	return shape
}

// TokenWork is how many multiplications a token takes with the matrices of a model, those of the experts that it does
// not get left out.
type TokenWork struct {
	Blocks float64 // of all blocks
	Down   float64 // of Blocks, those of the last matrices of the blocks
	Head   float64 // of the output matrix, where logits are wanted
}

// TokenWork returns the model's.
func (c *Config) TokenWork() (w TokenWork) {
	of := func(m Linear) float64 {
		n := 1.0
		for _, d := range m.Weight.Shape {
			n *= float64(d)
		}
		if e := c.Experts; e != nil && len(m.Weight.Shape) == 3 {
			n *= float64(e.Used) / float64(e.Count)
		}
		return n
	}
	for i := range c.Layers {
		b := c.Block(i)
		for _, m := range b.Linear() {
			w.Blocks += of(m)
		}
		w.Down += of(b.Down)
	}
	w.Head = of(c.Head().Output)
	return w
}

// CutBlock divides the name that a GGUF file has for a tensor of a block, such as blk.3.ffn_up.weight, into that of
// the block, blk.3, and what the tensors of all blocks have in common, ffn_up.weight. Of another tensor block is "".
func CutBlock(name string) (block, rest string) {
	inBlock, ok := strings.CutPrefix(name, "blk.")
	if !ok {
		return "", name
	}
	number, rest, _ := strings.Cut(inBlock, ".")
	return "blk." + number, rest
}
