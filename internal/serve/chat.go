package serve

import (
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"github.com/phi3conv/phi3conv/runtime/engine"
	"github.com/phi3conv/phi3conv/runtime/tokenizer"
)

type chatRequest struct {
	params
	Messages            []message `json:"messages"`
	MaxCompletionTokens *int      `json:"max_completion_tokens"`
	Logprobs            *bool     `json:"logprobs"`
	TopLogprobs         *int      `json:"top_logprobs"`

	// Refused, since they change the result.
	Tools      []json.RawMessage `json:"tools"`
	ToolChoice json.RawMessage   `json:"tool_choice"`
}

// message is a turn, whose content is a text or a list of texts.
type message struct {
	Role    string  `json:"role"`
	Content content `json:"content"`
}

type content string

func (c *content) UnmarshalJSON(b []byte) error {
	var text string
	if json.Unmarshal(b, &text) == nil {
		*c = content(text)
		return nil
	}
	var parts []struct {
		Type string `json:"type"`
		Text string `json:"text"`
	}
	if json.Unmarshal(b, &parts) != nil {
		return invalid("messages", "the content of a message is no text and no list of parts")
	}
	var all strings.Builder
	for _, p := range parts {
		if p.Type != "text" {
			return invalid("messages", "a part of a message is of type %q; only text can be read", p.Type)
		}
		all.WriteString(p.Text)
	}
	*c = content(all.String())
	return nil
}

func (q *chatRequest) check(m *Model) error {
	if err := q.params.check(); err != nil {
		return err
	}
	switch {
	case len(q.Messages) == 0:
		return invalid("messages", "is missing")
	case len(q.Tools) > 0 && string(q.ToolChoice) != `"none"`:
		return invalid("tools", "are not supported")
	case q.TopLogprobs != nil && (*q.TopLogprobs < 0 || *q.TopLogprobs > mostLogprobs):
		return invalid("top_logprobs", "is %d, expected 0 to %d", *q.TopLogprobs, mostLogprobs)
	case !m.Tokenizer.HasTemplate():
		return invalid("messages", "the model has no chat template: use /v1/completions")
	}
	for i, t := range q.Messages {
		if t.Role == "" {
			return invalid("messages", "message %d has no role", i+1)
		}
	}
	return nil
}

// jobs makes the choices.
func (q *chatRequest) jobs(m *Model) ([]job, error) {
	var turns []tokenizer.Message
	for _, t := range q.Messages {
		turns = append(turns, tokenizer.Message{Role: t.Role, Content: string(t.Content)})
	}
	text, err := m.Tokenizer.Chat(turns, true, "")
	if err != nil {
		return nil, invalid("messages", "%v", err)
	}
	ids := m.Tokenizer.Encode(text, tokenizer.EncodeOptions{ParseSpecial: true})
	bias, err := q.bias(m)
	if err != nil {
		return nil, err
	}
	if q.restriction, err = q.automaton(m); err != nil {
		return nil, err
	}
	limit := -1
	set(&limit, q.MaxTokens)
	set(&limit, q.MaxCompletionTokens)
	var all []job
	for choice := range q.choices() {
		r, err := q.request(m, ids, bias, choice, max(limit, -1))
		if err != nil {
			return nil, err
		}
		if q.Logprobs != nil && *q.Logprobs {
			r.Logprobs = 0
			set(&r.Logprobs, q.TopLogprobs)
		}
		all = append(all, job{request: r})
	}
	return all, nil
}

type chatCompletion struct {
	ID      string       `json:"id"`
	Object  string       `json:"object"`
	Created int64        `json:"created"`
	Model   string       `json:"model"`
	Choices []chatChoice `json:"choices"`
	Usage   *usage       `json:"usage,omitempty"`
}

type chatChoice struct {
	Index    int           `json:"index"`
	Message  *chatMessage  `json:"message,omitempty"`
	Delta    *chatMessage  `json:"delta,omitempty"`
	Logprobs *chatLogprobs `json:"logprobs"`
	Finish   *string       `json:"finish_reason"`
}

type chatMessage struct {
	Role    string  `json:"role,omitempty"`
	Content *string `json:"content,omitempty"`
}

type chatLogprobs struct {
	Content []chatToken `json:"content"`
}

type chatToken struct {
	chatCandidate
	Top []chatCandidate `json:"top_logprobs"`
}

type chatCandidate struct {
	Token   string  `json:"token"`
	Logprob float64 `json:"logprob"`
	Bytes   []int   `json:"bytes"`
}

func (m *Model) candidate(c engine.Candidate) chatCandidate {
	return chatCandidate{m.pieces.text(c.ID), logprob(c.Logprob), m.pieces.bytes(c.ID)}
}

func (m *Model) chatLogprobs(all []piece) *chatLogprobs {
	l := &chatLogprobs{Content: []chatToken{}}
	for _, p := range all {
		t := chatToken{m.candidate(p.Candidate), []chatCandidate{}}
		for _, c := range p.Top {
			t.Top = append(t.Top, m.candidate(c))
		}
		l.Content = append(l.Content, t)
	}
	return l
}

func (s *Server) chat(w http.ResponseWriter, r *http.Request) error {
	var q chatRequest
	if err := read(r, &q); err != nil {
		return err
	}
	m, err := s.model(q.Model)
	if err != nil {
		return err
	}
	if err := q.check(m); err != nil {
		return err
	}
	jobs, err := q.jobs(m)
	if err != nil {
		return err
	}
	c := chatCompletion{ID: newID("chatcmpl"), Created: time.Now().Unix(), Model: m.ID}
	wanted := jobs[0].request.Logprobs >= 0
	if q.Stream {
		return s.streamChat(w, r, &q, m, jobs, c, wanted)
	}
	all, err := s.run(r.Context(), m, jobs, q.Stop, nil)
	if err != nil {
		return err
	}
	c.Object = "chat.completion"
	for _, a := range all {
		reason := a.finish()
		choice := chatChoice{Index: a.index, Message: &chatMessage{"assistant", &a.text}, Finish: &reason}
		if wanted {
			choice.Logprobs = m.chatLogprobs(a.pieces)
		}
		c.Choices = append(c.Choices, choice)
	}
	c.Usage = count(all, jobs, len(jobs))
	writeJSON(w, http.StatusOK, c)
	return nil
}

// streamChat sends each choice as it comes: a role, texts, and why it ended.
func (s *Server) streamChat(
	w http.ResponseWriter, r *http.Request, q *chatRequest, m *Model, jobs []job, c chatCompletion, wanted bool,
) error {
	c.Object = "chat.completion.chunk"
	out := s.newStream(w)
	type sent struct {
		begun         bool
		bytes, pieces int
	}
	before := make([]sent, len(jobs))
	all, err := s.run(r.Context(), m, jobs, q.Stop, func(a *answer, last bool) error {
		b := &before[a.index]
		if !b.begun {
			b.begun = true
			empty := ""
			c.Choices = []chatChoice{{Index: a.index, Delta: &chatMessage{"assistant", &empty}}}
			if err := out.send(c); err != nil {
				return err
			}
		}
		if text := a.text[b.bytes:]; text != "" {
			choice := chatChoice{Index: a.index, Delta: &chatMessage{Content: &text}}
			if wanted {
				choice.Logprobs = m.chatLogprobs(a.pieces[min(b.pieces, len(a.pieces)):])
			}
			b.bytes, b.pieces = len(a.text), len(a.pieces)
			c.Choices = []chatChoice{choice}
			if err := out.send(c); err != nil {
				return err
			}
		}
		if !last {
			return nil
		}
		reason := a.finish()
		c.Choices = []chatChoice{{Index: a.index, Delta: &chatMessage{}, Finish: &reason}}
		return out.send(c)
	})
	if err == nil && q.StreamOptions != nil && q.StreamOptions.IncludeUsage {
		c.Choices, c.Usage = []chatChoice{}, count(all, jobs, len(jobs))
		err = out.send(c)
	}
	return out.end(err)
}
