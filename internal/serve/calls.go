package serve

import (
	"encoding/json"
	"regexp"
	"slices"
	"strings"

	"github.com/phi3conv/phi3conv/runtime/tokenizer"
)

// toolCall is a call in an answer, or in a message.
type toolCall struct {
	Index    *int         `json:"index,omitempty"` // in streams
	ID       string       `json:"id,omitempty"`
	Type     string       `json:"type,omitempty"`
	Function functionCall `json:"function"`
}

type functionCall struct {
	Name      string `json:"name,omitempty"`
	Arguments string `json:"arguments"`
}

// callReader divides an answer that comes in pieces into text and calls. Calls are as calling.grammar has them.
type callReader struct {
	c       *calling
	held    string // not yet divided
	space   string // at the beginning, which belongs to the text if there is more
	said    bool   // there is text
	in      bool   // begin has come
	open    bool   // a call's arguments have begun
	depth   int    // of brackets in them
	quoted  bool
	escaped bool
	calls   []toolCall
}

// callHead is what comes before the arguments of a call.
var callHead = regexp.MustCompile(`^[^{]*\{\s*"name":\s*"([^"]*)",\s*"arguments":\s*\{`)

// add takes a piece. It returns the text that is certain to lie before any call, and what is new of calls.
func (r *callReader) add(piece string) (text string, news []toolCall) {
	r.held += piece
	if !r.in {
		i := strings.Index(r.held, r.c.begin)
		if i < 0 {
			n := min(len(r.held), len(r.c.begin)-1) // what may begin a call
			for !strings.HasPrefix(r.c.begin, r.held[len(r.held)-n:]) {
				n--
			}
			text, r.held = r.held[:len(r.held)-n], r.held[len(r.held)-n:]
			return r.plain(text), nil
		}
		text, r.held, r.in = r.plain(r.held[:i]), r.held[i+len(r.c.begin):], true
	}
	for {
		if !r.open {
			m := callHead.FindStringSubmatchIndex(r.held)
			if m == nil {
				return text, news
			}
			call := toolCall{ID: newID("call"), Type: "function", Function: functionCall{Name: r.held[m[2]:m[3]]}}
			r.calls = append(r.calls, call)
			news = append(news, r.delta(call))
			r.held, r.open, r.depth = r.held[m[1]-1:], true, 0
		}
		n := r.arguments()
		if n > 0 {
			last := &r.calls[len(r.calls)-1]
			last.Function.Arguments += r.held[:n]
			news = append(news, r.delta(toolCall{Function: functionCall{Arguments: r.held[:n]}}))
		}
		if r.held = r.held[n:]; r.open {
			return text, news
		}
	}
}

// plain holds white space back with which an answer begins.
func (r *callReader) plain(text string) string {
	text = r.space + text
	if r.space = ""; !r.said && strings.TrimSpace(text) == "" {
		r.space = text
		return ""
	}
	r.said = true
	return text
}

// delta is what is new of the last call.
func (r *callReader) delta(c toolCall) toolCall {
	index := len(r.calls) - 1
	c.Index = &index
	return c
}

// arguments returns how many bytes belong to the arguments of the call that is open, and closes it at their end.
func (r *callReader) arguments() int {
	for i := range len(r.held) {
		switch b := r.held[i]; {
		case r.escaped:
			r.escaped = false
		case r.quoted:
			r.escaped, r.quoted = b == '\\', b != '"'
		case b == '"':
			r.quoted = true
		case b == '{' || b == '[':
			r.depth++
		case b == '}' || b == ']':
			if r.depth--; r.depth == 0 {
				r.open = false
				return i + 1
			}
		}
	}
	return len(r.held)
}

// rest is the text at the end of an answer without calls.
func (r *callReader) rest() string {
	if r.in {
		return ""
	}
	return r.space + r.held
}

// holds reports whether there is text that did not turn out to begin a call.
func (r *callReader) holds() bool { return r != nil && r.rest() != "" }

// message is what is new of an answer, of which text has come. r is nil for an answer without tools.
func (r *callReader) message(text string, last bool) *chatMessage {
	if r == nil {
		return &chatMessage{Content: &text}
	}
	var d chatMessage
	plain, news := r.add(text)
	if d.ToolCalls = news; last {
		plain += r.rest()
	}
	if plain != "" {
		d.Content = &plain
	}
	return &d
}

// finish says why an answer ended that ended for a reason.
func (r *callReader) finish(reason string) string {
	if r != nil && len(r.calls) > 0 && reason == "stop" {
		return "tool_calls"
	}
	return reason
}

// divide takes the calls out of the text of an answer.
func (c *calling) divide(choice *chatChoice, text string) {
	r := &callReader{c: c}
	plain, _ := r.add(text)
	plain += r.rest()
	reason := r.finish(*choice.Finish)
	content := &plain
	if plain == "" && r.calls != nil {
		content = nil
	}
	choice.Finish, choice.Message.Content, choice.Message.ToolCalls = &reason, content, r.calls
}

// messages are the turns as the template takes them, with the tools where it does not take them itself.
func (q *chatRequest) messages(m *Model, c *calling) ([]json.RawMessage, error) {
	form := generic
	if c != nil {
		form = c.convention
	} else if slices.ContainsFunc(q.Messages, func(t message) bool { return t.Role == "tool" || t.ToolCalls != nil }) {
		var err error
		if form, err = m.convention(); err != nil {
			return nil, err
		}
	}
	turns := slices.Clone(q.Messages)
	var tools string
	if c != nil && form.tools != asVariable {
		var err error
		if tools, err = form.described(m, c.template); err != nil {
			return nil, invalid("tools", "%v", err)
		}
		if turns[0].Role != "system" {
			turns = append([]message{{Role: "system"}}, turns...)
		}
		if form.tools == asText {
			text := tools
			if turns[0].Content != "" {
				text = string(turns[0].Content) + "\n\n" + tools
			}
			turns[0].Content, tools = content(text), ""
		}
	}
	var all []json.RawMessage
	for i, t := range turns {
		fields := []any{"role", t.Role, "content", string(t.Content)}
		if form.response == "" {
			fields = append(fields, t.openAI()...)
		} else {
			fields = []any{"role", t.Role, "content", form.written(t)}
			if t.Role == "tool" {
				fields[1] = form.response
			}
		}
		if i == 0 && tools != "" {
			fields = append(fields, "tools", tools)
		}
		raw, err := ordered(fields)
		if err != nil {
			return nil, invalid("messages", "message %d: %v", i+1, err)
		}
		all = append(all, raw)
	}
	return all, nil
}

// openAI has the fields about calls, for templates that read them. Arguments are objects, as transformers wants them.
func (t *message) openAI() (fields []any) {
	if t.Name != "" {
		fields = append(fields, "name", t.Name)
	}
	if t.ToolCallID != "" {
		fields = append(fields, "tool_call_id", t.ToolCallID)
	}
	if t.ToolCalls == nil {
		return fields
	}
	type call struct {
		ID       string `json:"id"`
		Type     string `json:"type"`
		Function struct {
			Name      string          `json:"name"`
			Arguments json.RawMessage `json:"arguments"`
		} `json:"function"`
	}
	var calls []call
	for _, c := range t.ToolCalls {
		one := call{ID: c.ID, Type: "function"}
		one.Function.Name, one.Function.Arguments = c.Function.Name, c.arguments()
		calls = append(calls, one)
	}
	return append(fields, "tool_calls", calls)
}

// arguments returns the arguments of a call as JSON, which they are as a text.
func (c *toolCall) arguments() json.RawMessage {
	if json.Valid([]byte(c.Function.Arguments)) {
		return json.RawMessage(c.Function.Arguments)
	}
	raw, _ := json.Marshal(c.Function.Arguments) // of a string there is no error
	return raw
}

// written is a turn's text, with its calls as the model writes them.
func (c convention) written(t message) string {
	text := string(t.Content)
	if t.Role == "tool" {
		if c.tools == asText {
			return "<tool_response>\n" + text + "\n</tool_response>"
		}
		return text
	}
	var calls []string
	for _, call := range t.ToolCalls {
		name, _ := json.Marshal(call.Function.Name) // of a string there is no error
		calls = append(calls, `{"name": `+string(name)+`, "arguments": `+string(call.arguments())+`}`)
	}
	switch {
	case calls == nil:
		return text
	case c.list:
		return text + c.begin + "[" + strings.Join(calls, ", ") + "]" + c.end
	}
	for _, call := range calls {
		text += c.begin + "\n" + call + "\n" + c.end
	}
	return text
}

// described is the tools as text for the system message. Functions are written as transformers' tojson does.
func (c convention) described(m *Model, tools []json.RawMessage) (string, error) {
	functions := "{{ tools | map(attribute='function') | list | tojson }}"
	if c.tools == asText {
		functions = "You can call these functions:\n{% for t in tools %}{{ t.function | tojson }}\n{% endfor %}" +
			"To call one, answer with\n" + c.begin + "\n{\"name\": NAME, \"arguments\": ARGUMENTS}\n" + c.end
	}
	return m.Tokenizer.Render(tokenizer.Conversation{Tools: tools, Template: functions})
}

// ordered writes an object whose members are in the order of fields: name, value, name, value and so on.
func ordered(fields []any) (json.RawMessage, error) {
	b := []byte{'{'}
	for i, f := range fields {
		if i > 0 {
			b = append(b, ",:"[i%2])
		}
		raw, err := json.Marshal(f)
		if err != nil {
			return nil, err
		}
		b = append(b, raw...)
	}
	return append(b, '}'), nil
}
