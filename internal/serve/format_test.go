package serve

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/phi3conv/phi3conv/runtime/engine"
)

// person is a schema that leaves a model little choice.
const person = `{"type":"object","properties":{"name":{"enum":["Anna","Ben"]},"age":{"type":"integer","minimum":0,` +
	`"maximum":120},"tags":{"type":"array","items":{"type":"string","maxLength":8},"maxItems":2}},` +
	`"required":["name","age","tags"],"additionalProperties":false}`

// An answer in a format is one, however it is asked for, hot or cold, alone or as one of several.
func TestFormat(t *testing.T) {
	s := start(t, Options{}, engine.Options{})
	for _, format := range []string{
		`"response_format":{"type":"json_schema","json_schema":{"name":"p","strict":true,"schema":` + person + `}}`,
		`"response_format":{"type":"json_object","schema":` + person + `}`,
		`"json_schema":` + person,
		`"grammar":"root ::= \"{\\\"name\\\":\\\"Ann\" [a-z]{0,5} \"\\\",\\\"age\\\":\" [1-9] \"}\""`,
	} {
		for _, rest := range []string{`"temperature":0`, `"temperature":3,"seed":5,"n":3`, `"top_k":4,"logprobs":0`} {
			body := `{"prompt":"The little dog",` + format + `,"max_tokens":200,` + rest + `}`
			if strings.Contains(rest, "seed") {
				body = `{"messages":[{"role":"user","content":"Who?"}],` + format + `,"max_tokens":200,` + rest + `}`
			}
			path, field := "/v1/completions", []any{"text"}
			if strings.Contains(rest, "seed") {
				path, field = "/v1/chat/completions", []any{"message", "content"}
			}
			status, a := post(t, s, path, body)
			if status != 200 {
				t.Fatalf("%s: %v", body, a)
			}
			for _, c := range at(a, "choices").([]any) {
				text, _ := at(c, field...).(string)
				var p struct {
					Name *string
					Age  *int
					Tags []string
				}
				err := json.Unmarshal([]byte(text), &p)
				if at(c, "finish_reason") != "stop" || err != nil || p.Name == nil || p.Age == nil || *p.Age > 120 {
					t.Errorf("%s: %q, %v, %v", body, text, at(c, "finish_reason"), err)
				}
			}
		}
	}
	// What is cut says so, and is the beginning of an answer.
	_, a := post(t, s, "/v1/completions", `{"prompt":"a","json_schema":`+person+`,"max_tokens":3}`)
	if c := at(a, "choices", 0); at(c, "finish_reason") != "length" || !strings.HasPrefix(strings.TrimSpace(
		at(c, "text").(string)), "{") {
		t.Errorf("%v", a)
	}
}

func TestFormatRefused(t *testing.T) {
	s := start(t, Options{}, engine.Options{})
	for fields, says := range map[string]string{
		`"grammar":"root ::= x"`:                                     "grammar: grammar, line 1: there is no rule x",
		`"grammar":"root ::= \"a\"","ignore_eos":true`:               "ignore_eos",
		`"grammar":"root ::= \"\\U0001F388\" [𝟘-𝟙]","temperature":0`: "",
		`"grammar":5`:              "grammar: is of JSON type number, expected a string",
		`"json_schema":{"not":{}}`: "json_schema: #: the keyword not is not supported",
		`"json_schema":{"type":"integer"},"grammar":"x"`:                              "json_schema: excludes grammar",
		`"response_format":{"type":"json_schema"}`:                                    "schema is missing",
		`"response_format":{"type":"xml"}`:                                            "\"xml\" is not supported",
		`"response_format":{"type":"json_object","schema":{"minimum":3,"maximum":2}}`: "no text matches",
		`"response_format":{"type":"json_schema","json_schema":{"strict":true,"schema":{"type":"object",` +
			`"properties":{"a":{}},"required":["a"]}}}`: "response_format: #: with strict additionalProperties",
	} {
		status, a := post(t, s, "/v1/completions", `{"prompt":"a","max_tokens":20,`+fields+`}`)
		if says == "" {
			if status != 200 {
				t.Errorf("%s: %v", fields, a)
			}
			continue
		}
		message, _ := at(a, "error", "message").(string)
		if status != 400 || !strings.Contains(message, says) {
			t.Errorf("%s: %d %q, expected %q", fields, status, message, says)
		}
	}
}
