// Package jsonschema makes grammars of JSON Schemas: of the instances that match one, as JSON.
//
// What is written always matches the schema, and need not be all that does: properties come in the order of the
// schema, an object has no others unless additionalProperties or patternProperties say so, numbers have at most 16
// digits before and after the point, and between values is at most a space, or a line end and 20 spaces or tabs.
// Without type, a schema is for the types that its keywords are about. Of pattern, those regular expressions are read
// that Go has too. Members of oneOf must exclude each other in a way that can be seen.
//
// $ref is followed within the schema, $anchor included. allOf and what stands beside $ref, anyOf and oneOf is merged.
// Keywords that say nothing about instances, and unknown ones, are ignored. Others are refused by name: not, if, then,
// else, dependentRequired, dependentSchemas, contains, uniqueItems, unevaluatedItems, $dynamicRef and what is above.
package jsonschema

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/phi3conv/phi3conv/runtime/grammar"
)

// Options say how a schema is read.
type Options struct {
	// Strict refuses what OpenAI refuses with strict: an object must have additionalProperties false and all of its
	// properties required, and the whole must be an object.
	Strict bool
}

// Compile makes the grammar of a schema. Errors name the keyword and its place, as a JSON pointer.
func Compile(schema []byte, o Options) (*grammar.Grammar, error) {
	g := grammar.NewGrammar("root")
	if err := Define(g, "value-of-root", schema, o); err != nil {
		return nil, err
	}
	// Models whose tokens have a space in front write one here, too.
	g.Define("root", grammar.Seq(grammar.Opt(grammar.Text(" ")), grammar.Rule("value-of-root")))
	return g, nil
}

// Any makes the grammar of JSON objects.
func Any() *grammar.Grammar {
	g, err := Compile([]byte(`{"type":"object"}`), Options{})
	if err != nil {
		panic(err)
	}
	return g
}

// Define adds a rule that has the instances of a schema, and rules whose names begin with its name.
func Define(g *grammar.Grammar, name string, schema []byte, o Options) error {
	d, err := parse(schema)
	if err != nil {
		return err
	}
	for rule, e := range basic() {
		g.Define(rule, e)
	}
	c := &compiler{g: g, doc: d, opt: o, name: name, rules: map[string]string{}}
	root := sub{d.root, "#"}
	if o.Strict {
		if err := c.strictRoot(root); err != nil {
			return err
		}
	}
	first, err := c.rule([]sub{root})
	if err != nil {
		return err
	}
	for ; len(c.queue) > 0; c.queue = c.queue[1:] {
		e, err := c.compile(c.queue[0].set)
		if err != nil {
			return err
		}
		g.Define(c.queue[0].name, e)
	}
	if !g.Define(name, first) {
		return fmt.Errorf("there are two rules %s", name)
	}
	return nil
}

// sub is a schema and its place.
type sub struct {
	schema any
	path   string
}

// compiler makes the rules of one schema.
type compiler struct {
	g     *grammar.Grammar
	doc   *document
	opt   Options
	name  string
	rules map[string]string // names, by what the rules are of
	queue []waiting
}

// waiting is a rule that is to be made: of the instances that match all of a set.
type waiting struct {
	name string
	set  []sub
}

// What bounds the work for a schema.
const (
	maxRules    = 10_000
	maxBranches = 1000 // that a schema has by anyOf, oneOf and allOf together
)

// rule returns the rule of what matches all of a set of schemas, which is made later.
func (c *compiler) rule(set []sub) (grammar.Expr, error) {
	var key strings.Builder
	var rest []sub
	seen := map[int]bool{}
	for _, s := range set {
		switch v := s.schema.(type) {
		case bool:
			if !v {
				return grammar.Alt(), nil
			}
		case *object:
			if !seen[v.id] {
				seen[v.id] = true
				rest = append(rest, s)
				key.WriteString(strconv.Itoa(v.id) + " ")
			}
		default:
			return grammar.Expr{}, noSchema(s)
		}
	}
	if len(rest) == 0 {
		return grammar.Rule("value"), nil
	}
	name, ok := c.rules[key.String()]
	if !ok {
		if len(c.rules) >= maxRules {
			return grammar.Expr{}, fmt.Errorf("the schema takes more than %d rules: describe less", maxRules)
		}
		name = fmt.Sprintf("%s-%d", c.name, len(c.rules))
		c.rules[key.String()] = name
		c.queue = append(c.queue, waiting{name, rest})
	}
	return grammar.Rule(name), nil
}

func noSchema(s sub) error {
	return fmt.Errorf("%s: %s is no schema, expected an object, true or false", s.path, kindOf(s.schema))
}

// compile is what matches all of a set of schemas.
func (c *compiler) compile(set []sub) (grammar.Expr, error) {
	branches, err := c.expand(set)
	if err != nil {
		return grammar.Expr{}, err
	}
	var all []grammar.Expr
	for _, b := range branches {
		e, err := c.branch(b)
		if err != nil {
			return e, err
		}
		all = append(all, e)
	}
	return grammar.Alt(all...), nil
}

// branch is what matches all of some schemas without references and combinations.
func (c *compiler) branch(b branch) (grammar.Expr, error) {
	m, err := c.merge(b)
	if err != nil {
		return grammar.Expr{}, err
	}
	if m.values != nil {
		var all []grammar.Expr
		for _, v := range m.values {
			all = append(all, literal(v))
		}
		return grammar.Alt(all...), nil
	}
	var all []grammar.Expr
	for _, t := range m.types {
		var e grammar.Expr
		var err error
		switch t {
		case "null", "boolean":
			e = grammar.Rule(t)
		case "integer", "number":
			m.numbers.whole = t == "integer"
			e, err = m.numbers.expr()
		case "string":
			e, err = m.strings.expr()
		case "array":
			e, err = c.array(b)
		case "object":
			e, err = c.object(b)
		}
		if err != nil {
			return e, fmt.Errorf("%s: %w", b[0].path, err)
		}
		all = append(all, e)
	}
	return grammar.Alt(all...), nil
}

// literal is a value, with white space as elsewhere.
func literal(v any) grammar.Expr {
	space := grammar.Rule("space")
	switch v := v.(type) {
	case []any:
		all := []grammar.Expr{grammar.Text("["), space}
		for i, item := range v {
			if i > 0 {
				all = append(all, comma)
			}
			all = append(all, literal(item))
		}
		return grammar.Seq(append(all, space, grammar.Text("]"))...)
	case *object:
		all := []grammar.Expr{grammar.Text("{"), space}
		for i, key := range v.keys {
			if i > 0 {
				all = append(all, comma)
			}
			all = append(all, grammar.Text(text(key)), colon, literal(v.values[key]))
		}
		return grammar.Seq(append(all, space, grammar.Text("}"))...)
	}
	return grammar.Text(text(v))
}

// What stands between values.
var (
	comma = grammar.Seq(grammar.Rule("space"), grammar.Text(","), grammar.Rule("space"))
	colon = grammar.Seq(grammar.Text(":"), grammar.Rule("space"))
)

// basic has the rules of all values, which schemas have in common.
func basic() map[string]grammar.Expr {
	digit, hex := grammar.Runes('0', '9'), grammar.Runes('0', '9', 'A', 'F', 'a', 'f')
	whole := grammar.Alt(grammar.Text("0"),
		grammar.Seq(grammar.Runes('1', '9'), grammar.Repeat(digit, 0, mostDigits-1)))
	space := grammar.Rule("space")
	list := func(first, last string, item grammar.Expr) grammar.Expr {
		return grammar.Seq(grammar.Text(first), space, grammar.Opt(grammar.Seq(item,
			grammar.Repeat(grammar.Seq(comma, item), 0, -1))), space, grammar.Text(last))
	}
	surrogates := grammar.Seq(grammar.Runes('D', 'D', 'd', 'd'), grammar.Runes('8', '9', 'A', 'B', 'a', 'b'), hex, hex,
		grammar.Text(`\u`), grammar.Runes('D', 'D', 'd', 'd'), grammar.Runes('C', 'F', 'c', 'f'), hex, hex)
	four := grammar.Alt(
		grammar.Seq(grammar.Runes('0', '9', 'A', 'C', 'E', 'F', 'a', 'c', 'e', 'f'), hex, hex, hex),
		grammar.Seq(grammar.Runes('D', 'D', 'd', 'd'), grammar.Runes('0', '7'), hex, hex), surrogates)
	return map[string]grammar.Expr{
		"space": grammar.Opt(grammar.Alt(grammar.Text(" "),
			grammar.Seq(grammar.Text("\n"), grammar.Repeat(grammar.Runes(' ', ' ', '\t', '\t'), 0, 20)))),
		"null":    grammar.Text("null"),
		"boolean": grammar.Alt(grammar.Text("true"), grammar.Text("false")),
		"integer": grammar.Alt(grammar.Text("0"), grammar.Seq(grammar.Opt(grammar.Text("-")),
			grammar.Runes('1', '9'), grammar.Repeat(digit, 0, mostDigits-1))),
		// An exponent of two digits keeps numbers within those of 64 bits.
		"number": grammar.Seq(grammar.Opt(grammar.Text("-")), whole,
			grammar.Opt(grammar.Seq(grammar.Text("."), grammar.Repeat(digit, 1, mostDigits))),
			grammar.Opt(grammar.Seq(grammar.Runes('E', 'E', 'e', 'e'), grammar.Opt(grammar.Runes('+', '+', '-', '-')),
				grammar.Repeat(digit, 1, 2)))),
		"char": grammar.Alt(grammar.Runes(' ', '!', '#', '[', ']', 0x10FFFF),
			grammar.Seq(grammar.Text(`\`), grammar.Alt(
				grammar.Runes('"', '"', '/', '/', '\\', '\\', 'b', 'b', 'f', 'f', 'n', 'n', 'r', 'r', 't', 't'),
				grammar.Seq(grammar.Text("u"), four)))),
		"string": grammar.Seq(grammar.Text(`"`), grammar.Repeat(grammar.Rule("char"), 0, -1), grammar.Text(`"`)),
		"array":  list("[", "]", grammar.Rule("value")),
		"object": list("{", "}", grammar.Seq(grammar.Rule("string"), colon, grammar.Rule("value"))),
		"value": grammar.Alt(grammar.Rule("object"), grammar.Rule("array"), grammar.Rule("string"),
			grammar.Rule("number"), grammar.Rule("boolean"), grammar.Rule("null")),
	}
}

// kindOf names what a value of JSON is.
func kindOf(v any) string {
	switch v.(type) {
	case nil:
		return "null"
	case bool:
		return "boolean"
	case string:
		return "string"
	case []any:
		return "array"
	case *object:
		return "object"
	}
	return "number"
}
