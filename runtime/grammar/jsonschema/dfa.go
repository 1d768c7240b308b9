package jsonschema

import (
	"fmt"
	"regexp/syntax"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/phi3conv/phi3conv/runtime/grammar"
)

// dfa is a deterministic automaton over the characters of a string, which begins in state 0.
type dfa struct{ states []dfaState }

type dfaState struct {
	accept bool
	edges  []dfaEdge // in order, none overlapping; other characters end in failure
}

type dfaEdge struct {
	first, last rune
	to          int
}

// maxStates bounds the automaton of a string.
const maxStates = 20_000

var errComplex = fmt.Errorf("what is asked of the string takes more than %d states", maxStates)

// explore makes an automaton of states of any kind, from first on.
func explore[S comparable](first S, accept func(S) bool, edges func(S) []labelled[S]) (*dfa, error) {
	d := &dfa{}
	number := map[S]int{first: 0}
	for all := []S{first}; len(d.states) < len(all); {
		s := all[len(d.states)]
		state := dfaState{accept: accept(s)}
		for _, e := range edges(s) {
			n, ok := number[e.to]
			if !ok {
				if n = len(all); n >= maxStates {
					return nil, errComplex
				}
				number[e.to] = n
				all = append(all, e.to)
			}
			if k := len(state.edges); k > 0 && state.edges[k-1].to == n && state.edges[k-1].last+1 == e.first {
				state.edges[k-1].last = e.last
				continue
			}
			state.edges = append(state.edges, dfaEdge{e.first, e.last, n})
		}
		d.states = append(d.states, state)
	}
	d.trim()
	return d, nil
}

// trim removes edges to states from which nothing is accepted.
func (d *dfa) trim() {
	before := make([][]int, len(d.states))
	alive := make([]bool, len(d.states))
	var work []int
	for i, s := range d.states {
		for _, e := range s.edges {
			before[e.to] = append(before[e.to], i)
		}
		if s.accept {
			alive[i] = true
			work = append(work, i)
		}
	}
	for len(work) > 0 {
		s := work[len(work)-1]
		work = work[:len(work)-1]
		for _, from := range before[s] {
			if !alive[from] {
				alive[from] = true
				work = append(work, from)
			}
		}
	}
	for i := range d.states {
		d.states[i].edges = slices.DeleteFunc(d.states[i].edges, func(e dfaEdge) bool { return !alive[e.to] })
	}
}

// labelled is an edge that leads to a state of some kind.
type labelled[S any] struct {
	first, last rune
	to          S
}

// both accepts what a and b accept.
func both(a, b *dfa) (*dfa, error) {
	type pair struct{ a, b int }
	return explore(pair{}, func(p pair) bool { return a.states[p.a].accept && b.states[p.b].accept },
		func(p pair) (out []labelled[pair]) {
			x, y := a.states[p.a].edges, b.states[p.b].edges
			for i, j := 0, 0; i < len(x) && j < len(y); {
				first, last := max(x[i].first, y[j].first), min(x[i].last, y[j].last)
				if first <= last {
					out = append(out, labelled[pair]{first, last, pair{x[i].to, y[j].to}})
				}
				if x[i].last < y[j].last {
					i++
				} else {
					j++
				}
			}
			return out
		})
}

// not accepts what d does not.
func (d *dfa) not() *dfa {
	dead := len(d.states)
	n := &dfa{}
	for i := range dead + 1 {
		s := dfaState{accept: true}
		var edges []dfaEdge
		if i < dead {
			s.accept, edges = !d.states[i].accept, d.states[i].edges
		}
		next := rune(0)
		for _, e := range edges {
			if next < e.first {
				s.edges = append(s.edges, dfaEdge{next, e.first - 1, dead})
			}
			s.edges = append(s.edges, e)
			next = e.last + 1
		}
		if next <= utf8.MaxRune {
			s.edges = append(s.edges, dfaEdge{next, utf8.MaxRune, dead})
		}
		n.states = append(n.states, s)
	}
	return n
}

// empty reports whether d, which explore has made, accepts nothing.
func (d *dfa) empty() bool { return !d.states[0].accept && len(d.states[0].edges) == 0 }

// words accepts some strings.
func words(list []string) *dfa {
	d := &dfa{states: []dfaState{{}}}
	for _, w := range list {
		at := 0
		for _, r := range w {
			edges := d.states[at].edges
			i, ok := slices.BinarySearchFunc(edges, r, func(e dfaEdge, r rune) int { return int(e.first - r) })
			if !ok {
				d.states[at].edges = slices.Insert(edges, i, dfaEdge{r, r, len(d.states)})
				d.states = append(d.states, dfaState{})
			}
			at = d.states[at].edges[i].to
		}
		d.states[at].accept = true
	}
	return d
}

// lengths accepts the strings of least to most characters; most is negative for any number.
func lengths(least, most int) (*dfa, error) {
	end := most
	if most < 0 {
		end = least
	}
	return explore(0, func(n int) bool { return n >= least }, func(n int) []labelled[int] {
		switch {
		case n < end:
			return []labelled[int]{{0, utf8.MaxRune, n + 1}}
		case most < 0:
			return []labelled[int]{{0, utf8.MaxRune, n}}
		}
		return nil
	})
}

// pattern accepts the strings in which a regular expression is found. The expression is one of JavaScript, of which
// those parts are read that Go's regexp has too.
func pattern(expr string) (*dfa, error) {
	re, err := syntax.Parse(goSyntax(expr), syntax.Perl)
	if err != nil {
		return nil, fmt.Errorf("pattern %q: %w", expr, err)
	}
	prog, err := syntax.Compile(re.Simplify())
	if err != nil {
		return nil, fmt.Errorf("pattern %q: %w", expr, err)
	}
	s := &search{prog: prog}
	d, err := explore(s.state([]uint32{uint32(prog.Start)}, true), func(x string) bool { return x[0]&1 != 0 }, s.edges)
	if s.err != nil {
		err = s.err
	}
	if err != nil {
		return nil, fmt.Errorf("pattern %q: %w", expr, err)
	}
	return d, nil
}

// goSyntax writes what JavaScript writes in another way than Go.
func goSyntax(expr string) string {
	var b strings.Builder
	class := false
	for i := 0; i < len(expr); i++ {
		switch c := expr[i]; {
		case c == '\\' && i+1 < len(expr):
			next := expr[i+1]
			switch {
			case next == 'u' && i+5 < len(expr) && strings.Trim(expr[i+2:i+6], "0123456789abcdefABCDEF") == "":
				b.WriteString(`\x{` + expr[i+2:i+6] + `}`)
				i += 5
				continue
			case next == 'S' && !class: // it has more white space
				b.WriteString(`[^\s\v\x{feff}\p{Z}]`)
			case next == 'Z' || next == 'z' || next == 'A': // anchors in Go alone
				b.WriteByte(next)
			default:
				b.WriteString(expr[i : i+2])
			}
			i++
		case c == '.' && !class:
			b.WriteString(`[^\n\r\x{2028}\x{2029}]`)
		default:
			switch {
			case c == '[' && !class:
				class = true
			case c == '[':
				b.WriteByte('\\')
			case c == ']':
				class = false
			}
			b.WriteByte(c)
		}
	}
	return b.String()
}

// search looks for a program in a string. A state is a string: a byte of flags and the instructions that read the next
// character, or one byte alone where it has been found.
type search struct {
	prog *syntax.Prog
	err  error
}

const (
	accepts = 1 // if the string ends here
	found   = 3
)

// state follows instructions that read nothing.
func (s *search) state(from []uint32, start bool) string {
	var reading []uint32
	flags := byte(0)
	for _, end := range []bool{false, true} {
		seen := map[uint32]bool{}
		for work := slices.Clone(from); len(work) > 0; {
			pc := work[len(work)-1]
			work = work[:len(work)-1]
			if seen[pc] {
				continue
			}
			seen[pc] = true
			switch i := s.prog.Inst[pc]; i.Op {
			case syntax.InstAlt, syntax.InstAltMatch:
				work = append(work, i.Out, i.Arg)
			case syntax.InstCapture, syntax.InstNop:
				work = append(work, i.Out)
			case syntax.InstEmptyWidth:
				switch op := syntax.EmptyOp(i.Arg); {
				case op&^(syntax.EmptyBeginText|syntax.EmptyEndText) != 0:
					s.err = fmt.Errorf(`\b, \B and the ends of lines within a string are not supported`)
				case (op&syntax.EmptyBeginText == 0 || start) && (op&syntax.EmptyEndText == 0 || end):
					work = append(work, i.Out)
				}
			case syntax.InstMatch:
				if !end {
					return string([]byte{found})
				}
				flags = accepts
			case syntax.InstFail:
			default:
				if !end {
					reading = append(reading, pc)
				}
			}
		}
	}
	slices.Sort(reading)
	b := []byte{flags}
	for _, pc := range reading {
		b = append(b, byte(pc), byte(pc>>8), byte(pc>>16))
	}
	return string(b)
}

func (s *search) edges(state string) (out []labelled[string]) {
	if state[0] == found {
		return []labelled[string]{{0, utf8.MaxRune, state}}
	}
	if s.err != nil {
		return nil
	}
	type reader struct {
		ranges []rune
		to     uint32
	}
	var readers []reader
	borders := []rune{0, utf8.MaxRune + 1}
	for b := state[1:]; len(b) > 0; b = b[3:] {
		i := s.prog.Inst[uint32(b[0])|uint32(b[1])<<8|uint32(b[2])<<16]
		r := reader{rangesOf(&i), i.Out}
		for k := 0; k < len(r.ranges); k += 2 {
			borders = append(borders, r.ranges[k], r.ranges[k+1]+1)
		}
		readers = append(readers, r)
	}
	slices.Sort(borders)
	borders = slices.Compact(borders)
	for k, first := range borders[:len(borders)-1] {
		to := []uint32{uint32(s.prog.Start)} // it may begin anywhere
		for _, r := range readers {
			i, ok := slices.BinarySearch(r.ranges, first) // of an end when inside
			if ok || i%2 == 1 {
				to = append(to, r.to)
			}
		}
		out = append(out, labelled[string]{first, borders[k+1] - 1, s.state(to, false)})
	}
	return out
}

// rangesOf returns the characters that an instruction reads, in order.
func rangesOf(i *syntax.Inst) []rune {
	switch i.Op {
	case syntax.InstRuneAny:
		return []rune{0, utf8.MaxRune}
	case syntax.InstRuneAnyNotNL:
		return []rune{0, '\n' - 1, '\n' + 1, utf8.MaxRune}
	}
	if len(i.Rune) != 1 {
		return i.Rune
	}
	all := []rune{i.Rune[0]}
	if syntax.Flags(i.Arg)&syntax.FoldCase != 0 {
		for r := unicode.SimpleFold(all[0]); r != all[0]; r = unicode.SimpleFold(r) {
			all = append(all, r)
		}
	}
	slices.Sort(all)
	var ranges []rune
	for _, r := range all {
		ranges = append(ranges, r, r)
	}
	return ranges
}

// expr is what a string is in JSON that d accepts, without its quotes: of several ways to write a character the
// shortest.
func (d *dfa) expr() grammar.Expr {
	m := &grammar.Machine{}
	for _, s := range d.states {
		to := map[int][]rune{}
		var order []int
		for _, e := range s.edges {
			if to[e.to] == nil {
				order = append(order, e.to)
			}
			to[e.to] = append(to[e.to], e.first, e.last)
		}
		state := grammar.MachineState{Accept: s.accept}
		for _, n := range order {
			state.Edges = append(state.Edges, grammar.MachineEdge{On: written(to[n]), To: n})
		}
		m.States = append(m.States, state)
	}
	return grammar.Of(m)
}

// written is one of the characters in ranges, as JSON writes it.
func written(ranges []rune) grammar.Expr {
	var plain []rune
	var all []grammar.Expr
	for i := 0; i+1 < len(ranges); i += 2 {
		for first, last := ranges[i], ranges[i+1]; first <= last; {
			switch {
			case first < ' ' || first == '"' || first == '\\':
				s := text(string(first))
				all = append(all, grammar.Text(s[1:len(s)-1]))
				first++
			default:
				end := last
				if first < '"' {
					end = min(end, '"'-1)
				} else if first < '\\' {
					end = min(end, '\\'-1)
				}
				plain = append(plain, first, end)
				first = end + 1
			}
		}
	}
	if len(all) == 0 {
		return grammar.Runes(plain...)
	}
	return grammar.Alt(append(all, grammar.Runes(plain...))...)
}
