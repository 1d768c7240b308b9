package jinja

import (
	"cmp"
	"math"
	"math/bits"
	"strings"

	"github.com/phi3conv/phi3conv/internal/floats"
)

// number returns a number as an integer, if it is one, and as a float.
func number(v Value) (i int, f float64, ok bool) {
	switch v := v.(type) {
	case bool:
		if v {
			return 1, 1, true
		}
		return 0, 0, true
	case int:
		return v, float64(v), true
	case float64:
		return 0, v, true
	}
	return 0, 0, false
}

func isFloat(v Value) bool {
	_, ok := v.(float64)
	return ok
}

// textOf returns a string or markup.
func textOf(v Value) (s string, ok bool) {
	switch v := v.(type) {
	case string:
		return v, true
	case markup:
		return string(v), true
	}
	return "", false
}

// arithmetic applies a binary operator as Python does.
func (r *run) arithmetic(op string, a, b Value) Value {
	r.failUndefined(a)
	if s, ok := textOf(a); ok && op == "%" {
		return r.printf(s, b)
	}
	r.failUndefined(b)
	i, f, aOK := number(a)
	j, g, bOK := number(b)
	switch {
	case aOK && bOK && (isFloat(a) || isFloat(b)):
		return r.floats(op, f, g)
	case aOK && bOK:
		return r.ints(op, i, j)
	case op == "*" && bOK && !isFloat(b):
		if v, ok := r.repeat(a, j); ok {
			return v
		}
	case op == "*" && aOK && !isFloat(a):
		if v, ok := r.repeat(b, i); ok {
			return v
		}
	case op == "+":
		if v, ok := r.add(a, b); ok {
			return v
		}
	}
	r.fail("found %s %s %s, expected two numbers%s", typeName(a), op, typeName(b),
		map[bool]string{true: ", strings or lists; ~ joins values of any type"}[op == "+"])
	return nil
}

// add joins strings or lists.
func (r *run) add(a, b Value) (Value, bool) {
	s, ok1 := textOf(a)
	t, ok2 := textOf(b)
	if ok1 && ok2 {
		_, m := a.(markup)
		_, n := b.(markup)
		switch {
		case m && !n:
			return markup(r.concat(s, r.escape(t))), true
		case n && !m:
			return markup(r.concat(r.escape(s), t)), true
		case m && n:
			return markup(r.concat(s, t)), true
		}
		return r.concat(s, t), true
	}
	l, ok1 := a.(*list)
	m, ok2 := b.(*list)
	if !ok1 || !ok2 || !l.sequence() || l.isTuple() != m.isTuple() || !m.sequence() {
		return nil, false
	}
	r.take(len(l.items)+len(m.items), valueSize)
	items := append(append(make([]Value, 0, len(l.items)+len(m.items)), l.items...), m.items...)
	if l.isTuple() {
		return &list{tupleKind, items}, true
	}
	return r.list(items), true
}

// repeat repeats a string or list.
func (r *run) repeat(v Value, n int) (Value, bool) {
	n = max(0, n)
	switch v := v.(type) {
	case string:
		r.take(n, len(v))
		return strings.Repeat(v, n), true
	case markup:
		r.take(n, len(v))
		return markup(strings.Repeat(string(v), n)), true
	case *list:
		if !v.sequence() {
			return nil, false
		}
		r.take(n, len(v.items)*valueSize)
		items := make([]Value, 0, n*len(v.items))
		for range n {
			if len(v.items) == 0 {
				break
			}
			items = append(items, v.items...)
		}
		return &list{v.kind, items}, true
	}
	return nil, false
}

func (r *run) ints(op string, a, b int) Value {
	switch op {
	case "+":
		if c := a + b; (c > a) == (b > 0) {
			return c
		}
	case "-":
		if c := a - b; (c < a) == (b > 0) {
			return c
		}
	case "*":
		if c, ok := multiply(a, b); ok {
			return c
		}
	case "/":
		return r.floats(op, float64(a), float64(b))
	case "//", "%":
		return r.divide(op, a, b)
	case "**":
		if b < 0 {
			return r.floats(op, float64(a), float64(b))
		}
		if c, ok := power(a, b); ok {
			return c
		}
	}
	r.fail("the result of %s has more than 64 bits, which is not supported: use floats", op)
	return nil
}

// divide rounds the quotient down.
func (r *run) divide(op string, a, b int) Value {
	if b == 0 {
		r.fail("%s divides by zero", op)
	}
	if b == -1 { // the lowest integer has no opposite
		if op == "%" {
			return 0
		}
		return r.ints("-", 0, a)
	}
	q, m := a/b, a%b
	if m != 0 && (m < 0) != (b < 0) {
		q, m = q-1, m+b
	}
	if op == "%" {
		return m
	}
	return q
}

func multiply(a, b int) (int, bool) {
	hi, lo := bits.Mul64(uint64(max(a, -a)), uint64(max(b, -b)))
	return a * b, hi == 0 && lo <= math.MaxInt64 && a != math.MinInt && b != math.MinInt
}

func power(a, b int) (int, bool) {
	result := 1
	for {
		var fits bool
		if b&1 == 1 {
			if result, fits = multiply(result, a); !fits {
				return 0, false
			}
		}
		if b >>= 1; b == 0 {
			return result, true
		}
		if a, fits = multiply(a, a); !fits {
			return 0, false
		}
	}
}

func (r *run) floats(op string, a, b float64) Value {
	if b == 0 && (op == "/" || op == "//" || op == "%") {
		r.fail("%s divides by zero", op)
	}
	switch op {
	case "+":
		return a + b
	case "-":
		return a - b
	case "*":
		return a * b
	case "/":
		return a / b
	case "//":
		return math.Floor((a - floorMod(a, b)) / b)
	case "%":
		return floorMod(a, b)
	}
	c := math.Pow(a, b)
	if !floats.Finite(c) && floats.Finite(a) && floats.Finite(b) {
		r.fail("the result of ** is no float")
	}
	return c
}

// floorMod returns the remainder, which has the sign of b.
func floorMod(a, b float64) float64 {
	m := math.Mod(a, b)
	switch {
	case m == 0:
		return math.Copysign(0, b)
	case (m < 0) != (b < 0):
		m += b
	}
	return m
}

// compare applies an operator of comparison.
func (r *run) compare(op string, a, b Value) bool {
	switch op {
	case "==":
		return r.equal(a, b)
	case "!=":
		return !r.equal(a, b)
	case "in":
		return r.contains(b, a)
	case "not in":
		return !r.contains(b, a)
	}
	c, ordered := r.order(a, b)
	if !ordered { // a NaN
		return false
	}
	return op == "<" && c < 0 || op == "<=" && c <= 0 || op == ">" && c > 0 || op == ">=" && c >= 0
}

func (r *run) equal(a, b Value) bool {
	r.step(1)
	r.enter()
	defer r.leave()
	if s, ok := textOf(a); ok {
		t, ok := textOf(b)
		r.scan(min(len(s), len(t)))
		return ok && s == t
	}
	if i, f, ok := number(a); ok {
		j, g, ok := number(b)
		if !isFloat(a) && !isFloat(b) {
			return ok && i == j
		}
		return ok && f == g
	}
	switch a := a.(type) {
	case *undefined:
		_, ok := b.(*undefined)
		return ok
	case *list:
		b, ok := b.(*list)
		return ok && (a == b || r.equalLists(a, b))
	case *dict:
		b, ok := b.(*dict)
		return ok && (a == b || r.equalDicts(a, b))
	case *span:
		b, ok := b.(*span)
		return ok && a.equal(b)
	}
	return a == b
}

func (r *run) equalLists(a, b *list) bool {
	if len(a.items) != len(b.items) || a.isTuple() != b.isTuple() || a.sequence() != b.sequence() {
		return false
	}
	for i, item := range a.items {
		if !r.equal(item, b.items[i]) {
			return false
		}
	}
	return true
}

func (r *run) equalDicts(a, b *dict) bool {
	if len(a.keys) != len(b.keys) {
		return false
	}
	for i, k := range a.keys {
		v, ok := b.lookup(r, k)
		if !ok || !r.equal(a.values[i], v) {
			return false
		}
	}
	return true
}

// order compares two values of a kind that has an order; it is false for a NaN.
func (r *run) order(a, b Value) (int, bool) {
	r.step(1)
	r.enter()
	defer r.leave()
	r.failUndefined(a)
	r.failUndefined(b)
	s, ok1 := textOf(a)
	t, ok2 := textOf(b)
	if ok1 && ok2 {
		r.scan(min(len(s), len(t)))
		return strings.Compare(s, t), true
	}
	i, f, ok1 := number(a)
	j, g, ok2 := number(b)
	if ok1 && ok2 {
		if isFloat(a) || isFloat(b) {
			return cmp.Compare(f, g), !math.IsNaN(f) && !math.IsNaN(g)
		}
		return cmp.Compare(i, j), true
	}
	l, ok1 := a.(*list)
	m, ok2 := b.(*list)
	if !ok1 || !ok2 || !l.sequence() || !m.sequence() || l.isTuple() != m.isTuple() {
		r.fail("%s is compared with %s, expected two numbers or two strings", typeName(a), typeName(b))
	}
	for i := range min(len(l.items), len(m.items)) {
		if !r.equal(l.items[i], m.items[i]) {
			return r.order(l.items[i], m.items[i])
		}
	}
	return cmp.Compare(len(l.items), len(m.items)), true
}

// less is for sorting.
func (r *run) less(a, b Value) bool { return r.compare("<", a, b) }

// contains says whether a value is in another.
func (r *run) contains(container, v Value) bool {
	if s, ok := textOf(container); ok {
		t, ok := textOf(v)
		if !ok {
			r.failUndefined(v)
			r.fail("%s is looked for in a string, expected a string", typeName(v))
		}
		r.scan(len(s))
		return strings.Contains(s, t)
	}
	if d, ok := container.(*dict); ok {
		if _, ok := r.hash(v); !ok {
			r.fail("%s is looked for in a dict, expected a string or a number", typeName(v))
		}
		_, ok = d.lookup(r, v)
		return ok
	}
	for _, item := range r.items(container) {
		if r.equal(item, v) {
			return true
		}
	}
	return false
}
