package vocab

import (
	"cmp"
	"slices"
	"strings"
)

// mergesOf lists the merges of a SentencePiece model as runtimes derive them: every way to make a normal piece of two,
// highest score first; equal scores in the order of ids, the piece's first. added pieces are none of the model's.
func mergesOf(pieces map[int]piece, added map[string]bool) []merge {
	ids := make(map[string]int, len(pieces))
	for id, p := range pieces {
		if p.typ == Normal && !added[p.text] {
			ids[p.text] = id
		}
	}
	type cut struct {
		score               float32
		result, left, right int
	}
	var cuts []cut
	for text, id := range ids {
		for i := range text {
			left, ok1 := ids[text[:i]]
			right, ok2 := ids[text[i:]]
			if ok1 && ok2 {
				cuts = append(cuts, cut{pieces[id].score, id, left, right})
			}
		}
	}
	slices.SortFunc(cuts, func(a, b cut) int {
		return cmp.Or(cmp.Compare(b.score, a.score), cmp.Compare(a.result, b.result),
			cmp.Compare(a.left, b.left), cmp.Compare(a.right, b.right))
	})
	out := make([]merge, len(cuts))
	for i, c := range cuts {
		out[i] = merge{pieces[c.left].text, pieces[c.right].text}
	}
	return out
}

// sameMerges tells whether two lists of merges make the same of every text. Versions of converters differ in the order
// of merges of the same score: of those that make the same piece, and of those that make pieces of spaces.
func sameMerges(a, b []merge) bool {
	if len(a) != len(b) {
		return false
	}
	n := len(a)
	for n > 0 && isSpaces(a[n-1].left+a[n-1].right) && isSpaces(b[n-1].left+b[n-1].right) {
		n--
	}
	return sameOrder(a[:n], b[:n]) && (sameOrder(a[n:], b[n:]) || runsApart(a[:n]) && sameRuns(a[n:], b[n:]))
}

// sameOrder compares lists of the same length. Merges in a row that make the same piece may change places unless they
// can meet in a text: when what one of them has on the right is what the other has on the left.
func sameOrder(a, b []merge) bool {
	for len(a) > 0 {
		n := 1
		for n < len(a) && a[n].left+a[n].right == a[0].left+a[0].right {
			n++
		}
		if !slices.Equal(a[:n], b[:n]) && !sameGroup(a[:n], b[:n]) {
			return false
		}
		a, b = a[n:], b[n:]
	}
	return true
}

// sameGroup compares merges that make one piece.
func sameGroup(a, b []merge) bool {
	order := func(x, y merge) int {
		return cmp.Or(strings.Compare(x.left, y.left), strings.Compare(x.right, y.right))
	}
	if !slices.Equal(slices.SortedFunc(slices.Values(a), order), slices.SortedFunc(slices.Values(b), order)) {
		return false
	}
	for i, x := range a {
		for _, y := range a[:i] {
			if (x.left == y.right || y.left == x.right) && slices.Index(b, x) < slices.Index(b, y) {
				return false
			}
		}
	}
	return true
}

// runsApart tells whether no merge joins two or more spaces with anything else, so that merges of spaces, which come
// after all others, see nothing but runs of spaces.
func runsApart(merges []merge) bool {
	return !slices.ContainsFunc(merges, func(m merge) bool {
		return isSpaces(m.left) && len(m.left) > len(space) || isSpaces(m.right) && len(m.right) > len(space)
	})
}

// longestRun is the number of spaces up to which sameRuns compares: many times the longest piece of spaces in use, 16.
const longestRun = 128

// sameRuns tells whether two lists of merges of spaces make the same of runs of spaces.
func sameRuns(a, b []merge) bool {
	ranks := func(merges []merge) map[[2]int]int {
		out := make(map[[2]int]int, len(merges))
		for i, m := range merges {
			pair := [2]int{len(m.left), len(m.right)}
			if _, ok := out[pair]; !ok {
				out[pair] = i
			}
		}
		return out
	}
	x, y := ranks(a), ranks(b)
	for n := 2; n <= longestRun; n++ {
		if !slices.Equal(mergeRun(n, x), mergeRun(n, y)) {
			return false
		}
	}
	return true
}

// mergeRun merges n spaces and returns the lengths in bytes of what they become.
func mergeRun(n int, ranks map[[2]int]int) []int {
	parts := slices.Repeat([]int{len(space)}, n)
	for {
		best, at := len(ranks), -1
		for i := range len(parts) - 1 {
			if rank, ok := ranks[[2]int{parts[i], parts[i+1]}]; ok && rank < best {
				best, at = rank, i
			}
		}
		if at < 0 {
			return parts
		}
		parts[at] += parts[at+1]
		parts = slices.Delete(parts, at+1, at+2)
	}
}
