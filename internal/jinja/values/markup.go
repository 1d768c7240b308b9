package values

import (
	"slices"
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

// unescape replaces references to characters.
func (r *Run) unescape(s string) string {
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

// markupMethods are those of text that is safe in HTML: they escape what they add, and their results are safe.
var markupMethods map[string]*Builtin

func makeMarkupMethods() {
	markupMethods = Table(
		Fn("unescape", "self", func(r *Run, a []Value) Value { return r.unescape(r.StringArg(a[0])) }),
		Fn("striptags", "self", func(r *Run, a []Value) Value { return r.StripTags(r.StringArg(a[0])) }),
		Fn("escape", "self s", func(r *Run, a []Value) Value { return r.Escaped(a[1]) }),
	)
	for name, f := range stringMethods {
		markupMethods[name] = f
	}
	escapes := map[string]int{"replace": 2, "ljust": 2, "rjust": 2, "center": 2} // which argument they escape
	for _, name := range strings.Fields("join split rsplit splitlines capitalize title lower upper replace ljust " +
		"rjust lstrip rstrip center strip translate expandtabs swapcase zfill casefold removeprefix " +
		"removesuffix partition rpartition format format_map") {
		f, at := stringMethods[name], escapes[name]
		markupMethods[name] = Raw(name, func(r *Run, a Arguments) Value {
			if at > 0 && at < len(a.Items) {
				a.Items = slices.Clone(a.Items)
				a.Items[at] = r.Escaped(a.Items[at])
			}
			if name == "join" && len(a.Items) == 2 {
				a.Items = []Value{a.Items[0], r.List(r.escapedAll(r.Items(a.Items[1])))}
			}
			return r.asMarkup(r.Apply(f, a))
		})
	}
}

func (r *Run) escapedAll(items []Value) []Value {
	r.Take(len(items), ValueSize+16)
	list := make([]Value, len(items))
	for i, item := range items {
		list[i] = r.Escaped(item)
	}
	return list
}

// asMarkup marks a text, or all of a list, as safe.
func (r *Run) asMarkup(v Value) Value {
	switch v := v.(type) {
	case string:
		return Markup(v)
	case *List:
		r.Take(len(v.Items), ValueSize+16)
		items := make([]Value, len(v.Items))
		for i, item := range v.Items {
			items[i] = r.asMarkup(item)
		}
		return &List{Kind: v.Kind, Items: items}
	}
	return v
}

// Like returns a text of the kind of another.
func Like(v Value, s string) Value {
	if _, ok := v.(Markup); ok {
		return Markup(s)
	}
	return s
}
