// Package convert turns a model into a GGUF file in one streaming pass: every
// tensor is read, converted and written piece by piece, straight to its place.
package convert

import (
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"

	"github.com/phi3conv/phi3conv/formats"
	"github.com/phi3conv/phi3conv/formats/gguf"
	"github.com/phi3conv/phi3conv/formats/pmap"
	"github.com/phi3conv/phi3conv/internal/arch"
	"github.com/phi3conv/phi3conv/internal/modelcard"
	"github.com/phi3conv/phi3conv/internal/source"
	"github.com/phi3conv/phi3conv/internal/vocab"
	"github.com/phi3conv/phi3conv/quant"
	"github.com/phi3conv/phi3conv/quant/policy"
)

// Options say what to make of a model.
type Options struct {
	Policy policy.Policy
	// Types are those of matrices by name; the policy decides about the others.
	Types []quant.Target
	// Split stores the parts of matrices apart, which get types of their own: see [arch.Tensor.Parts]. Without it, those
	// of which Types names a part.
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

// Imatrix is an importance matrix: what errors in the columns of matrices count.
type Imatrix struct {
	Path     string
	Datasets []string // that it was gathered from
	Chunks   int      // of text, 0 if unknown
	Tensors  []Importance
}

// Importance is that of one matrix's columns.
type Importance struct {
	// Tensor is the matrix's name in a GGUF file; of an embedding that is the output matrix too, "output.weight".
	Tensor  string
	Columns []float32 // mean squares
}

// tensor returns the importance of a matrix's columns, nil if there is none.
func (m *Imatrix) tensor(name string) []float32 {
	for i := range m.Tensors {
		if m.Tensors[i].Tensor == name {
			return m.Tensors[i].Columns
		}
	}
	return nil
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
	importance []float32      // of each column, or nil
	encoded    io.ReaderAt    // the blocks, where a method has made them; or nil
}

// Original reports whether the source holds the tensor unquantized, as a matrix that becomes quantized.
func (t *Tensor) Original() bool {
	return t.source != nil && !t.source.Type.IsQuantized() && t.Type.IsQuantized()
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
	for _, name := range []string{arch.LongFactors, arch.ShortFactors} {
		if values, ok := m.Config.FactorTensors()[name]; ok {
			p.Tensors = append(p.Tensors, Tensor{Name: name, From: "F32", Type: quant.F32, Dims: []uint64{uint64(len(values))}, values: values})
		}
	}
	types := map[string]quant.Type{}
	for _, t := range opt.Types {
		types[t.Tensor] = t.Type
	}
	for i := range m.Tensors {
		for _, s := range stored(&m.Tensors[i], types, opt.Split) {
			t, err := planTensor(m, s, types, &opt)
			if err != nil {
				return nil, err
			}
			p.Tensors = append(p.Tensors, *t)
		}
	}
	for _, t := range opt.Types {
		if slices.ContainsFunc(p.Tensors, func(s Tensor) bool { return s.Name == t.Tensor }) {
			continue
		}
		what := "which the model does not have"
		if slices.ContainsFunc(p.Tensors, func(s Tensor) bool { return s.role() == t.Tensor }) {
			what = "and parts of it"
		}
		return nil, &formats.Error{Path: m.Path, Off: -1, What: fmt.Sprintf("the recipe names the tensor %s, %s", t.Tensor, what)}
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

// addImportance gives each tensor its own, as llama-quantize does; the embedding gets the output
// matrix's where they are one.
func (p *Plan) addImportance(m *Imatrix) error {
	used := 0
	for i := range p.Tensors {
		t := &p.Tensors[i]
		columns := m.tensor(t.role())
		if columns == nil && t.Name == embedName && p.Source.Config.Tied {
			columns = m.tensor(outputName)
		}
		if columns == nil {
			continue
		}
		if cols := int(t.Dims[0]); len(columns) != cols {
			return formats.FileErrorf(m.Path, -1,
				"the statistics of %s are for %d columns, and the model has %d: they are another model's", t.Name, len(columns), cols)
		}
		t.importance = quant.Relative(columns)
		used++
	}
	for i := range m.Tensors {
		name := m.Tensors[i].Tensor
		if strings.HasPrefix(name, "blk.") && !slices.ContainsFunc(p.Tensors, func(t Tensor) bool { return t.role() == name }) {
			return formats.FileErrorf(m.Path, -1,
				"it has statistics of %s, which the model does not have: they are another model's", name)
		}
	}
	if used == 0 {
		return formats.FileErrorf(m.Path, -1, "it has statistics of no tensor of the model")
	}
	return nil
}

const (
	embedName  = "token_embd.weight"
	outputName = "output.weight"
)

func planTensor(m *source.Model, t *source.Tensor, types map[string]quant.Type, opt *Options) (*Tensor, error) {
	layer := 0
	_, _ = fmt.Sscanf(t.GGUF, "blk.%d.", &layer)
	typ, given := types[t.GGUF]
	switch {
	case given && len(t.Shape) != 2:
		return nil, &formats.Error{Path: m.Path, Off: -1, What: fmt.Sprintf("the recipe gives the tensor %s a type, which is no matrix: it is F32", t.GGUF)}
	case given && t.Cols()%typ.BlockLen() != 0:
		return nil, &formats.Error{Path: m.Path, Off: -1, What: fmt.Sprintf("the recipe gives the tensor %s the type %s: its rows of %d are no multiple of %d", t.GGUF, typ, t.Cols(), typ.BlockLen())}
	case !given:
		typ = opt.Policy.Type(policy.Tensor{
			Name: t.GGUF, Source: t.Type, Cols: t.Cols(), Matrix: len(t.Shape) == 2,
			Layer: layer, Layers: m.Config.Layers, GQA: m.Config.Heads / m.Config.KVHeads, Tied: m.Config.Tied,
		})
	}
	if t.Type.IsQuantized() && typ != t.Type && !opt.AllowRequantize {
		return nil, &formats.Error{Path: t.Path, Off: -1, What: fmt.Sprintf(
			"tensor %s is %s already: as %s it is no better than that; start from the original (--allow-requantize permits it)", t.GGUF, t.Type, typ)}
	}
	planned := &Tensor{Name: t.GGUF, From: t.TypeName(), Type: typ, source: t}
	for i := len(t.Shape) - 1; i >= 0; i-- {
		planned.Dims = append(planned.Dims, t.Shape[i])
	}
	return planned, nil
}

// Types lists the types of all matrices.
func (p *Plan) Types() []quant.Target {
	var types []quant.Target
	for i := range p.Tensors {
		if t := &p.Tensors[i]; len(t.Dims) == 2 {
			types = append(types, quant.Target{Tensor: t.Name, Type: t.Type})
		}
	}
	return types
}

// Notes says what a user of the output should know.
func (p *Plan) Notes() []string {
	var notes []string
	name, _ := p.Metadata.Str("general.name")
	model, _ := p.Metadata.Str("tokenizer.ggml.model")
	_, rstrip := p.Metadata.Get("phi3conv.rstrip_token_ids")
	lower := strings.ToLower(name)
	if model == vocab.SentencePiece && rstrip && !strings.Contains(lower, "phi-3") && !strings.Contains(lower, "phi3") {
		notes = append(notes, fmt.Sprintf("llama.cpp drops white space after chat tokens, as this tokenizer demands, only if general.name contains \"Phi-3\"; it is %q, --model-name changes it", name))
	}
	if p.opt.Imatrix != nil {
		without := 0
		for i := range p.Tensors {
			t := &p.Tensors[i]
			if t.Type.IsQuantized() && t.importance == nil && t.Name != embedName {
				without++
			}
		}
		if without > 0 {
			notes = append(notes, fmt.Sprintf("--imatrix has nothing for %d of the tensors that are quantized", without))
		}
	}
	for _, o := range p.opt.Policy.Overrides {
		if !slices.ContainsFunc(p.Tensors, func(t Tensor) bool { return o.Pattern.MatchString(t.Name) }) {
			notes = append(notes, fmt.Sprintf("--tensor-type %q matches no tensor", o.Pattern))
		}
	}
	return notes
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

func (p *Plan) metadata() (*gguf.Metadata, error) {
	md := new(gguf.Metadata)
	if from := p.Source.Metadata; from != nil {
		md = from.Clone()
	} else if err := p.describe(md); err != nil {
		return nil, err
	}
	if p.opt.Name != "" {
		md.Set("general.name", p.opt.Name)
	}
	md.Set("general.file_type", p.opt.Policy.FileType.GGUF())
	md.Set("general.quantization_version", uint32(2)) // of ggml's block layouts
	if s := p.opt.Imatrix; s != nil {                 // llama-quantize's keys
		md.Set("quantize.imatrix.file", filepath.Base(s.Path))
		if len(s.Datasets) > 0 {
			md.Set("quantize.imatrix.dataset", s.Datasets[0])
		}
		md.Set("quantize.imatrix.entries_count", uint32(len(s.Tensors)))
		if s.Chunks > 0 {
			md.Set("quantize.imatrix.chunks_count", uint32(s.Chunks))
		}
	}
	return md, nil
}

// describe fills in the metadata of a checkpoint directory, in the order of
// llama.cpp's converter.
func (p *Plan) describe(md *gguf.Metadata) error {
	m := p.Source
	card, err := modelcard.Load(m.Path, p.Params())
	if err != nil {
		return err
	}
	voc, err := vocab.Load(m.Path, m.Config.VocabSize)
	if err != nil {
		return err
	}
	md.Set("general.architecture", m.Config.Arch.Name)
	for key, value := range card.All() {
		md.Set(key, value)
	}
	for _, kv := range m.Config.Metadata() {
		md.Set(kv.Key, kv.Value)
	}
	for key, value := range voc.All() {
		md.Set(key, value)
	}
	return nil
}
