package serve

import (
	"encoding/base64"
	"encoding/binary"
	"math"
	"net/http"

	"github.com/phi3conv/phi3conv/runtime/engine"
	"github.com/phi3conv/phi3conv/runtime/tokenizer"
)

type embeddingRequest struct {
	Model      string  `json:"model"`
	Input      prompts `json:"input"`
	Encoding   string  `json:"encoding_format"`
	Dimensions *int    `json:"dimensions"`
}

func (q *embeddingRequest) check() error {
	switch {
	case len(q.Input) == 0 || len(q.Input) > mostPrompts:
		return invalid("input", "there are %d, expected 1 to %d", len(q.Input), mostPrompts)
	case q.Encoding != "" && q.Encoding != "float" && q.Encoding != "base64":
		return invalid("encoding_format", "is %q, expected float or base64", q.Encoding)
	case q.Dimensions != nil:
		return invalid("dimensions", "is not supported: an embedding has as many as the model's hidden states")
	}
	return nil
}

// embed makes an embedding of each input, of length 1, and counts their tokens.
func (s *Server) embed(r *http.Request, m *Model, inputs prompts) (all [][]float32, tokens int, err error) {
	var jobs []job
	for _, p := range inputs {
		ids := p.ids
		if ids == nil {
			ids = m.Tokenizer.Encode(p.text, tokenizer.EncodeOptions{AddSpecial: true, ParseSpecial: true})
		}
		if len(ids) == 0 {
			return nil, 0, invalid("input", "has no tokens")
		}
		tokens += len(ids)
		jobs = append(jobs, job{request: engine.Request{Prompt: ids, Embed: true, Logprobs: -1}})
	}
	answers, err := s.run(r.Context(), m, jobs, nil, nil)
	if err != nil {
		return nil, 0, err
	}
	for _, a := range answers {
		all = append(all, unit(a.result.Embedding))
	}
	return all, tokens, nil
}

// unit makes a vector one of length 1.
func unit(v []float32) []float32 {
	sum := 0.0
	for _, x := range v {
		sum += float64(x) * float64(x)
	}
	if sum == 0 {
		return v
	}
	out := make([]float32, len(v))
	for i, x := range v {
		out[i] = float32(float64(x) / math.Sqrt(sum))
	}
	return out
}

func (s *Server) embeddings(w http.ResponseWriter, r *http.Request) error {
	var q embeddingRequest
	if err := read(r, &q); err != nil {
		return err
	}
	if err := q.check(); err != nil {
		return err
	}
	m, err := s.model(q.Model)
	if err != nil {
		return err
	}
	all, tokens, err := s.embed(r, m, q.Input)
	if err != nil {
		return err
	}
	type embedding struct {
		Object    string `json:"object"`
		Index     int    `json:"index"`
		Embedding any    `json:"embedding"`
	}
	var data []embedding
	for i, v := range all {
		e := embedding{"embedding", i, v}
		if q.Encoding == "base64" {
			b, err := binary.Append(nil, binary.LittleEndian, v)
			if err != nil {
				return err
			}
			e.Embedding = base64.StdEncoding.EncodeToString(b)
		}
		data = append(data, e)
	}
	writeJSON(w, http.StatusOK, map[string]any{
		"object": "list", "data": data, "model": m.ID,
		"usage": map[string]int{"prompt_tokens": tokens, "total_tokens": tokens},
	})
	return nil
}
