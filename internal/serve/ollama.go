package serve

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/dustin/go-humanize"

	"github.com/phi3conv/phi3conv/runtime/engine"
)

// ollamaRequest is what Ollama's clients send to generate and to chat. It becomes a request of OpenAI's.
type ollamaRequest struct {
	Model       string           `json:"model"`
	Messages    json.RawMessage  `json:"messages"`
	Prompt      string           `json:"prompt"`
	System      string           `json:"system"`
	Raw         bool             `json:"raw"`
	Format      json.RawMessage  `json:"format"`
	Options     ollamaOptions    `json:"options"`
	Stream      *bool            `json:"stream"`
	Tools       json.RawMessage  `json:"tools"`
	Logprobs    bool             `json:"logprobs"`
	TopLogprobs int              `json:"top_logprobs"`
	KeepAlive   *json.RawMessage `json:"keep_alive"` // models stay loaded

	// Refused, since they change the result.
	Suffix   string          `json:"suffix"`
	Images   []string        `json:"images"`
	Template string          `json:"template"`
	Context  []int32         `json:"context"`
	Think    json.RawMessage `json:"think"`
}

// ollamaOptions are the parameters of a modelfile.
type ollamaOptions struct {
	NumPredict    *int              `json:"num_predict"`
	NumCtx        *int              `json:"num_ctx"`
	Temperature   *float32          `json:"temperature"`
	TopK          *int              `json:"top_k"`
	TopP          *float32          `json:"top_p"`
	MinP          *float32          `json:"min_p"`
	RepeatPenalty *float32          `json:"repeat_penalty"`
	Seed          *int64            `json:"seed"`
	Stop          oneOrMore[string] `json:"stop"`

	PresencePenalty  *float32 `json:"presence_penalty"`
	FrequencyPenalty *float32 `json:"frequency_penalty"`
	RepeatLastN      *int     `json:"repeat_last_n"`
	TypicalP         *float32 `json:"typical_p"`
	Mirostat         *int     `json:"mirostat"`
}

// ollamaLastN is Ollama's repeat_last_n, and ours.
const ollamaLastN = 64

func (q *ollamaRequest) check() error {
	o := &q.Options
	think := string(q.Think)
	switch {
	case q.Suffix != "":
		return invalid("suffix", "is not supported")
	case len(q.Images) > 0:
		return invalid("images", "cannot be read; only text can")
	case q.Template != "":
		return invalid("template", "is not supported: the model has its own, and raw goes without")
	case len(q.Context) > 0:
		return invalid("context", "is not supported: use /api/chat")
	case think != "" && think != "false" && think != "null":
		return invalid("think", "the model does not support it")
	case o.Mirostat != nil && *o.Mirostat != 0:
		return invalid("mirostat", "is not supported")
	case o.TypicalP != nil && *o.TypicalP != 1:
		return invalid("typical_p", "is not supported")
	case o.RepeatLastN != nil && *o.RepeatLastN != ollamaLastN && o.RepeatPenalty != nil && *o.RepeatPenalty != 1:
		return invalid("repeat_last_n", "is %d; only %d is supported", *o.RepeatLastN, ollamaLastN)
	case o.NumCtx != nil && *o.NumCtx < 1:
		return invalid("num_ctx", "is %d, expected 1 or more", *o.NumCtx)
	case o.NumPredict != nil && *o.NumPredict < -2:
		return invalid("num_predict", "is %d, expected -2 or more", *o.NumPredict)
	}
	return nil
}

// common is what a chat and a completion have in common, in OpenAI's words and with Ollama's defaults.
func (q *ollamaRequest) common() (map[string]any, error) {
	o := &q.Options
	all := map[string]any{
		"max_tokens": -1, "temperature": 0.8, "top_k": 40, "top_p": 0.9, "repeat_penalty": 1.1, "stop": o.Stop,
	}
	given := func(name string, v any, ok bool) {
		if ok {
			all[name] = v
		}
	}
	given("max_tokens", o.NumPredict, o.NumPredict != nil && *o.NumPredict >= 0)
	given("temperature", o.Temperature, o.Temperature != nil)
	given("top_k", o.TopK, o.TopK != nil)
	given("top_p", o.TopP, o.TopP != nil)
	given("min_p", o.MinP, o.MinP != nil)
	given("repeat_penalty", o.RepeatPenalty, o.RepeatPenalty != nil)
	given("seed", o.Seed, o.Seed != nil)
	given("presence_penalty", o.PresencePenalty, o.PresencePenalty != nil)
	given("frequency_penalty", o.FrequencyPenalty, o.FrequencyPenalty != nil)
	switch format := bytes.TrimSpace(q.Format); {
	case len(format) == 0 || string(format) == `""` || string(format) == "null":
	case string(format) == `"json"`:
		all["response_format"] = map[string]string{"type": "json_object"}
	case format[0] == '{':
		all["response_format"] = map[string]any{"type": "json_schema",
			"json_schema": map[string]any{"name": "format", "schema": q.Format}}
	default:
		return nil, invalid("format", `is %s, expected "json" or a JSON Schema`, format)
	}
	return all, nil
}

// jobs makes the one answer: of the messages, of the prompt as a user's message, or of the raw prompt.
func (q *ollamaRequest) jobs(m *Model, chat bool) ([]job, error) {
	fields, err := q.common()
	if err != nil {
		return nil, err
	}
	if !chat && (q.Raw || !m.Tokenizer.HasTemplate()) {
		fields["prompt"] = q.Prompt
		if q.Logprobs {
			fields["logprobs"] = q.TopLogprobs
		}
		var c completionRequest
		if err := convert(fields, &c); err != nil {
			return nil, err
		}
		if err := c.check(); err != nil {
			return nil, err
		}
		return c.jobs(m)
	}
	fields["messages"], fields["logprobs"], fields["top_logprobs"] = q.Messages, q.Logprobs, q.TopLogprobs
	if len(q.Tools) > 0 {
		fields["tools"] = q.Tools
	}
	if !chat {
		turns := []map[string]string{{"role": "user", "content": q.Prompt}}
		if q.System != "" {
			turns = append([]map[string]string{{"role": "system", "content": q.System}}, turns...)
		}
		fields["messages"] = turns
	}
	var c chatRequest
	if err := convert(fields, &c); err != nil {
		return nil, err
	}
	if err := c.check(m); err != nil {
		return nil, err
	}
	return c.jobs(m)
}

// convert makes a request of ours of its fields.
func convert(fields map[string]any, to any) error {
	b, err := json.Marshal(fields)
	if err != nil {
		return err
	}
	err = json.Unmarshal(b, to)
	var own *apiError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &own):
		return own
	}
	return invalid("body", "%v", err)
}

// ollamaAnswer is a part of an answer; the last one has the figures.
type ollamaAnswer struct {
	Model    string         `json:"model"`
	Created  time.Time      `json:"created_at"`
	Message  *ollamaMessage `json:"message,omitempty"`
	Response *string        `json:"response,omitempty"`
	Logprobs []chatToken    `json:"logprobs,omitempty"`
	Done     bool           `json:"done"`
	Reason   string         `json:"done_reason,omitempty"`
	Total    time.Duration  `json:"total_duration,omitempty"`
	Load     time.Duration  `json:"load_duration,omitempty"`
	Prompt   int            `json:"prompt_eval_count,omitempty"`
	PromptNS time.Duration  `json:"prompt_eval_duration,omitempty"`
	Eval     int            `json:"eval_count,omitempty"`
	EvalNS   time.Duration  `json:"eval_duration,omitempty"`
}

type ollamaMessage struct {
	Role    string `json:"role"`
	Content string `json:"content"`
}

func (s *Server) ollamaChat(w http.ResponseWriter, r *http.Request) error {
	return s.ollama(w, r, true)
}

func (s *Server) ollamaGenerate(w http.ResponseWriter, r *http.Request) error {
	return s.ollama(w, r, false)
}

func (s *Server) ollama(w http.ResponseWriter, r *http.Request, chat bool) error {
	begin := time.Now()
	var q ollamaRequest
	if err := read(r, &q); err != nil {
		return err
	}
	m, err := s.ollamaModel(q.Model)
	if err != nil {
		return err
	}
	if err := q.check(); err != nil {
		return err
	}
	if q.empty(chat) {
		a := q.part("", chat) // a client that wants the model to be loaded
		a.Done, a.Reason = true, "load"
		writeJSON(w, http.StatusOK, a)
		return nil
	}
	jobs, err := q.jobs(m, chat)
	if err != nil {
		return err
	}
	if err := q.limit(&jobs[0].request, m.Engine.Context()); err != nil {
		return err
	}
	var out *stream
	if q.Stream == nil || *q.Stream {
		out = s.newStream(w)
		out.lines = true
	}
	bytes, pieces := 0, 0 // that were sent
	next := func(a *answer) *ollamaAnswer {
		p := q.part(a.text[bytes:], chat)
		if q.Logprobs {
			p.Logprobs = m.chatLogprobs(a.pieces[min(pieces, len(a.pieces)):]).Content
		}
		bytes, pieces = len(a.text), len(a.pieces)
		return p
	}
	all, err := s.run(r.Context(), m, jobs, q.Options.Stop, func(a *answer, last bool) error {
		if out == nil || last || len(a.text) == bytes {
			return nil
		}
		return out.send(next(a))
	})
	switch {
	case err != nil && out != nil:
		return out.end(err)
	case err != nil:
		return err
	}
	a := all[0]
	p := next(a)
	p.Done, p.Reason, p.Total = true, a.finish(), time.Since(begin)
	p.Prompt, p.PromptNS = len(jobs[0].request.Prompt), a.result.PromptTime
	p.Eval, p.EvalNS = a.result.Tokens, a.result.AnswerTime
	if out != nil {
		return out.end(out.send(p))
	}
	writeJSON(w, http.StatusOK, p)
	return nil
}

// empty reports whether there is nothing to answer.
func (q *ollamaRequest) empty(chat bool) bool {
	if !chat {
		return q.Prompt == ""
	}
	nothing := string(bytes.TrimSpace(q.Messages))
	return nothing == "" || nothing == "null" || nothing == "[]"
}

// part makes a part of an answer.
func (q *ollamaRequest) part(text string, chat bool) *ollamaAnswer {
	a := &ollamaAnswer{Model: q.Model, Created: time.Now().UTC()}
	if chat {
		a.Message = &ollamaMessage{"assistant", text}
	} else {
		a.Response = &text
	}
	return a
}

// limit applies num_ctx, where that is less than the context.
func (q *ollamaRequest) limit(r *engine.Request, context int) error {
	c, n := q.Options.NumCtx, len(r.Prompt)
	if c == nil || *c >= context {
		return nil
	}
	if n > *c {
		return invalid("num_ctx", "is %d, and the prompt has %d tokens; nothing is cut off", *c, n)
	}
	if room := *c - n; r.MaxTokens < 0 || r.MaxTokens > room {
		r.MaxTokens = room
	}
	return nil
}

// ollamaModel finds a model by its name, to which Ollama's clients may append a tag.
func (s *Server) ollamaModel(name string) (*Model, error) {
	return s.model(strings.TrimSuffix(name, ":latest"))
}

func (m *Model) ollamaDetails() map[string]any {
	return map[string]any{
		"format": "gguf", "family": m.About.Arch, "families": []string{m.About.Arch}, "parent_model": "",
		"parameter_size":     strings.ReplaceAll(humanize.SIWithDigits(float64(m.About.Params), 1, ""), " ", ""),
		"quantization_level": m.About.Type,
	}
}

// ollamaList is the models, as tags and ps have them.
func (s *Server) ollamaList(more map[string]any) map[string]any {
	list := []map[string]any{}
	for _, m := range s.models {
		entry := map[string]any{
			"name": m.ID, "model": m.ID, "modified_at": s.begun.UTC(), "size": m.About.Bytes, "digest": "",
			"details": m.ollamaDetails(),
		}
		for k, v := range more {
			entry[k] = v
		}
		list = append(list, entry)
	}
	return map[string]any{"models": list}
}

func (s *Server) ollamaTags(w http.ResponseWriter, _ *http.Request) error {
	writeJSON(w, http.StatusOK, s.ollamaList(nil))
	return nil
}

// ollamaPS says that all models are loaded, and stay so.
func (s *Server) ollamaPS(w http.ResponseWriter, _ *http.Request) error {
	writeJSON(w, http.StatusOK, s.ollamaList(map[string]any{
		"size_vram": 0, "expires_at": s.begun.UTC().AddDate(100, 0, 0),
		"context_length": s.models[0].Engine.Context(),
	}))
	return nil
}

func (s *Server) ollamaVersion(w http.ResponseWriter, _ *http.Request) error {
	writeJSON(w, http.StatusOK, map[string]string{"version": cmp.Or(s.opt.Version, "0.0.0")})
	return nil
}

func (s *Server) ollamaShow(w http.ResponseWriter, r *http.Request) error {
	var q struct {
		Model string `json:"model"`
		Name  string `json:"name"` // of older clients
	}
	if err := read(r, &q); err != nil {
		return err
	}
	m, err := s.ollamaModel(cmp.Or(q.Model, q.Name))
	if err != nil {
		return err
	}
	arch := m.About.Arch
	writeJSON(w, http.StatusOK, map[string]any{
		"license": "", "modelfile": "", "parameters": "", "template": "", "modified_at": s.begun.UTC(),
		"details": m.ollamaDetails(), "capabilities": []string{"completion"},
		"model_info": map[string]any{
			"general.architecture": arch, "general.parameter_count": m.About.Params,
			arch + ".context_length": m.Engine.Context(), arch + ".vocab_size": m.VocabSize,
		},
	})
	return nil
}

func (s *Server) ollamaEmbed(w http.ResponseWriter, r *http.Request) error {
	begin := time.Now()
	var q embeddingRequest
	if err := read(r, &q); err != nil {
		return err
	}
	if err := q.check(); err != nil {
		return err
	}
	m, err := s.ollamaModel(q.Model)
	if err != nil {
		return err
	}
	all, tokens, err := s.embed(r, m, q.Input)
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, map[string]any{
		"model": q.Model, "embeddings": all, "prompt_eval_count": tokens,
		"total_duration": time.Since(begin), "load_duration": 0,
	})
	return nil
}
