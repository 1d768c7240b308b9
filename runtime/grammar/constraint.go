package grammar

import (
	"fmt"
	"slices"
)

// Constraint follows one answer. It is what package engine restricts answers with, and is used by one goroutine.
type Constraint struct {
	a    *Automaton
	at   *node
	stop []int32
	err  error
	seen map[visit]bool
}

// Constraint begins an answer, which one of the ids in stop may end where it is complete.
func (a *Automaton) Constraint(stop []int32) *Constraint {
	return &Constraint{a: a, at: a.first, stop: slices.Clone(stop), seen: map[visit]bool{}}
}

// Allow sets the bit of each token that may come next, id%64 of allowed[id/64], and clears the others. An error says
// that the answer cannot go on: the grammar is too ambiguous, or no token of the vocabulary has what must come.
func (c *Constraint) Allow(allowed []uint64) error {
	clear(allowed)
	if c.err != nil {
		return c.err
	}
	a := c.a
	a.mu.Lock()
	defer a.mu.Unlock()
	a.limit()
	clear(c.seen)
	for _, r := range c.at.kernel {
		if !a.allow(allowed, nil, r, c.seen) {
			return c.fail(ErrAmbiguous)
		}
	}
	for _, id := range c.stop { // also one that is text
		if c.at.ends {
			allowed[id/64] |= 1 << (id % 64)
		} else {
			allowed[id/64] &^= 1 << (id % 64)
		}
	}
	if count(allowed) == 0 {
		return c.fail(ErrNoToken)
	}
	return nil
}

// Accept tells which token came, one that was allowed and no end.
func (c *Constraint) Accept(id int32) {
	if c.err != nil {
		return
	}
	a := c.a
	a.mu.Lock()
	defer a.mu.Unlock()
	a.limit()
	switch n := a.take(c.at, id); n {
	case nil:
		_ = c.fail(ErrAmbiguous)
	case deadNode:
		_ = c.fail(fmt.Errorf("token %d was not allowed", id))
	default:
		c.at = n
	}
}

// Complete reports whether the answer may end here.
func (c *Constraint) Complete() bool { return c.err == nil && c.at.ends }

func (c *Constraint) fail(err error) error {
	c.err = err
	return err
}
