package serve

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/phi3conv/phi3conv/runtime/grammar"
	"github.com/phi3conv/phi3conv/runtime/grammar/jsonschema"
	"github.com/phi3conv/phi3conv/runtime/tokenizer"
)

// toolbox is what a chat may call, in OpenAI's form.
type toolbox struct {
	Tools    []json.RawMessage `json:"tools"`
	Choice   json.RawMessage   `json:"tool_choice"`
	Parallel *bool             `json:"parallel_tool_calls"`
}

// function is a tool.
type function struct {
	Name       string          `json:"name"`
	Parameters json.RawMessage `json:"parameters"`
	Strict     *bool           `json:"strict"`
}

// calling is how the tools of a request are called.
type calling struct {
	convention
	functions []function // that may be called
	required  bool       // there must be a call
	single    bool       // there must not be two
	template  []json.RawMessage
}

// mostTools is how many tools a request may have, mostCalls how many calls an answer.
const (
	mostTools = 128
	mostCalls = 16
)

// calling reads the tools of a request, nil if none may be called.
func (b *toolbox) calling(m *Model) (*calling, error) {
	required, single, name, err := b.choice()
	if err != nil {
		return nil, err
	}
	if len(b.Tools) == 0 {
		if required {
			return nil, invalid("tool_choice", "a call is required, and there are no tools")
		}
		return nil, nil
	}
	if len(b.Tools) > mostTools {
		return nil, invalid("tools", "there are %d, expected at most %d", len(b.Tools), mostTools)
	}
	c := &calling{required: required, single: single, template: b.Tools}
	for i, raw := range b.Tools {
		var t struct {
			Type     string   `json:"type"`
			Function function `json:"function"`
		}
		if err := json.Unmarshal(raw, &t); err != nil || t.Type != "function" {
			return nil, invalid("tools", "number %d is none of type function", i)
		}
		if !toolName.MatchString(t.Function.Name) {
			return nil, invalid("tools", "number %d has the name %q, expected 1 to 64 letters, digits, _ and -", i,
				t.Function.Name)
		}
		if slices.ContainsFunc(c.functions, func(f function) bool { return f.Name == t.Function.Name }) {
			return nil, invalid("tools", "two have the name %s", t.Function.Name)
		}
		c.functions = append(c.functions, t.Function)
	}
	if name == "none" {
		return nil, nil
	}
	if name != "" {
		i := slices.IndexFunc(c.functions, func(f function) bool { return f.Name == name })
		if i < 0 {
			return nil, invalid("tool_choice", "there is no function %q among the tools", name)
		}
		c.functions = c.functions[i : i+1]
	}
	c.convention, err = m.convention()
	return c, err
}

var toolName = regexp.MustCompile(`^[a-zA-Z0-9_-]{1,64}$`)

// choice reads tool_choice. The name is that of the function that must be called, or none.
func (b *toolbox) choice() (required, single bool, name string, err error) {
	single = b.Parallel != nil && !*b.Parallel
	var mode string
	switch {
	case len(b.Choice) == 0 || string(b.Choice) == "null":
		return false, single, "", nil
	case json.Unmarshal(b.Choice, &mode) == nil:
		switch mode {
		case "auto":
			return false, single, "", nil
		case "none":
			return false, single, "none", nil
		case "required", "any":
			return true, single, "", nil
		}
		return false, false, "", invalid("tool_choice", "is %q, expected auto, none, required or a function", mode)
	}
	var named struct {
		Type     string `json:"type"`
		Function struct {
			Name string `json:"name"`
		} `json:"function"`
	}
	if json.Unmarshal(b.Choice, &named) != nil || named.Type != "function" || named.Function.Name == "" {
		return false, false, "", invalid("tool_choice", "expected auto, none, required or a function with its name")
	}
	return true, true, named.Function.Name, nil
}

// convention is how a model writes calls, and how its template takes tools.
type convention struct {
	name       string
	begin, end string // around a call, or around the list of them
	list       bool   // calls are a list
	special    bool   // begin and end are tokens, no text
	tools      place
	response   string // role of results, "" if the template knows that of OpenAI
}

// place says where a template takes tools.
type place int

const (
	asVariable place = iota // as transformers gives them
	inMessage               // as JSON in the system message, as Phi-4-mini's does
	asText                  // nowhere: they are described in the system message
)

// Begin and end of calls.
const (
	hermesBegin, hermesEnd = "<tool_call>", "</tool_call>"
	phiBegin, phiEnd       = "<|tool_call|>", "<|/tool_call|>"
	functools              = "functools"
)

// generic is for models whose templates know no tools.
var generic = convention{
	name: "generic", begin: hermesBegin, end: hermesEnd, tools: asText, response: "user",
}

// convention finds out how a model calls tools, by rendering a conversation with one.
func (m *Model) convention() (convention, error) {
	const probe = "probe_of_tools"
	tok := m.Tokenizer
	tool := json.RawMessage(`{"type":"function","function":{"name":"` + probe + `","description":"d","parameters":` +
		`{"type":"object","properties":{"a":{"type":"string","description":"d"}},"required":["a"]}}}`)
	messages := []json.RawMessage{
		json.RawMessage(`{"role":"system","content":"s"}`), json.RawMessage(`{"role":"user","content":"u"}`),
	}
	text, err := tok.Render(tokenizer.Conversation{Messages: messages, Tools: []json.RawMessage{tool}, Prompt: true})
	if err == nil && strings.Contains(text, probe) {
		switch template := tok.Template(); {
		case strings.Contains(template, hermesBegin):
			return m.tokens(convention{name: "hermes", begin: hermesBegin, end: hermesEnd}), nil
		case strings.Contains(template, functools+"["):
			return convention{name: functools, begin: functools, list: true}, nil
		case m.isToken(phiBegin) && m.isToken(phiEnd):
			return m.tokens(convention{name: "phi", begin: phiBegin, end: phiEnd, list: true}), nil
		}
		return convention{}, invalid("tools", "the model's template takes tools, and the form of its calls is not "+
			"known here: use response_format for calls")
	}
	messages[0] = json.RawMessage(`{"role":"system","content":"s","tools":"` + probe + `"}`)
	text, err = tok.Render(tokenizer.Conversation{Messages: messages, Prompt: true})
	if err == nil && strings.Contains(text, probe) && m.isToken(phiBegin) && m.isToken(phiEnd) {
		c := convention{name: "phi", begin: phiBegin, end: phiEnd, list: true, tools: inMessage, response: "tool"}
		if m.isToken("<|tool_response|>") {
			c.response = "tool_response"
		}
		return m.tokens(c), nil
	}
	return generic, nil
}

// isToken reports whether a text is one token.
func (m *Model) isToken(text string) bool {
	ids := m.Tokenizer.Encode(text, tokenizer.EncodeOptions{ParseSpecial: true})
	return len(ids) == 1 && m.Tokenizer.IsAdded(ids[0])
}

// tokens notes whether begin and end are structure and no text.
func (m *Model) tokens(c convention) convention {
	ids := m.Tokenizer.Encode(c.begin, tokenizer.EncodeOptions{ParseSpecial: true})
	c.special = len(ids) == 1 && m.Tokenizer.IsControl(ids[0])
	return c
}

// grammar is that of answers: text that may end with calls, or calls alone. free is the format of an answer without
// calls, nil for any text.
func (c *calling) grammar(free func(g *grammar.Grammar) error) (*grammar.Grammar, error) {
	g := grammar.NewGrammar("root")
	var calls []grammar.Expr
	space := grammar.Rule("space")
	for i, f := range c.functions {
		parameters := f.Parameters
		if len(parameters) == 0 || string(parameters) == "null" {
			parameters = json.RawMessage(`{"type":"object","additionalProperties":false}`)
		}
		name := fmt.Sprintf("arguments-%d", i)
		strict := jsonschema.Options{Strict: f.Strict != nil && *f.Strict}
		if err := jsonschema.Define(g, name, parameters, strict); err != nil {
			return nil, fmt.Errorf("function %s: parameters: %w", f.Name, err)
		}
		calls = append(calls, grammar.Seq(
			grammar.Text(`{`), space, grammar.Text(`"name":`), space, grammar.Text(`"`+f.Name+`",`), space,
			grammar.Text(`"arguments":`), space, grammar.Rule(name), space, grammar.Text(`}`)))
	}
	g.Define("call", grammar.Alt(calls...))
	delimiter := grammar.Text
	if c.special {
		delimiter = grammar.Token
	}
	more := mostCalls - 1
	if c.single {
		more = 0
	}
	call, begin, end := grammar.Rule("call"), delimiter(c.begin), grammar.Seq()
	if c.end != "" {
		end = delimiter(c.end)
	}
	all := grammar.Seq(begin, space, call, space, end)
	if c.list {
		comma := grammar.Seq(space, grammar.Text(","), space)
		others := grammar.Repeat(grammar.Seq(comma, call), 0, more)
		all = grammar.Seq(begin, grammar.Text("["), space, call, others, space, grammar.Text("]"), end)
	} else if more > 0 {
		all = grammar.Seq(all, grammar.Repeat(grammar.Seq(space, all), 0, more))
	}
	g.Define("calls", all)
	root := grammar.Seq(space, grammar.Rule("calls"))
	switch {
	case c.required:
	case free != nil:
		if err := free(g); err != nil {
			return nil, err
		}
		root = grammar.Alt(root, grammar.Rule("free"))
	default:
		root = grammar.Seq(without(c.begin, c.special), grammar.Opt(grammar.Rule("calls")))
	}
	g.Define("root", root)
	return g, nil
}

// without is a text that does not contain word; of a token that is no text, any text.
func without(word string, token bool) grammar.Expr {
	if token {
		return grammar.Repeat(grammar.Runes(0, 0x10FFFF), 0, -1)
	}
	// State i: the last i characters are the first ones of word.
	m := &grammar.Machine{}
	for i := range len(word) {
		rest := []rune{}
		state := grammar.MachineState{Accept: true}
		next := rune(0)
		for c := rune(0); c < 0x80; c++ { // word is ASCII
			if !strings.ContainsRune(word, c) {
				continue
			}
			if next < c {
				rest = append(rest, next, c-1)
			}
			next = c + 1
			seen := word[:i] + string(c)
			to := min(len(word), len(seen))
			for !strings.HasPrefix(word, seen[len(seen)-to:]) {
				to--
			}
			if to < len(word) {
				state.Edges = append(state.Edges, grammar.MachineEdge{On: grammar.Runes(c, c), To: to})
			}
		}
		rest = append(rest, next, 0x10FFFF)
		state.Edges = append(state.Edges, grammar.MachineEdge{On: grammar.Runes(rest...), To: 0})
		m.States = append(m.States, state)
	}
	return grammar.Of(m)
}

// automaton returns what restricts the answers of a request with tools.
func (c *calling) automaton(m *Model, f *format) (*grammar.Automaton, error) {
	param, gbnf, schema, strict, err := f.given()
	if err != nil {
		return nil, err
	}
	if gbnf != "" {
		return nil, invalid(param, "excludes tools")
	}
	var key bytes.Buffer
	fmt.Fprintf(&key, "tools %v %v %v %v %s\n", c.required, c.single, c.convention, strict, schema)
	for _, f := range c.functions {
		fmt.Fprintf(&key, "%s %v %s\n", f.Name, f.Strict != nil && *f.Strict, f.Parameters)
	}
	var free func(g *grammar.Grammar) error
	if param != "" {
		free = func(g *grammar.Grammar) error {
			return jsonschema.Define(g, "free", schema, jsonschema.Options{Strict: strict})
		}
	}
	a, err := m.automata.get(m, key.String(), func() (*grammar.Grammar, error) { return c.grammar(free) })
	if err != nil {
		return nil, invalid("tools", "%v", err)
	}
	return a, nil
}
