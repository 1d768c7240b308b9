package vocab

import (
	"slices"

	"github.com/phi3conv/phi3conv/formats"
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
	t := newTokenTable(v)
	for id, p := range pieces {
		v.place(id, p)
		t.base = append(t.base, entry{p.text, id})
		t.ids[p.text] = id
	}
	if !prefix { // true is every runtime's default
		v.AddSpacePrefix = &prefix
	}
	if err := s.addTokens(t); err != nil {
		return err
	}
	for text, a := range t.added {
		typ := UserDefined
		if a.Special {
			typ = Control
		}
		v.place(t.ids[text], piece{text, addedScore, typ})
	}
	v.setFlags(t.added, t.ids)
	return s.checkPipeline(v)
}

func (v *Vocab) place(id int, p piece) {
	v.Tokens[id], v.Scores[id], v.Types[id] = p.text, p.score, p.typ
}

// pieces reads the model, by ids, from tokenizer.json or, without it, from tokenizer.model. Where both are the same,
// tokenizer.model has the scores that the other one lost. prefix says that a space is put in front of a text.
func (s *source) pieces(v *Vocab) (pieces map[int]piece, prefix bool, err error) {
	var m *model
	if s.spm != nil {
		if m, err = parseModel(s.spm, len(v.Tokens)); err == nil && s.tokenizer == nil {
			err = m.check()
		}
		if err != nil {
			return nil, false, formats.WithPath(err, s.path(modelFile))
		}
	}
	if s.tokenizer == nil {
		// Without a statement transformers puts the space in front of each part of a text between added tokens.
		if s.config != nil && s.config.Legacy != nil && !*s.config.Legacy && m.addDummyPrefix {
			v.SpacePrefix = PrefixFirst
		}
		return m.byID(), m.addDummyPrefix, nil
	}
	list, err := s.vocabulary(len(v.Tokens))
	if err != nil {
		return nil, false, err
	}
	merges, err := s.merges()
	if err != nil {
		return nil, false, err
	}
	if m == nil || !m.same(list, merges) {
		pieces, err = s.piecesFromJSON(list, merges, len(v.Tokens))
	} else {
		pieces = m.byID()
	}
	if err != nil {
		return nil, false, err
	}
	if err := s.checkUnknown(pieces); err != nil {
		return nil, false, err
	}
	prefix, v.SpacePrefix, err = s.prefixFromJSON()
	return pieces, prefix, err
}

// checkUnknown refuses what tokenizer.json may say of characters without a token and a GGUF file has no place for.
func (s *source) checkUnknown(pieces map[int]piece) error {
	n := 0
	for _, p := range pieces {
		if p.typ == Byte {
			n++
		}
	}
	switch m := s.tokenizer.Model; {
	case m.IgnoreMerges:
		return s.errorf(jsonFile, "model.ignore_merges is true, expected false in a conversion from SentencePiece")
	case n > 0 && !m.ByteFallback:
		return s.errorf(jsonFile, "model.byte_fallback is false, but there are tokens for bytes")
	case n < 256 && !m.FuseUnk:
		return s.errorf(jsonFile, "model.fuse_unk is false, expected true in a conversion from SentencePiece")
	}
	return nil
}
