package values

import (
	"math"
	"strconv"
	"strings"
	"unicode"
)

// Filters are Jinja's, with transformers' own tojson.
var Filters map[string]*Builtin

func init() { // they refer to each other by way of map
	Filters = table(append(textFilters(), append(numberFilters(), listFilters()...)...)...)
	Filters["d"], Filters["count"] = Filters["default"], Filters["length"]
	Filters["e"], Filters["forceescape"] = Filters["escape"], Filters["escape"]
}

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

func numberFilters() []*Builtin {
	return []*Builtin{
		fn("abs", "x", func(r *Run, a []Value) Value {
			i, f, ok := Number(a[0])
			switch {
			case !ok:
				r.FailUndefined(a[0])
				r.Fail("abs is applied to %s, expected a number", TypeName(a[0]))
			case isFloat(a[0]):
				return math.Abs(f)
			case i < 0:
				return r.ints("-", 0, i)
			}
			return i
		}),
		fn("round", "value precision= method=", round),
		fn("int", "value default= base=", func(r *Run, a []Value) Value {
			r.FailUndefined(a[0])
			if i, ok := r.toInt(a[0], r.int(a[2], 10)); ok {
				return i
			}
			return orElse(a[1], 0)
		}),
		fn("float", "value default=", func(r *Run, a []Value) Value {
			r.FailUndefined(a[0])
			if f, ok := r.toFloat(a[0]); ok {
				return f
			}
			return orElse(a[1], 0.0)
		}),
	}
}

// toInt converts as Python's int does, and what that does not, by way of float.
func (r *Run) toInt(v Value, base int) (int, bool) {
	if s, ok := textOf(v); ok {
		r.scan(len(s))
		s = strings.TrimFunc(s, IsSpace)
		digits := strings.TrimLeft(s, "+-")
		if prefix := map[int]string{16: "0x", 8: "0o", 2: "0b"}[base]; prefix != "" {
			digits = strings.TrimPrefix(strings.ToLower(digits), prefix)
		}
		if i, err := strconv.ParseInt(oneSign(s)+strings.ReplaceAll(digits, "_", ""), base, 0); err == nil {
			return int(i), underscored(digits)
		}
	}
	if i, _, ok := Number(v); ok && !isFloat(v) {
		return i, true
	}
	f, ok := r.toFloat(v)
	_, isText := textOf(v)
	switch {
	case math.IsNaN(f), isText && math.IsInf(f, 0):
		return 0, false
	case math.Abs(f) >= 1<<63:
		r.Fail("the integer %s has more than 64 bits, which is not supported", formatFloat(f))
	}
	return int(math.Trunc(f)), ok
}

// oneSign returns a sign if there is one and no more.
func oneSign(s string) string {
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

func (r *Run) toFloat(v Value) (float64, bool) {
	if s, ok := textOf(v); ok {
		r.scan(len(s))
		s = strings.TrimFunc(s, IsSpace)
		if strings.ContainsAny(s, "xXpP") || !underscored(s) {
			return 0, false
		}
		f, err := strconv.ParseFloat(strings.ReplaceAll(s, "_", ""), 64)
		return f, err == nil || math.IsInf(f, 0)
	}
	_, f, ok := Number(v)
	return f, ok
}

func round(r *Run, a []Value) Value {
	i, f, ok := Number(a[0])
	if !ok {
		r.FailUndefined(a[0])
		r.Fail("round is applied to %s, expected a number", TypeName(a[0]))
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
		r.Fail("round has the method %q, expected common, ceil or floor", method)
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

// UnknownFilter says that there is no filter of a name.
func UnknownFilter(name string) string {
	return "there is no filter " + name + ": use another, or write a macro"
}

// Filter applies a filter to its first argument.
func (r *Run) Filter(name string, a Arguments) Value {
	f := Filters[name]
	if f == nil {
		r.Fail("%s", UnknownFilter(brief(name)))
	}
	return r.Apply(f, a)
}
