package tokenizer

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/phi3conv/phi3conv/internal/vocab"
)

// byteLevel is BPE over the bytes of words. Its tokens are written in GPT-2's
// alphabet, which has a character for each byte.
type byteLevel struct {
	merges *merges
	bytes  [256]int32 // ids of bytes; -1 if there is none
	word   func(text string, i int) int
	whole  map[string]int32 // ids of words that are tokens, whatever the merges make of them; nil if there are none
}

func newByteLevel(v *vocab.Vocab) (*byteLevel, error) {
	m := &byteLevel{word: splitters[v.Pre]}
	if m.word == nil {
		return nil, fmt.Errorf("pre-tokenizer %q, expected one of %s", v.Pre, splitterNames())
	}
	ids := make(map[string]int32, len(v.Tokens))
	for id, text := range v.Tokens {
		ids[text] = int32(id)
	}
	for b := range m.bytes {
		m.bytes[b] = -1
		if id, ok := ids[vocab.ByteRunes[b]]; ok {
			m.bytes[b] = id
		}
	}
	if v.WholeWords {
		m.whole = make(map[string]int32, len(v.Tokens))
		for id, text := range v.Tokens {
			if v.Types[id] != vocab.Normal {
				continue
			}
			if word, ok := vocab.AppendBytes(nil, text); ok {
				m.whole[string(word)] = int32(id)
			}
		}
	}
	var err error
	if m.merges, err = newMerges(len(v.Merges)); err != nil {
		return nil, err
	}
	var joined []byte
	for i, text := range v.Merges {
		n := 1 + strings.IndexByte(text[1:], ' ') // the vocabulary has checked that there is one
		left, right := text[:n], text[n+1:]
		joined = append(append(joined[:0], left...), right...)
		a, ok1 := ids[left]
		b, ok2 := ids[right]
		c, ok3 := ids[string(joined)]
		if !ok1 || !ok2 || !ok3 {
			return nil, fmt.Errorf("merge %d, %q with %q: there is no token for one of them or for both together",
				i, left, right)
		}
		m.merges.add(a, b, c)
	}
	return m, nil
}

func (m *byteLevel) normalize(part string) string { return part }

func (m *byteLevel) encode(s *scratch, dst []int32, part string, _ bool) []int32 {
	for i := 0; i < len(part); {
		end := m.word(part, i)
		word := part[i:end]
		i = end
		c, ok := s.lookUp(word)
		if ok {
			dst = append(dst, c.ids[:c.count]...)
			continue
		}
		if id, ok := m.whole[word]; ok {
			dst = append(dst, id)
			continue
		}
		symbols := s.symbols[:0]
		for _, b := range []byte(word) {
			if id := m.bytes[b]; id >= 0 { // others are dropped
				symbols = append(symbols, id)
			}
		}
		s.symbols = symbols
		symbols = m.merges.apply(s, symbols)
		c.set(word, symbols)
		dst = append(dst, symbols...)
	}
	return dst
}

// appendBytes appends the bytes of a token. One that is not in the alphabet stands
// for itself.
func appendBytes(dst []byte, token string) []byte {
	if out, ok := vocab.AppendBytes(dst, token); ok {
		return out
	}
	return append(dst, token...)
}

// appendValid appends text with each maximal part that begins no character of
// UTF-8, and each byte that belongs to none, as U+FFFD.
func appendValid(dst, text []byte) []byte {
	for len(text) > 0 {
		r, n := utf8.DecodeRune(text)
		if r == utf8.RuneError && n == 1 {
			n = brokenLen(text)
		}
		dst = utf8.AppendRune(dst, r)
		text = text[n:]
	}
	return dst
}

// brokenLen returns the length of the longest prefix of text, which begins with no
// character, that could begin one; at least 1.
func brokenLen(text []byte) int {
	n := 1
	for n < len(text) && n < utf8.UTFMax && !utf8.FullRune(text[:n+1]) {
		n++
	}
	return n
}
