package serve

import (
	"bufio"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"math"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/phi3conv/phi3conv/internal/testmodel"
	"github.com/phi3conv/phi3conv/runtime/engine"
	"github.com/phi3conv/phi3conv/runtime/tokenizer"
)

// An embedding has length 1, as numbers and in base64, as OpenAI and as Ollama have it.
func TestEmbeddings(t *testing.T) {
	s := start(t, Options{}, engine.Options{})
	_, a := post(t, s, "/v1/embeddings", `{"input":["The dog","ran"]}`)
	_, b := post(t, s, "/v1/embeddings", `{"input":"The dog","encoding_format":"base64"}`)
	_, c := post(t, s, "/api/embed", `{"model":"tiny:latest","input":["ran","The dog"],"truncate":false}`)
	coded, err := base64.StdEncoding.DecodeString(at(b, "data", 0, "embedding").(string))
	if err != nil {
		t.Fatal(err)
	}
	sum := 0.0
	for i := range at(a, "data", 0, "embedding").([]any) {
		x := at(a, "data", 0, "embedding", i).(float64)
		sum += x * x
		if got := math.Float32frombits(binary.LittleEndian.Uint32(coded[4*i:])); got != float32(x) {
			t.Fatalf("value %d: %v in base64, %v as number", i, got, x)
		}
		if at(c, "embeddings", 1, i) != x || at(a, "data", 1, "embedding", i) != at(c, "embeddings", 0, i) {
			t.Fatalf("value %d: another one for Ollama", i)
		}
	}
	if math.Abs(sum-1) > 1e-5 || at(a, "usage", "prompt_tokens").(float64) < 3 || at(c, "prompt_eval_count") == nil {
		t.Errorf("length² %v, %v, %v", sum, a["usage"], c["prompt_eval_count"])
	}
}

// ollamaLines returns the objects of a stream.
func ollamaLines(t *testing.T, url, body string) (all []map[string]any) {
	t.Helper()
	r, err := http.Post(url, "application/json", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Body.Close() }()
	for lines := bufio.NewScanner(r.Body); lines.Scan(); {
		var object map[string]any
		if err := json.Unmarshal(lines.Bytes(), &object); err != nil {
			t.Fatalf("%s: %v", lines.Text(), err)
		}
		all = append(all, object)
	}
	if kind := r.Header.Get("Content-Type"); kind != "application/x-ndjson" {
		t.Errorf("%s: %s", url, kind)
	}
	return all
}

// Ollama's streams have the text of the answer that comes at once, which is OpenAI's with the same parameters.
func TestOllama(t *testing.T) {
	s := start(t, Options{}, engine.Options{})
	const options = `,"options":{"seed":3,"num_predict":12,"temperature":1,"top_k":0,"top_p":1,"repeat_penalty":1}`
	const same = `,"seed":3,"max_tokens":12,"temperature":1,"top_p":1`
	const hi = `"messages":[{"role":"user","content":"Hi"}]`
	for _, c := range []struct{ path, body, open, openBody string }{
		{"/api/chat", hi, "/v1/chat/completions", hi},
		{"/api/generate", `"prompt":"Hi"`, "/v1/chat/completions", hi},
		{"/api/generate", `"prompt":"Hi","raw":true`, "/v1/completions", `"prompt":"Hi"`},
	} {
		_, want := post(t, s, c.open, `{`+c.openBody+same+`}`)
		text := at(want, "choices", 0, "message", "content")
		if text == nil {
			text = at(want, "choices", 0, "text")
		}
		_, whole := post(t, s, c.path, `{"model":"tiny",`+c.body+options+`,"stream":false,"logprobs":true}`)
		got := whole["response"]
		if m, ok := whole["message"].(map[string]any); ok {
			got = m["content"]
		}
		if got != text || whole["done"] != true || whole["eval_count"] != at(want, "usage", "completion_tokens") {
			t.Errorf("%s %s: %v, OpenAI's %q", c.path, c.body, whole, text)
		}
		if whole["done_reason"] != at(want, "choices", 0, "finish_reason") || whole["logprobs"] == nil {
			t.Errorf("%s %s: %v", c.path, c.body, whole)
		}
		streamed := ""
		lines := ollamaLines(t, s.URL+c.path, `{"model":"tiny",`+c.body+options+`}`)
		for i, l := range lines {
			piece, ok := l["response"].(string)
			if !ok {
				piece, _ = at(l, "message", "content").(string)
			}
			streamed += piece
			if l["done"] != (i == len(lines)-1) {
				t.Errorf("%s: line %d of %d: %v", c.path, i, len(lines), l)
			}
		}
		if streamed != text {
			t.Errorf("%s %s: %q as a stream, %q at once", c.path, c.body, streamed, text)
		}
	}
	_, short := post(t, s, "/api/generate",
		`{"prompt":"Hi","raw":true,"stream":false,"options":{"num_ctx":5,"temperature":0,"num_predict":-1}}`)
	if n := at(short, "prompt_eval_count").(float64) + at(short, "eval_count").(float64); n > 5 {
		t.Errorf("%v tokens in a context of 5", n)
	}
}

// What Ollama's clients ask besides, and answers in a format.
func TestOllamaOthers(t *testing.T) {
	s := start(t, Options{}, engine.Options{})
	for path, want := range map[string]string{
		"/api/tags": `"name":"tiny"`, "/api/ps": `"expires_at"`, "/api/version": `"version":"0.0.0"`,
	} {
		r, err := http.Get(s.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		var v json.RawMessage
		if err := json.NewDecoder(r.Body).Decode(&v); err != nil || !strings.Contains(string(v), want) {
			t.Errorf("%s: %s, error %v", path, v, err)
		}
		_ = r.Body.Close()
	}
	if _, a := post(t, s, "/api/show", `{"model":"tiny"}`); at(a, "capabilities", 0) != "completion" {
		t.Errorf("%v", a)
	}
	if _, a := post(t, s, "/api/chat", `{"model":"tiny","messages":[]}`); a["done_reason"] != "load" {
		t.Errorf("%v", a)
	}
	for _, body := range []string{`"raw":true,"format":{"enum":["yes","no"]}`, `"format":{"type":"boolean"}`} {
		_, a := post(t, s, "/api/generate", `{"prompt":"Hi","stream":false,`+body+`}`)
		text, _ := a["response"].(string)
		if !slices.Contains([]string{`"yes"`, `"no"`, "true", "false"}, strings.TrimSpace(text)) {
			t.Errorf("%s: %v", body, a)
		}
	}
}

// Errors are in Ollama's form, and name what is refused.
func TestOllamaRefused(t *testing.T) {
	s := start(t, Options{}, engine.Options{})
	for _, c := range []struct{ path, body, says string }{
		{"/api/generate", `{"prompt":"a","suffix":"b"}`, "suffix"},
		{"/api/generate", `{"prompt":"a","images":["x"]}`, "images"},
		{"/api/generate", `{"prompt":"a","context":[1]}`, "context"},
		{"/api/generate", `{"prompt":"a","think":true}`, "think"},
		{"/api/generate", `{"prompt":"a","options":{"mirostat":1}}`, "mirostat"},
		{"/api/generate", `{"prompt":"a","options":{"temperature":-1}}`, "temperature"},
		{"/api/generate", `{"prompt":"a","options":{"num_ctx":1}}`, "num_ctx"},
		{"/api/generate", `{"prompt":"a","format":5}`, "format"},
		{"/api/generate", `{"prompt":"a","options":[]}`, "options"},
		{"/api/chat", `{"messages":5}`, "messages"},
		{"/api/chat", `{"messages":[{"content":"a"}]}`, "messages"},
		{"/api/embed", `{"input":"a","dimensions":5}`, "dimensions"},
		{"/api/embed", `{}`, "input"},
		{"/api/chat", `{`, "JSON"},
	} {
		status, a := post(t, s, c.path, c.body)
		if message, _ := a["error"].(string); status != 400 || !strings.Contains(message, c.says) {
			t.Errorf("%s %s: %d %v", c.path, c.body, status, a)
		}
	}
}

// A body of any kind gets jobs or an error, and never a panic.
func FuzzOllama(f *testing.F) {
	f.Add([]byte(`{"messages":[{"role":"user","content":"a"}],"options":{"stop":["x"],"num_ctx":9},"format":"json"}`))
	f.Add([]byte(`{"prompt":"a","raw":true,"options":{"seed":1,"num_predict":-2},"format":{"type":"object"}}`))
	m := tinyModel(f)
	f.Fuzz(func(t *testing.T, body []byte) {
		var q ollamaRequest
		if json.Unmarshal(body, &q) == nil && q.check() == nil {
			_, _ = q.jobs(m, true)
			_, _ = q.jobs(m, false)
		}
		var e embeddingRequest
		if json.Unmarshal(body, &e) == nil {
			_ = e.check()
		}
	})
}

// tinyModel is a model without an engine.
func tinyModel(t testing.TB) *Model {
	t.Helper()
	tok, err := tokenizer.Open(testmodel.Phi3(t))
	if err != nil {
		t.Fatal(err)
	}
	return &Model{Tokenizer: tok, VocabSize: tok.VocabSize(), pieces: newPieces(tok)}
}
