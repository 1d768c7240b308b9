package serve

import (
	"bufio"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/phi3conv/phi3conv/internal/testmodel"
	"github.com/phi3conv/phi3conv/runtime/engine"
	"github.com/phi3conv/phi3conv/runtime/tokenizer"
)

// Templates in the ways of models that call tools.
const (
	hermesTemplate = `{% if tools %}<|system|>{% for t in tools %}{{ t | tojson }}{% endfor %}` +
		`<tool_call></tool_call><|end|>{% endif %}{% for m in messages %}<|user|>{{ m.role }}:{{ m.content }}` +
		`{% for c in m.tool_calls %}{{ c.function.name }}{{ c.function.arguments.a }}{% endfor %}<|end|>{% endfor %}`
	phiTemplate = `{% for message in messages %}{% if message['role'] == 'system' and 'tools' in message and ` +
		`message['tools'] is not none %}{{ '<|system|>' + message['content'] + '<|tool|>' + message['tools'] + ` +
		`'<|/tool|><|end|>' }}{% else %}{{ '<|' + message['role'] + '|>' + message['content'] + '<|end|>' }}` +
		`{% endif %}{% endfor %}<|assistant|>`
	plainTemplate = `{% for m in messages %}<|{{ m.role }}|>{{ m.content }}<|end|>{% endfor %}<|assistant|>`
)

// withTemplate is a tiny model with a template and Phi-4-mini's tokens of tools.
func withTemplate(t *testing.T, template string) string {
	t.Helper()
	dir := testmodel.Phi3(t)
	for _, name := range []string{"tokenizer.json", "tokenizer_config.json", "added_tokens.json"} {
		path := filepath.Join(dir, name)
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		text := strings.NewReplacer("<|placeholder1|>", "<|tool_call|>", "<|placeholder2|>", "<|/tool_call|>",
			"<|placeholder3|>", "<|tool_response|>", "<|placeholder4|>", "<|tool|>").Replace(string(data))
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "chat_template.jinja"), []byte(template), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

const tools = `"tools":[{"type":"function","function":{"name":"get_weather","description":"The weather of a city",` +
	`"parameters":{"type":"object","properties":{"city":{"enum":["Paris","\"Rome\" {]"]},"days":{"type":"integer",` +
	`"minimum":1,"maximum":9}},"required":["city","days"],"additionalProperties":false}}},` +
	`{"type":"function","function":{"name":"stop"}}]`

// What is called matches the functions, in each form of calls, hot and cold, with a stream and without.
func TestTools(t *testing.T) {
	for name, template := range map[string]string{
		"hermes": hermesTemplate, "phi": phiTemplate, "generic": plainTemplate,
	} {
		s := startAt(t, withTemplate(t, template), Options{}, engine.Options{})
		for _, choice := range []string{
			`"tool_choice":{"type":"function","function":{"name":"get_weather"}}`,
			`"tool_choice":"required","parallel_tool_calls":false`,
		} {
			for _, rest := range []string{`"temperature":0`, `"temperature":4,"seed":1,"n":2`} {
				body := `{"messages":[{"role":"user","content":"Hi"}],` + tools + `,"max_tokens":250,` + choice
				body += "," + rest
				status, a := post(t, s, "/v1/chat/completions", body+"}")
				if status != 200 {
					t.Fatalf("%s %s: %v", name, body, a)
				}
				var streamed [][]toolCall
				for _, c := range at(a, "choices").([]any) {
					streamed = append(streamed, checkCalls(t, name+choice, c, strings.Contains(choice, "get_weather")))
				}
				for i, calls := range streamedCalls(t, s.URL, body+`,"stream":true}`, len(streamed)) {
					if len(calls) != len(streamed[i]) {
						t.Errorf("%s %s: a stream has %v, the answer %v", name, choice, calls, streamed[i])
						continue
					}
					for k := range calls {
						if calls[k].Function != streamed[i][k].Function {
							t.Errorf("%s %s: a stream has %v, the answer %v", name, choice, calls[k], streamed[i][k])
						}
					}
				}
			}
		}
		// Nothing has to be called: an answer is text.
		body := `{"messages":[{"role":"user","content":"What does a cow eat?"}],` + tools
		body += `,"max_tokens":20,"temperature":0`
		for _, choice := range []string{`,"tool_choice":"none"`, `,"tool_choice":"auto"`, ``} {
			status, a := post(t, s, "/v1/chat/completions", body+choice+"}")
			c := at(a, "choices", 0)
			if _, ok := at(c, "message", "content").(string); status != 200 || !ok ||
				at(c, "finish_reason") == "tool_calls" {
				t.Errorf("%s: %v", name, a)
			}
		}
	}
}

// checkCalls returns the calls of an answer, which must be right.
func checkCalls(t *testing.T, name string, choice any, weather bool) []toolCall {
	t.Helper()
	var calls []toolCall
	raw, _ := json.Marshal(at(choice, "message", "tool_calls"))
	if err := json.Unmarshal(raw, &calls); err != nil {
		t.Fatal(err)
	}
	content, present := at(choice, "message").(map[string]any)["content"]
	if at(choice, "finish_reason") != "tool_calls" || len(calls) == 0 || weather && len(calls) > 1 ||
		content != nil || !present {
		t.Errorf("%s: %v", name, choice)
	}
	for _, c := range calls {
		var arguments map[string]any
		err := json.Unmarshal([]byte(c.Function.Arguments), &arguments)
		days, _ := arguments["days"].(float64)
		city, _ := arguments["city"].(string)
		isWeather := c.Function.Name == "get_weather" && len(arguments) == 2 && days >= 1 && days <= 9 &&
			slices.Contains([]string{"Paris", `"Rome" {]`}, city)
		isStop := c.Function.Name == "stop" && len(arguments) == 0
		if err != nil || c.ID == "" || c.Type != "function" || !isWeather && (weather || !isStop) {
			t.Errorf("%s: %v, %v", name, c, err)
		}
	}
	return calls
}

// streamedCalls returns the calls of the choices of a stream, put together.
func streamedCalls(t *testing.T, url, body string, choices int) [][]toolCall {
	t.Helper()
	r, err := http.Post(url+"/v1/chat/completions", "application/json", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Body.Close() }()
	all := make([][]toolCall, choices)
	finished := 0
	for lines := bufio.NewScanner(r.Body); lines.Scan(); {
		data, ok := strings.CutPrefix(lines.Text(), "data: ")
		if !ok || data == "[DONE]" {
			continue
		}
		var event struct {
			Choices []struct {
				Index int
				Delta struct {
					ToolCalls []toolCall `json:"tool_calls"`
				}
				Finish string `json:"finish_reason"`
			}
		}
		if err := json.Unmarshal([]byte(data), &event); err != nil {
			t.Fatalf("%s: %v", data, err)
		}
		for _, c := range event.Choices {
			for _, d := range c.Delta.ToolCalls {
				if *d.Index == len(all[c.Index]) && d.ID != "" {
					all[c.Index] = append(all[c.Index], toolCall{ID: d.ID})
				}
				last := &all[c.Index][*d.Index]
				last.Function.Name += d.Function.Name
				last.Function.Arguments += d.Function.Arguments
			}
			if c.Finish == "tool_calls" {
				finished++
			}
		}
	}
	if finished != choices {
		t.Errorf("%d of %d choices ended with tool_calls", finished, choices)
	}
	return all
}

// The template sees tools, calls and results as it knows them.
func TestToolMessages(t *testing.T) {
	const talk = `{"messages":[{"role":"user","content":"U"},{"role":"assistant","content":null,"tool_calls":` +
		`[{"id":"1","type":"function","function":{"name":"f","arguments":"{\"b\": 1, \"a\": \"x<\"}"}}]},` +
		`{"role":"tool","tool_call_id":"1","content":"R"}],"tools":[{"type":"function","function":` +
		`{"name":"f","parameters":{"type":"object","properties":{"b":{},"a":{}}}}}]}`
	const described = `{"name": "f", "parameters": {"type": "object", "properties": {"b": {}, "a": {}}}}`
	for template, want := range map[string]string{
		hermesTemplate: `<|system|>{"type": "function", "function": ` + described + `}<tool_call></tool_call><|end|>` +
			`<|user|>user:U<|end|><|user|>assistant:fx<<|end|><|user|>tool:R<|end|>`,
		phiTemplate: `<|system|><|tool|>[` + described + `]<|/tool|><|end|><|user|>U<|end|><|assistant|>` +
			`<|tool_call|>[{"name": "f", "arguments": {"b": 1, "a": "x<"}}]<|/tool_call|><|end|>` +
			`<|tool_response|>R<|end|><|assistant|>`,
		plainTemplate: `<|system|>You can call these functions:` + "\n" + described + "\nTo call one, answer with\n" +
			"<tool_call>\n{\"name\": NAME, \"arguments\": ARGUMENTS}\n</tool_call><|end|><|user|>U<|end|>" +
			"<|assistant|><tool_call>\n" + `{"name": "f", "arguments": {"b": 1, "a": "x<"}}` + "\n</tool_call><|end|>" +
			"<|user|><tool_response>\nR\n</tool_response><|end|><|assistant|>",
	} {
		tok, err := tokenizer.Open(withTemplate(t, template))
		if err != nil {
			t.Fatal(err)
		}
		m := &Model{Tokenizer: tok, VocabSize: tok.VocabSize()}
		var q chatRequest
		if err := json.Unmarshal([]byte(talk), &q); err != nil {
			t.Fatal(err)
		}
		c, err := q.toolbox.calling(m)
		if err != nil {
			t.Fatal(err)
		}
		turns := tokenizer.Conversation{Prompt: true}
		if turns.Messages, err = q.messages(m, c); err != nil {
			t.Fatal(err)
		}
		if c.tools == asVariable {
			turns.Tools = c.template
		}
		if got, err := tok.Render(turns); got != want || err != nil {
			t.Errorf("%v\n%s\nexpected\n%s", err, got, want)
		}
	}
}

// Text before calls, and text that looks like the beginning of one, is text, however the pieces fall.
func TestCallReader(t *testing.T) {
	c := &calling{convention: generic}
	for text, want := range map[string]struct {
		plain string
		calls []functionCall
	}{
		"a <tool_ b <": {"a <tool_ b <", nil},
		"x<tool_call>\n{\"name\": \"f\", \"arguments\": {\"a\": \"}\\\"{\"}}\n</tool_call>\n" +
			"<tool_call>{\"name\":\"g\",\"arguments\":{}}</tool_call>": {
			"x", []functionCall{{"f", `{"a": "}\"{"}`}, {"g", "{}"}},
		},
		"<tool_call>{\"name\":\"f\",\"arguments\":{\"a\": [1, ": {"", []functionCall{{"f", `{"a": [1, `}}},
		"<tool_call>{\"na": {"", nil},
	} {
		for size := range len(text) {
			r := &callReader{c: c}
			var plain string
			for piece := range slices.Chunk([]byte(text), size+1) {
				more, _ := r.add(string(piece))
				plain += more
			}
			plain += r.rest()
			var calls []functionCall
			for _, c := range r.calls {
				calls = append(calls, c.Function)
			}
			if plain != want.plain || !slices.Equal(calls, want.calls) {
				t.Fatalf("%q in pieces of %d: %q, %v", text, size+1, plain, calls)
			}
		}
	}
}

func TestToolsRefused(t *testing.T) {
	s := start(t, Options{}, engine.Options{})
	const one = `"tools":[{"type":"function","function":{"name":"a"}}]`
	for fields, says := range map[string]string{
		`"tools":[{"type":"retrieval"}]`:                                                "is none of type function",
		`"tools":[{"type":"function","function":{"name":"a b"}}]`:                       "has the name \"a b\"",
		`"tools":[{"type":"function","function":{"name":"a","parameters":{"not":{}}}}]`: "function a: parameters: #",
		one + `,"tool_choice":"some"`:                                                   "tool_choice: is \"some\"",
		one + `,"tool_choice":{"type":"function"}`:                                      "tool_choice: expected",
		one + `,"grammar":"root ::= \"a\""`:                                             "grammar: excludes tools",
		`"tool_choice":"required"`:                                                      "there are no tools",
		strings.Replace(one, "]", `,{"type":"function","function":{"name":"a"}}]`, 1):   "two have the name a",
		one + `,"tool_choice":{"type":"function","function":{"name":"b"}}`:              "no function \"b\"",
	} {
		status, a := post(t, s, "/v1/chat/completions", `{"messages":[{"role":"user","content":"a"}],`+fields+`}`)
		message, _ := at(a, "error", "message").(string)
		if status != 400 || !strings.Contains(message, says) {
			t.Errorf("%s: %d %q, expected %q", fields, status, message, says)
		}
	}
}
