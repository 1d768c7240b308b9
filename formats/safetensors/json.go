package safetensors

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"unicode/utf8"

	"github.com/phi3conv/phi3conv/formats"
)

// maxNames is the largest number of names in an object. The format sets none, but a
// name takes more memory than bytes in the file. Models have a few thousand tensors.
const maxNames = 65536

// parser reads JSON as strictly as the format demands: a repeated name, which
// encoding/json accepts, is an error, and so is a number that is no plain
// unsigned integer. It builds no tree and does not recurse.
type parser struct {
	dec  *json.Decoder
	base int64 // offset of the JSON in the file
}

func newParser(data []byte, base int64) (*parser, error) {
	if !utf8.Valid(data) {
		return nil, formats.Errorf(base, "JSON is not valid UTF-8")
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	return &parser{dec, base}, nil
}

func (p *parser) errorf(format string, args ...any) error {
	return formats.Errorf(p.base+p.dec.InputOffset(), format, args...)
}

func (p *parser) token() (json.Token, error) {
	t, err := p.dec.Token()
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return nil, formats.Wrapf(err, p.base+p.dec.InputOffset(), "JSON")
	}
	return t, nil
}

// delim reads a given brace or bracket.
func (p *parser) delim(want json.Delim) error {
	t, err := p.token()
	if err == nil && t != want {
		err = p.errorf("JSON: %s, must be %q", describe(t), want.String())
	}
	return err
}

// object reads an object and calls field for every name; field reads the value.
func (p *parser) object(field func(name string) error) error {
	if err := p.delim('{'); err != nil {
		return err
	}
	seen := make(map[string]bool)
	for p.dec.More() {
		name, err := p.str()
		if err != nil {
			return err
		}
		if seen[name] {
			return p.errorf("JSON: name %.80q is there twice", name)
		}
		if len(seen) == maxNames {
			return p.errorf("JSON: object of more than %d names", maxNames)
		}
		seen[name] = true
		if err := field(name); err != nil {
			return err
		}
	}
	return p.delim('}')
}

// uints reads an array of at most limit unsigned integers.
func (p *parser) uints(limit int) ([]uint64, error) {
	if err := p.delim('['); err != nil {
		return nil, err
	}
	list := []uint64{}
	for p.dec.More() {
		if len(list) == limit {
			return nil, p.errorf("JSON: array of more than %d numbers", limit)
		}
		t, err := p.token()
		if err != nil {
			return nil, err
		}
		num, ok := t.(json.Number)
		n, err := strconv.ParseUint(string(num), 10, 64)
		if !ok || err != nil {
			return nil, p.errorf("JSON: %s, must be an unsigned 64-bit integer", describe(t))
		}
		list = append(list, n)
	}
	return list, p.delim(']')
}

func (p *parser) str() (string, error) {
	t, err := p.token()
	if err != nil {
		return "", err
	}
	s, ok := t.(string)
	if !ok {
		return "", p.errorf("JSON: %s, must be a string", describe(t))
	}
	return s, nil
}

// skip reads a value of any kind.
func (p *parser) skip() error {
	for depth := 0; ; {
		t, err := p.token()
		if err != nil {
			return err
		}
		switch t {
		case json.Delim('{'), json.Delim('['):
			if depth++; depth > 100 {
				return p.errorf("JSON: nested more than 100 deep")
			}
		case json.Delim('}'), json.Delim(']'):
			depth--
		}
		if depth == 0 {
			return nil
		}
	}
}

// describe names a token for an error.
func describe(t json.Token) string {
	switch t := t.(type) {
	case json.Delim, json.Number:
		return fmt.Sprintf("found %.80s", t)
	case string:
		return fmt.Sprintf("found the string %.80q", t)
	}
	return fmt.Sprintf("found %v", t) // true, false, <nil>
}
