package grammar

import (
	"math/bits"
	"slices"
)

// walk is what a part of the vocabulary, tokens that begin at some nodes of the trie, has for a place of a rule.
type walk struct {
	set   []uint64 // tokens that may come, or nil
	few   []int32  // the same, where they are few
	exits []int32  // nodes at which the rule may end, with tokens that go on
	next  map[*group]*walk
}

// through returns the walk from the nodes that before was left at, the root if before is nil. It is nil if there is too
// much to do.
func (a *Automaton) through(before *walk, g *group) *walk {
	g = a.alike(g)
	known, starts := &a.walks, []int32{0}
	if before != nil {
		known, starts = &before.next, before.exits
	}
	if w := (*known)[g]; w != nil {
		return w
	}
	w := a.walk(starts, g)
	if w == nil {
		return nil
	}
	if *known == nil {
		*known = map[*group]*walk{}
	}
	(*known)[g] = w
	a.bytes += 160 + 8*cap(w.set) + 4*cap(w.few) + 4*cap(w.exits)
	return w
}

// step is where a byte leads to in a walk: nowhere, or to a node, whose own steps by class begin at a row of
// Automaton.rows. It is 0 until it is looked for.
type step int32

const nowhere step = -1

func (s step) row() int   { return int(s >> 1) }
func (s step) ends() bool { return s&1 != 0 }

// step returns the one to a node.
func (a *Automaton) step(n *node) step {
	if n.step == 0 {
		n.step = step(len(a.rows) << 1)
		if n.ends {
			n.step |= 1
		}
		a.walked = append(a.walked, n)
		a.rows = append(a.rows, make([]step, len(a.sample))...)
		a.bytes += 8 + 4*len(a.sample)
		a.steps -= len(a.sample)
	}
	return n.step
}

// find looks for a step. It is 0 if there is too much to do.
func (a *Automaton) find(s step, class uint8) step {
	to := nowhere
	switch n := a.move(a.walked[s.row()/len(a.sample)], class); n {
	case nil:
		return 0
	case deadNode:
	default:
		to = a.step(n)
	}
	a.rows[s.row()+int(class)] = to
	return to
}

// span is a part of Vocabulary.ids.
type span struct{ from, to int32 }

// walk goes through the tries below some nodes.
func (a *Automaton) walk(starts []int32, g *group) *walk {
	begin := a.node([]ret{{g, a.frame(nil, true)}})
	if begin == nil {
		return nil
	}
	w := &walk{}
	var named []int32
	if starts[0] == 0 {
		for _, r := range begin.all {
			for _, t := range r.g.tokens {
				named = append(named, a.tokens[t.token]...)
			}
		}
	}
	a.spans = a.spans[:0]
	for _, start := range starts {
		if begin.ends && a.v.nodes[start].skip > start+1 {
			w.exits = append(w.exits, start)
		}
		if !a.below(w, start, a.step(begin)) {
			return nil
		}
	}
	w.keep(named, a.spans, a.v)
	return w
}

// below goes through the trie below a node: it adds the tokens that it finds to Automaton.spans, and to w where the
// rule may end. It returns false if there is too much to do. New places take most of their time here, so that the loop
// has numbers in place of pointers, and does not look at tokens: those below a node follow each other.
func (a *Automaton) below(w *walk, start int32, begin step) bool {
	nodes, rows := a.v.nodes, a.rows
	var path [mostBytes + 1]step
	path[nodes[start].depth] = begin
	end, from, steps := nodes[start].skip, nodes[start+1].from, 0
	for i := start + 1; i < end; steps++ {
		t := &nodes[i]
		before, class := path[t.depth-1], a.class[t.b]
		s := rows[before.row()+int(class)]
		if s == 0 {
			if s = a.find(before, class); s == 0 || a.steps < steps {
				return false
			}
			rows = a.rows
		}
		if s == nowhere {
			if from < t.from {
				a.spans = append(a.spans, span{from, t.from})
			}
			i, from = t.skip, nodes[t.skip].from
			continue
		}
		path[t.depth] = s
		if i++; s.ends() && t.skip > i {
			w.exits = append(w.exits, i-1)
		}
	}
	a.spans = append(a.spans, span{from, nodes[end].from})
	a.steps -= steps
	return a.steps >= 0
}

// keep stores tokens in the smaller form.
func (w *walk) keep(ids []int32, spans []span, v *Vocabulary) {
	n := len(ids)
	for _, s := range spans {
		n += int(s.to - s.from)
	}
	if n < v.size/32 {
		w.few = slices.Grow(ids, n-len(ids))
		for _, s := range spans {
			w.few = append(w.few, v.ids[s.from:s.to]...)
		}
		return
	}
	w.set = make([]uint64, (v.size+63)/64)
	set(w.set, ids)
	for _, s := range spans {
		set(w.set, v.ids[s.from:s.to])
	}
}

func set(bits []uint64, ids []int32) {
	for _, id := range ids {
		bits[id/64] |= 1 << (id % 64)
	}
}

// allow sets the tokens of a walk from the nodes that before was left at, and of those that go on in the rules that
// called. It returns false if there is too much to do.
func (a *Automaton) allow(tokens []uint64, before *walk, r ret, seen map[visit]bool) bool {
	w := a.through(before, r.g)
	if w == nil {
		return false
	}
	for i, x := range w.set {
		tokens[i] |= x
	}
	set(tokens, w.few)
	if a.steps -= visitSteps + (len(w.set)+len(w.few))/8; a.steps < 0 {
		return false
	}
	if len(w.exits) == 0 || seen[visit{w, r.f}] {
		return true
	}
	seen[visit{w, r.f}] = true
	for _, back := range r.f.rets {
		if !a.allow(tokens, w, back, seen) {
			return false
		}
	}
	return true
}

// visit is a walk that was left for the callers of a frame.
type visit struct {
	w *walk
	f *frame
}

func count(set []uint64) int {
	n := 0
	for _, x := range set {
		n += bits.OnesCount64(x)
	}
	return n
}
