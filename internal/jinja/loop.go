package jinja

type forStatement struct {
	line            int
	target          target
	items           expression
	test            expression // or nil
	recursive       bool
	usesLoop        bool
	body, otherwise []statement
}

func (st *forStatement) exec(r *run, s *scope) jumps {
	items := r.eval(st.items, s)
	r.line = st.line
	if st.recursive {
		r.out.write(r.capture(func() { st.run(r, s, items, 0) }))
	} else {
		st.run(r, s, items, 0)
	}
	return onward
}

// run runs the body for each item, or otherwise if no body came to its end.
func (st *forStatement) run(r *run, s *scope, items Value, depth int) {
	l := &loop{statement: st, run: r, scope: s, items: r.items(items), test: st.test, depth: depth}
	l.index, l.length = -1, -1
	if _, ok := items.(*generator); !ok && st.test == nil {
		l.length = len(l.items)
	}
	ended := false
	for l.advance() {
		r.step(1)
		inner := r.inner(s)
		if st.usesLoop {
			inner.set("loop", l)
		}
		st.target.set(r, inner, l.current)
		switch r.exec(st.body, inner) {
		case onward:
			ended = true
		case breaks:
			l.items, l.hasNext = nil, false
		}
	}
	if !ended {
		r.exec(st.otherwise, r.inner(s))
	}
}

// loop is the variable "loop" of a {% for %}.
type loop struct {
	statement *forStatement
	run       *run
	scope     *scope // around it
	items     []Value
	test      expression // of items, nil if all pass
	next      Value      // if hasNext: the first that passes the test, taken from items before its turn
	hasNext   bool
	depth     int // loops that this one was called from
	index     int // of the current item
	length    int // -1: not known
	current   Value
	previous  Value
	changed   Value // what loop.changed was called with
}

// peek takes the next item that passes the test from the items.
func (l *loop) peek() bool {
	for !l.hasNext && len(l.items) > 0 {
		l.next, l.items = l.items[0], l.items[1:]
		l.hasNext = true
		if l.test != nil {
			l.run.step(1)
			inner := l.run.inner(l.scope)
			l.statement.target.set(l.run, inner, l.next)
			l.hasNext = l.run.truth(l.run.eval(l.test, inner))
		}
	}
	return l.hasNext
}

// advance goes to the next item.
func (l *loop) advance() bool {
	if !l.peek() {
		return false
	}
	l.previous, l.current, l.hasNext = l.current, l.next, false
	l.index++
	return true
}

// count returns the number of all items that pass the test.
func (l *loop) count() int {
	if l.length >= 0 {
		return l.length
	}
	var rest []Value
	for l.peek() {
		l.run.take(1, 2*valueSize)
		rest = append(rest, l.next)
		l.hasNext = false
	}
	l.length = l.index + 1 + len(rest)
	l.test, l.items = nil, rest
	return l.length
}

// attribute returns an attribute of the variable "loop".
func (l *loop) attribute(name string) (Value, bool) {
	switch name {
	case "index":
		return l.index + 1, true
	case "index0":
		return l.index, true
	case "first":
		return l.index == 0, true
	case "last":
		return !l.peek(), true
	case "length":
		return l.count(), true
	case "revindex":
		return l.count() - l.index, true
	case "revindex0":
		return l.count() - l.index - 1, true
	case "depth":
		return l.depth + 1, true
	case "depth0":
		return l.depth, true
	case "previtem":
		if l.index == 0 {
			return &undefined{text: "there is no previous item", line: l.run.line}, true
		}
		return l.previous, true
	case "nextitem":
		if !l.peek() {
			return &undefined{text: "there is no next item", line: l.run.line}, true
		}
		return l.next, true
	case "cycle":
		return &method{loopCycle, l}, true
	case "changed":
		return &method{loopChanged, l}, true
	}
	return nil, false
}

var loopCycle = raw("cycle", func(r *run, a arguments) Value {
	items := a.items[1:]
	if len(items) == 0 {
		r.fail("loop.cycle has no arguments, expected at least one")
	}
	return items[a.items[0].(*loop).index%len(items)]
})

var loopChanged = raw("changed", func(r *run, a arguments) Value {
	l := a.items[0].(*loop)
	value := &list{kind: tupleKind, items: a.items[1:]}
	changed := l.changed == nil || !r.equal(l.changed, value)
	l.changed = value
	return changed
})
