package values

// maxRange is the number of items that a range can have in Jinja's sandbox.
const maxRange = 100000

// Span is a range of integers of any size.
type Span struct {
	start, stop, step Value // integers
	length            int
}

// steps returns how many integers there are from start, before stop.
func steps(start, stop, step int) int {
	if step > 0 && start < stop {
		return (stop-start-1)/step + 1
	}
	if step < 0 && start > stop {
		return (start-stop-1)/-step + 1
	}
	return 0
}

// newSpan returns a range; one that is longer than memory can be has length -1.
func (r *Run) newSpan(start, stop, step Value) *Span {
	from, to := start, stop
	ahead, _ := CompareNumbers(step, 0)
	if ahead < 0 {
		from, to = to, from
	}
	s := &Span{start, stop, step, 0}
	if c, _ := CompareNumbers(from, to); c < 0 {
		size := step
		if ahead < 0 {
			size = r.Ints("-", 0, step)
		}
		last := r.Ints("-", r.Ints("-", to, from), 1)
		n, ok := r.Ints("+", r.Ints("//", last, size), 1).(int)
		if s.length = n; !ok {
			s.length = -1
		}
	}
	return s
}

// spanItem returns the integer at an index, or what would be there.
func (r *Run) spanItem(s *Span, i int) Value { return r.Ints("+", s.start, r.Ints("*", i, s.step)) }

// equalSpans says whether two ranges have the same integers.
func (r *Run) equalSpans(s, t *Span) bool {
	return s.length == t.length && (s.length == 0 ||
		r.Equal(s.start, t.start) && (s.length == 1 || r.Equal(s.step, t.step)))
}

// SpanIndex returns the index of a number in a range, or -1.
func (r *Run) SpanIndex(s *Span, v Value) int {
	if BigOf(v) == nil { // a float can be equal to one
		for i := range s.length {
			if r.Equal(r.spanItem(s, i), v) {
				return i
			}
		}
		return -1
	}
	far := r.Ints("-", v, s.start)
	if r.Ints("%", far, s.step) != 0 {
		return -1
	}
	if i, ok := r.Ints("//", far, s.step).(int); ok && i >= 0 && i < s.length {
		return i
	}
	return -1
}

func makeRange(r *Run, a []Value) Value {
	bound := func(v, otherwise Value) Value {
		v = OrElse(v, otherwise)
		if BigOf(v) == nil {
			r.FailUndefined(v)
			r.Fail("an argument of range is %s, expected an integer", TypeName(v))
		}
		return r.Ints("+", 0, v)
	}
	start, stop, step := bound(a[0], 0), bound(a[1], 0), bound(a[2], 1)
	if a[1] == (Absent{}) {
		start, stop = 0, start
	}
	if step == 0 {
		r.Fail("the step of range is 0")
	}
	s := r.newSpan(start, stop, step)
	if s.length < 0 || s.length > maxRange {
		r.Fail("the range is too long, expected at most %d integers", maxRange)
	}
	return s
}
