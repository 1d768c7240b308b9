package vocab

import (
	"bytes"
	"encoding/base64"
	"slices"
	"strconv"
	"strings"

	"github.com/phi3conv/phi3conv/formats"
)

// maxTiktoken bounds the bytes of a token, as recovering its merge takes quadratic time. cl100k_base has up to 128.
const maxTiktoken = 256

// loadTiktoken reads a byte-level BPE from a file of tiktoken, and adds the special tokens that it does not have.
// Merges are recovered from the ranks.
func (s *source) loadTiktoken(v *Vocab) error {
	v.Model, v.Pre = ByteLevel, s.known.Pre
	special := s.known.Special
	ranks, err := parseTiktoken(s.tiktoken, len(v.Tokens)-len(special))
	if err != nil {
		return formats.WithPath(err, s.path(s.known.Tiktoken))
	}
	v.Merges = ranks.merges
	ids := make(map[string]int, len(special))
	for id, text := range slices.Concat(ranks.tokens, special) {
		v.Tokens[id], v.Types[id] = text, Normal
		if id >= len(ranks.tokens) {
			v.Types[id], ids[text] = Control, id
		}
	}
	return s.checkAdded(ids)
}

// checkAdded refuses added tokens other than ids has, as Phi-3-small's own code does. That code passes over their
// flags.
func (s *source) checkAdded(ids map[string]int) error {
	check := func(file, text string, id int64) error {
		own, ok := ids[text]
		switch {
		case !ok:
			return s.errorf(file, "token %q is none of the %d special tokens that the model's code has", text, len(ids))
		case id != None && id != int64(own):
			return s.errorf(file, "token %q has the id %d, expected %d", text, id, own)
		}
		return nil
	}
	named, file := s.namedTokens()
	for _, a := range named {
		if a.Content == "" {
			continue
		}
		if err := check(file, a.Content, None); err != nil {
			return err
		}
	}
	for _, e := range s.added {
		if err := check("added_tokens.json", e.text, int64(e.id)); err != nil {
			return err
		}
	}
	if s.config == nil {
		return nil
	}
	list, err := s.decoder()
	for _, a := range list {
		if err == nil {
			err = check("tokenizer_config.json", a.Content, *a.ID)
		}
	}
	return err
}

// ranked is a vocabulary in GPT-2's byte alphabet: tokens by rank, and the merges that make all but those of one byte.
type ranked struct{ tokens, merges []string }

// parseTiktoken reads a file of tiktoken with n tokens: on each line a token in base64, a space and its rank. The ranks
// are 0 to n-1 in any order. Errors name the line.
func parseTiktoken(data []byte, n int) (*ranked, error) {
	tokens, lines, err := readRanks(data, n)
	if err != nil {
		return nil, err
	}
	ids := make(map[string]int, len(tokens))
	for rank, text := range tokens {
		if other, ok := ids[text]; ok {
			return nil, formats.Errorf(-1, "line %d has the token %q of line %d", lines[rank], text, lines[other])
		}
		ids[text] = rank
	}
	for b := range 256 {
		if _, ok := ids[string([]byte{byte(b)})]; !ok {
			return nil, formats.Errorf(-1, "no token for the byte 0x%02X, expected all 256 bytes as tokens", b)
		}
	}
	out := &ranked{make([]string, len(tokens)), make([]string, 0, len(tokens)-256)}
	for rank, text := range tokens {
		out.tokens[rank] = inAlphabet(text)
		if len(text) == 1 {
			continue
		}
		at := lastMerge(text, rank, ids)
		if at == 0 {
			return nil, formats.Errorf(-1,
				"line %d: no two tokens of ranks below %d are joined to %q when merged by rank",
				lines[rank], rank, text)
		}
		out.merges = append(out.merges, inAlphabet(text[:at])+" "+inAlphabet(text[at:]))
	}
	return out, nil
}

// readRanks reads tokens, by rank, and the number of each one's line, from 1.
func readRanks(data []byte, n int) (tokens []string, lines []int, err error) {
	have := 0
	for l := range bytes.Lines(data) {
		if len(bytes.TrimRight(l, "\r\n")) > 0 {
			have++
		}
	}
	if have != n {
		return nil, nil, formats.Errorf(-1, "%d tokens, expected %d: vocab_size less the special tokens", have, n)
	}
	tokens, lines = make([]string, n), make([]int, n)
	number := 0
	for l := range bytes.Lines(data) {
		number++
		l = bytes.TrimRight(l, "\r\n")
		if len(l) == 0 {
			continue
		}
		code, word, ok := strings.Cut(string(l), " ")
		text, err := base64.StdEncoding.Strict().DecodeString(code)
		if !ok || err != nil || len(text) == 0 {
			return nil, nil, formats.Errorf(-1,
				"line %d is %.40q, expected a token in base64, a space and its rank", number, l)
		}
		if len(text) > maxTiktoken {
			return nil, nil, formats.Errorf(-1, "line %d has a token of %d bytes, expected at most %d",
				number, len(text), maxTiktoken)
		}
		rank, err := strconv.ParseUint(word, 10, 32)
		if err != nil || rank >= uint64(n) {
			return nil, nil, formats.Errorf(-1, "line %d has the rank %.40q, expected 0 to %d, as there are %d tokens",
				number, word, n-1, n)
		}
		if lines[rank] != 0 {
			return nil, nil, formats.Errorf(-1, "line %d has the rank %d of line %d", number, rank, lines[rank])
		}
		tokens[rank], lines[rank] = string(text), number
	}
	return tokens, lines, nil // n different ranks below n are all of them
}

// lastMerge returns where the two parts of a token meet that are left when its bytes were merged by all ranks below
// its own, lowest first and leftmost first among equals; 0 if more than two are left. In every text where tiktoken
// makes the token, it makes it of these parts: what it merges inside does not depend on what is around.
func lastMerge(text string, rank int, ids map[string]int) int {
	ends := make([]int, len(text)+1) // of the parts, after a 0
	for i := range ends {
		ends[i] = i
	}
	of := func(i int) int { // the rank of the part that begins at ends[i] with the next
		if r, ok := ids[text[ends[i]:ends[i+2]]]; ok && r < rank {
			return r
		}
		return rank
	}
	pairs := make([]int, len(text)-1)
	for i := range pairs {
		pairs[i] = of(i)
	}
	for len(pairs) > 1 {
		i := 0
		for j, r := range pairs {
			if r < pairs[i] {
				i = j
			}
		}
		if pairs[i] == rank {
			return 0
		}
		ends = slices.Delete(ends, i+1, i+2)
		pairs = slices.Delete(pairs, i, i+1)
		if i < len(pairs) {
			pairs[i] = of(i)
		}
		if i > 0 {
			pairs[i-1] = of(i - 1)
		}
	}
	return ends[1]
}

// inAlphabet writes bytes in GPT-2's alphabet.
func inAlphabet(text string) string {
	out := make([]byte, 0, 2*len(text))
	for _, b := range []byte(text) {
		out = append(out, ByteRunes[b]...)
	}
	return string(out)
}
