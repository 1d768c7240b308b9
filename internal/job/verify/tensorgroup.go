package verify

import (
	"slices"
	"strings"

	"github.com/phi3conv/phi3conv/internal/arch"
	"github.com/phi3conv/phi3conv/internal/source"
	"github.com/phi3conv/phi3conv/quant"
	"github.com/phi3conv/phi3conv/verify"
)

// tensorGroup is some of a model's tensors, such as those of a layer.
type tensorGroup struct {
	name    string
	tensors []string // names
	types   []typeBytes
	bytes   int64
	weights int64
}

// typeBytes is how many bytes have a type.
type typeBytes struct {
	name  string
	bytes int64
}

// tensorGroups returns the blocks of a model and the tensors outside, or single tensors, in the model's order.
func tensorGroups(path string, single bool) ([]tensorGroup, error) {
	m, err := source.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = m.Close() }() // only read from
	var groups []tensorGroup
	for i := range m.Tensors {
		t := &m.Tensors[i]
		name, bytes := t.Role(), t.Bytes()
		g := tensorGroup{name, []string{name}, []typeBytes{{t.TypeName(), bytes}}, bytes, t.Elems()}
		if !single {
			g.name = layerOf(name)
		}
		if at := slices.IndexFunc(groups, func(o tensorGroup) bool { return o.name == g.name }); at >= 0 {
			groups[at].add(g)
		} else {
			groups = append(groups, g)
		}
	}
	return groups, nil
}

// layerOf returns the name of a tensor's block, "blk.0", or of its layer outside the blocks.
func layerOf(tensor string) string {
	if block, _ := arch.CutBlock(tensor); block != "" {
		return block
	}
	return strings.TrimSuffix(tensor, ".weight")
}

// add adds the tensors of another group. Parts of a fused tensor have one name.
func (g *tensorGroup) add(o tensorGroup) {
	for _, name := range o.tensors {
		if !slices.Contains(g.tensors, name) {
			g.tensors = append(g.tensors, name)
		}
	}
	g.bytes += o.bytes
	g.weights += o.weights
	for _, t := range o.types {
		if i := slices.IndexFunc(g.types, func(u typeBytes) bool { return u.name == t.name }); i >= 0 {
			g.types[i].bytes += t.bytes
		} else {
			g.types = append(g.types, t)
		}
	}
}

// describe names the types, those of most bytes first; a type of less than 1 % of the bytes is left out.
func (g *tensorGroup) describe() verify.LayerKLD {
	types := slices.Clone(g.types)
	slices.SortStableFunc(types, func(a, b typeBytes) int { return int(min(1, max(-1, b.bytes-a.bytes))) })
	var names []string
	for _, t := range types {
		if 100*t.bytes >= g.bytes {
			names = append(names, t.name)
		}
	}
	return verify.LayerKLD{
		Name: g.name, Type: strings.Join(names, " "), Bytes: g.bytes,
		BitsPerWeight: quant.BitsPerWeight(g.bytes, g.weights),
	}
}
