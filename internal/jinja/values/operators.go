package values

import (
	"cmp"
	"math"
	"math/big"
	"strings"

	"github.com/phi3conv/phi3conv/internal/floats"
	"github.com/phi3conv/phi3conv/internal/jinja/libm"
)

// Number returns a number as an integer, if it is one, and as a float. An integer of more than 64 bits comes as the
// lowest or greatest of 64 bits.
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
	case *big.Int:
		return saturated(v), floatOf(v), true
	}
	return 0, 0, false
}

// IsFloat says whether a value is a float.
func IsFloat(v Value) bool {
	_, ok := v.(float64)
	return ok
}

// TextOf returns the text of a string or of Markup.
func TextOf(v Value) (s string, ok bool) {
	switch v := v.(type) {
	case string:
		return v, true
	case Markup:
		return string(v), true
	}
	return "", false
}

// Arithmetic applies a binary operator as Python does.
func (r *Run) Arithmetic(op string, a, b Value) Value {
	r.FailUndefined(a)
	if v, ok := r.ofContainers(op, a, b); ok {
		return v
	}
	r.FailUndefined(b)
	_, _, aOK := Number(a)
	_, _, bOK := Number(b)
	c, ok1 := complexOf(a)
	d, ok2 := complexOf(b)
	switch {
	case ok1 && ok2 && (isComplex(a) || isComplex(b)):
		return r.complexes(op, c, d)
	case aOK && bOK && (IsFloat(a) || IsFloat(b)):
		return r.floats(op, r.Operand(a), r.Operand(b))
	case aOK && bOK:
		return r.Ints(op, a, b)
	case op == "*":
		if bOK {
			a, b = b, a
		}
		if v, ok := r.repeat(b, a); ok {
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

// ofContainers formats a text or bytes, or takes sets from each other.
func (r *Run) ofContainers(op string, a, b Value) (Value, bool) {
	_, isText := TextOf(a)
	format, areBytes := a.(Octets)
	switch {
	case op == "%" && isText:
		return r.Printf(a, b), true
	case op == "%" && areBytes:
		return r.printBytes(format, b), true
	case op == "-":
		return r.difference(a, b)
	}
	return nil, false
}

// add joins strings or lists.
func (r *Run) add(a, b Value) (Value, bool) {
	s, ok1 := TextOf(a)
	t, ok2 := TextOf(b)
	if ok1 && ok2 {
		_, m := a.(Markup)
		_, n := b.(Markup)
		if m || n {
			return Markup(r.Concat(string(r.Escaped(a)), string(r.Escaped(b)))), true
		}
		return r.Concat(s, t), true
	}
	x, ok1 := a.(Octets)
	y, ok2 := b.(Octets)
	if ok1 && ok2 {
		return Octets(r.Concat(string(x), string(y))), true
	}
	l, ok1 := a.(*List)
	m, ok2 := b.(*List)
	if !ok1 || !ok2 || !l.Sequence() || l.IsTuple() != m.IsTuple() || !m.Sequence() {
		return nil, false
	}
	r.Take(len(l.Items)+len(m.Items), ValueSize)
	items := append(append(make([]Value, 0, len(l.Items)+len(m.Items)), l.Items...), m.Items...)
	if l.IsTuple() {
		return &List{Kind: TupleKind, Items: items}, true
	}
	return r.List(items), true
}

// repeat repeats a string or list.
func (r *Run) repeat(v, times Value) (Value, bool) {
	if _, long := times.(*big.Int); long {
		r.Fail("something is repeated a number of times of more than 64 bits")
	}
	n, _, ok := Number(times)
	if !ok || IsFloat(times) {
		return nil, false
	}
	n = max(0, n)
	switch v := v.(type) {
	case string:
		r.Take(n, len(v))
		return strings.Repeat(v, n), true
	case Markup:
		r.Take(n, len(v))
		return Markup(strings.Repeat(string(v), n)), true
	case Octets:
		r.Take(n, len(v))
		return Octets(strings.Repeat(string(v), n)), true
	case *List:
		if !v.Sequence() {
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
		return &List{Kind: v.Kind, Items: items}, true
	}
	return nil, false
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
	if a < 0 && b != math.Trunc(b) && floats.Finite(a) && !math.IsNaN(b) {
		return r.complexPower(complex(a, 0), complex(b, 0))
	}
	r.Step(powerSteps)
	r.Take(1, powerBytes)
	c := libm.Pow(a, b)
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
		return r.Contains(b, a)
	case "not in":
		return !r.Contains(b, a)
	}
	l, ok1 := a.(*List)
	m, ok2 := b.(*List)
	switch {
	case !ok1 || !ok2 || !l.isSet() || !m.isSet():
	case op[0] == '<':
		return r.subset(l, m, op == "<")
	default:
		return r.subset(m, l, op == ">")
	}
	c, ordered := r.Order(a, b)
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
	if s, ok := TextOf(a); ok {
		t, ok := TextOf(b)
		r.Scan(min(len(s), len(t)))
		return ok && s == t
	}
	if isComplex(a) || isComplex(b) {
		return r.equalComplex(a, b)
	}
	if _, _, ok := Number(a); ok {
		if _, _, ok := Number(b); !ok {
			return false
		}
		r.ScanNumber(a)
		c, ordered := CompareNumbers(a, b)
		return ordered && c == 0
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
	case *Span:
		b, ok := b.(*Span)
		return ok && r.equalSpans(a, b)
	}
	return a == b
}

func (r *Run) equalLists(a, b *List) bool {
	if a.isSet() && b.isSet() {
		return len(a.Items) == len(b.Items) && r.subset(a, b, false)
	}
	if len(a.Items) != len(b.Items) || a.IsTuple() != b.IsTuple() || !a.Sequence() || !b.Sequence() {
		return false
	}
	for i, item := range a.Items {
		if !r.Equal(item, b.Items[i]) {
			return false
		}
	}
	return true
}

// subset says whether all items of a list are in another, which has more of them if the subset is a proper one.
func (r *Run) subset(a, b *List, proper bool) bool {
	if len(a.Items) > len(b.Items) || proper && len(a.Items) == len(b.Items) {
		return false
	}
	for _, item := range a.Items {
		if !r.Contains(b, item) {
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
		v, ok := b.Lookup(r, k)
		if !ok || !r.Equal(a.Values[i], v) {
			return false
		}
	}
	return true
}

// Order compares two values of a kind that has an order; it is false for a NaN.
func (r *Run) Order(a, b Value) (int, bool) {
	r.Step(1)
	r.Enter()
	defer r.Leave()
	r.FailUndefined(a)
	r.FailUndefined(b)
	s, ok1 := TextOf(a)
	t, ok2 := TextOf(b)
	if ok1 && ok2 {
		r.Scan(min(len(s), len(t)))
		return r.compareTexts(s, t), true
	}
	_, _, ok1 = Number(a)
	_, _, ok2 = Number(b)
	if ok1 && ok2 {
		r.ScanNumber(a)
		return CompareNumbers(a, b)
	}
	x, ok1 := a.(Octets)
	y, ok2 := b.(Octets)
	if ok1 && ok2 {
		r.Scan(min(len(x), len(y)))
		return strings.Compare(string(x), string(y)), true
	}
	l, ok1 := a.(*List)
	m, ok2 := b.(*List)
	if !ok1 || !ok2 || !l.Sequence() || !m.Sequence() || l.IsTuple() != m.IsTuple() {
		r.Fail("%s is compared with %s, expected two numbers or two strings", TypeName(a), TypeName(b))
	}
	for i := range min(len(l.Items), len(m.Items)) {
		if !r.Equal(l.Items[i], m.Items[i]) {
			return r.Order(l.Items[i], m.Items[i])
		}
	}
	return cmp.Compare(len(l.Items), len(m.Items)), true
}

// Contains says whether a value is in another.
func (r *Run) Contains(container, v Value) bool {
	if s, ok := TextOf(container); ok {
		t, ok := TextOf(v)
		if !ok {
			r.FailUndefined(v)
			r.Fail("%s is looked for in a string, expected a string", TypeName(v))
		}
		r.Scan(len(s))
		return strings.Contains(s, t)
	}
	if b, ok := container.(Octets); ok {
		if part, ok := v.(Octets); ok {
			r.Scan(len(b))
			return strings.Contains(string(b), string(part))
		}
		i := r.IntArg(v, 0)
		if i < 0 || i > 255 {
			r.Fail("%d is looked for in bytes, expected a number up to 255", i)
		}
		return strings.IndexByte(string(b), byte(i)) >= 0
	}
	if d, ok := container.(*Dict); ok {
		if _, ok := r.Hash(v); !ok {
			r.Fail("%s is looked for in a dict, expected a string or a number", TypeName(v))
		}
		_, ok = d.Lookup(r, v)
		return ok
	}
	if s, ok := container.(*Span); ok {
		return r.SpanIndex(s, v) >= 0
	}
	if s, ok := container.(*List); ok && s.Kind == SetKind {
		if _, ok := r.Hash(v); !ok {
			r.Fail("%s is looked for in a set, expected a string or a number", TypeName(v))
		}
		_, ok = s.dict.Lookup(r, v)
		return ok
	}
	for _, item := range r.Items(container) {
		if r.Equal(item, v) {
			return true
		}
	}
	return false
}
