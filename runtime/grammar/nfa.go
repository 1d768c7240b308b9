package grammar

import (
	"fmt"
	"slices"
	"strings"
)

// nfa is a grammar's rules as automata that call each other.
type nfa struct {
	states []state
	start  []int32 // by rule
	order  []int32 // by rule: callers come before those that they call without reading anything first
	null   []bool  // by state: the rule may end from here without reading anything
	canon  []int32 // by state: one with the same future within a token
	tokens []Expr  // that arcs name
	root   int32   // rule
}

type state struct {
	accept bool
	arcs   []arc
}

// arc leads to another state.
type arc struct {
	kind   arcKind
	lo, hi byte  // of onBytes
	arg    int32 // rule of onCall, index of onToken
	to     int32
}

type arcKind uint8

const (
	onNothing arcKind = iota
	onBytes
	onCall
	onToken
)

// copies are states that are the same a number of times: state i of copy k is base+k·size+i.
type copies struct {
	base, size, count int32
	min, max          int32 // max is negative for a loop in the last copy
	end               int32 // state of the first copy that ends it
}

// builder makes an nfa.
type builder struct {
	g *Grammar
	nfa
	repeats []copies
}

// build makes the automata of a grammar. A token has at most window bytes.
func build(g *Grammar, window int) (*nfa, error) {
	b := &builder{g: g}
	root, ok := g.index[g.root]
	if !ok {
		return nil, fmt.Errorf("there is no rule %s, with which a text begins", g.root)
	}
	if len(g.names) > maxRules {
		return nil, fmt.Errorf("the grammar has %d rules, expected at most %d", len(g.names), maxRules)
	}
	b.root = int32(root)
	for i, e := range g.exprs {
		from, err := b.state()
		if err != nil {
			return nil, err
		}
		b.start = append(b.start, from)
		to, err := b.expr(e, from)
		if err != nil {
			return nil, fmt.Errorf("rule %s: %w", g.names[i], err)
		}
		b.states[to].accept = true
	}
	if err := b.trim(); err != nil {
		return nil, err
	}
	b.null = b.reaching(func(a arc) bool { return a.kind == onNothing || a.kind == onCall })
	if err := b.sort(); err != nil {
		return nil, err
	}
	b.unify(int32(window))
	return &b.nfa, nil
}

func (b *builder) state() (int32, error) {
	if len(b.states) >= maxStates {
		return 0, fmt.Errorf("the grammar has more than %d states: repeat less, or describe less", maxStates)
	}
	b.states = append(b.states, state{})
	return int32(len(b.states) - 1), nil
}

func (b *builder) arc(from int32, a arc) {
	b.states[from].arcs = append(b.states[from].arcs, a)
}

// next adds a state behind from.
func (b *builder) next(from int32, a arc) (int32, error) {
	to, err := b.state()
	if err == nil {
		a.to = to
		b.arc(from, a)
	}
	return to, err
}

// expr adds the states of an expression that begins at from, and returns the one at its end. The number of states is
// the same wherever it begins.
func (b *builder) expr(e Expr, from int32) (end int32, err error) {
	switch e.op {
	case opText:
		for i := range len(e.text) {
			if from, err = b.next(from, arc{kind: onBytes, lo: e.text[i], hi: e.text[i]}); err != nil {
				return 0, err
			}
		}
		return from, nil
	case opSeq:
		for _, sub := range e.subs {
			if from, err = b.expr(sub, from); err != nil {
				return 0, err
			}
		}
		return from, nil
	case opRule:
		rule, ok := b.g.index[e.text]
		if !ok {
			return 0, fmt.Errorf("there is no rule %s", e.text)
		}
		return b.next(from, arc{kind: onCall, arg: int32(rule)})
	case opToken:
		b.tokens = append(b.tokens, e)
		return b.next(from, arc{kind: onToken, arg: int32(len(b.tokens) - 1)})
	case opRunes:
		return b.runes(e.ranges, from)
	case opRepeat:
		return b.repeat(e, from)
	case opMachine:
		return b.machine(e.machine, from)
	}
	if end, err = b.state(); err != nil {
		return 0, err
	}
	for _, sub := range e.subs { // opAlt
		begin, err := b.next(from, arc{})
		if err != nil {
			return 0, err
		}
		to, err := b.expr(sub, begin)
		if err != nil {
			return 0, err
		}
		b.arc(to, arc{to: end})
	}
	return end, nil
}

func (b *builder) runes(ranges []rune, from int32) (end int32, err error) {
	if err := checkRunes(ranges); err != nil {
		return 0, err
	}
	if end, err = b.state(); err != nil {
		return 0, err
	}
	return end, b.between(from, end, ranges)
}

// between leads from one state to another with a character.
func (b *builder) between(from, end int32, ranges []rune) (err error) {
	for i := 0; i+1 < len(ranges); i += 2 {
		sequences(ranges[i], ranges[i+1], func(seq [][2]byte) {
			at := from
			for k, r := range seq {
				a := arc{kind: onBytes, lo: r[0], hi: r[1], to: end}
				if k == len(seq)-1 {
					b.arc(at, a)
				} else if err == nil {
					at, err = b.next(at, a)
				}
			}
		})
	}
	return err
}

func (b *builder) repeat(e Expr, from int32) (end int32, err error) {
	if e.min < 0 || e.max >= 0 && e.min > e.max {
		return 0, fmt.Errorf("a repetition from %d to %d times", e.min, e.max)
	}
	if end, err = b.state(); err != nil {
		return 0, err
	}
	count := e.max
	if e.max < 0 {
		count = e.min + 1
	}
	c := copies{base: int32(len(b.states)), count: int32(count), min: int32(e.min), max: int32(e.max)}
	for i := range count {
		begin, err := b.next(from, arc{})
		if err != nil {
			return 0, err
		}
		if i >= e.min {
			b.arc(begin, arc{to: end})
		}
		if from, err = b.expr(e.subs[0], begin); err != nil {
			return 0, err
		}
		if i == 0 {
			c.size, c.end = int32(len(b.states))-c.base, from
		}
		if e.max < 0 && i == e.min {
			b.arc(from, arc{to: begin})
		}
	}
	if e.max >= 0 {
		b.arc(from, arc{to: end})
	}
	if count > 1 {
		b.repeats = append(b.repeats, c)
	}
	return end, nil
}

func (b *builder) machine(m *Machine, from int32) (end int32, err error) {
	if end, err = b.state(); err != nil {
		return 0, err
	}
	first := int32(len(b.states))
	for _, s := range m.States {
		at, err := b.state()
		if err != nil {
			return 0, err
		}
		if s.Accept {
			b.arc(at, arc{to: end})
		}
	}
	b.arc(from, arc{to: first})
	for i, s := range m.States {
		for _, edge := range s.Edges {
			if edge.On.op == opRunes {
				if err := b.between(first+int32(i), first+int32(edge.To), edge.On.ranges); err != nil {
					return 0, err
				}
				continue
			}
			to, err := b.expr(edge.On, first+int32(i))
			if err != nil {
				return 0, err
			}
			b.arc(to, arc{to: first + int32(edge.To)})
		}
	}
	return end, nil
}

// reaching returns from which states the end of their rules can be reached by the arcs that pass, where the rules that
// are called can be gone through in the same way.
func (b *builder) reaching(pass func(a arc) bool) []bool {
	type source struct {
		from int32
		a    arc
	}
	before := make([][]source, len(b.states)) // what to look at again when a state is found to reach the end
	reach := make([]bool, len(b.states))
	var work []int32
	found := func(s int32) {
		if !reach[s] {
			reach[s] = true
			work = append(work, s)
		}
	}
	for i := range b.states {
		s := int32(i)
		for _, a := range b.states[s].arcs {
			if !pass(a) {
				continue
			}
			before[a.to] = append(before[a.to], source{s, a})
			if a.kind == onCall {
				first := b.start[a.arg]
				before[first] = append(before[first], source{s, a})
			}
		}
		if b.states[s].accept {
			found(s)
		}
	}
	for len(work) > 0 {
		s := work[len(work)-1]
		work = work[:len(work)-1]
		for _, x := range before[s] {
			if reach[x.a.to] && (x.a.kind != onCall || reach[b.start[x.a.arg]]) {
				found(x.from)
			}
		}
	}
	return reach
}

// trim removes the arcs that lead nowhere, so that what has matched can always be completed.
func (b *builder) trim() error {
	reach := b.reaching(func(arc) bool { return true })
	if !reach[b.start[b.root]] {
		return fmt.Errorf("no text matches the grammar")
	}
	for i := range b.states {
		s := &b.states[i]
		s.arcs = slices.DeleteFunc(s.arcs, func(a arc) bool {
			return !reach[a.to] || a.kind == onCall && !reach[b.start[a.arg]]
		})
	}
	return nil
}

// sort finds the order of rules, and refuses those that call themselves before they have read anything.
func (b *builder) sort() error {
	const (
		unknown = iota
		open
		done
	)
	mark := make([]byte, len(b.start))
	next := make([][]int32, len(b.start)) // rules that a rule calls first
	for r, s := range b.start {
		for _, t := range b.closed([]int32{s}) {
			for _, a := range b.states[t].arcs {
				if a.kind == onCall {
					next[r] = append(next[r], a.arg)
				}
			}
		}
	}
	b.order = make([]int32, len(b.start))
	position := int32(len(b.start))
	for r := range b.start {
		if mark[r] != unknown {
			continue
		}
		mark[r] = open
		for path := []int32{int32(r)}; len(path) > 0; {
			at := path[len(path)-1]
			if len(next[at]) == 0 {
				position--
				b.order[at], mark[at] = position, done
				path = path[:len(path)-1]
				continue
			}
			n := next[at][0]
			next[at] = next[at][1:]
			switch mark[n] {
			case open:
				return b.leftRecursion(path[slices.Index(path, n):])
			case unknown:
				mark[n] = open
				path = append(path, n)
			}
		}
	}
	return nil
}

func (b *builder) leftRecursion(rules []int32) error {
	var names []string
	for _, r := range rules {
		names = append(names, b.g.names[r])
	}
	if len(names) > 8 {
		names = append(names[:8], "…")
	}
	return fmt.Errorf("rule %s calls itself before it has read anything (through %s): "+
		"write it so that something comes first, or as a repetition", names[0], strings.Join(names, ", "))
}

// closed returns the states that are reached from some without reading anything, those alone that do something: in
// order, each once.
func (n *nfa) closed(from []int32) []int32 {
	seen := map[int32]bool{}
	var all []int32
	work := slices.Clone(from)
	for len(work) > 0 {
		s := work[len(work)-1]
		work = work[:len(work)-1]
		if seen[s] {
			continue
		}
		seen[s] = true
		does := n.states[s].accept
		for _, a := range n.states[s].arcs {
			does = does || a.kind != onNothing
			if a.kind == onNothing || a.kind == onCall && n.null[n.start[a.arg]] {
				work = append(work, a.to)
			}
		}
		if does {
			all = append(all, s)
		}
	}
	slices.Sort(all)
	return all
}

// unify finds states of repetitions that have the same future within a token: those from which neither the least nor
// the greatest number can be reached within window bytes.
func (b *builder) unify(window int32) {
	b.canon = make([]int32, len(b.states))
	for i := range b.canon {
		b.canon[i] = int32(i)
	}
	for _, c := range b.repeats {
		if c.count <= window || b.skips(c) {
			continue
		}
		for k := range c.count {
			to := c.alike(k, window)
			if to == k {
				continue
			}
			for i := range c.size {
				s := c.base + k*c.size + i
				b.canon[s] += (to - k) * c.size // what was alike within a copy is so still
			}
		}
	}
}

// alike returns the first copy that has the same future as copy k within n rounds.
func (c copies) alike(k, n int32) int32 {
	if c.max >= 0 && c.max-k <= n {
		return k
	}
	switch {
	case c.min-k > n:
		return 0
	case k > c.min:
		return c.min
	}
	return k
}

// skips reports whether a round may read nothing.
func (b *builder) skips(c copies) bool {
	seen := map[int32]bool{}
	work := []int32{c.base}
	for len(work) > 0 {
		s := work[len(work)-1]
		work = work[:len(work)-1]
		if s == c.end {
			return true
		}
		if seen[s] || s < c.base || s >= c.base+c.size {
			continue
		}
		seen[s] = true
		for _, a := range b.states[s].arcs {
			if a.kind == onNothing || a.kind == onCall && b.null[b.start[a.arg]] {
				work = append(work, a.to)
			}
		}
	}
	return false
}
