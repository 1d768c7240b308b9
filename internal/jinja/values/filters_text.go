package values

import "strings"

// onText makes a filter of a method of strings, which takes any value as text.
func onText(name, parameters, method string) *Builtin {
	return fn(name, parameters, func(r *Run, a []Value) Value {
		var rest []Value
		for _, v := range a[1:] {
			if v != (absent{}) {
				rest = append(rest, v)
			}
		}
		return r.Apply(stringMethods[method], Arguments{Items: append([]Value{r.Str(a[0])}, rest...)})
	})
}

func textFilters() []*Builtin {
	return []*Builtin{
		onText("upper", "s", "upper"), onText("lower", "s", "lower"), onText("capitalize", "s", "capitalize"),
		onText("trim", "value chars=", "strip"),
		fn("center", "value width=", func(r *Run, a []Value) Value {
			return r.pad(r.Str(a[0]), " ", '^', r.int(a[1], 80))
		}),
		fn("title", "s", titleFilter),
		fn("replace", "s old new count=", func(r *Run, a []Value) Value {
			count := -1
			if given(a[3]) {
				count = r.int(a[3], -1)
			}
			return r.replace(r.Str(a[0]), r.Str(a[1]), r.Str(a[2]), count)
		}),
		fn("string", "value", func(r *Run, a []Value) Value {
			if m, ok := a[0].(markup); ok {
				return m
			}
			return r.Str(a[0])
		}),
		fn("safe", "value", func(r *Run, a []Value) Value { return markup(r.Str(a[0])) }),
		fn("escape", "value", func(r *Run, a []Value) Value {
			if m, ok := a[0].(markup); ok {
				return m
			}
			return markup(r.escape(r.Str(a[0])))
		}),
		fn("tojson", "x ensure_ascii= indent= separators= sort_keys=", toJSON),
		Raw("format", func(r *Run, a Arguments) Value {
			if len(a.Names) > 0 {
				return r.printf(r.Str(a.Items[0]), r.makeDict(Arguments{Names: a.Names, Named: a.Named}))
			}
			return r.printf(r.Str(a.Items[0]), &List{TupleKind, a.Items[1:]})
		}),
		fn("indent", "s width= first= blank=", indentFilter),
		fn("truncate", "s length= killwords= end= leeway=", truncateFilter),
		fn("wordcount", "s", func(r *Run, a []Value) Value {
			s := r.Str(a[0])
			r.walk(len(s))
			n, within := 0, false
			for _, c := range s {
				if IsWord(c) && !within {
					n++
				}
				within = IsWord(c)
			}
			return n
		}),
		fn("attr", "obj name", func(r *Run, a []Value) Value {
			if v, ok := r.ownAttribute(a[0], r.string(a[1])); ok {
				return v
			}
			return r.noAttribute(a[0], r.string(a[1]))
		}),
	}
}

func titleFilter(r *Run, a []Value) Value {
	s := r.Str(a[0])
	r.walk(len(s))
	r.Take(len(s), 3)
	var b strings.Builder
	start := true // of a word
	for s != "" {
		n := strings.IndexFunc(s, func(c rune) bool { return IsSpace(c) || strings.ContainsRune("-({[<", c) })
		if n < 0 {
			n = len(s)
		}
		if word := s[:n]; word != "" && start {
			first := runeSize(word)
			b.WriteString(upper(word[:first]) + lower(word[first:]))
		}
		if s = s[n:]; s != "" {
			b.WriteString(s[:runeSize(s)])
			s = s[runeSize(s):]
		}
	}
	return b.String()
}

func indentFilter(r *Run, a []Value) Value {
	r.FailUndefined(a[0])
	indention, ok := textOf(a[1])
	if !ok {
		n := max(0, r.int(a[1], 4))
		r.Take(n, 1)
		indention = strings.Repeat(" ", n)
	}
	o := NewOutput(r)
	lines := splitLines(r, r.string(a[0])+"\n", false)
	for i, line := range lines {
		if i > 0 {
			o.Write("\n")
		}
		if i == 0 && r.Truth(orElse(a[2], false)) || i > 0 && (line != "" || r.Truth(orElse(a[3], false))) {
			o.Write(indention)
		}
		o.Write(line.(string))
	}
	return o.String()
}

func truncateFilter(r *Run, a []Value) Value {
	end := r.Str(orElse(a[3], "..."))
	length, leeway := r.int(a[1], 255), 5
	if given(a[4]) {
		leeway = r.int(a[4], 5)
	}
	if length < r.runes(end) || leeway < 0 {
		r.Fail("truncate has the length %d and the leeway %d, expected at least %d and 0", length, leeway, runes(end))
	}
	n, ok := r.length(a[0])
	if ok && n <= length+leeway {
		return a[0]
	}
	s := r.cut(r.string(a[0]), 0, length-runes(end))
	if !r.Truth(orElse(a[2], false)) {
		if i := strings.LastIndexByte(s, ' '); i >= 0 {
			s = s[:i]
		}
	}
	return r.Concat(s, end)
}

// escape replaces what has a meaning in HTML.
func (r *Run) escape(s string) string {
	for _, c := range []string{"&", "<", ">", `"`, "'"} {
		r.Take(strings.Count(s, c), 5)
	}
	r.Take(len(s), 1)
	return strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", `"`, "&#34;", "'", "&#39;").Replace(s)
}
