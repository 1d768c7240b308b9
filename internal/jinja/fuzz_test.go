package jinja

import (
	"errors"
	"testing"
)

// FuzzRender renders any template: it must end within its limits, by a text or by an *Error.
func FuzzRender(f *testing.F) {
	g := readGolden(f)
	for _, kind := range []string{"templates", "constructs"} {
		for _, c := range member(g.file, kind).([]any) {
			f.Add(member(c, "template").(string))
		}
	}
	for _, template := range hostile {
		if len(template) < 1000 {
			f.Add(template)
		}
	}
	f.Add("{% set n = namespace({'': 0}) %}{{ n }}") // was found by it
	limits := Limits{Steps: 20_000, Bytes: 1 << 20}
	f.Fuzz(func(t *testing.T, template string) {
		parsed, err := Parse("fuzz", template)
		text := ""
		if err == nil {
			text, err = parsed.Render(g.variables["tools"], limits)
		}
		var e *Error
		if err != nil && !errors.As(err, &e) || len(text) > limits.Bytes {
			t.Errorf("%q: %d bytes, %v", template, len(text), err)
		}
	})
}
