package values

import (
	"cmp"
	"math"
	"math/bits"
	"strings"

	"github.com/phi3conv/phi3conv/internal/floats"
)

// Number returns a number as an integer, if it is one, and as a float.
func Number(v Value) (i int, f float64, ok bool) {
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

// Arithmetic applies a binary operator as Python does.
func (r *Run) Arithmetic(op string, a, b Value) Value {
	r.FailUndefined(a)
	if s, ok := textOf(a); ok && op == "%" {
		return r.printf(s, b)
	}
	r.FailUndefined(b)
	i, f, aOK := Number(a)
	j, g, bOK := Number(b)
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
	r.Fail("found %s %s %s, expected two numbers%s", TypeName(a), op, TypeName(b),
		map[bool]string{true: ", strings or lists; ~ joins values of any type"}[op == "+"])
	return nil
}

// add joins strings or lists.
func (r *Run) add(a, b Value) (Value, bool) {
	s, ok1 := textOf(a)
	t, ok2 := textOf(b)
	if ok1 && ok2 {
		_, m := a.(markup)
		_, n := b.(markup)
		switch {
		case m && !n:
			return markup(r.Concat(s, r.escape(t))), true
		case n && !m:
			return markup(r.Concat(r.escape(s), t)), true
		case m && n:
			return markup(r.Concat(s, t)), true
		}
		return r.Concat(s, t), true
	}
	l, ok1 := a.(*List)
	m, ok2 := b.(*List)
	if !ok1 || !ok2 || !l.sequence() || l.isTuple() != m.isTuple() || !m.sequence() {
		return nil, false
	}
	r.Take(len(l.Items)+len(m.Items), ValueSize)
	items := append(append(make([]Value, 0, len(l.Items)+len(m.Items)), l.Items...), m.Items...)
	if l.isTuple() {
		return &List{TupleKind, items}, true
	}
	return r.List(items), true
}

// repeat repeats a string or list.
func (r *Run) repeat(v Value, n int) (Value, bool) {
	n = max(0, n)
	switch v := v.(type) {
	case string:
		r.Take(n, len(v))
		return strings.Repeat(v, n), true
	case markup:
		r.Take(n, len(v))
		return markup(strings.Repeat(string(v), n)), true
	case *List:
		if !v.sequence() {
			return nil, false
		}
		r.Take(n, len(v.Items)*ValueSize)
		items := make([]Value, 0, n*len(v.Items))
		for range n {
			if len(v.Items) == 0 {
				break
			}
			items = append(items, v.Items...)
		}
		return &List{v.Kind, items}, true
	}
	return nil, false
}

func (r *Run) ints(op string, a, b int) Value {
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
	r.Fail("the result of %s has more than 64 bits, which is not supported: use floats", op)
	return nil
}

// divide rounds the quotient down.
func (r *Run) divide(op string, a, b int) Value {
	if b == 0 {
		r.Fail("%s divides by zero", op)
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

func (r *Run) floats(op string, a, b float64) Value {
	if b == 0 && (op == "/" || op == "//" || op == "%") {
		r.Fail("%s divides by zero", op)
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
		r.Fail("the result of ** is no float")
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

// Compare applies an operator of comparison.
func (r *Run) Compare(op string, a, b Value) bool {
	switch op {
	case "==":
		return r.Equal(a, b)
	case "!=":
		return !r.Equal(a, b)
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

// Equal says whether two values are equal.
func (r *Run) Equal(a, b Value) bool {
	r.Step(1)
	r.Enter()
	defer r.Leave()
	if s, ok := textOf(a); ok {
		t, ok := textOf(b)
		r.scan(min(len(s), len(t)))
		return ok && s == t
	}
	if i, f, ok := Number(a); ok {
		j, g, ok := Number(b)
		if !isFloat(a) && !isFloat(b) {
			return ok && i == j
		}
		return ok && f == g
	}
	switch a := a.(type) {
	case *Undefined:
		_, ok := b.(*Undefined)
		return ok
	case *List:
		b, ok := b.(*List)
		return ok && (a == b || r.equalLists(a, b))
	case *Dict:
		b, ok := b.(*Dict)
		return ok && (a == b || r.equalDicts(a, b))
	case *span:
		b, ok := b.(*span)
		return ok && a.equal(b)
	}
	return a == b
}

func (r *Run) equalLists(a, b *List) bool {
	if len(a.Items) != len(b.Items) || a.isTuple() != b.isTuple() || a.sequence() != b.sequence() {
		return false
	}
	for i, item := range a.Items {
		if !r.Equal(item, b.Items[i]) {
			return false
		}
	}
	return true
}

func (r *Run) equalDicts(a, b *Dict) bool {
	if len(a.Keys) != len(b.Keys) {
		return false
	}
	for i, k := range a.Keys {
		v, ok := b.lookup(r, k)
		if !ok || !r.Equal(a.Values[i], v) {
			return false
		}
	}
	return true
}

// order compares two values of a kind that has an order; it is false for a NaN.
func (r *Run) order(a, b Value) (int, bool) {
	r.Step(1)
	r.Enter()
	defer r.Leave()
	r.FailUndefined(a)
	r.FailUndefined(b)
	s, ok1 := textOf(a)
	t, ok2 := textOf(b)
	if ok1 && ok2 {
		r.scan(min(len(s), len(t)))
		return strings.Compare(s, t), true
	}
	i, f, ok1 := Number(a)
	j, g, ok2 := Number(b)
	if ok1 && ok2 {
		if isFloat(a) || isFloat(b) {
			return cmp.Compare(f, g), !math.IsNaN(f) && !math.IsNaN(g)
		}
		return cmp.Compare(i, j), true
	}
	l, ok1 := a.(*List)
	m, ok2 := b.(*List)
	if !ok1 || !ok2 || !l.sequence() || !m.sequence() || l.isTuple() != m.isTuple() {
		r.Fail("%s is compared with %s, expected two numbers or two strings", TypeName(a), TypeName(b))
	}
	for i := range min(len(l.Items), len(m.Items)) {
		if !r.Equal(l.Items[i], m.Items[i]) {
			return r.order(l.Items[i], m.Items[i])
		}
	}
	return cmp.Compare(len(l.Items), len(m.Items)), true
}

// contains says whether a value is in another.
func (r *Run) contains(container, v Value) bool {
	if s, ok := textOf(container); ok {
		t, ok := textOf(v)
		if !ok {
			r.FailUndefined(v)
			r.Fail("%s is looked for in a string, expected a string", TypeName(v))
		}
		r.scan(len(s))
		return strings.Contains(s, t)
	}
	if d, ok := container.(*Dict); ok {
		if _, ok := r.hash(v); !ok {
			r.Fail("%s is looked for in a dict, expected a string or a number", TypeName(v))
		}
		_, ok = d.lookup(r, v)
		return ok
	}
	for _, item := range r.Items(container) {
		if r.Equal(item, v) {
			return true
		}
	}
	return false
}
