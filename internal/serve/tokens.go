package serve

import (
	"net/http"

	"github.com/phi3conv/phi3conv/runtime/tokenizer"
)

// pieces gives single tokens as text.
type pieces struct {
	tok   *tokenizer.Tokenizer
	plain []int32 // a text that a token may follow: in front of one, a space is taken off
}

func newPieces(tok *tokenizer.Tokenizer) pieces {
	return pieces{tok, tok.Encode("a", tokenizer.EncodeOptions{})}
}

// text returns what a token stands for within a text, or, if that is no whole characters, as the vocabulary writes it.
func (p pieces) text(id int32) string {
	d := p.tok.NewDecoder(true)
	for _, before := range p.plain {
		d.Next(before)
	}
	if s := d.Next(id); s != "" && d.Flush() == "" {
		return s
	}
	return p.tok.Token(id)
}

// bytes returns the bytes of a token, those of a part of a character too. It is no []byte, which JSON has as base64.
func (p pieces) bytes(id int32) []int {
	var all []int
	for _, b := range p.tok.Bytes(id) {
		all = append(all, int(b))
	}
	return all
}

type tokenizeRequest struct {
	Model string `json:"model"`
	// vLLM's name and llama.cpp's.
	Prompt  *string `json:"prompt"`
	Content *string `json:"content"`

	AddSpecial       *bool `json:"add_special"`
	AddSpecialTokens *bool `json:"add_special_tokens"`
}

func (s *Server) tokenize(w http.ResponseWriter, r *http.Request) error {
	var q tokenizeRequest
	if err := read(r, &q); err != nil {
		return err
	}
	m, err := s.model(q.Model)
	if err != nil {
		return err
	}
	text := q.Prompt
	if text == nil {
		text = q.Content
	}
	if text == nil {
		return invalid("prompt", "is missing")
	}
	o := tokenizer.EncodeOptions{ParseSpecial: true}
	for _, add := range []*bool{q.AddSpecial, q.AddSpecialTokens} {
		o.AddSpecial = o.AddSpecial || add != nil && *add
	}
	ids := m.Tokenizer.Encode(*text, o)
	if ids == nil {
		ids = []int32{}
	}
	writeJSON(w, http.StatusOK, map[string]any{"tokens": ids, "count": len(ids), "max_model_len": m.Engine.Context()})
	return nil
}

func (s *Server) detokenize(w http.ResponseWriter, r *http.Request) error {
	var q struct {
		Model  string  `json:"model"`
		Tokens []int32 `json:"tokens"`
	}
	if err := read(r, &q); err != nil {
		return err
	}
	m, err := s.model(q.Model)
	if err != nil {
		return err
	}
	text, err := m.Tokenizer.Decode(q.Tokens, true)
	if err != nil {
		return invalid("tokens", "%v", err)
	}
	writeJSON(w, http.StatusOK, map[string]string{"prompt": text, "content": text})
	return nil
}

func (s *Server) tokenizerInfo(w http.ResponseWriter, _ *http.Request) error {
	tok := s.models[0].Tokenizer
	info := map[string]any{}
	if id, ok := tok.BOS(); ok {
		info["bos_token"] = s.models[0].pieces.text(id)
	}
	if stop := tok.StopIDs(); len(stop) > 0 {
		info["eos_token"] = s.models[0].pieces.text(stop[0])
	}
	writeJSON(w, http.StatusOK, info)
	return nil
}
