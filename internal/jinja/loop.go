package jinja

import (
	"fmt"

	"github.com/phi3conv/phi3conv/internal/jinja/values"
)

type forStatement struct {
	line            int
	target          target
	items           expression
	test            expression // or nil
	recursive       bool
	usesLoop        bool
	body, otherwise []statement
}

func (st *forStatement) exec(r *rendering, s *scope) jumps {
	items := r.eval(st.items, s)
	r.Line = st.line
	if st.recursive {
		r.out.Write(r.capture(func() { st.run(r, s, items, 0) }))
	} else {
		st.run(r, s, items, 0)
	}
	return onward
}

// run runs the body for each item, or otherwise if no body came to its end.
func (st *forStatement) run(r *rendering, s *scope, items values.Value, depth int) {
	l := &loop{statement: st, run: r, scope: s, test: st.test, depth: depth, index: -1, length: -1}
	if g, ok := items.(interface{ Next() (values.Value, bool) }); ok {
		l.more = g.Next
	} else if l.items = r.Items(items); st.test == nil {
		l.length = len(l.items)
	}
	ended := false
	for l.advance() {
		r.Step(1)
		inner := r.inner(s)
		if st.usesLoop {
			inner.set("loop", l)
		}
		st.target.set(r, inner, l.current)
		switch r.exec(st.body, inner) {
		case onward:
			ended = true
		case breaks:
			l.items, l.more, l.hasNext = nil, nil, false
		}
	}
	if !ended {
		r.exec(st.otherwise, r.inner(s))
	}
}

// loop is the variable "loop" of a {% for %}.
type loop struct {
	statement *forStatement
	run       *rendering
	scope     *scope // around it
	items     []values.Value
	more      func() (values.Value, bool) // items of a generator, after the others; nil if there are none
	test      expression                  // of items, nil if all pass
	next      values.Value                // if hasNext: the first that passes the test, taken before its turn
	hasNext   bool
	depth     int // loops that this one was called from
	index     int // of the current item
	length    int // -1: not known
	current   values.Value
	previous  values.Value
	changed   values.Value // what loop.changed was called with
}

// peek takes the next item that passes the test from the items.
func (l *loop) peek() bool {
	for !l.hasNext {
		if len(l.items) > 0 {
			l.next, l.items = l.items[0], l.items[1:]
			l.hasNext = true
		} else if l.more != nil {
			l.next, l.hasNext = l.more()
		}
		if !l.hasNext {
			break
		}
		if l.test != nil {
			l.run.Step(1)
			inner := l.run.inner(l.scope)
			l.statement.target.set(l.run, inner, l.next)
			l.hasNext = l.run.Truth(l.run.eval(l.test, inner))
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
	var rest []values.Value
	for l.peek() {
		l.run.Take(1, 2*values.ValueSize)
		rest = append(rest, l.next)
		l.hasNext = false
	}
	l.length = l.index + 1 + len(rest)
	l.test, l.items, l.more = nil, rest, nil
	return l.length
}

// Length is how many items there are.
func (l *loop) Length() int { return l.count() }

// Next goes to the next item and returns it, with the loop itself.
func (l *loop) Next() (values.Value, bool) {
	if !l.advance() {
		return nil, false
	}
	l.run.Take(1, 64)
	return &values.List{Kind: values.TupleKind, Items: []values.Value{l.current, l}}, true
}

// TypeName names the type in an error.
func (l *loop) TypeName() string { return "loop" }

// String is what a loop is printed as.
func (l *loop) String() string { return fmt.Sprintf("<LoopContext %d/%d>", l.index+1, l.count()) }

// Attribute returns an attribute of the variable "loop".
func (l *loop) Attribute(name string) (values.Value, bool) {
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
			return &values.Undefined{Text: "there is no previous item"}, true
		}
		return l.previous, true
	case "nextitem":
		if !l.peek() {
			return &values.Undefined{Text: "there is no next item"}, true
		}
		return l.next, true
	case "cycle":
		return &values.Method{Function: loopCycle, Receiver: l}, true
	case "changed":
		return &values.Method{Function: loopChanged, Receiver: l}, true
	}
	return nil, false
}

var loopCycle = values.Raw("cycle", func(r *values.Run, a values.Arguments) values.Value {
	items := a.Items[1:]
	if len(items) == 0 {
		r.Fail("loop.cycle has no arguments, expected at least one")
	}
	return items[a.Items[0].(*loop).index%len(items)]
})

var loopChanged = values.Raw("changed", func(r *values.Run, a values.Arguments) values.Value {
	l := a.Items[0].(*loop)
	value := &values.List{Kind: values.TupleKind, Items: a.Items[1:]}
	changed := l.changed == nil || !r.Equal(l.changed, value)
	l.changed = value
	return changed
})
