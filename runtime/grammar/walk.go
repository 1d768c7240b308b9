package grammar

import "math/bits"

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

// walk goes through the tries below some nodes.
func (a *Automaton) walk(starts []int32, g *group) *walk {
	begin := a.node([]ret{{g, a.frame(nil, true)}})
	if begin == nil {
		return nil
	}
	w := &walk{}
	var ids []int32
	path := make([]*node, a.v.longest+1)
	for _, start := range starts {
		s := &a.v.nodes[start]
		if begin.ends && s.skip > start+1 {
			w.exits = append(w.exits, start)
		}
		if start == 0 {
			for _, r := range begin.all {
				for _, t := range r.g.tokens {
					ids = append(ids, a.tokens[t.token]...)
				}
			}
		}
		path[s.depth] = begin
		for i := start + 1; i < s.skip; {
			t := &a.v.nodes[i]
			from := path[t.depth-1]
			class := a.class[t.b]
			var n *node
			if from.next != nil {
				n = from.next[class]
			}
			if n == nil {
				n = a.read(from, class)
			}
			if a.steps--; a.steps < 0 || n == nil {
				return nil
			}
			if n == deadNode {
				i = t.skip
				continue
			}
			ids = append(ids, a.v.ids[t.from:t.to]...)
			if i++; n.ends && t.skip > i {
				w.exits = append(w.exits, i-1)
			}
			path[t.depth] = n
		}
	}
	w.keep(ids, a.v.size)
	return w
}

// keep stores ids in the smaller form.
func (w *walk) keep(ids []int32, size int) {
	if len(ids) < size/32 {
		w.few = append([]int32(nil), ids...)
		return
	}
	w.set = make([]uint64, (size+63)/64)
	for _, id := range ids {
		w.set[id/64] |= 1 << (id % 64)
	}
}

// allow sets the tokens of a walk from the nodes that before was left at, and of those that go on in the rules that
// called. It returns false if there is too much to do.
func (a *Automaton) allow(set []uint64, before *walk, r ret, seen map[visit]bool) bool {
	w := a.through(before, r.g)
	if w == nil {
		return false
	}
	for i, x := range w.set {
		set[i] |= x
	}
	for _, id := range w.few {
		set[id/64] |= 1 << (id % 64)
	}
	if a.steps -= visitSteps + (len(w.set)+len(w.few))/8; a.steps < 0 {
		return false
	}
	if len(w.exits) == 0 || seen[visit{w, r.f}] {
		return true
	}
	seen[visit{w, r.f}] = true
	for _, back := range r.f.rets {
		if !a.allow(set, w, back, seen) {
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
