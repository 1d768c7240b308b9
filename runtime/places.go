package runtime

import (
	"slices"

	"github.com/phi3conv/phi3conv/internal/arch"
	"github.com/phi3conv/phi3conv/internal/linear"
)

// place is where the weights of a tensor are: a vector, or matrices, of a stack one for each expert.
type place struct {
	name   string     // of the tensor in a GGUF file
	vector *[]float32 // of a norm; nil for others
	mats   []**linear.Matrix
	bias   bool // the tensor is the bias of the first of mats
}

// places lists where the tensors of a block are, which b describes.
func (l *layer) places(b *arch.Block) []place {
	var all []place
	addNorm := func(n arch.Norm, at *norm) {
		if n.Weight.GGUF != "" {
			all = append(all, normPlaces(n, at)...)
		}
	}
	addNorm(b.AttnNorm, &l.attnNorm)
	for i, m := range b.QKV {
		all = append(all, linearPlaces(m, &l.qkv[i])...)
	}
	all = append(all, linearPlaces(b.AttnOut, &l.o)...)
	addNorm(b.FFNNorm, &l.ffnNorm)
	if b.Router != nil {
		all = append(all, linearPlaces(*b.Router, &l.router)...)
	}
	for i, m := range b.Up {
		var mats []**linear.Matrix
		for e := range l.experts {
			mats = append(mats, &l.experts[e].up[i])
		}
		all = append(all, linearPlaces(m, mats...)...)
	}
	var mats []**linear.Matrix
	for e := range l.experts {
		mats = append(mats, &l.experts[e].down)
	}
	return append(all, linearPlaces(b.Down, mats...)...)
}

func normPlaces(n arch.Norm, at *norm) []place {
	all := []place{{name: n.Weight.GGUF, vector: &at.weight}}
	if n.Bias != nil {
		all = append(all, place{name: n.Bias.GGUF, vector: &at.bias})
	}
	return all
}

func linearPlaces(l arch.Linear, mats ...**linear.Matrix) []place {
	all := []place{{name: l.Weight.GGUF, mats: mats}}
	if l.Bias != nil {
		all = append(all, place{name: l.Bias.GGUF, mats: mats, bias: true})
	}
	return all
}

// floats returns the values of a vector, nil for matrices.
func (p *place) floats() []float32 {
	switch {
	case p.vector != nil:
		return *p.vector
	case p.bias:
		return (*p.mats[0]).Bias
	}
	return nil
}

// equal reports whether both hold the same values, matrices in the same type.
func (p *place) equal(o *place) bool {
	if v := p.floats(); v != nil {
		return slices.Equal(v, o.floats())
	}
	for i, m := range p.mats {
		if !(*m).Equal(*o.mats[i]) {
			return false
		}
	}
	return true
}

// replace puts the weights of o in place, until undo is called. Of several places that were replaced, the last one is
// to be undone first.
func (p *place) replace(o *place) (undo func()) {
	if p.vector != nil {
		own := *p.vector
		*p.vector = *o.vector
		return func() { *p.vector = own }
	}
	var own []*linear.Matrix
	for i, m := range p.mats {
		own = append(own, *m)
		var with linear.Matrix
		if p.bias {
			with = **m
			with.Bias = (*o.mats[i]).Bias
		} else {
			with = **o.mats[i]
			with.Bias = (*m).Bias
		}
		*m = &with
	}
	return func() {
		for i, m := range p.mats {
			*m = own[i]
		}
	}
}
