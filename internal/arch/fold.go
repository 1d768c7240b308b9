package arch

import "slices"

// Fold is a place in a block where channels can be scaled without changing what the model computes: what makes a
// channel is divided by a factor, and what reads it is multiplied.
type Fold struct {
	Makers  []Span // row k of each, of a vector element k, makes channel k
	Readers []Span // of all their rows, column c reads channel Channel[c]
	Channel []int
	// Channels is the number of channels.
	Channels int
}

// Span is some rows of a tensor, from First on. The rows of a vector are its elements, those of stacked matrices are
// counted through.
type Span struct {
	Tensor      Tensor
	First, Rows int
}

// Folds lists the places in a block where channels can be scaled, each before those that read its matrices' outputs:
//
//   - the output of a norm, which some matrices read, those of all experts and the router among them;
//   - values: attention takes weighted sums of them, each dimension by itself, and all query heads of a group read the
//     same head of values;
//   - the outputs of up, of each expert, if the activation is linear in them. GELU is not, nor is GeGELU, which clamps
//     them and adds 1.
func (c *Config) Folds(layer int) []Fold {
	b := c.Block(layer)
	identity := func(c int) int { return c }
	read := slices.Clone(b.QKV)
	if c.Parallel {
		read = append(read, b.Up...)
	}
	folds := []Fold{b.AttnNorm.fold(c.Hidden, read), newFold(c.KVHeads*c.HeadDim, c.Heads*c.HeadDim, func(col int) int {
		head, dim := col/c.HeadDim, col%c.HeadDim
		return head/(c.Heads/c.KVHeads)*c.HeadDim + dim
	})}
	folds[1].Makers = makers(b.QKV, (c.Heads+c.KVHeads)*c.HeadDim, folds[1].Channels, 0)
	folds[1].Readers = []Span{b.AttnOut.all()}
	if !c.Parallel {
		read = slices.Clone(b.Up)
		if b.Router != nil {
			read = slices.Insert(read, 0, *b.Router)
		}
		folds = append(folds, b.FFNNorm.fold(c.Hidden, read))
	}
	if c.Activation != SwiGLU {
		return folds
	}
	experts := b.Down.Weight.Stacked()
	for e := range experts {
		f := newFold(c.Intermediate, c.Intermediate, identity)
		f.Makers = makers(b.Up, c.Intermediate, c.Intermediate, e)
		f.Readers = []Span{b.Down.all()}
		f.Readers[0].Rows /= experts
		f.Readers[0].First = e * f.Readers[0].Rows
		folds = append(folds, f)
	}
	return folds
}

func newFold(channels, columns int, channel func(col int) int) Fold {
	f := Fold{Channels: channels, Channel: make([]int, columns)}
	for c := range f.Channel {
		f.Channel[c] = channel(c)
	}
	return f
}

// fold returns the place between a norm and what reads it.
func (n *Norm) fold(width int, readers []Linear) Fold {
	f := newFold(width, width, func(c int) int { return c })
	f.Makers = []Span{{n.Weight, 0, width}}
	if n.Bias != nil {
		f.Makers = append(f.Makers, Span{*n.Bias, 0, width})
	}
	for i := range readers {
		f.Readers = append(f.Readers, readers[i].all())
	}
	return f
}

// makers returns where rows first to first+rows of matrices are, which are counted through all of them, or through
// those of one expert: in one of the weights, and in its bias.
func makers(all []Linear, first, rows, expert int) []Span {
	for i := range all {
		m := &all[i]
		n := m.all().Rows / m.Weight.Stacked()
		if first >= n {
			first -= n
			continue
		}
		spans := []Span{{m.Weight, expert*n + first, rows}}
		if m.Bias != nil {
			spans = append(spans, Span{*m.Bias, expert*n + first, rows})
		}
		return spans
	}
	return nil // all descriptions have them
}

// all returns all rows of a layer's weights.
func (l *Linear) all() Span {
	rows := 1
	for _, d := range l.Weight.Shape[:len(l.Weight.Shape)-1] {
		rows *= int(d)
	}
	return Span{Tensor: l.Weight, Rows: rows}
}

// Stacked returns the number of matrices in a tensor: that of the experts if it is a stack of theirs, otherwise 1.
func (t *Tensor) Stacked() int {
	if len(t.Shape) == 3 {
		return int(t.Shape[0])
	}
	return 1
}
