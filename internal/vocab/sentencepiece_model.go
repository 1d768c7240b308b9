package vocab

import (
	"math"
	"unicode/utf8"

	"github.com/phi3conv/phi3conv/formats"
	"google.golang.org/protobuf/encoding/protowire"
)

// model is what matters here of a SentencePiece ModelProto.
type model struct {
	pieces         []piece // by id
	kind           uint64  // trainer_spec.model_type
	userDefined    string  // the first piece of that type
	charsmap       bool    // normalizer_spec.precompiled_charsmap is not empty
	addDummyPrefix bool
	removeSpaces   bool // normalizer_spec.remove_extra_whitespaces
	escapeSpaces   bool // normalizer_spec.escape_whitespaces
}

// The model_type that merges pieces by score, as runtimes do with this kind of
// tokenizer.
const kindBPE = 2

// parseModel reads a tokenizer.model of at most limit pieces. The format is
// sentencepiece_model.proto of the SentencePiece project: ModelProto{1: pieces,
// 2: trainer_spec, 3: normalizer_spec}.
func parseModel(data []byte, limit int) (*model, error) {
	m := &model{kind: 1, addDummyPrefix: true, removeSpaces: true, escapeSpaces: true} // the format's defaults
	seen := make(map[string]int)
	err := fields(data, 0, func(f field) error {
		switch f.num {
		case 1:
			if len(m.pieces) == limit {
				return formats.Errorf(f.off, "more pieces than the %d of vocab_size", limit)
			}
			p, userDefined, err := parsePiece(f)
			if err != nil {
				return err
			}
			if userDefined && m.userDefined == "" {
				m.userDefined = p.text
			}
			if other, ok := seen[p.text]; ok {
				return formats.Errorf(f.off, "pieces %d and %d are both %q", other, len(m.pieces), p.text)
			}
			seen[p.text] = len(m.pieces)
			m.pieces = append(m.pieces, p)
		case 2: // TrainerSpec{3: model_type}
			return f.message(func(f field) error { return f.varint(3, &m.kind) })
		case 3:
			return f.message(m.normalizer)
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

// normalizer reads a field of NormalizerSpec{2: precompiled_charsmap, 3: add_dummy_prefix, 4: remove_extra_whitespaces,
// 5: escape_whitespaces}.
func (m *model) normalizer(f field) error {
	if f.num == 2 && f.typ == protowire.BytesType {
		m.charsmap = len(f.bytes) > 0
	}
	for num, flag := range map[protowire.Number]*bool{3: &m.addDummyPrefix, 4: &m.removeSpaces, 5: &m.escapeSpaces} {
		set := uint64(0)
		if err := f.varint(num, &set); err != nil {
			return err
		}
		if f.num == num {
			*flag = set != 0
		}
	}
	return nil
}

// check refuses what a GGUF file has no place for. It does not matter beside a tokenizer.json.
func (m *model) check() error {
	switch {
	case m.charsmap:
		return formats.Errorf(-1, "normalizer_spec.precompiled_charsmap changes characters: not supported")
	case m.removeSpaces:
		return formats.Errorf(-1, "normalizer_spec.remove_extra_whitespaces is true, expected false")
	case !m.escapeSpaces:
		return formats.Errorf(-1, "normalizer_spec.escape_whitespaces is false, expected true")
	case m.userDefined != "":
		return formats.Errorf(-1, "piece %q is user-defined: supported with a tokenizer.json only", m.userDefined)
	}
	return nil
}

func (m *model) byID() map[int]piece {
	out := make(map[int]piece, len(m.pieces))
	for id, p := range m.pieces {
		out[id] = p
	}
	return out
}

// same tells whether a tokenizer.json's vocabulary and merges are those of the model.
func (m *model) same(list []entry, merges []merge) bool {
	if len(list) != len(m.pieces) {
		return false
	}
	for _, e := range list {
		if e.id >= len(m.pieces) || m.pieces[e.id].text != e.text {
			return false
		}
	}
	return sameMerges(merges, mergesOf(m.byID(), nil))
}

// parsePiece reads SentencePiece{1: piece, 2: score, 3: type}.
func parsePiece(f field) (p piece, userDefined bool, err error) {
	p.typ = Normal
	typ := uint64(Normal)
	err = f.message(func(f field) error {
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
	case math.IsNaN(float64(p.score)):
		err = formats.Errorf(f.off, "piece %q has the score NaN", p.text)
	case typ < uint64(Normal) || typ > uint64(Byte):
		err = formats.Errorf(f.off, "piece %q has type %d, expected %d to %d", p.text, typ, Normal, Byte)
	case typ == uint64(UserDefined):
		// Normal, as for llama.cpp's converter. The files beside the model say more, where they list the piece as an
		// added token.
		userDefined = true
	default:
		p.typ = TokenType(typ)
	}
	return p, userDefined, err
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
