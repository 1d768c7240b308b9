package values

import (
	"strings"

	"github.com/phi3conv/phi3conv/internal/jinja/html"
)

// Escaped returns a value as text that is safe in HTML.
func (r *Run) Escaped(v Value) Markup {
	if m, ok := v.(Markup); ok {
		return m
	}
	s := r.Str(v)
	r.Scan(len(s))
	for _, c := range []string{"&", "<", ">", `"`, "'"} {
		r.Take(strings.Count(s, c), 5)
	}
	r.Take(len(s), 1)
	return Markup(html.Escape(s))
}

// Marked returns a text that is safe in HTML as such where automatic escaping is on.
func (r *Run) Marked(s string) Value {
	if r.Autoescape {
		return Markup(s)
	}
	return s
}

// StripTags returns the text of HTML.
func (r *Run) StripTags(s string) string {
	r.Walk(6 * len(s))
	r.Take(len(s), 8)
	return html.StripTags(s)
}

// Unescape replaces references to characters.
func (r *Run) Unescape(s string) string {
	r.Walk(4 * len(s))
	r.Take(len(s), 6)
	return html.Unescape(s)
}

// Text returns a value as text, which stays safe in HTML if it was.
func (r *Run) Text(v Value) Value {
	if m, ok := v.(Markup); ok {
		return m
	}
	return r.Str(v)
}

// Like returns a text of the kind of another.
func Like(v Value, s string) Value {
	if _, ok := v.(Markup); ok {
		return Markup(s)
	}
	return s
}
