package jinja

import (
	"math"
	"strconv"
	"strings"
	"unicode"
)

// filters are Jinja's, with transformers' own tojson.
var filters map[string]*builtin

func init() { // they refer to each other by way of map
	filters = table(append(textFilters(), append(numberFilters(), listFilters()...)...)...)
	filters["d"], filters["count"] = filters["default"], filters["length"]
	filters["e"], filters["forceescape"] = filters["escape"], filters["escape"]
}

// onText makes a filter of a method of strings, which takes any value as text.
func onText(name, parameters, method string) *builtin {
	return fn(name, parameters, func(r *run, a []Value) Value {
		var rest []Value
		for _, v := range a[1:] {
			if v != (absent{}) {
				rest = append(rest, v)
			}
		}
		return r.builtin(stringMethods[method], arguments{items: append([]Value{r.str(a[0])}, rest...)})
	})
}

func textFilters() []*builtin {
	return []*builtin{
		onText("upper", "s", "upper"), onText("lower", "s", "lower"), onText("capitalize", "s", "capitalize"),
		onText("trim", "value chars=", "strip"),
		fn("center", "value width=", func(r *run, a []Value) Value {
			return r.pad(r.str(a[0]), " ", '^', r.int(a[1], 80))
		}),
		fn("title", "s", titleFilter),
		fn("replace", "s old new count=", func(r *run, a []Value) Value {
			count := -1
			if given(a[3]) {
				count = r.int(a[3], -1)
			}
			return r.replace(r.str(a[0]), r.str(a[1]), r.str(a[2]), count)
		}),
		fn("string", "value", func(r *run, a []Value) Value {
			if m, ok := a[0].(markup); ok {
				return m
			}
			return r.str(a[0])
		}),
		fn("safe", "value", func(r *run, a []Value) Value { return markup(r.str(a[0])) }),
		fn("escape", "value", func(r *run, a []Value) Value {
			if m, ok := a[0].(markup); ok {
				return m
			}
			return markup(r.escape(r.str(a[0])))
		}),
		fn("tojson", "x ensure_ascii= indent= separators= sort_keys=", toJSON),
		raw("format", func(r *run, a arguments) Value {
			if len(a.names) > 0 {
				return r.printf(r.str(a.items[0]), r.makeDict(arguments{names: a.names, named: a.named}))
			}
			return r.printf(r.str(a.items[0]), &list{tupleKind, a.items[1:]})
		}),
		fn("indent", "s width= first= blank=", indentFilter),
		fn("truncate", "s length= killwords= end= leeway=", truncateFilter),
		fn("wordcount", "s", func(r *run, a []Value) Value {
			s := r.str(a[0])
			r.walk(len(s))
			n, within := 0, false
			for _, c := range s {
				if isWord(c) && !within {
					n++
				}
				within = isWord(c)
			}
			return n
		}),
		fn("attr", "obj name", func(r *run, a []Value) Value {
			if v, ok := r.ownAttribute(a[0], r.string(a[1])); ok {
				return v
			}
			return r.noAttribute(a[0], r.string(a[1]))
		}),
	}
}

func titleFilter(r *run, a []Value) Value {
	s := r.str(a[0])
	r.walk(len(s))
	r.take(len(s), 3)
	var b strings.Builder
	start := true // of a word
	for s != "" {
		n := strings.IndexFunc(s, func(c rune) bool { return isSpace(c) || strings.ContainsRune("-({[<", c) })
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

func indentFilter(r *run, a []Value) Value {
	r.failUndefined(a[0])
	indention, ok := textOf(a[1])
	if !ok {
		n := max(0, r.int(a[1], 4))
		r.take(n, 1)
		indention = strings.Repeat(" ", n)
	}
	o := &output{run: r}
	lines := splitLines(r, r.string(a[0])+"\n", false)
	for i, line := range lines {
		if i > 0 {
			o.write("\n")
		}
		if i == 0 && r.truth(orElse(a[2], false)) || i > 0 && (line != "" || r.truth(orElse(a[3], false))) {
			o.write(indention)
		}
		o.write(line.(string))
	}
	return o.String()
}

func truncateFilter(r *run, a []Value) Value {
	s, end := r.str(a[0]), r.str(orElse(a[3], "..."))
	length, leeway := r.int(a[1], 255), 5
	if given(a[4]) {
		leeway = r.int(a[4], 5)
	}
	if length < r.runes(end) || leeway < 0 {
		r.fail("truncate has the length %d and the leeway %d, expected at least %d and 0", length, leeway, runes(end))
	}
	if r.runes(s) <= length+leeway {
		return s
	}
	s = r.cut(s, 0, length-runes(end))
	if !r.truth(orElse(a[2], false)) {
		if i := strings.LastIndexByte(s, ' '); i >= 0 {
			s = s[:i]
		}
	}
	return r.concat(s, end)
}

// escape replaces what has a meaning in HTML.
func (r *run) escape(s string) string {
	for _, c := range []string{"&", "<", ">", `"`, "'"} {
		r.take(strings.Count(s, c), 5)
	}
	r.take(len(s), 1)
	return strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", `"`, "&#34;", "'", "&#39;").Replace(s)
}

func numberFilters() []*builtin {
	return []*builtin{
		fn("abs", "x", func(r *run, a []Value) Value {
			i, f, ok := number(a[0])
			switch {
			case !ok:
				r.failUndefined(a[0])
				r.fail("abs is applied to %s, expected a number", typeName(a[0]))
			case isFloat(a[0]):
				return math.Abs(f)
			case i < 0:
				return r.ints("-", 0, i)
			}
			return i
		}),
		fn("round", "value precision= method=", round),
		fn("int", "value default= base=", func(r *run, a []Value) Value {
			r.failUndefined(a[0])
			if i, ok := r.toInt(a[0], r.int(a[2], 10)); ok {
				return i
			}
			return orElse(a[1], 0)
		}),
		fn("float", "value default=", func(r *run, a []Value) Value {
			r.failUndefined(a[0])
			if f, ok := r.toFloat(a[0]); ok {
				return f
			}
			return orElse(a[1], 0.0)
		}),
	}
}

// toInt converts as Python's int does, and what that does not, by way of float.
func (r *run) toInt(v Value, base int) (int, bool) {
	if s, ok := textOf(v); ok {
		r.scan(len(s))
		s = strings.TrimFunc(s, isSpace)
		digits := strings.TrimLeft(s, "+-")
		if prefix := map[int]string{16: "0x", 8: "0o", 2: "0b"}[base]; prefix != "" {
			digits = strings.TrimPrefix(strings.ToLower(digits), prefix)
		}
		if i, err := strconv.ParseInt(sign1(s)+strings.ReplaceAll(digits, "_", ""), base, 64); err == nil {
			return int(i), underscored(digits)
		}
	}
	if i, _, ok := number(v); ok && !isFloat(v) {
		return i, true
	}
	f, ok := r.toFloat(v)
	if math.Abs(f) >= 1<<63 || math.IsNaN(f) {
		if isFloat(v) && !math.IsNaN(f) || math.Abs(f) >= 1<<63 && !math.IsInf(f, 0) {
			r.fail("the integer %s has more than 64 bits, which is not supported", formatFloat(f))
		}
		return 0, false
	}
	return int(math.Trunc(f)), ok
}

// sign1 returns a sign if there is one and no more.
func sign1(s string) string {
	if n := len(s) - len(strings.TrimLeft(s, "+-")); n == 1 {
		return s[:1]
	} else if n > 1 {
		return "??" // no number
	}
	return ""
}

// underscored says whether underscores are between digits only.
func underscored(digits string) bool {
	return !strings.HasPrefix(digits, "_") && !strings.HasSuffix(digits, "_") && !strings.Contains(digits, "__")
}

func (r *run) toFloat(v Value) (float64, bool) {
	if s, ok := textOf(v); ok {
		r.scan(len(s))
		s = strings.TrimFunc(s, isSpace)
		if strings.ContainsAny(s, "xXpP") || !underscored(s) {
			return 0, false
		}
		f, err := strconv.ParseFloat(strings.ReplaceAll(s, "_", ""), 64)
		return f, err == nil || math.IsInf(f, 0)
	}
	_, f, ok := number(v)
	return f, ok
}

func round(r *run, a []Value) Value {
	i, f, ok := number(a[0])
	if !ok {
		r.failUndefined(a[0])
		r.fail("round is applied to %s, expected a number", typeName(a[0]))
	}
	precision := r.int(a[1], 0)
	method := r.string(orElse(a[2], "common"))
	scale := math.Pow(10, float64(precision))
	switch {
	case method == "ceil":
		return math.Ceil(f*scale) / scale
	case method == "floor":
		return math.Floor(f*scale) / scale
	case method != "common":
		r.fail("round has the method %q, expected common, ceil or floor", method)
	case !isFloat(a[0]) && precision >= 0:
		return i
	case !isFloat(a[0]):
		return int(math.RoundToEven(f*scale) / scale)
	case precision < 0:
		return math.RoundToEven(f*scale) / scale
	case precision < 400:
		rounded, _ := strconv.ParseFloat(strconv.FormatFloat(f, 'f', precision, 64), 64)
		return rounded
	}
	return f
}

// isCased says whether a letter has two cases.
func isCased(c rune) bool { return unicode.IsUpper(c) || unicode.IsLower(c) || unicode.IsTitle(c) }
