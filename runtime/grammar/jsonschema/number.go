package jsonschema

import (
	"errors"
	"fmt"
	"math/big"
	"strconv"
	"strings"

	"github.com/phi3conv/phi3conv/runtime/grammar"
)

// bounds are what numbers have to be.
type bounds struct {
	whole      bool // integers
	min, max   *bound
	multipleOf []decimal
}

type bound struct {
	decimal
	exclusive bool
}

// Digits that a number has at most before and after the point, more only where bounds have more. With as many, floats
// of 64 bits keep it apart from its neighbours, nearly.
const mostDigits = 16

// expr is a number within bounds, without an exponent if there are any.
func (b *bounds) expr() (grammar.Expr, error) {
	if b.min == nil && b.max == nil && b.multipleOf == nil {
		if b.whole {
			return grammar.Rule("integer"), nil
		}
		return grammar.Rule("number"), nil
	}
	var all []grammar.Expr
	zero := &bound{}
	if b.max == nil || !b.max.negative {
		low := b.min
		if low == nil || low.negative {
			low = zero
		}
		e, err := b.magnitude(low, b.max)
		if err != nil {
			return e, err
		}
		all = append(all, e)
	}
	if b.min == nil || b.min.negative {
		low := &bound{exclusive: true} // not -0
		if b.max != nil && b.max.negative {
			low = b.max
		}
		e, err := b.magnitude(low, b.min)
		if err != nil {
			return e, err
		}
		all = append(all, grammar.Seq(grammar.Text("-"), e))
	}
	return grammar.Alt(all...), nil
}

// reading is how far a number without its sign has been read.
type reading struct {
	digits    int // before the point, or after it
	point     bool
	zero      bool // the only digit before the point is 0
	low, high int8 // how what was read compares with as many digits of the bounds: -1, 0 or 1
	rest      int  // of what was read, divided by what it must be a multiple of
}

// scale is m·10^-places with a whole m, the least that is a multiple of all of multipleOf; m is 1 if there is none.
func (b *bounds) scale() (m, places int, err error) {
	if b.multipleOf == nil {
		return 1, 0, nil
	}
	for _, d := range b.multipleOf {
		places = max(places, d.places)
	}
	product := big.NewInt(1)
	for _, d := range b.multipleOf {
		r := d.rat()
		r.Mul(r, new(big.Rat).SetInt(new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(places)), nil)))
		n := r.Num() // it is whole
		if n.Sign() <= 0 {
			return 0, 0, errors.New("multipleOf is not above 0")
		}
		common := new(big.Int).GCD(nil, nil, product, n)
		product.Mul(product, n).Div(product, common)
	}
	if product.BitLen() > 20 {
		return 0, 0, fmt.Errorf("multipleOf: %v units of its last digit are too many", product)
	}
	return int(product.Int64()), places, nil
}

// reader reads numbers without a sign from low to high.
type reader struct {
	low                 *bound
	high                *bound // nil for none
	lowWhole, lowPart   string // digits before and after the point
	highWhole, highPart string
	m, places           int // a multiple of m·10^-places
	most, mostPlaces    int // digits before and after the point
}

// magnitude is a number from low to high, which are taken without their signs; high may be nil.
func (b *bounds) magnitude(low, high *bound) (grammar.Expr, error) {
	m, places, err := b.scale()
	if err != nil {
		return grammar.Expr{}, err
	}
	r := &reader{low: low, high: high, m: m, places: places}
	r.lowWhole, r.lowPart = low.split()
	r.most, r.mostPlaces = max(mostDigits, len(r.lowWhole)+1), max(mostDigits, len(r.lowPart)+1)
	if high != nil {
		r.highWhole, r.highPart = high.split()
		r.most, r.mostPlaces = max(mostDigits, len(r.highWhole)), max(r.mostPlaces, len(r.highPart)+1)
	}
	if m > 1 { // fewer digits keep the automaton small
		r.most = min(r.most, max(maxStates/4/m, len(r.lowWhole)+1, len(strconv.Itoa(m))+1))
	}
	switch {
	case b.whole:
		r.mostPlaces = 0
	case b.multipleOf != nil:
		r.mostPlaces = min(r.mostPlaces, places)
	}
	d, err := explore(reading{}, r.accept, r.edges)
	if err != nil {
		return grammar.Expr{}, fmt.Errorf("what is asked of the number takes more than %d states", maxStates)
	}
	return d.expr(), nil
}

// whole compares what came before the point.
func (r *reader) whole(s reading) reading {
	s.low = compare(s.digits, len(r.lowWhole), s.low)
	if r.high != nil {
		s.high = compare(s.digits, len(r.highWhole), s.high)
	}
	return s
}

func (r *reader) accept(s reading) bool {
	if s.digits == 0 {
		return false
	}
	n := s.digits // after the point
	if !s.point {
		s, n = r.whole(s), 0
	}
	rest := s.rest
	for range r.places - n {
		rest = rest * 10 % r.m
	}
	if rest != 0 || s.low < 0 || s.low == 0 && (n < len(r.lowPart) || r.low.exclusive) {
		return false
	}
	if r.high == nil || s.high < 0 {
		return true
	}
	return s.high == 0 && (n < len(r.highPart) || !r.high.exclusive) // with fewer digits it is below
}

func (r *reader) edges(s reading) (out []labelled[reading]) {
	// right reports whether what was read can still be within the bounds, which after the point each digit decides.
	right := func(s reading) bool { return s.low >= 0 && (r.high == nil || s.high <= 0) }
	limit, lowDigits, highDigits := r.mostPlaces, r.lowPart, r.highPart
	if !s.point {
		limit, lowDigits, highDigits = r.most, r.lowWhole, r.highWhole
		if next := r.whole(s); s.digits > 0 && r.mostPlaces > 0 && right(next) {
			next.digits, next.point, next.zero = 0, true, false
			out = append(out, labelled[reading]{'.', '.', next})
		}
	}
	if s.digits >= limit || s.zero {
		return out
	}
	for digit := byte('0'); digit <= '9'; digit++ {
		next := s
		next.digits++
		next.rest = (s.rest*10 + int(digit-'0')) % r.m
		next.zero = !s.point && s.digits == 0 && digit == '0'
		next.low = digitOf(s.low, digit, lowDigits, s.digits, s.point)
		if r.high != nil {
			next.high = digitOf(s.high, digit, highDigits, s.digits, s.point)
		}
		if !s.point || right(next) {
			out = append(out, labelled[reading]{rune(digit), rune(digit), next})
		}
	}
	return out
}

// digitOf compares with another digit: the first difference counts. Digits after the last one are 0 behind the point;
// before it the number of digits will decide.
func digitOf(so int8, digit byte, digits string, i int, point bool) int8 {
	if so != 0 || i >= len(digits) && !point {
		return so
	}
	other := byte('0')
	if i < len(digits) {
		other = digits[i]
	}
	return int8(strings.Compare(string(digit), string(other)))
}

// compare compares whole numbers of which the first digits compare so.
func compare(digits, others int, so int8) int8 {
	switch {
	case digits < others:
		return -1
	case digits > others:
		return 1
	}
	return so
}
