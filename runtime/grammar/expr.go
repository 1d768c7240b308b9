package grammar

import (
	"fmt"
	"unicode/utf8"
)

// Expr is a regular expression over bytes and rules. The zero value is the empty text.
type Expr struct {
	op       op
	text     string // of opText, opRule and opToken
	id       int32  // of opToken without text
	ranges   []rune // of opRunes: first, last, first, last, …
	subs     []Expr // of opSeq, opAlt and opRepeat
	min, max int    // of opRepeat
	machine  *Machine
}

type op uint8

const (
	opSeq op = iota
	opText
	opRunes
	opAlt
	opRepeat
	opRule
	opToken
	opMachine
)

// Machine is a finite automaton over characters, which begins in state 0.
type Machine struct{ States []MachineState }

// MachineState is a state of a [Machine].
type MachineState struct {
	Accept bool
	Edges  []MachineEdge
}

// MachineEdge leads to a state with any text of On.
type MachineEdge struct {
	On Expr
	To int
}

// Text is s itself.
func Text(s string) Expr { return Expr{op: opText, text: s} }

// Runes is one of the characters in ranges: first, last, first, last and so on.
func Runes(ranges ...rune) Expr { return Expr{op: opRunes, ranges: ranges} }

// Seq is one text after the other.
func Seq(subs ...Expr) Expr { return Expr{op: opSeq, subs: subs} }

// Alt is one of the texts; of none, nothing matches.
func Alt(subs ...Expr) Expr { return Expr{op: opAlt, subs: subs} }

// Repeat is e from min to max times; max is negative for any number.
func Repeat(e Expr, min, max int) Expr {
	return Expr{op: opRepeat, subs: []Expr{e}, min: min, max: max}
}

// Opt is e or nothing.
func Opt(e Expr) Expr { return Repeat(e, 0, 1) }

// Rule is what a rule has.
func Rule(name string) Expr { return Expr{op: opRule, text: name} }

// Token is one token, such as <|end|>, which is no text.
func Token(text string) Expr { return Expr{op: opToken, text: text} }

// TokenID is one token.
func TokenID(id int32) Expr { return Expr{op: opToken, id: id} }

// Of is what a machine accepts.
func Of(m *Machine) Expr { return Expr{op: opMachine, machine: m} }

// Grammar is a set of rules.
type Grammar struct {
	root  string
	names []string
	index map[string]int
	exprs []Expr
}

// NewGrammar makes a grammar without rules, whose texts are those of root.
func NewGrammar(root string) *Grammar { return &Grammar{root: root, index: map[string]int{}} }

// Define adds a rule. It returns false if there is one of that name.
func (g *Grammar) Define(name string, e Expr) bool {
	if _, ok := g.index[name]; ok {
		return false
	}
	g.index[name] = len(g.names)
	g.names, g.exprs = append(g.names, name), append(g.exprs, e)
	return true
}

// What bounds a grammar. Published ones have some thousand states.
const (
	maxStates = 200_000
	maxRules  = 50_000
)

// sequences calls do with the sequences of byte ranges that are the UTF-8 of the characters from first to last, but for
// surrogates.
func sequences(first, last rune, do func(seq [][2]byte)) {
	if first > last {
		return
	}
	if first <= 0xDFFF && last >= 0xD800 {
		sequences(first, 0xD7FF, do)
		sequences(0xE000, last, do)
		return
	}
	for _, greatest := range []rune{0x7F, 0x7FF, 0xFFFF} { // of a length in bytes
		if first <= greatest && last > greatest {
			sequences(first, greatest, do)
			sequences(greatest+1, last, do)
			return
		}
	}
	// Where first and last differ above the last i bytes, those must go through all of their values.
	for i := 1; i < utf8.RuneLen(first); i++ {
		mask := rune(1)<<(6*i) - 1
		if first&^mask == last&^mask {
			continue
		}
		if first&mask != 0 {
			sequences(first, first|mask, do)
			sequences((first|mask)+1, last, do)
			return
		}
		if last&mask != mask {
			sequences(first, last&^mask-1, do)
			sequences(last&^mask, last, do)
			return
		}
	}
	var lo, hi [utf8.UTFMax]byte
	n := utf8.EncodeRune(lo[:], first)
	utf8.EncodeRune(hi[:], last)
	seq := make([][2]byte, n)
	for i := range seq {
		seq[i] = [2]byte{lo[i], hi[i]}
	}
	do(seq)
}

// checkRunes refuses ranges that are none.
func checkRunes(ranges []rune) error {
	for i := 0; i+1 < len(ranges); i += 2 {
		if ranges[i] < 0 || ranges[i] > ranges[i+1] || ranges[i+1] > utf8.MaxRune {
			return fmt.Errorf("a range of characters from %#x to %#x", ranges[i], ranges[i+1])
		}
	}
	return nil
}
