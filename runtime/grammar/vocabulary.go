package grammar

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/phi3conv/phi3conv/runtime/tokenizer"
)

// Vocabulary has the texts of a model's tokens as a trie. It may be used by several automata at once.
type Vocabulary struct {
	size    int
	texts   [][]byte // by id; empty for tokens that are no text
	nodes   []trieNode
	ids     []int32 // of the tokens that end at the nodes, one node after the other
	longest int     // bytes of a token
	tok     *tokenizer.Tokenizer
}

// trieNode is a beginning of tokens. A node is followed by those that continue it.
type trieNode struct {
	b        byte // its last byte
	depth    uint16
	skip     int32 // the next node that does not continue it
	from, to int32 // of Vocabulary.ids
}

// mostBytes is the length of the longest tokens that answers have. Longer ones are long runs of spaces or signs, which
// other tokens make up; without them, a place in a counted repetition depends on its count near the end alone.
const mostBytes = 48

// NewVocabulary makes the vocabulary of a model with size ids. Control tokens and ids without a token are no text: they
// come only where a grammar names them.
func NewVocabulary(tok *tokenizer.Tokenizer, size int) *Vocabulary {
	v := &Vocabulary{size: size, texts: make([][]byte, size), tok: tok}
	var order []int32
	for id := range int32(size) {
		if tok.IsControl(id) {
			continue
		}
		if text := tok.Bytes(id); len(text) > 0 && len(text) <= mostBytes {
			v.texts[id] = text
			v.longest = max(v.longest, len(text))
			order = append(order, id)
		}
	}
	slices.SortStableFunc(order, func(a, b int32) int { return bytes.Compare(v.texts[a], v.texts[b]) })
	v.nodes = []trieNode{{}}
	path := []int32{0} // nodes of the last text
	var last []byte
	pop := func(depth int) {
		for ; len(path) > depth+1; path = path[:len(path)-1] {
			v.nodes[path[len(path)-1]].skip = int32(len(v.nodes))
		}
	}
	for _, id := range order {
		text := v.texts[id]
		common := 0
		for common < len(last) && common < len(text) && last[common] == text[common] {
			common++
		}
		pop(common)
		for _, b := range text[common:] {
			at := int32(len(v.ids))
			path = append(path, int32(len(v.nodes)))
			v.nodes = append(v.nodes, trieNode{b: b, depth: uint16(len(path) - 1), from: at, to: at})
		}
		v.ids = append(v.ids, id)
		v.nodes[path[len(path)-1]].to = int32(len(v.ids))
		last = text
	}
	pop(0)
	v.nodes[0].skip = int32(len(v.nodes))
	v.nodes = append(v.nodes, trieNode{from: int32(len(v.ids))}) // is where the last ones end
	return v
}

// text returns the bytes of a token, which are none if it is no text.
func (v *Vocabulary) text(id int32) []byte {
	if id < 0 || int(id) >= v.size {
		return nil
	}
	return v.texts[id]
}

// special finds the tokens that a grammar names.
func (v *Vocabulary) special(e Expr) ([]int32, error) {
	if e.text == "" {
		if e.id < 0 || int(e.id) >= v.size {
			return nil, fmt.Errorf("the grammar has token %d, expected 0 to %d", e.id, v.size-1)
		}
		return []int32{e.id}, nil
	}
	for id := range int32(v.size) {
		if v.tok.Token(id) == e.text && v.tok.IsAdded(id) {
			return []int32{id}, nil
		}
	}
	return nil, fmt.Errorf("the grammar has the token %s, which the model's vocabulary lacks", e.text)
}
