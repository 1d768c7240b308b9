package runtime

import "github.com/phi3conv/phi3conv/internal/arch"

// Fold is a place in a block where channels can be scaled without changing what the model computes: what makes a
// channel is divided by a factor, and what reads it is multiplied.
type Fold struct {
	Makers   []Span // row k of each makes channel k
	Readers  []Span // of all their rows, column c reads channel Channel[c]
	Channel  []int
	Channels int
}

// Span is some rows of a tensor, each of Cols values. The rows of a vector are its elements, those of stacked matrices
// are counted through.
type Span struct {
	Tensor            string // GGUF name
	First, Rows, Cols int
}

// Folds lists the places in block i where channels can be scaled, each before those that read what its matrices make.
func (l *Layers) Folds(i int) []Fold {
	var all []Fold
	for _, f := range l.m.cfg.Folds(i) {
		all = append(all, Fold{spans(f.Makers), spans(f.Readers), f.Channel, f.Channels})
	}
	return all
}

func spans(list []arch.Span) []Span {
	var all []Span
	for _, s := range list {
		cols := 1
		if n := len(s.Tensor.Shape); n > 1 {
			cols = int(s.Tensor.Shape[n-1])
		}
		all = append(all, Span{s.Tensor.GGUF, s.First, s.Rows, cols})
	}
	return all
}

// Experts returns the number of matrices in a tensor: that of the experts if it is a stack of theirs, otherwise 1.
// Their rows follow each other.
func (l *Layers) Experts(tensor string) int {
	t, err := l.tensor(tensor)
	if err != nil {
		return 1
	}
	return t.Stacked()
}

// SharedInputs divides the linear layers of block i, in the order of use, into those that get the same inputs.
func (l *Layers) SharedInputs(i int) [][]string {
	b := l.m.cfg.Block(i)
	var all [][]string
	add := func(layers ...arch.Linear) {
		var names []string
		for _, m := range layers {
			names = append(names, m.Weight.GGUF)
		}
		all = append(all, names)
	}
	add(b.QKV...)
	add(b.AttnOut)
	if b.Router != nil {
		add(*b.Router)
	}
	add(b.Up...)
	add(b.Down)
	return all
}
