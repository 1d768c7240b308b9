package jsonschema

import (
	"strings"
	"testing"

	"github.com/phi3conv/phi3conv/runtime/grammar"
)

// What cannot be followed is refused by name, with its place.
func TestRefused(t *testing.T) {
	w := open(t)
	for schema, want := range map[string]string{
		`{"not":{}}`:                                 `#: the keyword not is not supported`,
		`{"properties":{"a":{"if":{}}}}`:             `#/properties/a: the keyword if is not supported`,
		`{"type":"array","uniqueItems":true}`:        `uniqueItems`,
		`{"type":"array","contains":{}}`:             `contains`,
		`{"unevaluatedProperties":{}}`:               `unevaluatedProperties`,
		`{"properties":{"a":{"$id":"http://x"}}}`:    `$id`,
		`{"type":"string","format":"iri"}`:           `the format "iri" is not supported`,
		`{"type":"thing"}`:                           `#/type: "thing" is no type of JSON`,
		`{"type":"string","minLength":-1}`:           `minLength is -1, expected a whole number`,
		`{"type":"string","maxLength":1e99}`:         `maxLength`,
		`{"type":"string","pattern":"(?=a)"}`:        `pattern "(?=a)"`,
		`{"type":"string","pattern":"\\bx"}`:         `\b, \B`,
		`{"type":"string","pattern":"(a)\\1"}`:       `pattern`,
		`{"type":"string","pattern":5}`:              `pattern is 5`,
		`{"type":"string","pattern":"^(.*a.{14})$"}`: `more than 20000 states`,
		`{"type":"number","minimum":"1"}`:            `minimum is "1", expected a number`,
		`{"type":"number","minimum":1e9999}`:         `too large`,
		`{"type":"number","exclusiveMinimum":true}`:  `exclusiveMinimum is true`,
		`{"type":"number","multipleOf":0}`:           `multipleOf`,
		`{"type":"integer","multipleOf":1234567}`:    `multipleOf`,
		`{"$ref":"#"}`:                               `# refers to itself`,
		`{"$ref":"#/$defs/a","$defs":{"a":{"allOf":[{"$ref":"#/$defs/b"}]},"b":{"$ref":"#"}}}`: `refers to itself`,
		`{"$ref":"http://x/y"}`:               `nothing is fetched`,
		`{"$ref":"#/$defs/a"}`:                `there is no "#/$defs/a"`,
		`{"$ref":"#a"}`:                       `there is no "#a"`,
		`{"$ref":5}`:                          `$ref`,
		`{"properties":5}`:                    `properties`,
		`{"required":"a"}`:                    `required`,
		`{"enum":5}`:                          `enum`,
		`{"anyOf":[]}`:                        `#/anyOf is no list of schemas`,
		`{"anyOf":[5]}`:                       `#/anyOf/0: number is no schema`,
		`{"type":"object","minProperties":3}`: `minProperties`,
		`5`:                                   `no schema`,
		`{"a":`:                               `no JSON`,
		`{"a":1,"a":2}`:                       `twice`,
		`{}{}`:                                `more than one`,
		strings.Repeat(`{"items":`, 300):      `nested more than 200 deep`,
		strings.Repeat(" ", 2<<20):            `bytes`,
		`{"oneOf":[{"type":"integer"},{"minimum":2}]}`:                        `may match both number 0 and number 1`,
		`{"oneOf":[{"properties":{"a":{}}},{"properties":{"b":{}}}]}`:         `#/oneOf: a value may match both`,
		`{"allOf":[` + strings.Repeat(`{"anyOf":[{},{},{},{}]},`, 9) + `{}]}`: `more than 1000 combinations`,
		`{"minLength":3,"maxLength":2}`:                                       `no text matches`,
		`{"enum":["a"],"type":"integer"}`:                                     `no text matches`,
		`{"type":"object","properties":{"a":false},"required":["a"]}`:         `no text matches`,
		`{"type":"string","maxLength":999999}`:                                `more than 200000 states`,
	} {
		g, err := Compile([]byte(schema), Options{})
		if err == nil {
			_, err = grammar.New(g, w.Vocabulary)
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.100s: %v, expected %q", schema, err, want)
		}
	}
}

// OpenAI's rules hold with strict alone.
func TestStrict(t *testing.T) {
	for schema, want := range map[string]string{
		`{"type":"object","properties":{"a":{"type":"integer"}},"required":["a"],` +
			`"additionalProperties":false}`: "",
		`{"type":"object","properties":{"a":{"type":"integer"}},"required":["a"]}`: "must be given",
		`{"type":"object","properties":{"a":{}},"additionalProperties":false}`:     `"a" is not`,
		`{"type":"object","properties":{"a":{"properties":{}}},"required":["a"],` +
			`"additionalProperties":false}`: "#/properties/a: with",
		`{"type":"array","items":{}}`: "must be of type object",
		`{"anyOf":[{"type":"null"}]}`: "must be of type object",
	} {
		if _, err := Compile([]byte(schema), Options{}); err != nil {
			t.Errorf("%s: %v", schema, err)
		}
		_, err := Compile([]byte(schema), Options{Strict: true})
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, expected %q", schema, err, want)
		}
	}
}

// What a pattern finds is what JavaScript's finds.
func TestPattern(t *testing.T) {
	for _, tc := range []struct{ pattern, yes, no string }{
		{`^ab$`, "ab", "xab"}, {`ab`, "xaby", "axb"}, {`^a`, "ab", "ba"}, {`a$`, "ba", "ab"}, {`^a|b$`, "ax", "xa"},
		{`^a|b$`, "xb", "bx"}, {`[\u00e4-\u00fc]`, "ö", "o"}, {`^\S$`, "x", "\u00a0"}, {`^.$`, "\t", "\u2028"},
		{`^[[]$`, "[", "]"}, {`^[\]a]$`, "]", "b"}, {`^(?:)$`, "", "a"}, {`\A`, "A", "a"}, {`^\/$`, "/", `\/`},
		{`^(?i)straße$`, "STRAßE", "strasse"}, {`^[^a-c]+$`, "xyz", "xaz"}, {`^\d{2,}$`, "123", "1"},
	} {
		d, err := pattern(tc.pattern)
		if err != nil {
			t.Errorf("%s: %v", tc.pattern, err)
		} else if !d.accepts(tc.yes) || d.accepts(tc.no) {
			t.Errorf("%s: %q %v, %q %v", tc.pattern, tc.yes, d.accepts(tc.yes), tc.no, d.accepts(tc.no))
		}
	}
}

func FuzzCompile(f *testing.F) {
	for _, s := range schemas(f, "testdata/schemas.txt") {
		f.Add([]byte(s))
	}
	w := open(f)
	f.Fuzz(func(t *testing.T, schema []byte) {
		g, err := Compile(schema, Options{Strict: len(schema)%2 == 0})
		if err != nil {
			return
		}
		a, err := grammar.New(g, w.Vocabulary)
		if err != nil {
			return
		}
		_ = a.Constraint([]int32{stop}).Allow(make([]uint64, (w.size+63)/64))
	})
}
