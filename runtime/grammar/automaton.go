package grammar

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sync"
)

// Automaton is a grammar with a vocabulary. Constraints of it share what it has found out; they may be used by several
// goroutines.
type Automaton struct {
	mu     sync.Mutex
	n      *nfa
	v      *Vocabulary
	class  [256]uint8 // of bytes that no arc tells apart
	sample []byte     // by class: one of its bytes
	tokens [][]int32  // by index of the arcs: ids

	groups map[string]*group
	frames map[string]*frame
	nodes  map[string]*node
	walks  map[*group]*walk // through the whole vocabulary
	rows   []step           // of walks: len(sample) for each of walked
	walked []*node
	spans  []span   // of the current walk
	rules  []*group // by rule: its begin, or nil
	ids    uint32
	bytes  int // about, of all the above
	steps  int // what the current call may still do
	first  *node
}

// group is a place within a rule: all states that are possible there.
type group struct {
	id     uint32
	states []int32 // in order
	accept bool    // the rule may end here
	last   bool    // and must
	next   []*group
	calls  []call
	tokens []tokenArc
	canon  *group // nil until it is asked for
}

// call is of a rule, which goes on at ret.
type call struct {
	rule int32
	ret  *group
}

type tokenArc struct {
	token int32
	to    *group
}

// frame is where a rule goes on when it ends: with all that have called it at this position.
type frame struct {
	id   uint32
	rets []ret
	end  bool // the text may end as well
}

type ret struct {
	g *group
	f *frame
}

// node is a position in a text: the places where the grammar may be.
type node struct {
	kernel []ret // those reached by what was read; frames differ, in order
	all    []ret // and those that follow from them: after rules that end, and in rules that are called
	ends   bool  // the text is complete
	next   []*node
	step   step // to it, in walks; 0 until it is asked for
}

// What bounds the work and the memory of an automaton. An answer that reaches the first two is refused. A token adds at
// most maxSteps to Automaton.rows, 16 MB.
const (
	maxSteps   = 1 << 22 // for one token; a walk through 200,000 tokens takes 1 << 19
	maxPlaces  = 2000    // of a node
	maxKept    = 16 << 20
	placeSteps = 8  // steps for a place of a new node
	visitSteps = 32 // and for the callers of a frame
)

// Errors of answers that cannot go on.
var (
	ErrAmbiguous = errors.New("the grammar is too ambiguous: there are too many ways to read what is written")
	ErrNoToken   = errors.New("no token of the vocabulary continues the answer as its format demands")
)

// dead is where nothing matches.
var (
	deadGroup = &group{}
	deadNode  = &node{}
)

// New ties a grammar to a vocabulary. Errors say what is wrong with the grammar.
func New(g *Grammar, v *Vocabulary) (*Automaton, error) {
	n, err := build(g, v.longest)
	if err != nil {
		return nil, err
	}
	a := &Automaton{n: n, v: v}
	for _, t := range n.tokens {
		ids, err := v.special(t)
		if err != nil {
			return nil, err
		}
		a.tokens = append(a.tokens, ids)
	}
	a.classify()
	a.forget()
	a.steps = maxSteps
	root := a.frame(nil, true)
	a.first = a.node([]ret{{a.begin(n.root), root}})
	if a.first == nil {
		return nil, ErrAmbiguous
	}
	return a, nil
}

// classify divides bytes into classes.
func (a *Automaton) classify() {
	var border [257]bool
	for i := range a.n.states {
		for _, x := range a.n.states[i].arcs {
			if x.kind == onBytes {
				border[x.lo], border[int(x.hi)+1] = true, true
			}
		}
	}
	border[0] = true
	for b := range 256 {
		if border[b] {
			a.sample = append(a.sample, byte(b))
		}
		a.class[b] = uint8(len(a.sample) - 1)
	}
}

// forget drops what was found out. Constraints keep what they use of it.
func (a *Automaton) forget() {
	a.groups, a.frames, a.nodes = map[string]*group{}, map[string]*frame{}, map[string]*node{}
	a.walks, a.rules, a.bytes = map[*group]*walk{}, make([]*group, len(a.n.start)), 0
	a.walked, a.rows = []*node{nil}, make([]step, len(a.sample)) // a step is not 0
}

// limit prepares a call for a token.
func (a *Automaton) limit() {
	a.steps = maxSteps
	if a.bytes > maxKept {
		a.forget()
	}
}

func (a *Automaton) id() uint32 {
	a.ids++
	return a.ids
}

// group returns the place that is reached with the states, which are closed and in order.
func (a *Automaton) group(states []int32) *group {
	if len(states) == 0 {
		return deadGroup
	}
	key := make([]byte, 0, 4*len(states))
	for _, s := range states {
		key = binary.LittleEndian.AppendUint32(key, uint32(s))
	}
	if g := a.groups[string(key)]; g != nil {
		return g
	}
	g := &group{id: a.id(), states: states, last: true}
	a.groups[string(key)] = g
	a.steps -= placeSteps * len(states)
	type label struct{ kind, arg int32 }
	targets := map[label][]int32{}
	var labels []label
	for _, s := range states {
		st := &a.n.states[s]
		g.accept = g.accept || st.accept
		for _, x := range st.arcs {
			g.last = g.last && x.kind == onNothing
			if x.kind == onCall || x.kind == onToken {
				l := label{int32(x.kind), x.arg}
				if targets[l] == nil {
					labels = append(labels, l)
				}
				targets[l] = append(targets[l], x.to)
			}
		}
	}
	g.last = g.last && g.accept
	a.bytes += 160 + 12*len(states) + 8*len(a.sample)
	for _, l := range labels {
		to := a.group(a.n.closed(targets[l]))
		if arcKind(l.kind) == onCall {
			g.calls = append(g.calls, call{l.arg, to})
		} else {
			g.tokens = append(g.tokens, tokenArc{l.arg, to})
		}
	}
	return g
}

// begin returns the place where a rule begins.
func (a *Automaton) begin(rule int32) *group {
	if a.rules[rule] == nil {
		a.rules[rule] = a.group(a.n.closed([]int32{a.n.start[rule]}))
	}
	return a.rules[rule]
}

// after returns the place after a byte of a class.
func (a *Automaton) after(g *group, class uint8) *group {
	if g == deadGroup {
		return g
	}
	if g.next == nil {
		g.next = make([]*group, len(a.sample))
	}
	if g.next[class] == nil {
		b := a.sample[class]
		var to []int32
		for _, s := range g.states {
			for _, x := range a.n.states[s].arcs {
				if x.kind == onBytes && x.lo <= b && b <= x.hi {
					to = append(to, x.to)
				}
			}
		}
		a.steps -= len(g.states)
		g.next[class] = a.group(a.n.closed(to))
	}
	return g.next[class]
}

// union returns the place of both.
func (a *Automaton) union(g, h *group) *group {
	if g == h || h == deadGroup {
		return g
	}
	if g == deadGroup {
		return h
	}
	states := slices.Concat(g.states, h.states)
	slices.Sort(states)
	return a.group(slices.Compact(states))
}

// alike returns the place that stands for g when the next token is looked for.
func (a *Automaton) alike(g *group) *group {
	if g.canon == nil {
		states := make([]int32, len(g.states))
		for i, s := range g.states {
			states[i] = a.n.canon[s]
		}
		slices.Sort(states)
		g.canon = a.group(slices.Compact(states))
	}
	return g.canon
}

// add adds a place to a set in which frames differ.
func (a *Automaton) add(set []ret, r ret) []ret {
	a.steps -= 1 + len(set)/8
	for i := range set {
		if set[i].f == r.f {
			set[i].g = a.union(set[i].g, r.g)
			return set
		}
	}
	a.steps -= placeSteps
	return append(set, r)
}

func keyOf(set []ret, end bool) string {
	key := make([]byte, 0, 8*len(set)+1)
	for _, r := range set {
		key = binary.LittleEndian.AppendUint32(key, r.g.id)
		key = binary.LittleEndian.AppendUint32(key, r.f.id)
	}
	if end {
		key = append(key, 1)
	}
	return string(key)
}

func byFrame(a, b ret) int { return int(a.f.id) - int(b.f.id) }

// frame returns the frame of a set of places, whose order it may change.
func (a *Automaton) frame(rets []ret, end bool) *frame {
	slices.SortFunc(rets, byFrame)
	key := keyOf(rets, end)
	f := a.frames[key]
	if f == nil {
		f = &frame{a.id(), slices.Clone(rets), end}
		a.frames[key] = f
		a.bytes += 96 + 32*len(rets)
	}
	return f
}

// node returns the position with a kernel, whose order it may change. It is nil if there are too many places.
func (a *Automaton) node(kernel []ret) *node {
	if len(kernel) == 0 {
		return deadNode
	}
	slices.SortFunc(kernel, byFrame)
	key := keyOf(kernel, false)
	n := a.nodes[key]
	if n == nil {
		n = &node{kernel: slices.Clone(kernel)}
		if !a.complete(n) {
			return nil
		}
		a.nodes[key] = n
		a.bytes += 160 + 32*(len(n.kernel)+len(n.all)) + 8*len(a.sample)
	}
	return n
}

// pending is a call whose callers are being collected.
type pending struct {
	rets []ret
	end  bool
}

// complete adds what follows from the kernel of a node. It returns false if that is too much.
func (a *Automaton) complete(n *node) bool {
	all := slices.Clone(n.kernel)
	// Rules that end.
	seen := map[ret]bool{}
	for work := slices.Clone(all); len(work) > 0; {
		r := work[len(work)-1]
		work = work[:len(work)-1]
		if !r.g.accept || seen[r] {
			continue
		}
		seen[r] = true
		n.ends = n.ends || r.f.end
		for _, back := range r.f.rets {
			all = a.add(all, back)
			work = append(work, back)
		}
		if a.steps -= placeSteps; a.steps < 0 || len(all) > maxPlaces {
			return false
		}
	}
	// Rules that are called, callers first.
	calls := map[int32]*pending{}
	var heap []int32 // rules, by their order
	enter := func(r ret) {
		for _, c := range r.g.calls {
			p := calls[c.rule]
			if p == nil {
				p = &pending{}
				calls[c.rule] = p
				at, _ := slices.BinarySearchFunc(heap, a.n.order[c.rule], func(r, order int32) int {
					return int(order - a.n.order[r]) // the first is at the end
				})
				heap = slices.Insert(heap, at, c.rule)
			}
			if c.ret.last { // nothing is left to do there
				p.end = p.end || r.f.end
				for _, back := range r.f.rets {
					p.rets = a.add(p.rets, back)
				}
				continue
			}
			p.rets = a.add(p.rets, ret{c.ret, r.f})
		}
	}
	for _, r := range all {
		enter(r)
	}
	for len(heap) > 0 {
		rule := heap[len(heap)-1]
		heap = heap[:len(heap)-1]
		r := ret{a.begin(rule), a.frame(calls[rule].rets, calls[rule].end)}
		all = a.add(all, r)
		enter(r)
		if a.steps < 0 || len(all) > maxPlaces {
			return false
		}
	}
	n.all = all
	return true
}

// read returns the position after a byte of a class, nil if there is too much to do.
func (a *Automaton) read(n *node, class uint8) *node {
	if n == deadNode {
		return n
	}
	if n.next == nil {
		n.next = make([]*node, len(a.sample))
	}
	if n.next[class] == nil {
		n.next[class] = a.move(n, class)
	}
	return n.next[class]
}

// move finds the position after a byte of a class.
func (a *Automaton) move(n *node, class uint8) *node {
	var kernel []ret
	for _, r := range n.all {
		if g := a.after(r.g, class); g != deadGroup {
			kernel = append(kernel, ret{g, r.f})
		}
	}
	if a.steps -= len(n.all); a.steps < 0 {
		return nil
	}
	return a.node(kernel)
}

// take returns the position after a token, nil if there is too much to do.
func (a *Automaton) take(n *node, id int32) *node {
	var kernel []ret
	for _, r := range n.all {
		for _, t := range r.g.tokens {
			if slices.Contains(a.tokens[t.token], id) {
				kernel = a.add(kernel, ret{t.to, r.f})
			}
		}
	}
	if text := a.v.text(id); len(text) > 0 {
		at := n
		for _, b := range text {
			if at = a.read(at, a.class[b]); at == nil {
				return nil
			}
		}
		if len(kernel) == 0 {
			return at
		}
		for _, r := range at.kernel {
			kernel = a.add(kernel, r)
		}
	}
	return a.node(kernel)
}

// String says how large the automaton is.
func (a *Automaton) String() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return fmt.Sprintf("%d rules, %d states; found: %d places, %d frames, %d positions, %d walks, %d bytes",
		len(a.n.start), len(a.n.states), len(a.groups), len(a.frames), len(a.nodes), len(a.walks), a.bytes)
}
