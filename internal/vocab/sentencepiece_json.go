package vocab

import (
	"fmt"
	"strconv"
	"strings"
)

// piecesFromJSON rebuilds the SentencePiece model from which tokenizer.json was
// converted, pieces by id.
//
// A conversion lists, for each piece, every way to merge it from two pieces, in
// the order of the pieces' scores; the scores themselves are lost. Training
// numbers pieces in the order in which it finds them and gives piece number i the
// score -i. Llama's model, which Phi-3 uses, has one exception: pieces of spaces
// only have the score -1e9, wherever their ids are.
func (s *source) piecesFromJSON(list []entry, merges []merge, size int) (map[int]piece, error) {
	c := s.conversion(list, size)
	if err := c.countMerges(s, merges); err != nil {
		return nil, err
	}
	for _, e := range list {
		p := c.pieces[e.id]
		if p.typ != Normal || c.added[p.text] {
			continue
		}
		p.score = -float32(e.id - c.first)
		if !c.ordered && isSpaces(p.text) {
			p.score = -1e9
		}
		c.pieces[e.id] = p
		if len(p.text) > maxPiece {
			return nil, s.errorf(jsonFile, "token %d has %d bytes, expected at most %d", e.id, len(p.text), maxPiece)
		}
		if n := splits(p.text, c.ids); n != c.ways[e.id] {
			return nil, s.errorf(jsonFile, "%q is made by %d merges of the %d that there are: "+notConverted,
				p.text, c.ways[e.id], n)
		}
	}
	if !sameMerges(merges, mergesOf(c.pieces, c.added)) {
		return nil, s.errorf(jsonFile, "merges are not in the order of scores and ids: "+notConverted)
	}
	return c.pieces, nil
}

const (
	jsonFile     = "tokenizer.json"
	configFile   = "tokenizer_config.json"
	modelFile    = "tokenizer.model"
	notConverted = "not converted from a SentencePiece model, which is the only kind that is supported"
)

// conversion is what a tokenizer.json tells of the model that it was converted from.
type conversion struct {
	ids     map[string]int // of pieces, by text
	added   map[string]bool
	pieces  map[int]piece
	first   int         // id of the first piece found in training
	ways    map[int]int // merges that make a piece
	ordered bool        // all merges are in the order of ids, those that make pieces of spaces too
}

// conversion reads what the pieces are.
func (s *source) conversion(list []entry, size int) *conversion {
	c := &conversion{
		ids: make(map[string]int, len(list)), added: make(map[string]bool), pieces: make(map[int]piece, len(list)),
		first: size, ways: make(map[int]int, len(list)), ordered: true,
	}
	for _, t := range s.tokenizer.AddedTokens {
		c.added[t.Content] = true
	}
	for _, e := range list {
		c.ids[e.text] = e.id
		typ := Normal
		switch {
		case e.text == s.tokenizer.Model.UnkToken:
			typ = Unknown
		case isByte(e.text):
			typ = Byte
		case c.added[e.text]: // typed by the added tokens
		default:
			c.first = min(c.first, e.id)
		}
		c.pieces[e.id] = piece{text: e.text, typ: typ}
	}
	return c
}

// countMerges counts the merges that make each piece, and checks that they come in the order of ids, but for those that
// make pieces of spaces, which come last if they are not in that order.
func (c *conversion) countMerges(s *source, merges []merge) error {
	results := make([]int, len(merges)) // id of what each merge makes
	tail := 0                           // the merges from here on make pieces of spaces
	for i, m := range merges {
		text := m.left + m.right
		id, ok := c.ids[text]
		if !ok {
			return s.errorf(jsonFile, "merge %d makes %q, which is not in the vocabulary", i, text)
		}
		results[i] = id
		c.ways[id]++
		c.ordered = c.ordered && (i == 0 || results[i-1] <= id)
		if !isSpaces(text) {
			tail = i + 1
		}
	}
	if c.ordered {
		return nil
	}
	for i, id := range results[:tail] {
		if i > 0 && results[i-1] > id || isSpaces(c.pieces[id].text) {
			return s.errorf(jsonFile, "merge %d makes %q out of the order of ids: "+notConverted, i, c.pieces[id].text)
		}
	}
	return nil
}

// isSpaces tells whether a piece stands for spaces only.
func isSpaces(text string) bool { return strings.Trim(text, space) == "" }

// maxPiece bounds the length of a piece; SentencePiece's default is 16 characters.
const maxPiece = 256

// splits counts the ways to cut text in two tokens.
func splits(text string, ids map[string]int) int {
	n := 0
	for i := range text {
		_, left := ids[text[:i]]
		_, right := ids[text[i:]]
		if i > 0 && left && right {
			n++
		}
	}
	return n
}

// isByte tells whether a token is a byte: "<0x00>" to "<0xFF>".
func isByte(text string) bool {
	if len(text) != len("<0x00>") || !strings.HasPrefix(text, "<0x") || text[5] != '>' {
		return false
	}
	_, err := strconv.ParseUint(text[3:5], 16, 8)
	return err == nil
}

// prefixFromJSON tells from tokenizer.json whether a space is put in front of a
// text and where, and refuses pipelines other than SentencePiece's.
func (s *source) prefixFromJSON() (prefix bool, where string, err error) {
	var steps []string
	for _, c := range flatten(s.tokenizer.Normalizer) {
		switch c.Type {
		case "Prepend":
			steps = append(steps, fmt.Sprintf("Prepend(%q)", c.Prepend))
		case "Replace":
			from := ""
			if c.Pattern.String != nil {
				from = *c.Pattern.String
			}
			steps = append(steps, fmt.Sprintf("Replace(%q, %q)", from, c.Content))
		default:
			steps = append(steps, c.Type)
		}
	}
	for _, c := range flatten(s.tokenizer.PreTokenizer) {
		step := c.Type
		if c.Type == "Metaspace" {
			step = "Metaspace(" + c.PrependScheme
			if c.Replacement != space {
				step += fmt.Sprintf(", %q", c.Replacement)
			}
			if c.Split == nil || *c.Split {
				step += ", split"
			}
			step += ")"
		}
		steps = append(steps, step)
	}
	pipeline := strings.Join(steps, " + ")
	for _, k := range spacePipelines {
		if k.steps == pipeline {
			return k.prefix, k.where, nil
		}
	}
	var known []string
	for _, k := range spacePipelines {
		known = append(known, k.steps)
	}
	return false, "", s.errorf("tokenizer.json",
		"normalizer and pre-tokenizer are %q, expected one of:\n  %s", pipeline, strings.Join(known, "\n  "))
}

// spacePipelines are the ways in which tokenizer.json says what SentencePiece
// does with spaces.
var spacePipelines = []struct {
	steps  string
	prefix bool
	where  string // as Vocab.SpacePrefix
}{
	{`Prepend("▁") + Replace(" ", "▁")`, true, ""},
	{`Replace(" ", "▁")`, false, ""},
	{`Metaspace(always)`, true, PrefixAlways},
	{`Metaspace(first)`, true, PrefixFirst},
	{`Metaspace(never)`, false, ""},
}
