package chat

import (
	"fmt"
	"strings"

	"github.com/phi3conv/phi3conv/formats"
	"github.com/phi3conv/phi3conv/internal/input"
	"github.com/phi3conv/phi3conv/runtime/grammar"
	"github.com/phi3conv/phi3conv/runtime/grammar/jsonschema"
)

// Format says what each answer must look like. The zero value leaves answers free.
type Format struct {
	Kind FormatKind
	Text string
	File string // that has the text, "" for the command line
}

// FormatKind is what a format is written in. It is the name of the flag.
type FormatKind string

const (
	Free       FormatKind = ""
	Grammar    FormatKind = "grammar"     // GBNF
	JSONSchema FormatKind = "json-schema" // {} is any object, as for llama-cli
)

// grammar reads the format. It returns nil if answers are free.
func (f Format) grammar() (g *grammar.Grammar, err error) {
	switch {
	case f.Kind == Free:
		return nil, nil
	case f.Kind == Grammar:
		g, err = grammar.Parse(f.Text)
	case strings.Join(strings.Fields(f.Text), "") == "{}":
		g = jsonschema.Any()
	default:
		g, err = jsonschema.Compile([]byte(f.Text), jsonschema.Options{})
	}
	if err != nil {
		return nil, f.refused(err)
	}
	return g, nil
}

// refused says which format the error is about.
func (f Format) refused(err error) error {
	if f.File == "" {
		return fmt.Errorf("--%s: %w", f.Kind, err)
	}
	return &formats.Error{Path: input.Name(f.File), Off: -1, Err: err}
}
