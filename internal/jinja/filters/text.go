package filters

import (
	"strings"

	"github.com/phi3conv/phi3conv/internal/jinja/html"
	"github.com/phi3conv/phi3conv/internal/jinja/methods"
	"github.com/phi3conv/phi3conv/internal/jinja/values"
)

// onText makes a filter of a method of strings, which takes any value as text.
func onText(name, parameters, method string) *Builtin {
	return fn(name, parameters, func(r *Run, a []Value) Value {
		var rest []Value
		for _, v := range a[1:] {
			if v != (values.Absent{}) {
				rest = append(rest, v)
			}
		}
		v := r.Text(a[0])
		return r.Apply(r.MethodsOf(v)[method], Arguments{Items: append([]Value{v}, rest...)})
	})
}

func textFilters() []*Builtin {
	return []*Builtin{
		onText("upper", "s", "upper"), onText("lower", "s", "lower"), onText("capitalize", "s", "capitalize"),
		onText("trim", "value chars=", "strip"),
		fn("center", "value width=", func(r *Run, a []Value) Value {
			return values.Like(a[0], r.Pad(r.Str(a[0]), " ", '^', r.IntArg(a[1], 80)))
		}),
		fn("title", "s", titleFilter),
		fn("replace", "s old new count=", func(r *Run, a []Value) Value {
			count := -1
			if values.Given(a[3]) {
				count = r.IntArg(a[3], -1)
			}
			if r.Autoescape {
				return replaceEscaped(r, a[0], a[1], a[2], count)
			}
			return r.Replace(r.Str(a[0]), r.Str(a[1]), r.Str(a[2]), count)
		}),
		fn("string", "value", func(r *Run, a []Value) Value { return r.Text(a[0]) }),
		fn("pprint", "value", func(r *Run, a []Value) Value { return pretty(r, a[0]) }),
		fn("tojson", "x ensure_ascii= indent= separators= sort_keys=", toJSON),
		values.Raw("format", func(r *Run, a Arguments) Value {
			if len(a.Names) > 0 && len(a.Items) > 1 {
				r.Fail("format has values with and without names, expected one or the other")
			}
			if len(a.Names) > 0 {
				return r.Printf(r.Text(a.Items[0]), r.MakeDict(Arguments{Names: a.Names, Named: a.Named}))
			}
			return r.Printf(r.Text(a.Items[0]), &List{Kind: values.TupleKind, Items: a.Items[1:]})
		}),
		fn("indent", "s width= first= blank=", indentFilter),
		fn("truncate", "s length= killwords= end= leeway=", truncateFilter),
		fn("wordcount", "s", func(r *Run, a []Value) Value {
			s := r.Str(a[0])
			r.Walk(len(s))
			n, within := 0, false
			for _, c := range s {
				if html.IsWord(c) && !within {
					n++
				}
				within = html.IsWord(c)
			}
			return n
		}),
		fn("attr", "obj name", func(r *Run, a []Value) Value {
			if v, ok := r.OwnAttribute(a[0], r.StringArg(a[1])); ok {
				return v
			}
			return r.NoAttribute(a[0], r.StringArg(a[1]))
		}),
	}
}

func titleFilter(r *Run, a []Value) Value {
	s := r.Str(a[0])
	r.Walk(len(s))
	r.Take(len(s), 3)
	var b strings.Builder
	start := true // of a word
	for s != "" {
		n := strings.IndexFunc(s, func(c rune) bool { return values.IsSpace(c) || strings.ContainsRune("-({[<", c) })
		if n < 0 {
			n = len(s)
		}
		if word := s[:n]; word != "" && start {
			first := values.RuneSize(word)
			b.WriteString(methods.Upper(word[:first]) + methods.Lower(word[first:]))
		}
		if s = s[n:]; s != "" {
			b.WriteString(s[:values.RuneSize(s)])
			s = s[values.RuneSize(s):]
		}
	}
	return b.String()
}

func indentFilter(r *Run, a []Value) Value {
	r.FailUndefined(a[0])
	indention, ok := values.TextOf(a[1])
	if !ok {
		n := max(0, r.IntArg(a[1], 4))
		r.Take(n, 1)
		indention = strings.Repeat(" ", n)
	}
	o := values.NewOutput(r)
	lines := methods.SplitLines(r, r.StringArg(a[0])+"\n", false)
	first, blank := r.Truth(values.OrElse(a[2], false)), r.Truth(values.OrElse(a[3], false))
	for i, line := range lines {
		if i > 0 {
			o.Write("\n")
		}
		if i == 0 && first || i > 0 && (line != "" || blank) {
			o.Write(indention)
		}
		o.Write(line.(string))
	}
	return values.Like(a[0], o.String())
}

func truncateFilter(r *Run, a []Value) Value {
	end := r.Str(values.OrElse(a[3], "..."))
	length, leeway := r.IntArg(a[1], 255), 5
	if values.Given(a[4]) {
		leeway = r.IntArg(a[4], 5)
	}
	if length < r.Runes(end) || leeway < 0 {
		r.Fail("truncate has the length %d and the leeway %d, expected at least %d and 0", length, leeway, r.Runes(end))
	}
	n, ok := r.Length(a[0])
	if ok && n <= length+leeway {
		return a[0]
	}
	s := r.Cut(r.StringArg(a[0]), 0, length-values.Runes(end))
	if !r.Truth(values.OrElse(a[2], false)) {
		if i := strings.LastIndexByte(s, ' '); i >= 0 {
			s = s[:i]
		}
	}
	if m, ok := a[0].(values.Markup); ok {
		return r.Arithmetic("+", values.Like(m, s), values.OrElse(a[3], "..."))
	}
	return r.Concat(s, end)
}

// replaceEscaped is the filter replace where automatic escaping is on.
func replaceEscaped(r *Run, s, old, with Value, count int) Value {
	_, safe := s.(values.Markup)
	_, safeOld := old.(values.Markup)
	if _, safeNew := with.(values.Markup); safeOld || safeNew && !safe {
		s, safe = r.Escaped(s), true
	}
	if safe {
		with = r.Escaped(with)
	}
	return values.Like(s, r.Replace(r.Str(s), r.Str(old), r.Str(with), count))
}
