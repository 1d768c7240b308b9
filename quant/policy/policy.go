// Package policy says which tensor of a model gets which type.
//
// A [FileType] is a named mixture, such as llama.cpp's Q4_K_M: a row of a table with a type for most matrices, one for
// the output matrix, and rules for the roles that get another. A [Policy] is a file type and what the user asks for
// beside it.
package policy

import (
	"regexp"
	"slices"
	"strings"

	"github.com/phi3conv/phi3conv/internal/arch"
	"github.com/phi3conv/phi3conv/quant"
)

// Policy says which type each tensor gets.
type Policy struct {
	FileType FileType
	// Pure gives every matrix the file type's base type: no mixture.
	Pure bool
	// Embedding and Output override the type of token_embd.weight and output.weight;
	// where the embedding is the output too, Output overrides it.
	Embedding, Output *quant.Type
	// KeepOutput leaves output.weight as it is.
	KeepOutput bool
	// Overrides replace the mixture's choice for tensors whose name they match; the first wins.
	Overrides []Override
	// Imatrix says that importance is at hand, on which two rules depend.
	Imatrix bool
}

// Override gives tensors whose GGUF name matches Pattern a type.
type Override struct {
	Pattern *regexp.Regexp
	Type    quant.Type
}

// Tensor is what a Policy looks at.
type Tensor struct {
	Name   string     // in GGUF
	Source quant.Type // the type that it has now
	Cols   int        // length of a row
	Matrix bool       // has two dimensions, or three as stacked experts have

	Layer   int  // index of its layer, 0 outside the layers
	Layers  int  // number of layers in the model
	GQA     int  // query heads for each key-value head
	Experts int  // experts in each layer, 0 for a model without them
	Tied    bool // the model's output projection is the embedding
}

// Type returns the type that t gets. Vectors, norms and the routers of experts become F32, as in
// llama.cpp's converter. A block type that does not divide the row gives way to
// a similar one with smaller blocks, and in the end to F16.
func (p *Policy) Type(t Tensor) quant.Type {
	switch {
	case !t.Matrix || strings.HasSuffix(t.Name, "_norm.weight") || roleOf(t.Name) == router:
		return quant.F32
	case t.Name == arch.Output && p.KeepOutput:
		return t.Source
	case t.Name == arch.Embedding && p.Embedding != nil:
		return fallback(*p.Embedding, t.Cols)
	case t.Name == arch.Output && p.Output != nil:
		return fallback(*p.Output, t.Cols)
	}
	for _, o := range p.Overrides {
		if o.Pattern.MatchString(t.Name) {
			return fallback(o.Type, t.Cols)
		}
	}
	if p.Pure || !p.FileType.Type().IsQuantized() {
		return fallback(p.FileType.Type(), t.Cols)
	}
	return fallback(p.mixture(t), t.Cols)
}

// mixture returns the type of a matrix by the rules of the file type.
func (p *Policy) mixture(t Tensor) quant.Type {
	f := &fileTypes[p.FileType]
	if t.Name == arch.Output || t.Name == arch.Embedding && t.Tied {
		if p.Output != nil {
			return *p.Output
		}
		if t.Cols%f.base.BlockLen() != 0 {
			return quant.Q8_0
		}
		return f.output
	}
	role := roleOf(t.Name)
	all := f.rules[role]
	if !slices.Contains(twoBits, p.FileType) {
		all = slices.Concat(common[role], all)
	}
	for _, r := range all {
		if r.when(t, p.Imatrix) {
			return r.typ
		}
	}
	return f.base
}

// Pinned reports whether the type of a matrix is given by name, not by the file type. tied says that
// the embedding is the output matrix too.
func (p *Policy) Pinned(name string, tied bool) bool {
	return name == arch.Output && (p.KeepOutput || p.Output != nil) ||
		name == arch.Embedding && (p.Embedding != nil || tied && p.Output != nil) ||
		slices.ContainsFunc(p.Overrides, func(o Override) bool { return o.Pattern.MatchString(name) })
}

// fallback returns t, or what takes its place in rows of cols weights.
func fallback(t quant.Type, cols int) quant.Type {
	if cols%t.BlockLen() == 0 {
		return t
	}
	if f, ok := fallbacks[t]; ok && cols%f.BlockLen() == 0 {
		return f
	}
	return quant.F16
}
