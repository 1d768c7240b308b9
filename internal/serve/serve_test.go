package serve

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/phi3conv/phi3conv/internal/testmodel"
	"github.com/phi3conv/phi3conv/runtime"
	"github.com/phi3conv/phi3conv/runtime/engine"
	"github.com/phi3conv/phi3conv/runtime/tokenizer"
)

// start serves the tiny model.
func start(t *testing.T, opt Options, limits engine.Options) *httptest.Server {
	t.Helper()
	return startAt(t, testmodel.Phi3(t), opt, limits)
}

// startAt serves the model of a directory.
func startAt(t *testing.T, path string, opt Options, limits engine.Options) *httptest.Server {
	t.Helper()
	m, err := runtime.Open(t.Context(), path, runtime.Options{Batched: true})
	if err != nil {
		t.Fatal(err)
	}
	e, err := engine.New(m, limits)
	if err != nil {
		t.Fatal(err)
	}
	tok, err := tokenizer.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	served := &Model{
		ID: "tiny", Engine: e, Tokenizer: tok, VocabSize: m.VocabSize(), Parallel: 4, Queue: 1, Lookup: true,
	}
	if limits.Parallel > 0 {
		served.Parallel = limits.Parallel
	}
	s := httptest.NewServer(New([]*Model{served}, opt))
	t.Cleanup(func() {
		s.Close()
		e.Close()
		_ = m.Close()
	})
	return s
}

func post(t *testing.T, s *httptest.Server, path, body string) (status int, answer map[string]any) {
	t.Helper()
	r, err := http.Post(s.URL+path, "application/json", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Body.Close() }()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &answer); err != nil {
		t.Fatalf("%s: %v", b, err)
	}
	return r.StatusCode, answer
}

// at goes down into JSON.
func at(v any, path ...any) any {
	for _, p := range path {
		switch p := p.(type) {
		case string:
			m, _ := v.(map[string]any)
			v = m[p]
		case int:
			l, _ := v.([]any)
			if p >= len(l) {
				return nil
			}
			v = l[p]
		}
	}
	return v
}

// With echo, log-probabilities are those of the whole text, a list entry for each token.
func TestEcho(t *testing.T) {
	s := start(t, Options{}, engine.Options{})
	const text = "The little dog ran to the park, and é"
	for _, limit := range []float64{0, 1, 3} {
		body, _ := json.Marshal(map[string]any{
			"prompt": text, "max_tokens": limit, "logprobs": 2, "echo": true, "temperature": 0, "ignore_eos": true,
		})
		_, a := post(t, s, "/v1/completions", string(body))
		c := at(a, "choices", 0)
		var tokens []string
		for _, x := range at(c, "logprobs", "tokens").([]any) {
			tokens = append(tokens, x.(string))
		}
		prompt := int(at(a, "usage", "prompt_tokens").(float64))
		if len(tokens) != prompt+int(limit) {
			t.Errorf("%v tokens wanted: %d, of the prompt %d", limit, len(tokens), prompt)
		}
		whole := at(c, "text").(string)
		if !strings.HasPrefix(whole, text) || strings.Join(tokens, "") != whole {
			t.Errorf("text %q, tokens %q", whole, tokens)
		}
		characters := 0
		for i, token := range tokens {
			if o := at(c, "logprobs", "text_offset", i); o != float64(characters) {
				t.Errorf("token %d begins at %v, expected %d", i, o, characters)
			}
			characters += len([]rune(token))
			own, top := at(c, "logprobs", "token_logprobs", i), at(c, "logprobs", "top_logprobs", i)
			if (i == 0) != (own == nil) || (i == 0) != (top == nil) {
				t.Errorf("token %d: log-probability %v, candidates %v", i, own, top)
			}
			if i == 0 {
				continue
			}
			greatest := math.Inf(-1)
			for _, p := range top.(map[string]any) {
				greatest = max(greatest, p.(float64))
			}
			if i >= prompt && own != greatest || own.(float64) > greatest {
				t.Errorf("token %d: log-probability %v, the greatest is %v", i, own, greatest)
			}
		}
	}
}

// Prompts of ids, several prompts and choices: each with its own answer, in order.
func TestManyPrompts(t *testing.T) {
	s := start(t, Options{}, engine.Options{})
	_, ids := post(t, s, "/tokenize", `{"prompt":"The dog","add_special_tokens":false}`)
	list, _ := json.Marshal(ids["tokens"])
	_, back := post(t, s, "/detokenize", `{"tokens":`+string(list)+`}`)
	if back["content"] != "The dog" {
		t.Errorf("%v is %v", ids, back)
	}
	body := `{"prompt":[` + string(list) + `,[5,6,7],[9]],"n":3,"seed":4,"max_tokens":6,"logprobs":0}`
	_, many := post(t, s, "/v1/completions", body)
	if n := len(many["choices"].([]any)); n != 9 {
		t.Fatalf("%d choices, expected 9: %v", n, many)
	}
	for i, prompt := range []string{string(list), "[5,6,7]", "[9]"} {
		_, one := post(t, s, "/v1/completions", `{"prompt":`+prompt+`,"n":3,"seed":4,"max_tokens":6,"logprobs":0}`)
		for n := range 3 {
			a, b := at(one, "choices", n, "text"), at(many, "choices", 3*i+n, "text")
			if a != b || at(many, "choices", 3*i+n, "index") != float64(3*i+n) {
				t.Errorf("prompt %s, choice %d: %q, expected %q", prompt, n, b, a)
			}
		}
	}
}

// A stream has the text of the answer that comes at once, and a stop string ends both in the same place.
func TestStream(t *testing.T) {
	s := start(t, Options{}, engine.Options{})
	for _, c := range []struct{ path, prompt string }{
		{"/v1/completions", `"prompt":"Once"`},
		{"/v1/chat/completions", `"messages":[{"role":"user","content":[{"type":"text","text":"Hi"}]}]`},
	} {
		for _, stop := range []string{``, `,"stop":["e","zzz"]`} {
			body := `{` + c.prompt + stop + `,"temperature":0,"max_tokens":30,"stream_options":{"include_usage":true}`
			_, whole := post(t, s, c.path, body+`}`)
			want, reason := at(whole, "choices", 0, "text"), at(whole, "choices", 0, "finish_reason")
			if want == nil {
				want = at(whole, "choices", 0, "message", "content")
			}
			text, ended, usage := streamed(t, s.URL+c.path, body+`,"stream":true}`)
			if text != want || ended != reason || at(usage, "total_tokens") != at(whole, "usage", "total_tokens") {
				t.Errorf("%s%s: %q, %v; at once %q, %v", c.path, stop, text, ended, want, reason)
			}
			if stop != "" && (strings.Contains(text, "e") || reason != "stop") {
				t.Errorf("%s: %q does not end at the stop string", c.path, text)
			}
		}
	}
}

// streamed puts a stream's texts together. It ends with [DONE].
func streamed(t *testing.T, url, body string) (text string, finish, usage any) {
	t.Helper()
	r, err := http.Post(url, "application/json", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Body.Close() }()
	last := ""
	for lines := bufio.NewScanner(r.Body); lines.Scan(); {
		data, ok := strings.CutPrefix(lines.Text(), "data: ")
		if !ok {
			continue
		}
		last = data
		var event map[string]any
		if json.Unmarshal([]byte(data), &event) != nil {
			continue
		}
		if u := event["usage"]; u != nil {
			usage = u
		}
		for _, path := range [][]any{{"choices", 0, "text"}, {"choices", 0, "delta", "content"}} {
			if piece, ok := at(event, path...).(string); ok {
				text += piece
			}
		}
		if f := at(event, "choices", 0, "finish_reason"); f != nil {
			finish = f
		}
	}
	if last != "[DONE]" {
		t.Errorf("%s: the last event is %q", url, last)
	}
	return text, finish, usage
}

// What would change an answer and cannot be done is refused, by name.
func TestRefused(t *testing.T) {
	s := start(t, Options{Body: 1000}, engine.Options{Context: 50})
	long := `{"prompt":"` + strings.Repeat("word ", 100) + `"}`
	for _, c := range []struct {
		path, body string
		status     int
		says       string
	}{
		{"/v1/completions", `{`, 400, "no JSON"},
		{"/v1/completions", `{}`, 400, "prompt"},
		{"/v1/completions", `{"prompt":5}`, 400, "prompt"},
		{"/v1/completions", `{"prompt":[99999]}`, 400, "99999"},
		{"/v1/completions", `{"prompt":"a","suffix":"b"}`, 400, "suffix"},
		{"/v1/completions", `{"prompt":"a","best_of":3}`, 400, "best_of"},
		{"/v1/completions", `{"prompt":"a","presence_penalty":1}`, 400, "presence_penalty"},
		{"/v1/completions", `{"prompt":"a","logit_bias":{"x":1}}`, 400, "logit_bias"},
		{"/v1/completions", `{"prompt":"a","n":0}`, 400, "n: is 0"},
		{"/v1/completions", `{"prompt":["a"` + strings.Repeat(`,"a"`, 16) + `],"n":128}`, 400, "at most 2048 choices"},
		{"/v1/completions", `{"prompt":"a","temperature":-1}`, 400, "temperature"},
		{"/v1/completions", `[]`, 400, "expected an object"},
		{"/v1/completions", `{"prompt":"a","max_tokens":"3"}`, 400, "max_tokens: is of JSON type string, expected"},
		{"/v1/completions", `{"prompt":"a","stream_options":5}`, 400, "expected an object"},
		{"/v1/completions", `{"prompt":"a","stop":[5]}`, 400, "stop: is of JSON type number, expected a string"},
		{"/v1/completions", `{"prompt":[[1],"a"]}`, 400, "prompt: is no string"},
		{"/v1/completions", long, 400, "50"},
		{"/v1/completions", `{"prompt":"` + strings.Repeat("a", 2000) + `"}`, 413, "1000 bytes"},
		{"/v1/chat/completions", `{"messages":[]}`, 400, "messages"},
		{"/v1/chat/completions", `{"messages":[{"role":"user"},null]}`, 400, "messages: message 2 has no role"},
		{"/v1/chat/completions", `{"messages":[{"role":"user","content":[{"type":"image_url"}]}]}`, 400,
			"messages: a part of a message is of type \"image_url\""},
		{"/v1/chat/completions", `{"messages":[{"role":"user","content":"a"}],"tools":[{}]}`, 400, "tools"},
		{"/v1/chat/completions", `{"messages":[{"role":"user","content":"a"}],"response_format":{"type":"json"}}`, 400,
			"response_format"},
		{"/v1/embeddings", `{}`, 400, "input"},
		{"/v1/embeddings", `{"input":"a","dimensions":5}`, 400, "dimensions"},
		{"/v1/audio", `{}`, 404, "/v1/audio"},
		{"/detokenize", `{"tokens":[-1]}`, 400, "tokens"},
	} {
		status, a := post(t, s, c.path, c.body)
		message, _ := at(a, "error", "message").(string)
		if status != c.status || !strings.Contains(message, c.says) {
			t.Errorf("%s %.80s: %d %q, expected %d and %q", c.path, c.body, status, message, c.status, c.says)
		}
		if param, _ := at(a, "error", "param").(string); !strings.HasPrefix(message, param) {
			t.Errorf("%.80s: parameter %q, message %q", c.body, param, message)
		}
	}
	// Nulls and fields that nobody knows are ignored.
	status, a := post(t, s, "/v1/completions", `{"prompt":["a"],"logprobs":null,"stop":null,"user":"x","max_tokens":1}`)
	if status != 200 {
		t.Errorf("%d %v", status, a)
	}
}

// The queue is one of requests: many prompts of one need no place there. A request for which there is none gets 429.
func TestQueue(t *testing.T) {
	s := start(t, Options{}, engine.Options{Parallel: 1})
	wait := func(line string) {
		for deadline := time.Now().Add(20 * time.Second); !strings.Contains(metrics(t, s), line); {
			if time.Now().After(deadline) {
				t.Fatalf("no %q in %s", line, metrics(t, s))
			}
			time.Sleep(time.Millisecond)
		}
	}
	ctx, leave := context.WithCancel(t.Context())
	defer leave()
	const long = `{"prompt":"a","max_tokens":-1,"ignore_eos":true,"n":100}`
	go func() {
		r, _ := http.NewRequestWithContext(ctx, "POST", s.URL+"/v1/completions", strings.NewReader(long))
		if a, err := http.DefaultClient.Do(r); err == nil {
			_ = a.Body.Close()
		}
	}()
	wait(`requests_running{model="tiny"} 1`)
	const several = `{"prompt":["a","b","c"],"n":2,"max_tokens":2}`
	second := make(chan int, 1)
	go func() {
		r, err := http.Post(s.URL+"/v1/completions", "", strings.NewReader(several))
		if err != nil {
			second <- 0
			return
		}
		_ = r.Body.Close()
		second <- r.StatusCode
	}()
	wait(`requests_waiting{model="tiny"} 1`)
	for _, body := range []string{`{"prompt":"a"}`, `{"prompt":"a","stream":true}`} {
		r, err := http.Post(s.URL+"/v1/completions", "", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		_ = r.Body.Close()
		if r.StatusCode != http.StatusTooManyRequests || r.Header.Get("Retry-After") == "" {
			t.Errorf("%s: %d %v", body, r.StatusCode, r.Header)
		}
	}
	leave()
	if status := <-second; status != http.StatusOK {
		t.Errorf("the request that waited: %d", status)
	}
	wait(`requests_running{model="tiny"} 0`)
}

// Of tokens with one text, a letter's and its byte's, the likeliest is shown.
func TestSameText(t *testing.T) {
	tok, err := tokenizer.Open(testmodel.Phi3(t))
	if err != nil {
		t.Fatal(err)
	}
	m := &Model{Tokenizer: tok, pieces: newPieces(tok)}
	letter := tok.Encode("xA", tokenizer.EncodeOptions{})
	top := []engine.Candidate{{ID: letter[len(letter)-1], Logprob: -1}, {ID: 3 + 'A', Logprob: -5}} // <0x00> has id 3
	got := m.list([]piece{{Token: engine.Token{Top: top}}}).Top[0]
	if len(got) != 1 || got["A"] != -1 {
		t.Errorf("%v", got)
	}
}

// A server that stops says so, and to a client that may try another time.
func TestStops(t *testing.T) {
	e := asAPI(context.Canceled)
	if e.status != http.StatusServiceUnavailable || e.Message != engine.ErrClosed.Error() {
		t.Errorf("%d %v", e.status, e)
	}
}

func TestKey(t *testing.T) {
	s := start(t, Options{APIKey: "secret", Origin: "https://example.org"}, engine.Options{})
	for key, want := range map[string]int{"": 401, "Bearer wrong": 401, "Bearer secret": 200} {
		r, _ := http.NewRequest("GET", s.URL+"/v1/models", nil)
		r.Header.Set("Authorization", key)
		a, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		_ = a.Body.Close()
		if a.StatusCode != want || a.Header.Get("Access-Control-Allow-Origin") != "https://example.org" {
			t.Errorf("%q: %d %v", key, a.StatusCode, a.Header)
		}
	}
}

// Every count has a help line, a type and a value for each model.
func TestMetrics(t *testing.T) {
	s := start(t, Options{}, engine.Options{})
	post(t, s, "/v1/completions", `{"prompt":"a b","max_tokens":2,"ignore_eos":true}`)
	text := metrics(t, s)
	lines := strings.Split(strings.TrimSpace(text), "\n")
	if len(lines)%3 != 0 || !slices.Contains(lines, `phi3conv_answer_tokens_total{model="tiny"} 2`) {
		t.Errorf("%s", text)
	}
}

func metrics(t *testing.T, s *httptest.Server) string {
	t.Helper()
	r, err := http.Get(s.URL + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Body.Close() }()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// A body of any kind gets an answer or an error, and never a panic.
func FuzzRequest(f *testing.F) {
	f.Add([]byte(`{"prompt":["a",null],"n":2,"stop":"x","logit_bias":{"1":2},"logprobs":1,"echo":true}`))
	f.Add([]byte(`{"prompt":[[1,2],[]],"messages":[{"role":"user","content":[{"type":"text","text":"a"}]}]}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		for _, q := range []interface{ check() error }{&completionRequest{}, &params{}, &compareRequest{}} {
			if json.NewDecoder(bytes.NewReader(body)).Decode(q) == nil {
				_ = q.check()
			}
		}
		var chat chatRequest
		_ = json.Unmarshal(body, &chat)
	})
}
