package jsonschema

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"

	"github.com/phi3conv/phi3conv/runtime/grammar"
)

// merged is what the schemas of a branch demand together, but for the insides of arrays and objects.
type merged struct {
	types   []string
	values  []any // the only ones, if not nil
	numbers bounds
	strings texts
}

// texts is what a string has to be.
type texts struct {
	least, most int // characters; most is -1 for any number
	patterns    []string
}

// allTypes are in the order in which they are tried.
var allTypes = []string{"object", "array", "string", "number", "boolean", "null"}

// about says which type a keyword is about.
var about = map[string]string{
	"properties": "object", "required": "object", "additionalProperties": "object", "patternProperties": "object",
	"propertyNames": "object", "minProperties": "object", "maxProperties": "object",
	"items": "array", "prefixItems": "array", "additionalItems": "array", "minItems": "array", "maxItems": "array",
	"minLength": "string", "maxLength": "string", "pattern": "string",
	"minimum": "number", "maximum": "number", "exclusiveMinimum": "number", "exclusiveMaximum": "number",
	"multipleOf": "number",
}

func (c *compiler) merge(b branch) (m merged, err error) {
	m.strings.most = -1
	if m.types, err = typesOf(b); err != nil {
		return m, err
	}
	for _, s := range b {
		o := s.schema.(*object)
		if err := m.numbers.add(o); err != nil {
			return m, fmt.Errorf("%s: %w", s.path, err)
		}
		if err := m.strings.add(o); err != nil {
			return m, fmt.Errorf("%s: %w", s.path, err)
		}
		var values []any
		if v, ok := o.values["const"]; ok {
			values = []any{v}
		} else if v, ok := o.values["enum"]; ok {
			if values, ok = v.([]any); !ok {
				return m, fmt.Errorf("%s/enum is no list", s.path)
			}
		} else {
			continue
		}
		if m.values == nil { // later ones are checked below
			m.values = slices.Clone(values)
		}
	}
	if m.values != nil {
		m.values = slices.DeleteFunc(m.values, func(v any) bool {
			return !slices.Contains(m.types, kindOf(v)) && !slices.Contains(m.types, "integer") ||
				!c.matchesAll(v, b, maxDepth)
		})
		if m.values == nil {
			m.values = []any{}
		}
	}
	return m, nil
}

// typesOf returns the types that all schemas of a branch allow.
func typesOf(b branch) ([]string, error) {
	var types []string
	given := false
	for _, s := range b {
		o := s.schema.(*object)
		own, err := declared(o)
		if err != nil {
			return nil, fmt.Errorf("%s/type: %w", s.path, err)
		}
		if own == nil {
			continue
		}
		if !given {
			types, given = own, true
		} else {
			types = common(types, own)
		}
	}
	if given {
		return types, nil
	}
	for _, t := range allTypes {
		if slices.ContainsFunc(b, func(s sub) bool { return isAbout(s.schema.(*object), t) }) {
			types = append(types, t)
		}
	}
	if types == nil {
		types = slices.Clone(allTypes)
	}
	return types, nil
}

func isAbout(o *object, t string) bool {
	for _, key := range o.keys {
		if about[key] == t {
			return true
		}
		if name, _ := o.values[key].(string); key == "format" && t == "string" && formats[name] != "" {
			return true
		}
	}
	return false
}

// declared returns the types of a schema's own keyword, nil if it has none.
func declared(o *object) ([]string, error) {
	v, ok := o.values["type"]
	if !ok {
		return nil, nil
	}
	list, ok := v.([]any)
	if !ok {
		list = []any{v}
	}
	types := []string{}
	for _, t := range list {
		name, _ := t.(string)
		if name != "integer" && !slices.Contains(allTypes, name) {
			return nil, fmt.Errorf("%s is no type of JSON", text(t))
		}
		if !slices.Contains(types, name) {
			types = append(types, name)
		}
	}
	if o.values["nullable"] == true && !slices.Contains(types, "null") { // OpenAPI's
		types = append(types, "null")
	}
	if slices.Contains(types, "number") {
		types = slices.DeleteFunc(types, func(t string) bool { return t == "integer" })
	}
	return types, nil
}

// common returns the types that are in both lists.
func common(a, b []string) []string {
	both := []string{}
	for _, t := range a {
		switch {
		case slices.Contains(b, t):
			both = append(both, t)
		case t == "number" && slices.Contains(b, "integer"), t == "integer" && slices.Contains(b, "number"):
			both = append(both, "integer")
		}
	}
	return both
}

// whole returns a keyword that is a whole number, -1 if it is missing.
func whole(o *object, key string) (int, error) {
	v, ok := o.values[key]
	if !ok {
		return -1, nil
	}
	n, ok := v.(json.Number)
	if ok {
		if d, err := decimalOf(n); err == nil && !d.negative && d.places == 0 && len(d.digits) < 10 {
			i, err := strconv.Atoi("0" + d.digits)
			return i, err
		}
	}
	return 0, fmt.Errorf("%s is %s, expected a whole number", key, shown(v))
}

// narrow brings the bounds of a count nearer to each other by what two keywords of a schema say. A greatest count of -1
// is none.
func narrow(o *object, minimum, maximum string, least, most *int) error {
	low, err := whole(o, minimum)
	if err != nil {
		return err
	}
	high, err := whole(o, maximum)
	if err != nil {
		return err
	}
	*least = max(*least, low)
	if high >= 0 && (*most < 0 || high < *most) {
		*most = high
	}
	return nil
}

// shown writes a value for an error.
func shown(v any) string {
	switch v := v.(type) {
	case *object:
		return "an object"
	case []any:
		return "a list"
	default:
		return text(v)
	}
}

func (b *bounds) add(o *object) error {
	for _, k := range []struct {
		key       string
		to        **bound
		low, open bool
	}{
		{"minimum", &b.min, true, false}, {"exclusiveMinimum", &b.min, true, true},
		{"maximum", &b.max, false, false}, {"exclusiveMaximum", &b.max, false, true},
	} {
		v, ok := o.values[k.key]
		if !ok {
			continue
		}
		n, ok := v.(json.Number)
		if !ok {
			return fmt.Errorf("%s is %s, expected a number", k.key, shown(v))
		}
		d, err := decimalOf(n)
		if err != nil {
			return fmt.Errorf("%s: %w", k.key, err)
		}
		next := &bound{d, k.open}
		if *k.to != nil {
			cmp := next.rat().Cmp((*k.to).rat())
			if cmp == 0 && !k.open || cmp < 0 && k.low || cmp > 0 && !k.low {
				continue
			}
		}
		*k.to = next
	}
	if v, ok := o.values["multipleOf"]; ok {
		n, ok := v.(json.Number)
		if !ok {
			return fmt.Errorf("multipleOf is %s, expected a number", shown(v))
		}
		d, err := decimalOf(n)
		if err != nil || d.negative || d.digits == "" {
			return fmt.Errorf("multipleOf is %s, expected a number above 0", n)
		}
		b.multipleOf = append(b.multipleOf, d)
	}
	return nil
}

func (t *texts) add(o *object) error {
	if err := narrow(o, "minLength", "maxLength", &t.least, &t.most); err != nil {
		return err
	}
	if v, ok := o.values["pattern"]; ok {
		p, ok := v.(string)
		if !ok {
			return fmt.Errorf("pattern is %s, expected a string", shown(v))
		}
		t.patterns = append(t.patterns, p)
	}
	if v, ok := o.values["format"]; ok && mayBeString(o) {
		name, _ := v.(string)
		p := formats[name]
		if p == "" {
			return fmt.Errorf("the format %s is not supported", shown(v))
		}
		t.patterns = append(t.patterns, "^("+p+")$")
	}
	return nil
}

// mayBeString reports whether a format is about strings: int32 and its like are about numbers.
func mayBeString(o *object) bool {
	types, err := declared(o)
	return err == nil && (types == nil || slices.Contains(types, "string"))
}

// dfa accepts the strings, nil if that are all.
func (t *texts) dfa() (*dfa, error) {
	var d *dfa
	for _, p := range t.patterns {
		next, err := pattern(p)
		if err != nil {
			return nil, err
		}
		if d != nil {
			next, err = both(d, next)
		}
		if err != nil {
			return nil, err
		}
		d = next
	}
	if t.least > 0 || t.most >= 0 {
		next, err := lengths(t.least, t.most)
		if err != nil {
			return nil, err
		}
		if d != nil {
			next, err = both(d, next)
		}
		return next, err
	}
	return d, nil
}

func (t *texts) expr() (grammar.Expr, error) {
	quote := grammar.Text(`"`)
	switch {
	case t.most >= 0 && t.most < t.least:
		return grammar.Alt(), nil
	case t.patterns == nil && t.least == 0 && t.most < 0:
		return grammar.Rule("string"), nil
	case t.patterns == nil:
		return grammar.Seq(quote, grammar.Repeat(grammar.Rule("char"), t.least, t.most), quote), nil
	}
	d, err := t.dfa()
	if err != nil {
		return grammar.Expr{}, err
	}
	return grammar.Seq(quote, d.expr(), quote), nil
}
