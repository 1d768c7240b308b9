package filters

import (
	"regexp"
	"slices"
	"strings"

	"github.com/phi3conv/phi3conv/internal/jinja/html"
	"github.com/phi3conv/phi3conv/internal/jinja/methods"
	"github.com/phi3conv/phi3conv/internal/jinja/values"
)

func htmlFilters() []*Builtin {
	return []*Builtin{
		fn("safe", "value", func(r *Run, a []Value) Value { return values.Markup(r.Str(a[0])) }),
		fn("escape", "value", func(r *Run, a []Value) Value { return r.Escaped(a[0]) }),
		fn("forceescape", "value", func(r *Run, a []Value) Value { return r.Escaped(r.Str(a[0])) }),
		fn("striptags", "value", func(r *Run, a []Value) Value { return r.StripTags(r.Str(a[0])) }),
		fn("urlencode", "value", urlEncode),
		fn("urlize", "value trim_url_limit= nofollow= target= rel= extra_schemes=", urlize),
		fn("wordwrap", "s width= break_long_words= wrapstring= break_on_hyphens=", wordWrap),
		fn("xmlattr", "d autospace=", xmlAttributes),
	}
}

func urlEncode(r *Run, a []Value) Value {
	quote := func(v Value, query bool) string {
		s := r.Str(v)
		r.Walk(len(s))
		r.Take(len(s), 6)
		if r.HasHalf(s) {
			r.Fail("urlencode is applied to half of a character, which has no bytes")
		}
		return html.Quote(s, query)
	}
	items, ok := r.Iterable(a[0])
	if _, isText := values.TextOf(a[0]); isText || !ok {
		return quote(a[0], false)
	}
	if d, ok := a[0].(*Dict); ok {
		items = r.Pairs(d)
	}
	o := values.NewOutput(r)
	for i, item := range items {
		pair := r.Items(item)
		if len(pair) != 2 {
			r.Fail("an item of urlencode has %d values, expected a key and a value", len(pair))
		}
		if i > 0 {
			o.Write("&")
		}
		o.Write(quote(pair[0], true))
		o.Write("=")
		o.Write(quote(pair[1], true))
	}
	return o.String()
}

var scheme = regexp.MustCompile(`^[\p{L}\p{N}_.+-]{2,}:/{0,2}$`)

func urlize(r *Run, a []Value) Value {
	links := html.Links{Limit: -1}
	if values.Given(a[1]) {
		links.Limit = max(0, r.IntArg(a[1], 0))
	}
	rel := []string{"noopener"}
	if values.Given(a[4]) {
		rel = append(rel, strings.FieldsFunc(r.StringArg(a[4]), values.IsSpace)...)
	}
	if r.Truth(values.OrElse(a[2], false)) {
		rel = append(rel, "nofollow")
	}
	slices.Sort(rel)
	links.Rel = string(r.Escaped(strings.Join(slices.Compact(rel), " ")))
	if values.Given(a[3]) && r.Truth(a[3]) {
		links.Target = string(r.Escaped(a[3]))
	}
	if values.Given(a[5]) {
		for _, v := range r.Items(a[5]) {
			s := r.StringArg(v)
			if r.Walk(len(s)); !scheme.MatchString(s) {
				r.Fail("urlize has the scheme %q, expected one such as ftp:", s)
			}
			links.Schemes = append(links.Schemes, s)
		}
	}
	text := string(r.Escaped(a[0]))
	r.Walk(16 * len(text)) // regular expressions
	words := len(text)/2 + 1
	r.Step(words * len(links.Schemes) / 8)
	more := len(links.Rel) + len(links.Target) + 64
	r.Take(4*len(text), 2)
	r.Take(min(words, strings.Count(text, ".")+strings.Count(text, ":")), more) // a link has at least one of them
	return r.Marked(html.Linked(text, links))
}

func wordWrap(r *Run, a []Value) Value {
	r.FailUndefined(a[0])
	s, ok := values.TextOf(a[0])
	if !ok {
		r.Fail("wordwrap is applied to %s, expected a string", values.TypeName(a[0]))
	}
	between := "\n"
	if values.Given(a[3]) {
		between = r.StringArg(a[3])
	}
	w := html.Wrapping{Width: r.IntArg(a[1], 79), BreakWords: r.Truth(values.OrElse(a[2], true)),
		BreakHyphens: r.Truth(values.OrElse(a[4], true))}
	o := values.NewOutput(r)
	for i, line := range methods.SplitLines(r, s, false) {
		if w.Width <= 0 {
			r.Fail("wordwrap has the width %d, expected at least 1", w.Width)
		}
		if i > 0 {
			o.Write(between)
		}
		text := line.(string)
		r.Walk(4 * len(text))
		r.Take(len(text), 200) // there can be a line, of two chunks, for each character
		for j, part := range w.Wrap(text) {
			if j > 0 {
				o.Write(between)
			}
			o.Write(part)
		}
	}
	return o.String()
}

func xmlAttributes(r *Run, a []Value) Value {
	r.FailUndefined(a[0])
	d, ok := a[0].(*Dict)
	if !ok {
		r.Fail("xmlattr is applied to %s, expected a dict", values.TypeName(a[0]))
	}
	o, space := values.NewOutput(r), r.Truth(values.OrElse(a[1], true))
	for i, k := range d.Keys {
		v := d.Values[i]
		if _, undefined := v.(*Undefined); undefined || v == nil {
			continue
		}
		name := r.StringArg(k)
		if r.Scan(len(name)); strings.ContainsAny(name, " \t\n\r\f\v/>=") {
			r.Fail("xmlattr has the name %q, which no attribute can have", name)
		}
		if space {
			o.Write(" ")
		}
		space = true
		o.Write(string(r.Escaped(k)))
		o.Write(`="`)
		o.Write(string(r.Escaped(v)))
		o.Write(`"`)
	}
	return r.Marked(o.String())
}

// JoinSafe joins values as text; if one of them is safe in HTML, the others are escaped.
func JoinSafe(r *Run, items []Value) Value {
	return join(r, []Value{r.List(items), "", values.Absent{}})
}
