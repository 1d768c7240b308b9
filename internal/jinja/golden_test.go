package jinja

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"strings"
	"testing"
	"time"
)

// ordered decodes JSON with objects in the order of their keys.
func ordered(t testing.TB, d *json.Decoder) any {
	t.Helper()
	token, err := d.Token()
	if err != nil {
		t.Fatal(err)
	}
	switch token {
	case json.Delim('['):
		list := []any{}
		for d.More() {
			list = append(list, ordered(t, d))
		}
		_, _ = d.Token()
		return list
	case json.Delim('{'):
		object := Object{}
		for d.More() {
			key, _ := d.Token()
			object = append(object, Member{Key: key.(string), Value: ordered(t, d)})
		}
		_, _ = d.Token()
		return object
	}
	return token
}

func member(o any, key string) any {
	for _, m := range o.(Object) {
		if m.Key == key {
			return m.Value
		}
	}
	return nil
}

// golden is what transformers made of templates.
type golden struct {
	now       time.Time
	variables map[string]map[string]any // of each conversation
	file      any
}

func readGolden(t testing.TB) *golden {
	t.Helper()
	data, err := os.ReadFile("../../testdata/golden/templates.json")
	if err != nil {
		t.Fatal(err)
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	g := &golden{file: ordered(t, d), variables: map[string]map[string]any{}}
	if g.now, err = time.Parse("2006-01-02T15:04:05.000000", member(g.file, "now").(string)); err != nil {
		t.Fatal(err)
	}
	for _, v := range member(g.file, "variables").(Object) {
		vars := map[string]any{"add_generation_prompt": false, "tools": nil, "documents": nil}
		for _, m := range append(v.Value.(Object), member(g.file, "tokens").(Object)...) {
			vars[m.Key] = m.Value
		}
		g.variables[v.Key] = vars
	}
	return g
}

var testLimits = Limits{Steps: 1 << 20, Bytes: 32 << 20}

func (g *golden) compare(t *testing.T, template string, variables map[string]any, want any) bool {
	t.Helper()
	parsed, err := Parse("golden", template)
	got := ""
	if err == nil {
		got, err = parsed.render(variables, testLimits, func() time.Time { return g.now })
	}
	text, ok := member(want, "text").(string)
	if (err == nil) != ok || got != text {
		t.Errorf("%q:\n got %q, %v\nwant %q, %v", template, got, err, text, member(want, "error"))
		return false
	}
	var e *Error
	if err != nil && (!errors.As(err, &e) || e.Line < 1 || strings.Contains(e.Text, "%!")) {
		t.Errorf("%q: %v", template, err)
	}
	return true
}

// Templates as they are written for chats render to transformers' bytes, or fail where it does.
func TestTemplates(t *testing.T) {
	g := readGolden(t)
	templates := member(g.file, "templates").([]any)
	right := 0
	for _, c := range templates {
		ok := true
		for _, r := range member(c, "results").(Object) {
			t.Run(member(c, "name").(string)+"/"+r.Key, func(t *testing.T) {
				ok = g.compare(t, member(c, "template").(string), g.variables[r.Key], r.Value) && ok
			})
		}
		if ok {
			right++
		}
	}
	t.Logf("%d of %d templates are right", right, len(templates))
	if len(templates) != 60 {
		t.Errorf("%d templates, expected 60", len(templates))
	}
}

// differs has what differs from transformers, and why.
var differs = map[string]string{
	"{{ '{0.upper}'.format('a') is defined }}": "the address of a method is another one each time",

	"{{ range(3) | random is defined }}":    random,
	"{{ [1, 2] | random }}":                 random,
	"{{ [1, 2, 3] | random in [1, 2, 3] }}": random,
	"{{ lipsum(n=1) | length > 0 }}":        random,
	"{{ ('a' ~ '') is sameas 'a' }}":        "which texts of a character are one object in CPython",
}

const (
	random = "another one each time"
)

// So does each construct by itself.
func TestConstructs(t *testing.T) {
	g := readGolden(t)
	constructs := member(g.file, "constructs").([]any)
	known := 0
	for _, c := range constructs {
		if differs[member(c, "template").(string)] != "" {
			known++
			continue
		}
		g.compare(t, member(c, "template").(string), g.variables["tools"], member(c, "result"))
	}
	if known != len(differs) {
		t.Errorf("%d constructs are known to differ, expected %d", known, len(differs))
	}
	t.Logf("%d constructs, %d of them differ", len(constructs), known)
}

// Integers are rounded exactly, and what has no digits left is 0. These are Python's results.
func TestRound(t *testing.T) {
	const template = "{{ [5 | round(-400), 1250 | round(-2), 1350 | round(-2), -1251 | round(-2), " +
		"9007199254740993 | round(-1), 5.5 | round(-400)] }}"
	parsed, err := Parse("chat template", template)
	if err != nil {
		t.Fatal(err)
	}
	got, err := parsed.Render(nil, LimitsFor(0))
	if want := "[0, 1200, 1400, -1300, 9007199254740990, 0.0]"; err != nil || got != want {
		t.Errorf("%s, %v, expected %s", got, err, want)
	}
}

// What Jinja has and this package does not is refused by an error that names it.
func TestRefused(t *testing.T) {
	for template, want := range map[string]string{
		"{{ [1, 2] | random }}":                    "random is refused where it has a choice",
		"{{ lipsum() }}":                           "lipsum is refused",
		"{{ 1 | nope }}":                           "there is no filter nope",
		"{% include 'a' %}":                        "include is refused",
		"{{ [].append(1) }}":                       "list.append changes its list",
		"{{ ''.__class__.__mro__ }}":               "the attribute __class__ is out of a template's reach",
		"{{ 10 ** 4300 }}":                         "more than 4300 digits",
		"{{ '\\N{DIGIT ONCE}' }}":                  `"\\N{DIGIT ONCE}" in a string is no character`,
		"{{ '\\ud800' }}":                          "the text has half of a character",
		"{{ 1e999 ** x }}":                         "a constant is infinite",
		"{{ 'x' * 10000000 }}":                     "the template takes more than 8 MiB",
		"{{ 'a'.encode('idna', 'replace') }}":      "text is encoded",
		"{{ 'a'.encode('rot13') }}":                "rot13: the encoding is not known",
		"{{ {'a': 1, 'b': 2}.keys() - [] }}":       "a set is gone through",
		"{{ 'a'.upper }}":                          "function is printed",
		"{% for x in range(100001) %}{% endfor %}": "the range is too long",
	} {
		parsed, err := Parse("chat template", template)
		if err == nil {
			_, err = parsed.Render(nil, LimitsFor(0))
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, expected %q", template, err, want)
		}
	}
}
