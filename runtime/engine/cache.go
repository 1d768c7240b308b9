package engine

import (
	"github.com/phi3conv/phi3conv/runtime"
)

// worthKeeping is how many tokens of its own a text must have beyond what it shares with another one that is
// kept. Fewer, such as those of an answer to choose from, are computed again about as fast as memory for them is
// filled.
const worthKeeping = 32

// cache keeps the keys and values of texts in two radix trees, since LongRoPE gives long texts others than short ones.
// Texts share the memory of what they have in common (see [runtime.Sequence.Fork]).
type cache struct {
	roots map[bool]*node
	worth int // tokens of its own that a text must have
	clock int64
}

// node is a stretch of tokens that all texts below it have. A node without children is the end of a kept text; one with
// children may be, too.
type node struct {
	parent   *node
	tokens   []int32
	known    []Token // of tokens, those known from the first on
	children map[int32]*node
	kept     *runtime.Sequence // of the text that ends here, or nil
	used     int64
}

// source is where a beginning is copied from: a sequence, and what is known of its tokens.
type source struct {
	seq   *runtime.Sequence
	known []Token
}

func newCache(worth int) *cache {
	return &cache{roots: map[bool]*node{false: newNode(nil), true: newNode(nil)}, worth: worth}
}

func newNode(parent *node) *node { return &node{parent: parent, children: map[int32]*node{}} }

// find returns the kept text with the most tokens in common with text, and how many of them are of use: fewer than all
// of text, and where log-probabilities with top candidates are wanted (top ≥ 0), those after which the next is known.
func (c *cache) find(long bool, text []int32, top int) (n int, from source) {
	at := c.roots[long]
	wanted, all := top >= 0, true
	for {
		child := at.children[next(text, n)]
		if child == nil {
			break
		}
		k := common(child.tokens, text[n:])
		if wanted && all {
			for i := range k {
				if i >= len(child.known) || len(child.known[i].Top) < top && n+i > 0 {
					k, all = i, false
					break
				}
				from.known = append(from.known, child.known[i])
			}
		}
		n += k
		at = child
		if k < len(child.tokens) {
			break
		}
	}
	if wanted {
		n--
	}
	if n = min(n, len(text)-1); n <= 0 {
		return 0, source{}
	}
	from.seq = c.use(at)
	return n, from
}

func next(text []int32, n int) int32 {
	if n < len(text) {
		return text[n]
	}
	return -1
}

// use returns a kept sequence at or below n, and notes that it was used.
func (c *cache) use(n *node) *runtime.Sequence {
	for n.kept == nil {
		for _, child := range n.children {
			n = child
			break
		}
	}
	c.clock++
	n.used = c.clock
	return n.kept
}

// add keeps a sequence, which belongs to the cache then. One that is the beginning of a kept text is not needed, nor
// one that differs from it in its last few tokens alone.
func (c *cache) add(long bool, seq *runtime.Sequence, known []Token) {
	text := seq.Tokens()
	known = known[:min(len(known), len(text))]
	at := c.roots[long]
	for len(text) > 0 {
		child := at.children[text[0]]
		if child == nil && at.parent != nil && len(at.children) > 0 && len(text) < c.worth {
			break
		}
		if child == nil {
			child = newNode(at)
			child.tokens, child.known = text, known
			at.children[text[0]] = child
			at, text = child, nil
			break
		}
		k := common(child.tokens, text)
		if k < len(child.tokens) {
			child = child.split(k)
		}
		part := known[:min(k, len(known))]
		if better(part, child.known) {
			child.known = part
		}
		at, text, known = child, text[k:], known[len(part):]
	}
	if at.parent == nil || at.kept != nil || len(at.children) > 0 {
		seq.Free()
		return
	}
	at.kept = seq
	c.use(at)
	for p := at.parent; p != nil; p = p.parent { // texts that the new one contains
		if p.kept != nil {
			p.kept.Free()
			p.kept = nil
		}
	}
}

// better reports whether a says more of tokens than b.
func better(a, b []Token) bool {
	return len(a) > len(b) || len(a) == len(b) && len(a) > 0 && len(a[len(a)-1].Top) > len(b[len(a)-1].Top)
}

// split divides n after k tokens and returns the first part.
func (n *node) split(k int) *node {
	first := newNode(n.parent)
	first.tokens, first.known = n.tokens[:k], n.known[:min(k, len(n.known))]
	n.parent.children[n.tokens[0]] = first
	n.parent, n.tokens, n.known = first, n.tokens[k:], n.known[len(first.known):]
	first.children[n.tokens[0]] = n
	return first
}

// dropOldest gives up the text that was not used for the longest time. It returns false if there is none.
func (c *cache) dropOldest() bool {
	var oldest *node
	for _, root := range c.roots {
		root.each(func(n *node) {
			if n.kept != nil && (oldest == nil || n.used < oldest.used) {
				oldest = n
			}
		})
	}
	if oldest == nil {
		return false
	}
	oldest.kept.Free()
	oldest.kept = nil
	for n := oldest; n.parent != nil && n.kept == nil && len(n.children) == 0; n = n.parent {
		delete(n.parent.children, n.tokens[0])
	}
	return true
}

func (n *node) each(do func(n *node)) {
	do(n)
	for _, child := range n.children {
		child.each(do)
	}
}

func (c *cache) clear() {
	for c.dropOldest() {
	}
}

// common returns how many tokens two texts begin with in common.
func common(a, b []int32) int {
	n := 0
	for n < len(a) && n < len(b) && a[n] == b[n] {
		n++
	}
	return n
}
