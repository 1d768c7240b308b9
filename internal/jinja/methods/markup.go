package methods

import (
	"slices"
	"strings"

	"github.com/phi3conv/phi3conv/internal/jinja/values"
)

// markupMethods are those of text that is safe in HTML: they escape what they add, and their results are safe.
var markupMethods map[string]*Builtin

func makeMarkupMethods() {
	markupMethods = values.Table(
		values.Fn("unescape", "self", func(r *Run, a []Value) Value { return r.Unescape(r.StringArg(a[0])) }),
		values.Fn("striptags", "self", func(r *Run, a []Value) Value { return r.StripTags(r.StringArg(a[0])) }),
		values.Fn("escape", "self s", func(r *Run, a []Value) Value { return r.Escaped(a[1]) }),
	)
	for name, f := range stringMethods {
		markupMethods[name] = f
	}
	escapes := map[string]int{"replace": 2, "ljust": 2, "rjust": 2, "center": 2} // which argument they escape
	for _, name := range strings.Fields("join split rsplit splitlines capitalize title lower upper replace ljust " +
		"rjust lstrip rstrip center strip translate expandtabs swapcase zfill casefold removeprefix " +
		"removesuffix partition rpartition format format_map") {
		f, at := stringMethods[name], escapes[name]
		markupMethods[name] = values.Raw(name, func(r *Run, a Arguments) Value {
			if at > 0 && at < len(a.Items) {
				a.Items = slices.Clone(a.Items)
				a.Items[at] = r.Escaped(a.Items[at])
			}
			if name == "join" && len(a.Items) == 2 {
				a.Items = []Value{a.Items[0], r.List(escapedAll(r, r.Items(a.Items[1])))}
			}
			return asMarkup(r, r.Apply(f, a))
		})
	}
}

func escapedAll(r *Run, items []Value) []Value {
	r.Take(len(items), values.ValueSize+16)
	list := make([]Value, len(items))
	for i, item := range items {
		list[i] = r.Escaped(item)
	}
	return list
}

// asMarkup marks a text, or all of a list, as safe.
func asMarkup(r *Run, v Value) Value {
	switch v := v.(type) {
	case string:
		return values.Markup(v)
	case *List:
		r.Take(len(v.Items), values.ValueSize+16)
		items := make([]Value, len(v.Items))
		for i, item := range v.Items {
			items[i] = asMarkup(r, item)
		}
		return &List{Kind: v.Kind, Items: items}
	}
	return v
}
