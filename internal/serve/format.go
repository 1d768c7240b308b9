package serve

import (
	"encoding/json"
	"sync"

	"github.com/phi3conv/phi3conv/runtime/grammar"
	"github.com/phi3conv/phi3conv/runtime/grammar/jsonschema"
)

// format says what an answer must look like.
type format struct {
	// Grammar is in GBNF, JSONSchema a schema: llama.cpp's names.
	Grammar        string          `json:"grammar"`
	JSONSchema     json.RawMessage `json:"json_schema"`
	ResponseFormat *responseFormat `json:"response_format"`
}

// responseFormat is OpenAI's.
type responseFormat struct {
	Type       string `json:"type"`
	JSONSchema *struct {
		Strict *bool           `json:"strict"`
		Schema json.RawMessage `json:"schema"`
	} `json:"json_schema"`
	Schema json.RawMessage `json:"schema"` // llama.cpp's, of json_object
}

// given returns the schema that answers must match, or the grammar; param is the parameter that says so, "" if they are
// free.
func (f *format) given() (param, gbnf string, schema json.RawMessage, strict bool, err error) {
	set := func(name string) error {
		if param != "" {
			return invalid(name, "excludes %s", param)
		}
		param = name
		return nil
	}
	if f.Grammar != "" {
		gbnf, err = f.Grammar, set("grammar")
	}
	if s := f.JSONSchema; err == nil && len(s) > 0 && string(s) != "null" {
		schema, err = s, set("json_schema")
	}
	r := f.ResponseFormat
	if err != nil || r == nil {
		return param, gbnf, schema, strict, err
	}
	const name = "response_format"
	switch r.Type {
	case "", "text":
		return param, gbnf, schema, strict, nil
	case "json_object":
		if schema = r.Schema; len(schema) == 0 || string(schema) == "null" {
			schema = json.RawMessage(`{"type":"object"}`)
		}
	case "json_schema":
		s := r.JSONSchema
		if s == nil || len(s.Schema) == 0 {
			return "", "", nil, false, invalid(name, "json_schema.schema is missing")
		}
		schema, strict = s.Schema, s.Strict != nil && *s.Strict
	default:
		return "", "", nil, false, invalid(name, "%q is not supported; text, json_object and json_schema are", r.Type)
	}
	return param, gbnf, schema, strict, set(name)
}

// automaton returns what restricts the answers of a model, nil if nothing does.
func (f *format) automaton(m *Model) (*grammar.Automaton, error) {
	param, gbnf, schema, strict, err := f.given()
	if err != nil || param == "" {
		return nil, err
	}
	key := param + "\n" + gbnf + string(schema)
	if strict {
		key = "strict " + key
	}
	a, err := m.automata.get(m, key, func() (*grammar.Grammar, error) {
		if gbnf != "" {
			return grammar.Parse(gbnf)
		}
		return jsonschema.Compile(schema, jsonschema.Options{Strict: strict})
	})
	if err != nil {
		return nil, invalid(param, "%v", err)
	}
	return a, nil
}

// mostAutomata is how many automata a model keeps; each has at most some megabytes.
const mostAutomata = 16

// automata are those that were used last, by what they were made of.
type automata struct {
	mu         sync.Mutex
	vocabulary *grammar.Vocabulary
	kept       []keptAutomaton // those used last at the end
}

type keptAutomaton struct {
	key string
	a   *grammar.Automaton
}

// get returns the automaton of a grammar, which it makes if it is not kept.
func (k *automata) get(m *Model, key string, source func() (*grammar.Grammar, error)) (*grammar.Automaton, error) {
	k.mu.Lock()
	for i, x := range k.kept {
		if x.key == key {
			k.kept = append(append(k.kept[:i], k.kept[i+1:]...), x)
			k.mu.Unlock()
			return x.a, nil
		}
	}
	if k.vocabulary == nil {
		k.vocabulary = grammar.NewVocabulary(m.Tokenizer, m.VocabSize)
	}
	v := k.vocabulary
	k.mu.Unlock()
	g, err := source()
	if err != nil {
		return nil, err
	}
	a, err := grammar.New(g, v)
	if err != nil {
		return nil, err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.kept = append(k.kept, keptAutomaton{key, a}); len(k.kept) > mostAutomata {
		k.kept = append(k.kept[:0], k.kept[1:]...)
	}
	return a, nil
}
