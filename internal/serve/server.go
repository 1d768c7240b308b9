// Package serve answers HTTP requests with the API of OpenAI, and some of llama.cpp's server, from models that engines
// run. What it cannot do and would change an answer is refused by name; what it does not know is ignored, as OpenAI
// does.
package serve

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/phi3conv/phi3conv/internal/serve/page"
	"github.com/phi3conv/phi3conv/runtime"
	"github.com/phi3conv/phi3conv/runtime/engine"
	"github.com/phi3conv/phi3conv/runtime/grammar"
	"github.com/phi3conv/phi3conv/runtime/tokenizer"
)

// Model is one of the models that are served.
type Model struct {
	ID        string // what clients call it
	Engine    *engine.Engine
	Tokenizer *tokenizer.Tokenizer
	VocabSize int
	Parallel  int // prompts and choices that run at the same time
	// Queue is how many requests may wait beside as many as may run, whatever the prompts of each. The engine's own
	// queue must have room for Parallel prompts of each.
	Queue int
	// Lookup and Draft, which may be nil, guess what comes. That changes the time that answers take only.
	Lookup bool
	Draft  *engine.DraftModel

	About About

	automata automata
	pieces   pieces
	room     chan struct{} // has an entry for each request
}

// About is what clients may ask about a model.
type About struct {
	Arch, Type    string // Type is the one that most weights have
	Params, Bytes int64
}

// Options are limits of a server.
type Options struct {
	APIKey string // that clients must send, "" for none
	Origin string // of pages that may use the API, "*" for all, "" for none
	Body   int64  // bytes of a request, 0 for 8 MiB
	// Write is how long a client may take to read a part of a stream, 0 for a minute.
	Write   time.Duration
	Version string        // of the program
	Timeout time.Duration // of a request, 0 for none
}

// partTime is how long a client may take to read a part of an answer.
const partTime = time.Minute

// Server is the handler of all paths.
type Server struct {
	models []*Model
	opt    Options
	mux    *http.ServeMux
	begun  time.Time
}

// New makes a server of models, the first of which answers requests that name none.
func New(models []*Model, opt Options) *Server {
	if opt.Body <= 0 {
		opt.Body = 8 << 20
	}
	if opt.Write <= 0 {
		opt.Write = partTime
	}
	s := &Server{models: models, opt: opt, mux: http.NewServeMux(), begun: time.Now()}
	for _, m := range models {
		m.pieces = newPieces(m.Tokenizer)
		m.room = make(chan struct{}, m.Parallel+m.Queue)
	}
	for path, h := range map[string]func(w http.ResponseWriter, r *http.Request) error{
		"GET /v1/models":            s.listModels,
		"GET /models":               s.listModels,
		"GET /v1/models/{id...}":    s.oneModel,
		"POST /v1/completions":      s.completions,
		"POST /completions":         s.completions,
		"POST /v1/chat/completions": s.chat,
		"POST /chat/completions":    s.chat,
		"POST /v1/embeddings":       s.embeddings,
		"POST /embeddings":          s.embeddings,
		"GET /api/tags":             s.ollamaTags,
		"GET /api/ps":               s.ollamaPS,
		"GET /api/version":          s.ollamaVersion,
		"POST /api/show":            s.ollamaShow,
		"POST /api/chat":            s.ollamaChat,
		"POST /api/generate":        s.ollamaGenerate,
		"POST /api/embed":           s.ollamaEmbed,
		"POST /compare":             s.compare,
		"POST /tokenize":            s.tokenize,
		"POST /detokenize":          s.detokenize,
		"GET /tokenizer_info":       s.tokenizerInfo,
		"GET /health":               s.health,
		"GET /props":                s.props,
		"GET /metrics":              s.metrics,
		"/":                         s.unknown,
	} {
		s.mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
			if err := h(w, r); err != nil {
				writeError(w, r, err)
			}
		})
	}
	s.mux.HandleFunc("GET /{$}", page.Serve)
	s.mux.HandleFunc("GET /page/", page.Serve)
	return s
}

// ServeHTTP implements [http.Handler].
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if o := s.opt.Origin; o != "" {
		w.Header().Set("Access-Control-Allow-Origin", o)
		w.Header().Set("Access-Control-Allow-Headers", "Authorization, *") // clients send many
		w.Header().Set("Vary", "Origin")
		if r.Method == http.MethodOptions {
			w.WriteHeader(http.StatusNoContent)
			return
		}
	}
	if r.URL.Path != "/health" && !page.Has(r.URL.Path) && !s.allowed(r) {
		writeError(w, r, &apiError{
			status: http.StatusUnauthorized, Type: "authentication_error", Code: "invalid_api_key",
			Message: "the API key is missing or wrong: send it as `Authorization: Bearer KEY`"})
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, s.opt.Body)
	s.mux.ServeHTTP(w, r)
}

// allowed compares hashes of the keys, which takes as long whatever they have in common.
func (s *Server) allowed(r *http.Request) bool {
	if s.opt.APIKey == "" {
		return true
	}
	key, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	got, want := sha256.Sum256([]byte(key)), sha256.Sum256([]byte(s.opt.APIKey))
	return ok && subtle.ConstantTimeCompare(got[:], want[:]) == 1
}

// apiError is OpenAI's error object.
type apiError struct {
	status  int
	Message string `json:"message"`
	Type    string `json:"type"`
	Param   string `json:"param,omitempty"`
	Code    string `json:"code,omitempty"`
}

func (e *apiError) Error() string { return e.Message }

// invalid is the error of a request's parameter.
func invalid(param, format string, args ...any) error {
	return &apiError{status: http.StatusBadRequest, Type: "invalid_request_error", Param: param,
		Message: param + ": " + fmt.Sprintf(format, args...)}
}

// asAPI finds what a client is told of err.
func asAPI(err error) *apiError {
	var e *apiError
	var tooLong *runtime.ContextError
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &e):
		return e
	case errors.As(err, &tooLong):
		return &apiError{status: http.StatusBadRequest, Type: "invalid_request_error", Code: "context_length_exceeded",
			Message: tooLong.Error() + ": shorten the prompt; nothing is cut off"}
	case errors.As(err, &tooLarge):
		return &apiError{status: http.StatusRequestEntityTooLarge, Type: "invalid_request_error",
			Message: fmt.Sprintf("the request has more than %d bytes", tooLarge.Limit)}
	case errors.Is(err, grammar.ErrAmbiguous), errors.Is(err, grammar.ErrNoToken):
		return &apiError{status: http.StatusBadRequest, Type: "invalid_request_error", Message: err.Error()}
	case errors.Is(err, engine.ErrQueueFull):
		return &apiError{status: http.StatusTooManyRequests, Type: "rate_limit_error", Code: "queue_full",
			Message: err.Error()}
	case errors.Is(err, context.DeadlineExceeded):
		return &apiError{status: http.StatusGatewayTimeout, Type: "server_error", Code: "timeout",
			Message: "the request took too long: ask for less, or when fewer others are served"}
	case errors.Is(err, engine.ErrClosed), errors.Is(err, context.Canceled): // if a client left, none reads this
		return &apiError{status: http.StatusServiceUnavailable, Type: "server_error",
			Message: engine.ErrClosed.Error()}
	}
	return &apiError{status: http.StatusInternalServerError, Type: "server_error", Message: err.Error()}
}

func writeError(w http.ResponseWriter, r *http.Request, err error) {
	e := asAPI(err)
	if e.status == http.StatusTooManyRequests {
		w.Header().Set("Retry-After", "1")
	}
	writeJSON(w, e.status, errorBody(e, strings.HasPrefix(r.URL.Path, "/api/")))
}

// errorBody is what a client gets in place of an answer: OpenAI's error object, or Ollama's text.
func errorBody(e *apiError, ollama bool) any {
	if ollama {
		return map[string]string{"error": e.Message}
	}
	return map[string]any{"error": e}
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	b, err := json.Marshal(v)
	if err != nil { // a value of ours that JSON cannot have
		status, b = http.StatusInternalServerError, []byte(`{"error":{"message":"internal error"}}`)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	control := http.NewResponseController(w)
	for part := range slices.Chunk(append(b, '\n'), 64<<10) {
		_ = control.SetWriteDeadline(time.Now().Add(partTime)) // not every writer has deadlines
		if _, err := w.Write(part); err != nil {
			return // a client that left, or does not read
		}
	}
}

// read decodes the body of a request into v.
func read(r *http.Request, v any) error {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return err
	}
	err = json.Unmarshal(body, v)
	var own *apiError // of a part that decodes itself
	var wrong *json.UnmarshalTypeError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &own):
		return own
	case errors.As(err, &wrong) && wrong.Field != "":
		field := strings.TrimPrefix(strings.TrimPrefix(wrong.Field, "params."), "format.")
		return invalid(field, "is of JSON type %s, expected %s", wrong.Value, jsonKind(wrong.Type))
	case errors.As(err, &wrong):
		err = fmt.Errorf("it is of type %s, expected an object", wrong.Value)
	}
	return &apiError{status: http.StatusBadRequest, Type: "invalid_request_error",
		Message: fmt.Sprintf("the body is no JSON of this request: %v", err)}
}

// jsonKind names what t is in JSON.
func jsonKind(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Bool:
		return "true or false"
	case reflect.Int, reflect.Int32, reflect.Int64:
		return fmt.Sprintf("a whole number of %d bits", t.Bits())
	case reflect.Float32:
		return "a number below 3.4e38"
	case reflect.String:
		return "a string"
	case reflect.Slice:
		return "a list"
	}
	return "an object"
}

// model finds the model that a request names. Of one there is nothing to choose: clients insist on some name.
func (s *Server) model(id string) (*Model, error) {
	if id == "" || len(s.models) == 1 {
		return s.models[0], nil
	}
	return s.named(id)
}

func (s *Server) named(id string) (*Model, error) {
	var known []string
	for _, m := range s.models {
		if m.ID == id {
			return m, nil
		}
		known = append(known, m.ID)
	}
	return nil, &apiError{status: http.StatusNotFound, Type: "invalid_request_error", Param: "model",
		Code:    "model_not_found",
		Message: fmt.Sprintf("there is no model %q; served: %s", id, strings.Join(known, ", "))}
}

func (s *Server) unknown(_ http.ResponseWriter, r *http.Request) error {
	return &apiError{status: http.StatusNotFound, Type: "invalid_request_error",
		Message: fmt.Sprintf("%s %s is not served here", r.Method, r.URL.Path)}
}

type modelInfo struct {
	ID      string    `json:"id"`
	Object  string    `json:"object"`
	Created int64     `json:"created"`
	OwnedBy string    `json:"owned_by"`
	Meta    modelMeta `json:"meta"`
}

type modelMeta struct {
	Context int `json:"n_ctx"`
	Vocab   int `json:"n_vocab"`
}

func (s *Server) info(m *Model) modelInfo {
	return modelInfo{m.ID, "model", s.begun.Unix(), "phi3conv", modelMeta{m.Engine.Context(), m.VocabSize}}
}

func (s *Server) listModels(w http.ResponseWriter, _ *http.Request) error {
	var data []modelInfo
	for _, m := range s.models {
		data = append(data, s.info(m))
	}
	writeJSON(w, http.StatusOK, map[string]any{"object": "list", "data": data})
	return nil
}

func (s *Server) oneModel(w http.ResponseWriter, r *http.Request) error {
	m, err := s.named(r.PathValue("id"))
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, s.info(m))
	return nil
}

func (s *Server) health(w http.ResponseWriter, _ *http.Request) error {
	writeJSON(w, http.StatusOK, map[string]string{"status": "ok"})
	return nil
}

func (s *Server) props(w http.ResponseWriter, _ *http.Request) error {
	m := s.models[0]
	writeJSON(w, http.StatusOK, map[string]any{
		"model_path": m.ID, "total_slots": m.Parallel,
		"default_generation_settings": map[string]any{"n_ctx": m.Engine.Context()},
	})
	return nil
}

// metrics writes the engines' counts in Prometheus' text format.
func (s *Server) metrics(w http.ResponseWriter, _ *http.Request) error {
	var text strings.Builder
	for _, c := range []struct {
		name, kind, help string
		value            func(s engine.Stats) int64
	}{
		{"requests_total", "counter", "Requests that ended.", func(s engine.Stats) int64 { return s.Requests }},
		{"requests_canceled_total", "counter", "Requests whose clients left.",
			func(s engine.Stats) int64 { return s.Canceled }},
		{"prompt_tokens_total", "counter", "Tokens of prompts.", func(s engine.Stats) int64 { return s.PromptTokens }},
		{"kept_tokens_total", "counter", "Tokens of prompts that were not computed, since they were kept.",
			func(s engine.Stats) int64 { return s.KeptTokens }},
		{"answer_tokens_total", "counter", "Tokens of answers.", func(s engine.Stats) int64 { return s.Tokens }},
		{"draft_tokens_total", "counter", "Tokens that were guessed.",
			func(s engine.Stats) int64 { return s.DraftTokens }},
		{"draft_matched_tokens_total", "counter", "Guessed tokens that were right.",
			func(s engine.Stats) int64 { return s.DraftMatched }},
		{"requests_running", "gauge", "Requests that run.", func(s engine.Stats) int64 { return int64(s.Running) }},
		{"requests_waiting", "gauge", "Requests that wait.", func(s engine.Stats) int64 { return int64(s.Waiting) }},
		{"cache_bytes", "gauge", "Memory of keys and values.", func(s engine.Stats) int64 { return s.CacheBytes }},
	} {
		fmt.Fprintf(&text, "# HELP phi3conv_%s %s\n# TYPE phi3conv_%s %s\n", c.name, c.help, c.name, c.kind)
		for _, m := range s.models {
			fmt.Fprintf(&text, "phi3conv_%s{model=%q} %d\n", c.name, m.ID, c.value(m.Engine.Stats()))
		}
	}
	w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
	_, err := io.WriteString(w, text.String())
	return err
}

// logprob is a natural logarithm that JSON can have.
func logprob(x float32) float64 { return math.Max(float64(x), -9999) }
