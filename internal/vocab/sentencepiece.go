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

// overlayAdded places the added tokens of tokenizer_config.json, then those of tokenizer.json, which replace them.
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
