// Package policy says which tensor of a model gets which type: file types, under llama.cpp's names, and their mixtures.
package policy

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/phi3conv/phi3conv/quant"
)

// FileType is a recipe that gives each tensor of a model its type, under
// llama.cpp's names, such as "Q4_K_M".
type FileType uint8

// The file types. Their order is this package's own: files carry the number
// that [FileType.GGUF] returns.
const (
	AllF32 FileType = iota
	MostlyF16
	MostlyBF16
	MostlyQ4_0
	MostlyQ4_1
	MostlyQ5_0
	MostlyQ5_1
	MostlyQ8_0
	MostlyQ2_K
	MostlyQ3_K_S
	MostlyQ3_K_M
	MostlyQ3_K_L
	MostlyQ4_K_S
	MostlyQ4_K_M
	MostlyQ5_K_S
	MostlyQ5_K_M
	MostlyQ6_K
	MostlyIQ4_NL
	MostlyIQ4_XS
)

// fileTypes is the table of file types.
var fileTypes = [...]struct {
	name string
	gguf uint32 // general.file_type
	base quant.Type
}{
	AllF32:       {"F32", 0, quant.F32},
	MostlyF16:    {"F16", 1, quant.F16},
	MostlyBF16:   {"BF16", 32, quant.BF16},
	MostlyQ4_0:   {"Q4_0", 2, quant.Q4_0},
	MostlyQ4_1:   {"Q4_1", 3, quant.Q4_1},
	MostlyQ5_0:   {"Q5_0", 8, quant.Q5_0},
	MostlyQ5_1:   {"Q5_1", 9, quant.Q5_1},
	MostlyQ8_0:   {"Q8_0", 7, quant.Q8_0},
	MostlyQ2_K:   {"Q2_K", 10, quant.Q2_K},
	MostlyQ3_K_S: {"Q3_K_S", 11, quant.Q3_K},
	MostlyQ3_K_M: {"Q3_K_M", 12, quant.Q3_K},
	MostlyQ3_K_L: {"Q3_K_L", 13, quant.Q3_K},
	MostlyQ4_K_S: {"Q4_K_S", 14, quant.Q4_K},
	MostlyQ4_K_M: {"Q4_K_M", 15, quant.Q4_K},
	MostlyQ5_K_S: {"Q5_K_S", 16, quant.Q5_K},
	MostlyQ5_K_M: {"Q5_K_M", 17, quant.Q5_K},
	MostlyQ6_K:   {"Q6_K", 18, quant.Q6_K},
	MostlyIQ4_NL: {"IQ4_NL", 25, quant.IQ4_NL},
	MostlyIQ4_XS: {"IQ4_XS", 30, quant.IQ4_XS},
}

// fileTypeAliases are llama-quantize's short names.
var fileTypeAliases = map[string]FileType{
	"Q3_K": MostlyQ3_K_M, "Q4_K": MostlyQ4_K_M, "Q5_K": MostlyQ5_K_M,
}

// FileTypes lists every file type.
func FileTypes() []FileType {
	all := make([]FileType, len(fileTypes))
	for i := range all {
		all[i] = FileType(i)
	}
	return all
}

// String returns llama.cpp's name.
func (f FileType) String() string { return fileTypes[f].name }

// GGUF returns the number that general.file_type holds.
func (f FileType) GGUF() uint32 { return fileTypes[f].gguf }

// Type returns the type of most tensors.
func (f FileType) Type() quant.Type { return fileTypes[f].base }

// FileTypeNames lists the names, separated by spaces.
func FileTypeNames() string {
	var names []string
	for _, f := range fileTypes {
		names = append(names, f.name)
	}
	return strings.Join(names, " ")
}

// FileTypeByName finds a file type by its name in any case, or by llama.cpp's
// aliases Q3_K, Q4_K and Q5_K for the _M recipes.
func FileTypeByName(name string) (FileType, error) {
	for i := range fileTypes {
		if strings.EqualFold(fileTypes[i].name, name) {
			return FileType(i), nil
		}
	}
	if f, ok := fileTypeAliases[strings.ToUpper(name)]; ok {
		return f, nil
	}
	return 0, fmt.Errorf("unknown file type %q; known: %s", name, FileTypeNames())
}

// FileTypeByGGUF finds a file type by the number that general.file_type holds.
func FileTypeByGGUF(n uint64) (f FileType, ok bool) {
	for i := range fileTypes {
		if uint64(fileTypes[i].gguf) == n {
			return FileType(i), true
		}
	}
	return 0, false
}

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
	Matrix bool       // has two dimensions
	Layer  int        // index of its layer, 0 outside the layers
	Layers int        // number of layers in the model
	GQA    int        // query heads for each key-value head
	Tied   bool       // the model's output projection is the embedding
}

// Type returns the type that t gets. Vectors and norms become F32, as in
// llama.cpp's converter. A block type that does not divide the row gives way to
// a similar one with smaller blocks, and in the end to F16.
func (p *Policy) Type(t Tensor) quant.Type {
	base := p.FileType.Type()
	switch {
	case !t.Matrix || strings.HasSuffix(t.Name, "_norm.weight"):
		return quant.F32
	case t.Name == outputName && p.KeepOutput:
		return t.Source
	case t.Name == embeddingName && p.Embedding != nil:
		return fallback(*p.Embedding, t.Cols)
	case t.Name == outputName && p.Output != nil:
		return fallback(*p.Output, t.Cols)
	}
	for _, o := range p.Overrides {
		if o.Pattern.MatchString(t.Name) {
			return fallback(o.Type, t.Cols)
		}
	}
	if base.IsQuantized() && !p.Pure {
		base = p.mixture(base, t)
	}
	return fallback(base, t.Cols)
}

// Pinned reports whether the type of a matrix is given by name, not by the file type. tied says that
// the embedding is the output matrix too.
func (p *Policy) Pinned(name string, tied bool) bool {
	return name == outputName && (p.KeepOutput || p.Output != nil) ||
		name == embeddingName && (p.Embedding != nil || tied && p.Output != nil) ||
		slices.ContainsFunc(p.Overrides, func(o Override) bool { return o.Pattern.MatchString(name) })
}

const (
	embeddingName = "token_embd.weight"
	outputName    = "output.weight"
)

// fallbacks are the types that take over where a row is no multiple of 256.
var fallbacks = map[quant.Type]quant.Type{
	quant.Q2_K: quant.Q4_0, quant.Q3_K: quant.Q4_0, quant.Q4_K: quant.Q5_0,
	quant.Q5_K: quant.Q5_1, quant.Q6_K: quant.Q8_0, quant.IQ4_XS: quant.IQ4_NL,
}

func fallback(t quant.Type, cols int) quant.Type {
	if cols%t.BlockLen() == 0 {
		return t
	}
	if f, ok := fallbacks[t]; ok && cols%f.BlockLen() == 0 {
		return f
	}
	return quant.F16
}

// mixture applies llama.cpp's rules for models with fused attn_qkv and ffn_up:
// tensors whose error costs most get more bits, in the first and last eighth of
// the layers and in every third between.
func (p *Policy) mixture(base quant.Type, t Tensor) quant.Type {
	more := t.Layer < t.Layers/8 || t.Layer >= 7*t.Layers/8 || (t.Layer-t.Layers/8)%3 == 2
	_, role, _ := strings.Cut(strings.TrimPrefix(t.Name, "blk."), ".")
	switch {
	case t.Name == outputName || (t.Name == embeddingName && t.Tied):
		if p.Output != nil {
			return *p.Output
		}
		if base == quant.Q8_0 || t.Cols%base.BlockLen() != 0 {
			return quant.Q8_0
		}
		return quant.Q6_K
	case role == "attn_qkv.weight" || role == "attn_v.weight":
		switch p.FileType {
		case MostlyQ2_K:
			if t.GQA >= 4 {
				return quant.Q4_K
			}
			return quant.Q3_K
		case MostlyQ3_K_M:
			if t.Layer < 2 {
				return quant.Q5_K
			}
			return quant.Q4_K
		case MostlyQ3_K_L:
			return quant.Q5_K
		case MostlyQ4_K_S:
			if t.Layer < 4 {
				return quant.Q5_K
			}
		case MostlyQ4_K_M, MostlyQ5_K_M:
			if more {
				return quant.Q6_K
			}
		case MostlyIQ4_NL, MostlyIQ4_XS:
			if t.GQA >= 4 {
				return quant.Q5_K
			}
		}
	case role == "ffn_down.weight":
		early := t.Layer < t.Layers/8
		switch p.FileType {
		case MostlyQ2_K:
			return quant.Q3_K
		case MostlyQ3_K_M:
			if t.Layer < t.Layers/16 {
				return quant.Q5_K
			}
			return quant.Q4_K
		case MostlyQ3_K_L:
			return quant.Q5_K
		case MostlyQ4_K_S:
			if early {
				return quant.Q5_K
			}
		case MostlyQ4_K_M, MostlyQ5_K_M:
			if more {
				return quant.Q6_K
			}
		case MostlyIQ4_NL, MostlyIQ4_XS:
			if early && !p.Imatrix {
				return quant.Q5_K
			}
		case MostlyQ4_0:
			if early && p.Imatrix {
				return quant.Q4_1
			}
		case MostlyQ5_0:
			if early && p.Imatrix {
				return quant.Q5_1
			}
		}
	case role == "attn_output.weight":
		switch p.FileType {
		case MostlyQ2_K:
			return quant.Q3_K
		case MostlyQ3_K_M:
			return quant.Q4_K
		case MostlyQ3_K_L:
			return quant.Q5_K
		}
	}
	return base
}
