package vocab

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/phi3conv/phi3conv/formats"
	"google.golang.org/protobuf/encoding/protowire"
)

// space stands for a space in SentencePiece tokens.
const space = "\u2581"

// piece is a token of a SentencePiece model.
type piece struct {
	text  string
	score float32
	typ   TokenType
}

// loadSentencePiece reads the model, then lays the added tokens over it.
func (s *source) loadSentencePiece(v *Vocab) error {
	v.Model, v.Pre = SentencePiece, "default"
	v.Scores = slices.Repeat([]float32{holeScore}, len(v.Tokens))

	pieces, prefix, err := s.pieces(v)
	if err != nil {
		return err
	}
	for id, p := range pieces {
		v.place(id, p)
	}
	if !prefix { // true is every runtime's default
		v.AddSpacePrefix = &prefix
	}
	for _, e := range s.added {
		if e.id < len(v.Tokens) { // a token without a row of the embedding cannot occur
			v.place(e.id, piece{e.text, addedScore, UserDefined})
		}
	}
	return s.overlayAdded(v)
}

func (v *Vocab) place(id int, p piece) {
	v.Tokens[id], v.Scores[id], v.Types[id] = p.text, p.score, p.typ
}

// pieces reads the model, by ids, from tokenizer.model or, without it, from tokenizer.json. prefix says that a space is
// put in front of a text.
func (s *source) pieces(v *Vocab) (pieces map[int]piece, prefix bool, err error) {
	if s.spm == nil {
		if pieces, err = s.piecesFromJSON(len(v.Tokens)); err != nil {
			return nil, false, err
		}
		prefix, v.SpacePrefix, err = s.prefixFromJSON()
		return pieces, prefix, err
	}
	m, err := parseModel(s.spm, len(v.Tokens))
	if err != nil {
		return nil, false, formats.WithPath(err, s.path("tokenizer.model"))
	}
	pieces = make(map[int]piece, len(m.pieces))
	for id, p := range m.pieces {
		pieces[id] = p
	}
	if s.tokenizer != nil { // a pipeline that it cannot name does not matter: the model decides
		_, v.SpacePrefix, _ = s.prefixFromJSON()
	}
	return pieces, m.addDummyPrefix, nil
}

// overlayAdded puts the added tokens of the configurations in place: tokenizer.json has the last word.
func (s *source) overlayAdded(v *Vocab) error {
	overlay := func(t addedToken, id int64, file string) error {
		if id < 0 || id >= int64(len(v.Tokens)) {
			return s.errorf(file, "added token %q has the id %d, expected 0 to %d", t.Content, id, len(v.Tokens)-1)
		}
		typ := UserDefined
		if t.Special {
			typ = Control
		}
		v.place(int(id), piece{t.Content, addedScore, typ})
		return nil
	}
	if s.config != nil {
		decoder, err := s.decoder()
		if err != nil {
			return err
		}
		for _, t := range decoder {
			if err := overlay(t, *t.ID, "tokenizer_config.json"); err != nil {
				return err
			}
		}
	}
	if s.tokenizer == nil {
		return nil
	}
	for _, t := range s.tokenizer.AddedTokens {
		if t.ID == nil {
			return s.errorf("tokenizer.json", "added token %q has no id", t.Content)
		}
		if err := overlay(t, *t.ID, "tokenizer.json"); err != nil {
			return err
		}
	}
	return nil
}

// decoder returns tokenizer_config.json's added tokens in the order of their ids.
func (s *source) decoder() ([]addedToken, error) {
	var out []addedToken
	for key, t := range s.config.Added {
		id, err := strconv.ParseInt(key, 10, 64)
		if err != nil || strconv.FormatInt(id, 10) != key {
			return nil, s.errorf("tokenizer_config.json", "added_tokens_decoder has the key %q, expected an id", key)
		}
		t.ID = &id
		out = append(out, t)
	}
	slices.SortFunc(out, func(a, b addedToken) int { return cmp.Compare(*a.ID, *b.ID) })
	return out, nil
}

// model is what matters here of a SentencePiece ModelProto.
type model struct {
	pieces         []piece // by id
	kind           uint64  // trainer_spec.model_type
	addDummyPrefix bool
}

// The model_type that merges pieces by score, as runtimes do with this kind of
// tokenizer.
const kindBPE = 2

// parseModel reads a tokenizer.model of at most limit pieces. The format is
// sentencepiece_model.proto of the SentencePiece project: ModelProto{1: pieces,
// 2: trainer_spec, 3: normalizer_spec}.
func parseModel(data []byte, limit int) (*model, error) {
	m := &model{kind: 1, addDummyPrefix: true} // the format's defaults
	seen := make(map[string]int)
	err := fields(data, 0, func(f field) error {
		switch f.num {
		case 1:
			if len(m.pieces) == limit {
				return formats.Errorf(f.off, "more pieces than the %d of vocab_size", limit)
			}
			p, err := parsePiece(f)
			if err != nil {
				return err
			}
			if other, ok := seen[p.text]; ok {
				return formats.Errorf(f.off, "pieces %d and %d are both %q", other, len(m.pieces), p.text)
			}
			seen[p.text] = len(m.pieces)
			m.pieces = append(m.pieces, p)
		case 2: // TrainerSpec{3: model_type}
			return f.message(func(f field) error { return f.varint(3, &m.kind) })
		case 3: // NormalizerSpec{3: add_dummy_prefix}
			return f.message(func(f field) error {
				prefix := uint64(1)
				err := f.varint(3, &prefix)
				if f.num == 3 {
					m.addDummyPrefix = prefix != 0
				}
				return err
			})
		}
		return nil
	})
	switch {
	case err != nil:
		return nil, err
	case len(m.pieces) == 0:
		return nil, formats.Errorf(-1, "no pieces: not a SentencePiece model")
	case m.kind != kindBPE:
		return nil, formats.Errorf(-1, "SentencePiece model of type %d, expected %d (BPE)", m.kind, kindBPE)
	}
	return m, nil
}

// parsePiece reads SentencePiece{1: piece, 2: score, 3: type}.
func parsePiece(f field) (piece, error) {
	p := piece{typ: Normal}
	typ := uint64(Normal)
	err := f.message(func(f field) error {
		switch f.num {
		case 1:
			if f.typ != protowire.BytesType {
				return f.wrongType("bytes")
			}
			p.text = string(f.bytes)
		case 2:
			if f.typ != protowire.Fixed32Type {
				return f.wrongType("a float")
			}
			p.score = math.Float32frombits(uint32(f.value))
		}
		return f.varint(3, &typ)
	})
	switch {
	case err != nil:
	case p.text == "":
		err = formats.Errorf(f.off, "piece without text")
	case !utf8.ValidString(p.text):
		err = formats.Errorf(f.off, "piece %q is not UTF-8", p.text)
	case p.score != p.score:
		err = formats.Errorf(f.off, "piece %q has the score NaN", p.text)
	case typ < uint64(Normal) || typ > uint64(Byte):
		err = formats.Errorf(f.off, "piece %q has type %d, expected %d to %d", p.text, typ, Normal, Byte)
	case typ == uint64(UserDefined):
		// llama.cpp's converter tells no more of these; the files beside the
		// model do, where they list the piece as an added token.
	default:
		p.typ = TokenType(typ)
	}
	return p, err
}

// field is a field of a protobuf message.
type field struct {
	off   int64 // of the field in the file
	num   protowire.Number
	typ   protowire.Type
	value uint64 // of varint and fixed types
	bytes []byte // of bytes
	body  int64  // offset of bytes in the file
}

// fields calls do for each field of the message data, which starts at offset off
// of the file.
func fields(data []byte, off int64, do func(field) error) error {
	for rest := data; len(rest) > 0; {
		f := field{off: off + int64(len(data)-len(rest))}
		var n int
		f.num, f.typ, n = protowire.ConsumeTag(rest)
		if n < 0 {
			return formats.Errorf(f.off, "not a SentencePiece model: %v", protowire.ParseError(n))
		}
		rest = rest[n:]
		switch f.typ {
		case protowire.VarintType:
			f.value, n = protowire.ConsumeVarint(rest)
		case protowire.Fixed32Type:
			var v uint32
			v, n = protowire.ConsumeFixed32(rest)
			f.value = uint64(v)
		case protowire.BytesType:
			f.bytes, n = protowire.ConsumeBytes(rest)
			f.body = off + int64(len(data)-len(rest)+n-len(f.bytes))
		default:
			n = protowire.ConsumeFieldValue(f.num, f.typ, rest)
		}
		if n < 0 {
			return formats.Errorf(f.off, "not a SentencePiece model: field %d: %v", f.num, protowire.ParseError(n))
		}
		rest = rest[n:]
		if err := do(f); err != nil {
			return err
		}
	}
	return nil
}

func (f field) wrongType(want string) error {
	return formats.Errorf(f.off, "not a SentencePiece model: field %d has wire type %d, expected %s",
		f.num, f.typ, want)
}

// message calls do for each field of the message that f holds.
func (f field) message(do func(field) error) error {
	if f.typ != protowire.BytesType {
		return f.wrongType("a message")
	}
	return fields(f.bytes, f.body, do)
}

// varint stores the value in *to if the field's number is num.
func (f field) varint(num protowire.Number, to *uint64) error {
	if f.num != num {
		return nil
	}
	if f.typ != protowire.VarintType {
		return f.wrongType("a varint")
	}
	*to = f.value
	return nil
}

// piecesFromJSON rebuilds the SentencePiece model from which tokenizer.json was
// converted, pieces by id.
//
// A conversion lists, for each piece, every way to merge it from two pieces, in
// the order of the pieces' scores; the scores themselves are lost. Training
// numbers pieces in the order in which it finds them and gives piece number i the
// score -i. Llama's model, which Phi-3 uses, has one exception: pieces of spaces
// only have the score -1e9, wherever their ids are.
func (s *source) piecesFromJSON(size int) (map[int]piece, error) {
	list, err := s.vocabulary(size)
	if err != nil {
		return nil, err
	}
	merges, err := s.merges()
	if err != nil {
		return nil, err
	}
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
	return c.pieces, nil
}

const (
	jsonFile     = "tokenizer.json"
	notConverted = "not converted from a SentencePiece model; tokenizer.model is needed"
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
			step = fmt.Sprintf("Metaspace(%s)", c.PrependScheme)
			if c.Split == nil || *c.Split {
				step = fmt.Sprintf("Metaspace(%s, split)", c.PrependScheme)
			}
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

// flatten lists the steps of a pipeline, those of a Sequence one by one.
func flatten(p *pipeline) []component {
	if p == nil {
		return nil
	}
	return appendSteps(nil, (*component)(p))
}

func appendSteps(out []component, c *component) []component {
	if c.Type != "Sequence" {
		return append(out, *c)
	}
	for _, list := range [][]component{c.Normalizers, c.PreTokenizers, c.Processors} {
		for i := range list {
			out = appendSteps(out, &list[i])
		}
	}
	return out
}

// vocabulary returns tokenizer.json's model.vocab, whose ids must be below size.
func (s *source) vocabulary(size int) ([]entry, error) {
	m := &s.tokenizer.Model
	if m.Type != "BPE" && m.Type != "" {
		return nil, s.errorf(jsonFile, "model of type %q, expected \"BPE\"", m.Type)
	}
	var list entries
	if m.Vocab == nil {
		return nil, s.errorf(jsonFile, "no model.vocab")
	}
	if err := json.Unmarshal(m.Vocab, &list); err != nil {
		return nil, s.errorf(jsonFile, "model.vocab: %v", err)
	}
	return list, s.checkSize(jsonFile, list, size)
}

func (s *source) checkSize(file string, list []entry, size int) error {
	if len(list) == 0 {
		return s.errorf(file, "no tokens")
	}
	for _, e := range list {
		if e.id >= size {
			return s.errorf(file, "token %q has the id %d, but vocab_size is %d", e.text, e.id, size)
		}
	}
	return nil
}
