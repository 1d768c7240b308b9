package tokenizer

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/phi3conv/phi3conv/internal/vocab"
)

// addedTokens finds the tokens that are cut out of a text before it is encoded.
type addedTokens struct {
	tokens []addedToken
	// next is a trie over the tokens' bytes: node<<8|byte to node. Node 0 is the root.
	next  map[uint32]uint32
	leaf  []int32   // by node: index of the token that ends there, or -1
	first [256]bool // bytes with which a token begins
	only  int       // that byte if there is just one, or -1
}

type addedToken struct {
	id             int32
	control        bool
	lstrip, rstrip bool // swallows the white space before it, after it
	alone          bool // none inside of a word
}

// newAddedTokens collects the added tokens of a vocabulary: those that are matched
// in the text as it is, and those that are matched after normalization.
func newAddedTokens(v *vocab.Vocab, control []bool, m model) (now, late *addedTokens) {
	now, late = emptyAddedTokens(), emptyAddedTokens()
	in := func(ids []int) map[int]bool {
		set := make(map[int]bool, len(ids))
		for _, id := range ids {
			set[id] = true
		}
		return set
	}
	lstrip, rstrip, normalized, alone := in(v.LStrip), in(v.RStrip), in(v.Normalized), in(v.SingleWord)
	for id, typ := range v.Types {
		if typ != vocab.Control && typ != vocab.Unknown && typ != vocab.UserDefined || v.Tokens[id] == "" {
			continue
		}
		a := addedToken{int32(id), control[id], lstrip[id], rstrip[id], alone[id]}
		if normalized[id] {
			late.add(m.normalize(v.Tokens[id]), a)
		} else {
			now.add(v.Tokens[id], a)
		}
	}
	return now, late
}

func emptyAddedTokens() *addedTokens {
	return &addedTokens{next: make(map[uint32]uint32), leaf: []int32{-1}, only: -1}
}

func (a *addedTokens) empty() bool { return len(a.tokens) == 0 }

func (a *addedTokens) add(text string, t addedToken) {
	if c := text[0]; !a.first[c] {
		a.first[c] = true
		a.only = int(c)
		for other, starts := range a.first {
			if starts && other != int(c) {
				a.only = -1
			}
		}
	}
	node := uint32(0)
	for i := range len(text) {
		key := node<<8 | uint32(text[i])
		child, ok := a.next[key]
		if !ok {
			child = uint32(len(a.leaf))
			a.next[key] = child
			a.leaf = append(a.leaf, -1)
		}
		node = child
	}
	a.leaf[node] = int32(len(a.tokens))
	a.tokens = append(a.tokens, t)
}

// find returns the first token in text[from:], the longest if several begin there.
func (a *addedTokens) find(text string, from int) (start, end int, t *addedToken) {
	for i := from; i < len(text); i++ {
		if a.only >= 0 {
			n := strings.IndexByte(text[i:], byte(a.only))
			if n < 0 {
				break
			}
			i += n
		} else if !a.first[text[i]] {
			continue
		}
		node := uint32(0)
		for j := i; j < len(text); j++ {
			child, ok := a.next[node<<8|uint32(text[j])]
			if !ok {
				break
			}
			node = child
			if k := a.leaf[node]; k >= 0 {
				end, t = j+1, &a.tokens[k]
			}
		}
		if t != nil {
			return i, end, t
		}
	}
	return 0, 0, nil
}

// inWord tells whether text[start:end] has a letter of a word on one of its sides.
func inWord(text string, start, end int) bool {
	before, n := utf8.DecodeLastRuneInString(text[:start])
	after, m := utf8.DecodeRuneInString(text[end:])
	return n > 0 && wordRune(before) || m > 0 && wordRune(after)
}

// wordRune tells whether a character is one of \w, as Unicode's UTS 18 defines it.
func wordRune(r rune) bool {
	return unicode.In(r, unicode.L, unicode.M, unicode.Nd, unicode.Nl, unicode.Pc, unicode.Other_Alphabetic,
		unicode.Join_Control)
}

// split calls do for the parts of text in order: added tokens with their ids, and
// what is between them, which is never empty, with -1. first says that the part is
// where the text begins. Control tokens count as added tokens if control is set.
func (a *addedTokens) split(text string, control bool, do func(part string, id int32, first bool)) {
	done := 0
	if !a.empty() {
		for from := 0; ; {
			start, end, t := a.find(text, from)
			if t == nil {
				break
			}
			from = end // also where the token swallows what follows
			if t.control && !control || t.alone && inWord(text, start, end) {
				continue
			}
			if t.lstrip && start > done {
				start = done + len(strings.TrimRightFunc(text[done:start], unicode.IsSpace))
			}
			if t.rstrip {
				end = len(text) - len(strings.TrimLeftFunc(text[end:], unicode.IsSpace))
			}
			if done < start {
				do(text[done:start], -1, done == 0)
			}
			do(text[start:end], t.id, start == 0)
			done = end
		}
	}
	if done < len(text) {
		do(text[done:], -1, done == 0)
	}
}
