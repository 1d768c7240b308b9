package tokenizer

import (
	"fmt"
	"hash/maphash"
	"math/bits"

	"github.com/phi3conv/phi3conv/internal/work"
)

// merges is a table of the pairs of tokens that become one.
type merges struct {
	// An open-addressed hash table. An entry holds the left id (20 bits), the right
	// id (20 bits) and the rank (24 bits), or noEntry.
	table  []uint64
	shift  int
	result []int32 // by rank: what the pair becomes
}

const (
	idBits   = 20
	rankBits = 24
	noEntry  = 1<<64 - 1
	noMerge  = 1<<rankBits - 1 // the rank of a pair that does not merge; all lower ones do
)

func newMerges(n int) (*merges, error) {
	if n >= noMerge {
		return nil, fmt.Errorf("%d merges, expected fewer than %d", n, noMerge)
	}
	log := bits.Len(uint(n)) + 1 // at most half full
	m := &merges{table: make([]uint64, 1<<log), shift: 64 - log, result: make([]int32, 0, n)}
	for i := range m.table {
		m.table[i] = noEntry
	}
	return m, nil
}

func (m *merges) slot(pair uint64) int {
	return int(pair * 0x9E3779B97F4A7C15 >> m.shift) // Fibonacci hashing
}

// add gives the pair the next rank. A pair that is added again moves there.
func (m *merges) add(left, right, result int32) {
	pair := uint64(left)<<idBits | uint64(right)
	i := m.slot(pair)
	for m.table[i] != noEntry && m.table[i]>>rankBits != pair {
		i = (i + 1) & (len(m.table) - 1)
	}
	m.table[i] = pair<<rankBits | uint64(len(m.result))
	m.result = append(m.result, result)
}

// rank returns the rank of a pair, or noMerge.
func (m *merges) rank(left, right int32) uint32 {
	pair := uint64(left)<<idBits | uint64(right)
	for i := m.slot(pair); ; i = (i + 1) & (len(m.table) - 1) {
		e := m.table[i]
		if e>>rankBits == pair {
			return uint32(e & noMerge)
		}
		if e == noEntry {
			return noMerge
		}
	}
}

// scratch is the memory of one call of Encode, kept for the next.
type scratch struct {
	symbols    []int32
	prev, next []int32
	ranks      []uint32
	heap       []uint64
	cache      *[cacheSize]cached
}

// shortWord is the number of symbols up to which a search for the lowest rank in a
// row is faster than a heap.
const shortWord = 32

// apply merges symbols, lowest rank first and leftmost first among equals, until
// no pair is left that merges. The result is in the memory of symbols.
func (m *merges) apply(s *scratch, symbols []int32) []int32 {
	if len(symbols) <= shortWord {
		return m.applyShort(symbols)
	}
	return m.applyLong(s, symbols)
}

func (m *merges) applyShort(symbols []int32) []int32 {
	var ranks [shortWord]uint32 // of the pair that begins at each symbol
	n := len(symbols)
	for i := 0; i+1 < n; i++ {
		ranks[i] = m.rank(symbols[i], symbols[i+1])
	}
	for {
		best, at := uint32(noMerge), 0
		for i := 0; i+1 < n; i++ {
			if ranks[i] < best {
				best, at = ranks[i], i
			}
		}
		if best == noMerge {
			return symbols[:n]
		}
		symbols[at] = m.result[best]
		copy(symbols[at+1:n], symbols[at+2:n])
		copy(ranks[at+1:n], ranks[at+2:n])
		n--
		if at+1 < n {
			ranks[at] = m.rank(symbols[at], symbols[at+1])
		}
		if at > 0 {
			ranks[at-1] = m.rank(symbols[at-1], symbols[at])
		}
	}
}

// applyLong keeps the pairs in a heap. One whose rank is no longer that of the pair
// at its place is out of date.
func (m *merges) applyLong(s *scratch, symbols []int32) []int32 {
	n := len(symbols)
	s.prev, s.next, s.ranks = work.Resize(s.prev, n), work.Resize(s.next, n), work.Resize(s.ranks, n)
	prev, next, ranks, heap := s.prev, s.next, s.ranks, s.heap[:0]
	for i := range n {
		prev[i], next[i], ranks[i] = int32(i-1), int32(i+1), noMerge
		if i+1 < n {
			ranks[i] = m.rank(symbols[i], symbols[i+1])
		}
		if ranks[i] != noMerge {
			heap = append(heap, uint64(ranks[i])<<32|uint64(i))
		}
	}
	for i := len(heap)/2 - 1; i >= 0; i-- {
		siftDown(heap, i)
	}
	for len(heap) > 0 {
		top := heap[0]
		last := len(heap) - 1
		heap[0] = heap[last]
		heap = heap[:last]
		siftDown(heap, 0)
		i := int32(uint32(top))
		if ranks[i] != uint32(top>>32) {
			continue
		}
		symbols[i] = m.result[ranks[i]]
		j := next[i]
		ranks[j] = noMerge
		next[i] = next[j]
		ranks[i] = noMerge
		if k := next[j]; int(k) < n {
			prev[k] = i
			if ranks[i] = m.rank(symbols[i], symbols[k]); ranks[i] != noMerge {
				heap = push(heap, uint64(ranks[i])<<32|uint64(i))
			}
		}
		if h := prev[i]; h >= 0 {
			if ranks[h] = m.rank(symbols[h], symbols[i]); ranks[h] != noMerge {
				heap = push(heap, uint64(ranks[h])<<32|uint64(h))
			}
		}
	}
	s.heap = heap
	k := 0
	for i := 0; i < n; i = int(next[i]) {
		symbols[k] = symbols[i] // k <= i
		k++
	}
	return symbols[:k]
}

// siftDown and push keep a heap with the least value first.
func siftDown(h []uint64, i int) {
	for {
		c := 2*i + 1
		if c >= len(h) {
			return
		}
		if c+1 < len(h) && h[c+1] < h[c] {
			c++
		}
		if h[i] <= h[c] {
			return
		}
		h[i], h[c] = h[c], h[i]
		i = c
	}
}

func push(h []uint64, x uint64) []uint64 {
	h = append(h, x)
	for i := len(h) - 1; i > 0; {
		p := (i - 1) / 2
		if h[p] <= x {
			break
		}
		h[i], h[p] = h[p], h[i]
		i = p
	}
	return h
}

// cached is a word with its ids: 64 bytes. Its place is given by its hash; of the
// words that have the same place the last stays.
type cached struct {
	size  uint8 // bytes of the word
	count uint8 // ids
	word  [30]byte
	ids   [8]int32
}

const cacheSize = 1 << 13

var seed = maphash.MakeSeed()

// lookUp returns the word's place in the cache, and whether it is there. The place
// is nil for a word that is too long.
func (s *scratch) lookUp(word string) (place *cached, ok bool) {
	if len(word) > len(place.word) {
		return nil, false
	}
	if s.cache == nil {
		s.cache = new([cacheSize]cached)
	}
	place = &s.cache[maphash.String(seed, word)%cacheSize]
	return place, string(place.word[:place.size]) == word
}

// set puts a word in its place, if it has one and the ids fit.
func (c *cached) set(word string, ids []int32) {
	if c == nil || len(ids) > len(c.ids) {
		return
	}
	c.size, c.count = uint8(len(word)), uint8(len(ids))
	copy(c.word[:], word)
	copy(c.ids[:], ids)
}
