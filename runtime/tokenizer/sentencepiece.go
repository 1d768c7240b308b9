package tokenizer

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/phi3conv/phi3conv/internal/vocab"
)

// space stands for a space in a SentencePiece model's tokens.
const space = '\u2581'

// sentencePiece is BPE over characters, spaces among them, with tokens for the
// bytes of characters that have none.
type sentencePiece struct {
	merges   *merges
	ascii    [utf8.RuneSelf]int32 // ids of characters; -1 if there is none
	chars    map[rune]int32
	bytes    [256]int32    // ids of bytes
	allBytes bool          // every byte has one
	unk      int32         // stands for characters without tokens; -1 to drop them
	inner    map[rune]bool // characters that some token has before a space
	prefix   prefix
}

// prefix says which parts of a text get a space in front.
type prefix uint8

const (
	noPart    prefix = iota
	eachPart         // as tokenizer.json's normalizer Prepend
	someParts        // those that do not begin with a space, as its Metaspace
	firstPart        // the same, at the start of the text only
)

// maxPiece bounds the length of a token, for every way to cut it is tried.
// SentencePiece's default is 16 characters.
const maxPiece = 256 // bytes

func newSentencePiece(v *vocab.Vocab) (*sentencePiece, error) {
	m := &sentencePiece{chars: make(map[rune]int32), allBytes: true, unk: int32(v.Unk), inner: make(map[rune]bool)}
	if isSet(v.AddSpacePrefix, true) {
		m.prefix = map[string]prefix{
			"": eachPart, vocab.PrefixAlways: someParts, vocab.PrefixFirst: firstPart,
		}[v.SpacePrefix]
	}
	for i := range m.ascii {
		m.ascii[i] = -1
	}
	for i := range m.bytes {
		m.bytes[i] = -1
	}
	ids := make(map[string]int32, len(v.Tokens))
	for id, text := range v.Tokens {
		switch v.Types[id] {
		case vocab.Byte:
			if b, ok := byteValue(text); ok {
				m.bytes[b] = int32(id)
			}
		case vocab.Normal:
			if len(text) > maxPiece {
				return nil, fmt.Errorf("token %d has %d bytes, expected at most %d", id, len(text), maxPiece)
			}
			if !utf8.ValidString(text) || text == "" {
				continue // no text has it
			}
			ids[text] = int32(id)
			r, n := utf8.DecodeRuneInString(text)
			switch {
			case n < len(text):
			case r < utf8.RuneSelf:
				m.ascii[r] = int32(id)
			default:
				m.chars[r] = int32(id)
			}
		}
	}
	for _, id := range m.bytes {
		m.allBytes = m.allBytes && id >= 0
	}
	return m, m.findMerges(v, ids)
}

// findMerges lists the pairs that merge: every way to cut a token in two tokens,
// highest score first. Equal scores keep the order of ids, as in a conversion from
// SentencePiece to tokenizer.json.
func (m *sentencePiece) findMerges(v *vocab.Vocab, ids map[string]int32) error {
	type merge struct {
		left, right, result int32
		score               float32
	}
	var list []merge
	for id, text := range v.Tokens {
		if v.Types[id] != vocab.Normal {
			continue
		}
		begin, last := len(list), rune(space)
		for i, r := range text {
			if r == space && last != space {
				m.inner[last] = true
			}
			last = r
			left, ok1 := ids[text[:i]]
			right, ok2 := ids[text[i:]]
			if ok1 && ok2 {
				list = append(list, merge{left, right, int32(id), v.Scores[id]})
			}
		}
		slices.SortFunc(list[begin:], func(a, b merge) int {
			return cmp.Or(cmp.Compare(a.left, b.left), cmp.Compare(a.right, b.right))
		})
		if len(list) >= noMerge { // before they take more memory
			break
		}
	}
	slices.SortStableFunc(list, func(a, b merge) int { return cmp.Compare(b.score, a.score) })
	var err error
	if m.merges, err = newMerges(len(list)); err != nil {
		return err
	}
	for _, p := range list {
		m.merges.add(p.left, p.right, p.result)
	}
	return nil
}

const spaceText = string(space)

func (m *sentencePiece) normalize(part string) string {
	switch m.prefix {
	case eachPart:
		return spaceText + strings.ReplaceAll(part, " ", spaceText)
	case noPart:
		return strings.ReplaceAll(part, " ", spaceText)
	}
	return part // added tokens are looked for before spaces are replaced
}

func (m *sentencePiece) encode(s *scratch, dst []int32, part string, first bool) []int32 {
	if m.prefix == someParts || m.prefix == firstPart {
		part = strings.ReplaceAll(part, " ", spaceText)
		if (first || m.prefix == someParts) && !strings.HasPrefix(part, spaceText) {
			part = spaceText + part
		}
	}
	for i := 0; i < len(part); {
		end := m.wordEnd(part, i)
		dst = m.encodeWord(s, dst, part[i:end])
		i = end
	}
	return dst
}

// wordEnd returns where the word that begins at i ends: before a space across
// whose left edge no token reaches, so that what is on either side does not depend
// on the other.
func (m *sentencePiece) wordEnd(part string, i int) int {
	j := i
	for strings.HasPrefix(part[j:], spaceText) {
		j += len(spaceText)
	}
	for {
		k := strings.IndexByte(part[j:], spaceText[0])
		if k < 0 {
			return len(part)
		}
		j += k
		if !strings.HasPrefix(part[j:], spaceText) {
			j++
			continue
		}
		last, _ := utf8.DecodeLastRuneInString(part[i:j])
		if last != space && !m.inner[last] {
			return j
		}
		j += len(spaceText)
	}
}

func (m *sentencePiece) encodeWord(s *scratch, dst []int32, word string) []int32 {
	c, ok := s.lookUp(word)
	if ok {
		return append(dst, c.ids[:c.count]...)
	}
	symbols := s.symbols[:0]
	unknown := false
	for i, r := range word {
		id := int32(-1)
		if r < utf8.RuneSelf {
			id = m.ascii[r]
		} else if c, ok := m.chars[r]; ok {
			id = c
		}
		switch {
		case id >= 0:
			symbols, unknown = append(symbols, id), false
		case m.allBytes:
			for _, b := range []byte(word[i : i+utf8.RuneLen(r)]) {
				symbols = append(symbols, m.bytes[b])
			}
		case m.unk >= 0 && !unknown: // one for all in a row
			symbols, unknown = append(symbols, m.unk), true
		}
	}
	s.symbols = symbols
	symbols = m.merges.apply(s, symbols)
	c.set(word, symbols)
	return append(dst, symbols...)
}

// byteValue reads a token such as "<0x0A>".
func byteValue(text string) (byte, bool) {
	if len(text) != 6 || !strings.HasPrefix(text, "<0x") || text[5] != '>' {
		return 0, false
	}
	b, err := strconv.ParseUint(text[3:5], 16, 8)
	return byte(b), err == nil
}
