package serve

import (
	"encoding/json"
	"net/http"
	"slices"
	"time"

	"github.com/phi3conv/phi3conv/runtime"
	"github.com/phi3conv/phi3conv/runtime/tokenizer"
)

type completionRequest struct {
	params
	Prompt   prompts `json:"prompt"`
	Echo     bool    `json:"echo"`
	Logprobs *int    `json:"logprobs"`
	BestOf   *int    `json:"best_of"`
	Suffix   *string `json:"suffix"`
}

// prompts are texts or lists of ids.
type prompts []prompt

type prompt struct {
	text string
	ids  []int32 // nil if the prompt is a text
}

func (p *prompts) UnmarshalJSON(b []byte) error {
	var text string
	var texts []string
	var ids []int32
	var lists [][]int32
	switch {
	case json.Unmarshal(b, &text) == nil:
		*p = prompts{{text: text}}
	case json.Unmarshal(b, &ids) == nil && len(ids) > 0:
		*p = prompts{{ids: ids}}
	case json.Unmarshal(b, &texts) == nil:
		for _, t := range texts {
			*p = append(*p, prompt{text: t})
		}
	case json.Unmarshal(b, &lists) == nil:
		for _, l := range lists {
			if l == nil {
				l = []int32{}
			}
			*p = append(*p, prompt{ids: l})
		}
	default:
		return invalid("prompt", "is no string, list of strings, list of token ids or list of such lists")
	}
	return nil
}

// mostPrompts is how many prompts a request may have, n counted.
const mostPrompts = 2048

func (q *completionRequest) check() error {
	if err := q.params.check(); err != nil {
		return err
	}
	switch {
	case len(q.Prompt) == 0 || len(q.Prompt) > mostPrompts:
		return invalid("prompt", "there are %d, expected 1 to %d", len(q.Prompt), mostPrompts)
	case len(q.Prompt)*q.choices() > mostPrompts:
		return invalid("n", "%d prompts %d times, expected at most %d choices", len(q.Prompt), q.choices(), mostPrompts)
	case q.Suffix != nil && *q.Suffix != "":
		return invalid("suffix", "is not supported")
	case q.BestOf != nil && *q.BestOf != q.choices():
		return invalid("best_of", "is not supported; n is")
	case q.Logprobs != nil && (*q.Logprobs < 0 || *q.Logprobs > mostLogprobs):
		return invalid("logprobs", "is %d, expected 0 to %d", *q.Logprobs, mostLogprobs)
	case q.MaxTokens != nil && *q.MaxTokens < -1:
		return invalid("max_tokens", "is %d, expected -1 or more", *q.MaxTokens)
	}
	return nil
}

// jobs makes the choices of all prompts, one prompt after the other.
func (q *completionRequest) jobs(m *Model) ([]job, error) {
	bias, err := q.bias(m)
	if err != nil {
		return nil, err
	}
	if q.restriction, err = q.automaton(m); err != nil {
		return nil, err
	}
	limit := 16
	set(&limit, q.MaxTokens)
	var all []job
	for _, p := range q.Prompt {
		j := job{echo: q.Echo}
		ids := p.ids
		if ids == nil {
			ids = m.Tokenizer.Encode(p.text, tokenizer.EncodeOptions{AddSpecial: true, ParseSpecial: true})
			plain := m.Tokenizer.Encode(p.text, tokenizer.EncodeOptions{ParseSpecial: true})
			if len(ids) > len(plain) {
				j.silent = 1
			}
		}
		if len(ids) == 0 {
			return nil, invalid("prompt", "has no tokens")
		}
		for _, id := range ids {
			if id < 0 || int(id) >= m.VocabSize {
				return nil, invalid("prompt", "has id %d, expected 0 to %d", id, m.VocabSize-1)
			}
		}
		for choice := range q.choices() {
			r, err := q.request(m, ids, bias, choice, limit)
			if err != nil {
				return nil, err
			}
			if q.Logprobs != nil {
				r.Logprobs = *q.Logprobs
				if q.Echo {
					r.PromptLogprobs = *q.Logprobs
				}
			}
			j.request = r
			all = append(all, j)
		}
	}
	return all, nil
}

type completion struct {
	ID      string             `json:"id"`
	Object  string             `json:"object"`
	Created int64              `json:"created"`
	Model   string             `json:"model"`
	Choices []completionChoice `json:"choices"`
	Usage   *usage             `json:"usage,omitempty"`
}

type completionChoice struct {
	Index    int          `json:"index"`
	Text     string       `json:"text"`
	Logprobs *logprobList `json:"logprobs"`
	Finish   *string      `json:"finish_reason"`
}

// logprobList is the log-probabilities of a completion: lists of equal length, one entry for each token.
type logprobList struct {
	Tokens  []string             `json:"tokens"`
	Logprob []*float64           `json:"token_logprobs"`
	Top     []map[string]float64 `json:"top_logprobs"`
	Offset  []int                `json:"text_offset"`
}

// list makes the log-probabilities of pieces. The first token of a prompt has none.
func (m *Model) list(all []piece) *logprobList {
	l := &logprobList{Tokens: []string{}, Logprob: []*float64{}, Top: []map[string]float64{}, Offset: []int{}}
	for _, p := range all {
		l.Tokens = append(l.Tokens, p.text)
		l.Offset = append(l.Offset, p.offset)
		if p.Logprob != p.Logprob { // NaN
			l.Logprob, l.Top = append(l.Logprob, nil), append(l.Top, nil)
			continue
		}
		own := logprob(p.Logprob)
		l.Logprob = append(l.Logprob, &own)
		top := map[string]float64{}
		for _, c := range slices.Backward(p.Top) { // of tokens with one text, the most likely
			top[m.pieces.text(c.ID)] = logprob(c.Logprob)
		}
		l.Top = append(l.Top, top)
	}
	return l
}

func (s *Server) completions(w http.ResponseWriter, r *http.Request) error {
	var q completionRequest
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
	jobs, err := q.jobs(m)
	if err != nil {
		return err
	}
	c := completion{ID: newID("cmpl"), Object: "text_completion", Created: time.Now().Unix(), Model: m.ID}
	if !q.Stream {
		all, err := s.run(r.Context(), m, jobs, q.Stop, nil)
		if err != nil {
			return err
		}
		for _, a := range all {
			c.Choices = append(c.Choices, q.choice(m, a, 0, 0, true))
		}
		c.Usage = count(all, jobs, q.choices())
		writeJSON(w, http.StatusOK, c)
		return nil
	}
	out := s.newStream(w)
	type sent struct{ bytes, pieces int }
	before := make([]sent, len(jobs))
	all, err := s.run(r.Context(), m, jobs, q.Stop, func(a *answer, last bool) error {
		b := &before[a.index]
		if len(a.text) == b.bytes && !last {
			return nil // nothing but what is held back
		}
		c.Choices = []completionChoice{q.choice(m, a, b.bytes, b.pieces, last)}
		b.bytes, b.pieces = len(a.text), len(a.pieces)
		return out.send(c)
	})
	if err == nil && q.StreamOptions != nil && q.StreamOptions.IncludeUsage {
		c.Choices, c.Usage = []completionChoice{}, count(all, jobs, q.choices())
		err = out.send(c)
	}
	return out.end(err)
}

// choice is what is new of an answer, of whose text and pieces so much was sent. An echo comes with the end.
func (q *completionRequest) choice(m *Model, a *answer, bytes, pieces int, last bool) completionChoice {
	c := completionChoice{Index: a.index, Text: a.text[bytes:]}
	shown := a.pieces[min(pieces, len(a.pieces)):]
	if last {
		reason := a.finish()
		c.Finish = &reason
	}
	if q.Echo {
		c.Text = a.echo() + c.Text
		shown = append(a.prompt, shown...)
		// The token at which the answer ended has an entry too: clients count on prompt + max_tokens entries.
		if a.result.Stop == runtime.StopToken && q.Logprobs != nil {
			stop := piece{Token: a.result.Last, offset: a.offset}
			shown = append(shown, stop)
		}
	}
	if q.Logprobs != nil {
		c.Logprobs = m.list(shown)
	}
	return c
}
