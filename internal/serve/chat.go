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
	toolbox
	calling *calling // how tools are called, nil if there are none
}

// message is a turn, whose content is a text or a list of texts.
type message struct {
	Role    string  `json:"role"`
	Content content `json:"content"`

	// Of a model that calls tools, and of their results.
	Name       string     `json:"name"`
	ToolCalls  []toolCall `json:"tool_calls"`
	ToolCallID string     `json:"tool_call_id"`
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
	var err error
	if q.calling, err = q.toolbox.calling(m); err != nil {
		return nil, err
	}
	turns := tokenizer.Conversation{Prompt: true}
	if turns.Messages, err = q.messages(m, q.calling); err != nil {
		return nil, err
	}
	if q.calling != nil && q.calling.tools == asVariable {
		turns.Tools = q.calling.template
	}
	text, err := m.Tokenizer.Render(turns)
	if err != nil {
		return nil, invalid("messages", "%v", err)
	}
	if q.calling != nil && !strings.Contains(text, q.calling.functions[0].Name) {
		return nil, invalid("tools", "the model's template has no place for them, nor for a system message")
	}
	ids := m.Tokenizer.Encode(text, tokenizer.EncodeOptions{ParseSpecial: true})
	bias, err := q.bias(m)
	if err != nil {
		return nil, err
	}
	if q.calling != nil {
		q.restriction, err = q.calling.automaton(m, &q.format)
	} else {
		q.restriction, err = q.automaton(m)
	}
	if err != nil {
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
	Role    string `json:"role,omitempty"`
	Content any    `json:"content,omitempty"` // *string; of a type and nil it is null

	ToolCalls []toolCall `json:"tool_calls,omitempty"`
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
		message := &chatMessage{Role: "assistant", Content: &a.text}
		choice := chatChoice{Index: a.index, Message: message, Finish: &reason}
		if q.calling != nil {
			q.calling.divide(&choice, a.text)
		}
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
		calls         *callReader // nil without tools
	}
	before := make([]sent, len(jobs))
	for i := range before {
		if q.calling != nil {
			before[i].calls = &callReader{c: q.calling}
		}
	}
	all, err := s.run(r.Context(), m, jobs, q.Stop, func(a *answer, last bool) error {
		b := &before[a.index]
		if !b.begun {
			b.begun = true
			empty := ""
			c.Choices = []chatChoice{{Index: a.index, Delta: &chatMessage{Role: "assistant", Content: &empty}}}
			if err := out.send(c); err != nil {
				return err
			}
		}
		if text := a.text[b.bytes:]; text != "" || last && b.calls.holds() {
			choice := chatChoice{Index: a.index, Delta: b.calls.message(text, last)}
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
		reason := b.calls.finish(a.finish())
		c.Choices = []chatChoice{{Index: a.index, Delta: &chatMessage{}, Finish: &reason}}
		return out.send(c)
	})
	if err == nil && q.StreamOptions != nil && q.StreamOptions.IncludeUsage {
		c.Choices, c.Usage = []chatChoice{}, count(all, jobs, len(jobs))
		err = out.send(c)
	}
	return out.end(err)
}
