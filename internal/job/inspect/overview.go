package inspect

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"os"
	"slices"
	"strings"

	"github.com/phi3conv/phi3conv/internal/arch"
	"github.com/phi3conv/phi3conv/internal/report"
	"github.com/phi3conv/phi3conv/quant"
	"github.com/phi3conv/phi3conv/quant/policy"
)

// Overview lists what a model has.
type Overview struct {
	Path      string                     `json:"path"`
	Format    string                     `json:"format"`              // of tensorfile.File
	Version   uint32                     `json:"version,omitempty"`   // of GGUF
	Alignment int64                      `json:"alignment,omitempty"` // of GGUF, bytes
	FileType  string                     `json:"file_type,omitempty"` // of GGUF, such as Q4_K_M; "" is unknown
	FileBytes int64                      `json:"file_bytes"`          // of all files
	Files     []File                     `json:"files"`
	Model     string                     `json:"model,omitempty"` // the configuration in words
	Metadata  []Key                      `json:"metadata"`
	Config    map[string]json.RawMessage `json:"config,omitempty"` // config.json of a directory
	Tensors   []StoredTensor             `json:"tensors"`
	Total     Total                      `json:"total"`
}

// File is a file with tensors.
type File struct {
	Path  string `json:"path"`
	Bytes int64  `json:"bytes"`
}

// StoredTensor is a tensor as it is stored.
type StoredTensor struct {
	Name  string        `json:"name"`
	Type  string        `json:"type"`
	Shape []uint64      `json:"shape"` // rows, columns
	Elems int64         `json:"parameters"`
	Bytes int64         `json:"bytes"`
	Bits  report.Number `json:"bits_per_weight"`
}

// Total sums the tensors.
type Total struct {
	Tensors int           `json:"tensors"`
	Elems   int64         `json:"parameters"`
	Bytes   int64         `json:"bytes"`
	Bits    report.Number `json:"bits_per_weight"`
	Types   []TypeTotal   `json:"types"` // by bytes, the most first
}

// TypeTotal sums the tensors of a type.
type TypeTotal struct {
	Type    string `json:"type"`
	Tensors int    `json:"tensors"`
	Elems   int64  `json:"parameters"`
	Bytes   int64  `json:"bytes"`
}

func bitsPerWeight(bytes, elems int64) report.Number {
	return report.Number(quant.BitsPerWeight(bytes, elems))
}

// Overview lists what the model has.
func (m *Model) Overview() *Overview {
	o := &Overview{Path: m.Path, Format: m.File.Format, Config: m.fields, Metadata: []Key{}, Tensors: []StoredTensor{}}
	if g := m.File.GGUF; g != nil {
		o.Version, o.Alignment = g.Version, g.Alignment
		for _, s := range g.Shards {
			if info, err := os.Stat(s.Path); err == nil && o.Format == "pmap" { // not of what it stands for
				s.Size = info.Size()
			}
			o.Files = append(o.Files, File{s.Path, s.Size})
		}
		if n, ok := g.Metadata.Uint("general.file_type"); ok {
			if ft, ok := policy.FileTypeByGGUF(n); ok {
				o.FileType = ft.String()
			}
		}
		for key, v := range g.Metadata.All() {
			o.Metadata = append(o.Metadata, NewKey(key, v))
		}
	} else {
		for _, s := range m.File.Safetensors.Shards {
			o.Files = append(o.Files, File{s.Path, s.Size})
		}
		md := m.File.Safetensors.Metadata
		for _, key := range slices.Sorted(maps.Keys(md)) {
			o.Metadata = append(o.Metadata, NewKey(key, md[key]))
		}
	}
	for _, f := range o.Files {
		o.FileBytes += f.Bytes
	}
	if m.Config != nil {
		o.Model = describe(m.Config)
	}
	for _, t := range m.File.Tensors {
		shape := t.Shape
		if shape == nil {
			shape = []uint64{} // a scalar; not null
		}
		bits := bitsPerWeight(t.Bytes, t.Elems)
		o.Tensors = append(o.Tensors, StoredTensor{t.Name, t.Type, shape, t.Elems, t.Bytes, bits})
	}
	o.Total = total(o.Tensors)
	return o
}

func total(tensors []StoredTensor) Total {
	sum := Total{Types: []TypeTotal{}}
	byType := make(map[string]TypeTotal)
	for _, t := range tensors {
		s := byType[t.Type]
		byType[t.Type] = TypeTotal{t.Type, s.Tensors + 1, s.Elems + t.Elems, s.Bytes + t.Bytes}
		sum.Tensors++
		sum.Elems += t.Elems
		sum.Bytes += t.Bytes
	}
	sum.Bits = bitsPerWeight(sum.Bytes, sum.Elems)
	for _, name := range slices.Sorted(maps.Keys(byType)) {
		sum.Types = append(sum.Types, byType[name])
	}
	slices.SortStableFunc(sum.Types, func(a, b TypeTotal) int { return cmp.Compare(b.Bytes, a.Bytes) })
	return sum
}

// describe writes a configuration on one line.
func describe(c *arch.Config) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s of width %d, %s of %d",
		c.Arch.Name, report.Plural(c.Layers, "layer"), c.Hidden, report.Plural(c.Heads, "head"), c.HeadDim)
	if c.KVHeads != c.Heads {
		fmt.Fprintf(&b, " (%d for keys and values)", c.KVHeads)
	}
	fmt.Fprintf(&b, ", feed-forward %d, %d tokens, context %d", c.Intermediate, c.VocabSize, c.Context)
	b.WriteString(describeBlock(c))
	if c.RotaryDims != c.HeadDim {
		fmt.Fprintf(&b, ", %d rotary dimensions", c.RotaryDims)
	}
	if c.LongRope != nil {
		fmt.Fprintf(&b, ", LongRoPE from %d (attention factor %.6f", c.OriginalContext, c.LongRope.AttnFactor)
		if c.LongRope.AttnFactorShort != c.LongRope.AttnFactor {
			fmt.Fprintf(&b, ", %.6f before", c.LongRope.AttnFactorShort)
		}
		b.WriteString(")")
	}
	if c.SlidingWindow > 0 && c.SlidingWindow < c.Context {
		fmt.Fprintf(&b, ", sliding window %d", c.SlidingWindow)
	}
	if c.Tied {
		b.WriteString(", tied embedding")
	}
	return b.String()
}

// describeBlock writes what a block has that a Phi-3's has not.
func describeBlock(c *arch.Config) string {
	var facts []string
	add := func(format string, args ...any) { facts = append(facts, fmt.Sprintf(format, args...)) }
	if c.LayerNorm {
		add("LayerNorm")
	}
	switch c.Activation {
	case arch.GELU:
		add("GELU")
	case arch.GeGELU:
		if c.GateLimit > 0 {
			add("GeGELU up to %g", c.GateLimit)
		} else {
			add("GeGELU")
		}
	}
	if c.Parallel {
		add("attention and feed-forward in parallel")
	}
	if e := c.Experts; e != nil {
		add("%d experts, %d for a token (jitter %g)", e.Count, e.Used, e.Jitter)
	}
	if s := c.Sparse; s != nil {
		n := 0
		for _, sparse := range s.Layers {
			if sparse {
				n++
			}
		}
		add("block-sparse attention in %s (blocks of %d; %d local, and one of %d before)",
			report.Plural(n, "layer"), s.BlockSize, s.LocalBlocks, s.Stride)
	}
	for _, scale := range []struct {
		of     string
		factor float64
	}{{"embeddings", c.EmbeddingScale}, {"logits", c.LogitScale}} {
		if scale.factor != 1 {
			add("%s × %g", scale.of, scale.factor)
		}
	}
	if usual := 1 / math.Sqrt(float64(c.HeadDim)); math.Abs(c.AttnScale/usual-1) > 1e-6 {
		add("attention scores × %g", c.AttnScale)
	}
	if n := len(c.MaskedTokens()); n > 0 {
		add("%d tokens never predicted", n)
	}
	if len(facts) == 0 {
		return ""
	}
	return ", " + strings.Join(facts, ", ")
}
