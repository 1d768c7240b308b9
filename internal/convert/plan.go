// Package convert turns a model into a GGUF file in one streaming pass: every
// tensor is read, converted and written piece by piece, straight to its place.
package convert

import (
	"fmt"
	"io"
	"slices"

	"github.com/phi3conv/phi3conv/formats"
	"github.com/phi3conv/phi3conv/formats/gguf"
	"github.com/phi3conv/phi3conv/formats/pmap"
	"github.com/phi3conv/phi3conv/internal/arch"
	"github.com/phi3conv/phi3conv/internal/source"
	"github.com/phi3conv/phi3conv/internal/usage"
	"github.com/phi3conv/phi3conv/quant"
	"github.com/phi3conv/phi3conv/quant/policy"
)

// Options say what to make of a model.
type Options struct {
	Policy policy.Policy
	// Types are those of matrices by name; the policy decides about the others.
	Types []quant.Target
	// Split stores the parts of matrices apart, which get types of their own: see [arch.Tensor.Parts]. Without it,
	// those of which Types names a part are.
	Split bool
	// AllowRequantize permits quantizing tensors that are quantized already,
	// which adds one error to the other.
	AllowRequantize bool
	// SplitMaxSize is the largest number of bytes of tensor data in one file; 0 means one file.
	SplitMaxSize int64
	// Name replaces general.name when not empty.
	Name string
	// Sections go into a .pmap file beside the model.
	Sections []pmap.Extra
	// Imatrix is the importance of columns, nil for none.
	Imatrix *Imatrix
}

// Plan is everything about an output file but its tensor data.
type Plan struct {
	Source   *source.Model
	Metadata *gguf.Metadata
	Tensors  []Tensor
	opt      Options
}

// Tensor is one tensor of a plan.
type Tensor struct {
	Name string
	From string     // type that the source has, such as "BF16"
	Type quant.Type // type that the output gets
	Dims []uint64   // in GGUF's order

	source     *source.Tensor // nil for a tensor that the plan holds itself
	values     []float32      // its values then, stored as F32
	importance [][]float32    // of each column, for each of stacked experts or the only matrix; or nil
	encoded    io.ReaderAt    // the blocks, where a method has made them; or nil
}

// Original reports whether the source holds the tensor unquantized, as a matrix that becomes quantized.
func (t *Tensor) Original() bool {
	return t.source != nil && !t.source.Type.IsQuantized() && t.Type.IsQuantized()
}

// columns returns the importance of the columns of a row, nil if there is none.
func (t *Tensor) columns(row int) []float32 {
	if t.importance == nil {
		return nil
	}
	return t.importance[row/(t.source.Rows()/len(t.importance))]
}

// SetEncoded makes Run write blocks of the tensor's type that r has, instead of encoding the
// source's weights.
func (t *Tensor) SetEncoded(r io.ReaderAt) { t.encoded = r }

// Elems returns the number of elements.
func (t *Tensor) Elems() int64 { return t.info().Elems() }

// Size returns the number of bytes in the output.
func (t *Tensor) Size() int64 { return t.info().Size() }

func (t *Tensor) info() *gguf.TensorInfo {
	return &gguf.TensorInfo{Name: t.Name, Type: t.Type, Dims: t.Dims}
}

// NewPlan decides every tensor's type and collects the metadata. For a checkpoint
// directory it reads config.json, the tokenizer and the model card; a GGUF keeps
// its metadata.
func NewPlan(m *source.Model, opt Options) (*Plan, error) {
	p := &Plan{Source: m, opt: opt}
	p.addFactors()
	types := map[string]quant.Type{}
	for _, t := range opt.Types {
		types[t.Tensor] = t.Type
	}
	for i := range m.Tensors {
		for _, s := range stored(&m.Tensors[i], types, opt.Split) {
			t, err := p.planTensor(s, types)
			if err != nil {
				return nil, err
			}
			p.Tensors = append(p.Tensors, *t)
		}
	}
	if err := p.checkTypes(); err != nil {
		return nil, err
	}
	if opt.Imatrix != nil {
		if err := p.addImportance(opt.Imatrix); err != nil {
			return nil, err
		}
	}
	var err error
	p.Metadata, err = p.metadata()
	return p, err
}

// addFactors adds the factors of LongRoPE, which the source's configuration has.
func (p *Plan) addFactors() {
	factors := p.Source.Config.FactorTensors()
	for _, name := range []string{arch.LongFactors, arch.ShortFactors} {
		if values, ok := factors[name]; ok {
			p.Tensors = append(p.Tensors, Tensor{
				Name: name, From: "F32", Type: quant.F32, Dims: []uint64{uint64(len(values))}, values: values,
			})
		}
	}
}

// checkTypes refuses types of tensors that the output does not have.
func (p *Plan) checkTypes() error {
	for _, t := range p.opt.Types {
		if slices.ContainsFunc(p.Tensors, func(s Tensor) bool { return s.Name == t.Tensor }) {
			continue
		}
		what := "which the model does not have"
		if slices.ContainsFunc(p.Tensors, func(s Tensor) bool { return s.role() == t.Tensor }) {
			what = "and parts of it"
		}
		return formats.FileErrorf(p.Source.Path, -1, "the recipe names the tensor %s, %s", t.Tensor, what)
	}
	return nil
}

// stored returns the tensors that the output has for t: itself or its parts.
func stored(t *source.Tensor, types map[string]quant.Type, split bool) []*source.Tensor {
	var parts []*source.Tensor
	for _, p := range t.Pieces() {
		parts = append(parts, &p)
		_, given := types[p.GGUF]
		split = split || given
	}
	if split && parts != nil {
		return parts
	}
	return []*source.Tensor{t}
}

// role returns the tensor's name, or that of what it is a part of.
func (t *Tensor) role() string {
	if t.source != nil {
		return t.source.Role()
	}
	return t.Name
}

// planTensor decides a tensor's type. types are those that are given by name.
func (p *Plan) planTensor(t *source.Tensor, types map[string]quant.Type) (*Tensor, error) {
	typ, given := types[t.GGUF]
	if given {
		if err := p.checkGiven(t, typ); err != nil {
			return nil, err
		}
	} else {
		typ = p.policyType(t)
	}
	if err := typ.CheckWrite(); err != nil && typ != t.Type {
		return nil, usage.Errorf("tensor %s: %w", t.GGUF, err)
	}
	if t.Type.IsQuantized() && typ != t.Type && !p.opt.AllowRequantize {
		return nil, formats.FileErrorf(t.Path, -1, "tensor %s is %s already: as %s it is no better than that; "+
			"start from the original (--allow-requantize permits it)", t.GGUF, t.Type, typ)
	}
	dims := slices.Clone(t.Shape)
	slices.Reverse(dims)
	return &Tensor{Name: t.GGUF, From: t.TypeName(), Type: typ, Dims: dims, source: t}, nil
}

// checkGiven refuses a type that is given by name and that the tensor cannot have.
func (p *Plan) checkGiven(t *source.Tensor, typ quant.Type) error {
	switch {
	case len(t.Shape) == 1:
		return formats.FileErrorf(p.Source.Path, -1,
			"the recipe gives the tensor %s a type, which is no matrix: it is F32", t.GGUF)
	case t.Cols()%typ.BlockLen() != 0:
		return formats.FileErrorf(p.Source.Path, -1,
			"the recipe gives the tensor %s the type %s: its rows of %d are no multiple of %d",
			t.GGUF, typ, t.Cols(), typ.BlockLen())
	}
	return nil
}

// policyType returns the type that the policy gives a tensor.
func (p *Plan) policyType(t *source.Tensor) quant.Type {
	return p.opt.Policy.Type(PolicyTensor(p.Source.Config, t.GGUF, t.Type, t.Shape))
}

// PolicyTensor describes a tensor of a model to a policy. typ is the type that it has now, and shape ends with the
// length of its rows.
func PolicyTensor(c *arch.Config, name string, typ quant.Type, shape []uint64) policy.Tensor {
	t := policy.Tensor{
		Name: name, Source: typ, Cols: int(shape[len(shape)-1]), Matrix: len(shape) > 1,
		Layers: c.Layers, GQA: c.Heads / c.KVHeads, Tied: c.Tied,
	}
	_, _ = fmt.Sscanf(name, "blk.%d.", &t.Layer) // others are in no layer
	if c.Experts != nil {
		t.Experts = c.Experts.Count
	}
	return t
}

// Types lists the types of all matrices.
func (p *Plan) Types() []quant.Target {
	var types []quant.Target
	for i := range p.Tensors {
		if t := &p.Tensors[i]; len(t.Dims) > 1 {
			types = append(types, quant.Target{Tensor: t.Name, Type: t.Type})
		}
	}
	return types
}

// Params returns the number of elements of all tensors.
func (p *Plan) Params() int64 {
	var n int64
	for i := range p.Tensors {
		n += p.Tensors[i].Elems()
	}
	return n
}

// Size returns the number of bytes of all tensors.
func (p *Plan) Size() int64 {
	var n int64
	for i := range p.Tensors {
		n += p.Tensors[i].Size()
	}
	return n
}

// SourceSize returns the number of bytes that are read.
func (p *Plan) SourceSize() int64 {
	var n int64
	for i := range p.Tensors {
		if t := p.Tensors[i].source; t != nil {
			n += t.Bytes()
		}
	}
	return n
}

// Shards returns the files that Run would write to path.
func (p *Plan) Shards(path string) ([]gguf.Shard, error) {
	if IsPMAP(path) {
		size, err := pmap.Size(p.Metadata, panels(p.infos()), p.opt.Sections...)
		return []gguf.Shard{{Path: path, Size: size}}, formats.WithPath(err, path)
	}
	return gguf.Layout(path, p.Metadata, p.infos(), gguf.Options{SplitMaxSize: p.opt.SplitMaxSize})
}

func (p *Plan) infos() []gguf.TensorInfo {
	infos := make([]gguf.TensorInfo, len(p.Tensors))
	for i := range infos {
		infos[i] = *p.Tensors[i].info()
	}
	return infos
}
