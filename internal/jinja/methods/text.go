package methods

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/phi3conv/phi3conv/internal/jinja/values"
)

// mapped makes a method that returns a text of about the same length.
func mapped(name string, convert func(string) string) *Builtin {
	return values.Fn(name, "self", func(r *Run, a []Value) Value {
		s := r.StringArg(a[0])
		r.Scan(len(s))
		if !values.IsASCII(s) {
			r.Walk(2 * len(s))
		}
		r.Take(len(s), 3)
		return convert(s)
	})
}

// every makes a method that says whether all characters are of a kind, and there is one.
func every(name string, of func(rune) bool) *Builtin {
	return values.Fn(name, "self", func(r *Run, a []Value) Value {
		s := r.StringArg(a[0])
		r.Walk(len(s))
		return s != "" && strings.IndexFunc(s, func(c rune) bool { return !of(c) }) < 0
	})
}

func wrongCase(name string, wrong func(rune) bool) *Builtin {
	return values.Fn(name, "self", func(r *Run, a []Value) Value { return HasCase(r, r.StringArg(a[0]), wrong) })
}

// padded makes a method that fills a text up to a width.
func padded(name string, align byte) *Builtin {
	return values.Fn(name, "self width fill=", func(r *Run, a []Value) Value {
		fill := r.StringArg(values.OrElse(a[2], " "))
		if values.Runes(fill) != 1 {
			r.Fail("%s fills with %q, expected one character", name, fill)
		}
		return r.Pad(r.StringArg(a[0]), fill, align, r.IntArg(a[1], 0))
	})
}

// strip makes a method that drops white space, or given characters, at the ends.
func strip(name string, left, right bool) *Builtin {
	return values.Fn(name, "self chars=", func(r *Run, a []Value) Value {
		s := r.StringArg(a[0])
		drop := func(c rune) bool {
			r.Walk(8)
			return values.IsSpace(c)
		}
		if values.Given(a[1]) {
			chars := r.StringArg(a[1])
			drop = func(c rune) bool {
				r.Walk(8 + len(chars))
				return strings.ContainsRune(chars, c)
			}
		}
		if left {
			s = strings.TrimLeftFunc(s, drop)
		}
		if right {
			s = strings.TrimRightFunc(s, drop)
		}
		r.Take(1, 16)
		return s
	})
}

// window returns the part of a text between the indices of two arguments, and its first index.
func window(r *Run, s string, from, to Value) (part string, start int, ok bool) {
	if !values.Given(from) && !values.Given(to) {
		return s, 0, true
	}
	n := r.Runes(s)
	if from == (values.Absent{}) {
		from = nil
	}
	if to == (values.Absent{}) {
		to = nil
	}
	if i, ok := from.(int); ok && i > n {
		return "", 0, false
	}
	start, stop, _ := r.Bounds([3]Value{from, to, nil}, n)
	if start > stop {
		return "", 0, false
	}
	return r.Cut(s, start, stop), start, true
}

// finder makes a method that looks for a text and returns its index; a strict one fails if it
// is not there.
func finder(name string, index func(s, sub string) int, strict bool) *Builtin {
	return values.Fn(name, "self sub start= end=", func(r *Run, a []Value) Value {
		s, sub := r.StringArg(a[0]), r.StringArg(a[1])
		r.Scan(len(s))
		if part, start, ok := window(r, s, a[2], a[3]); ok {
			if i := index(part, sub); i >= 0 {
				return start + r.Runes(part[:i])
			}
		}
		if strict {
			r.Fail("%.40q is not in the string: find returns -1 then", sub)
		}
		return -1
	})
}

// affix makes a method that tests the beginning or end for a text, or one of several.
func affix(name string, has func(s, sub string) bool) *Builtin {
	return values.Fn(name, "self prefix start= end=", func(r *Run, a []Value) Value {
		options := []Value{a[1]}
		if l, ok := a[1].(*List); ok && l.IsTuple() {
			options = l.Items
		}
		part, _, ok := window(r, r.StringArg(a[0]), a[2], a[3])
		for _, o := range options {
			s := r.StringArg(o)
			r.Step(1)
			r.Scan(len(s))
			if ok && has(part, s) {
				return true
			}
		}
		return false
	})
}

// texts makes values of strings that are parts of another.
func texts(r *Run, parts []string) []Value {
	r.Take(len(parts), values.ValueSize+16+16)
	items := make([]Value, len(parts))
	for i, p := range parts {
		items[i] = p
	}
	return items
}

// split makes a method that splits a text at a separator, from the left or the right.
func split(name string, right bool) *Builtin {
	return values.Fn(name, "self sep= maxsplit=", func(r *Run, a []Value) Value {
		s, most := r.StringArg(a[0]), r.IntArg(a[2], -1)
		r.Scan(len(s))
		if !values.Given(a[1]) {
			r.Walk(len(s))
			r.Take(len(s)/2, 16) // most that there can be
			return r.List(texts(r, splitSpace(s, most, right)))
		}
		sep := r.StringArg(a[1])
		if sep == "" {
			r.Fail("split has an empty separator; list makes a list of characters")
		}
		n := strings.Count(s, sep)
		r.Walk(n)
		r.Take(n, 32)
		parts := strings.Split(s, sep)
		if most >= 0 && most < n && right {
			head := strings.Join(parts[:n-most+1], sep)
			r.Take(len(head), 1)
			parts = append([]string{head}, parts[n-most+1:]...)
		} else if most >= 0 && most < n {
			parts = strings.SplitN(s, sep, most+1)
		}
		return r.List(texts(r, parts))
	})
}

func splitSpace(s string, most int, right bool) []string {
	fields := strings.FieldsFunc(s, values.IsSpace)
	if most < 0 || len(fields) <= most {
		return fields
	}
	if right {
		kept := fields[len(fields)-most:]
		s = strings.TrimRightFunc(s, values.IsSpace)
		for i := len(kept) - 1; i >= 0; i-- {
			s = strings.TrimRightFunc(strings.TrimSuffix(s, kept[i]), values.IsSpace)
		}
		if s == "" {
			return kept
		}
		return append([]string{s}, kept...)
	}
	kept := fields[:most]
	s = strings.TrimLeftFunc(s, values.IsSpace)
	for _, f := range kept {
		s = strings.TrimLeftFunc(strings.TrimPrefix(s, f), values.IsSpace)
	}
	if s == "" {
		return kept
	}
	return append(kept[:len(kept):len(kept)], s)
}

// SplitLines cuts a text at the ends of lines.
func SplitLines(r *Run, s string, keep bool) []Value {
	r.Walk(len(s))
	var lines []Value
	for s != "" {
		end := strings.IndexFunc(s, func(c rune) bool {
			return c >= '\n' && c <= '\r' || c >= 0x1c && c <= 0x1e || c == 0x85 || c == 0x2028 || c == 0x2029
		})
		size := 0
		if end < 0 {
			end = len(s)
		} else if size = values.RuneSize(s[end:]); strings.HasPrefix(s[end:], "\r\n") {
			size = 2
		}
		line := s[:end]
		if keep {
			line = s[:end+size]
		}
		r.Take(1, 4*values.ValueSize+16)
		lines = append(lines, line)
		s = s[end+size:]
	}
	return lines
}

// partition makes a method that cuts a text in what is before a separator, it, and what is after.
func partition(name string, index func(s, sub string) int) *Builtin {
	return values.Fn(name, "self sep", func(r *Run, a []Value) Value {
		s, sep := r.StringArg(a[0]), r.StringArg(a[1])
		r.Scan(len(s))
		if sep == "" {
			r.Fail("%s has an empty separator", name)
		}
		parts := []string{s, "", ""}
		if i := index(s, sep); i >= 0 {
			parts = []string{s[:i], sep, s[i+len(sep):]}
		} else if name == "rpartition" {
			parts = []string{"", "", s}
		}
		return &List{Kind: values.TupleKind, Items: texts(r, parts)}
	})
}

// stringMethods are Python's.
var stringMethods map[string]*Builtin

func textMethods() []*Builtin {
	return []*Builtin{
		mapped("upper", Upper), mapped("lower", Lower), mapped("casefold", fold), mapped("title", titleMethod),
		mapped("capitalize", capitalize), mapped("swapcase", swapCase),
		strip("strip", true, true), strip("lstrip", true, false), strip("rstrip", false, true),
		split("split", false), split("rsplit", true),
		partition("partition", strings.Index), partition("rpartition", strings.LastIndex),
		padded("center", '^'), padded("ljust", '<'), padded("rjust", '>'),
		finder("find", strings.Index, false), finder("rfind", strings.LastIndex, false),
		finder("index", strings.Index, true), finder("rindex", strings.LastIndex, true),
		affix("startswith", strings.HasPrefix), affix("endswith", strings.HasSuffix),
		every("isdigit", isDigit), every("isdecimal", unicode.IsDigit), every("isnumeric", isNumeric),
		every("isalpha", unicode.IsLetter), every("isspace", values.IsSpace),
		every("isalnum", func(c rune) bool { return unicode.IsLetter(c) || unicode.IsNumber(c) }),
		every("isascii", func(c rune) bool { return c < utf8.RuneSelf }),
		wrongCase("islower", IsUpper), wrongCase("isupper", IsLower),
		values.Fn("isprintable", "self", func(r *Run, a []Value) Value {
			s := r.StringArg(a[0])
			r.Walk(len(s))
			return strings.IndexFunc(s, func(c rune) bool { return !unicode.IsPrint(c) }) < 0
		}),
		values.Fn("isidentifier", "self", func(r *Run, a []Value) Value {
			s := r.StringArg(a[0])
			r.Walk(len(s))
			for i, c := range s {
				first := unicode.In(c, unicode.L, unicode.Nl) || c == '_'
				if !first && (i == 0 || !unicode.In(c, unicode.Mn, unicode.Mc, unicode.Nd, unicode.Pc)) {
					return false
				}
			}
			return s != ""
		}),
	}
}

func moreTextMethods() []*Builtin {
	return []*Builtin{
		values.Fn("istitle", "self", func(r *Run, a []Value) Value {
			s := r.StringArg(a[0])
			r.Take(len(s), 3)
			return strings.IndexFunc(s, isCased) >= 0 && titleMethod(s) == s
		}),
		values.Fn("splitlines", "self keepends=", func(r *Run, a []Value) Value {
			return r.List(SplitLines(r, r.StringArg(a[0]), r.IntArg(a[1], 0) != 0))
		}),
		values.Fn("replace", "self old new count=", func(r *Run, a []Value) Value {
			return r.Replace(r.StringArg(a[0]), r.StringArg(a[1]), r.StringArg(a[2]), r.IntArg(a[3], -1))
		}),
		values.Fn("count", "self sub start= end=", func(r *Run, a []Value) Value {
			s, sub := r.StringArg(a[0]), r.StringArg(a[1])
			r.Scan(len(s))
			part, _, ok := window(r, s, a[2], a[3])
			if !ok {
				return 0
			}
			return strings.Count(part, sub)
		}),
		values.Fn("join", "self iterable", func(r *Run, a []Value) Value {
			d := r.StringArg(a[0])
			o := values.NewOutput(r)
			for i, item := range r.Items(a[1]) {
				if i > 0 {
					o.Write(d)
				}
				r.Step(1)
				o.Write(r.StringArg(item))
			}
			return o.String()
		}),
	}
}

// translations makes the dict that translate takes, of a dict or of two or three strings.
func translations(r *Run, a []Value) Value {
	d := values.NewDict()
	characters := func(v Value) []Value { return r.Items(r.StringArg(v)) }
	code := func(c Value) int { return int(r.Codes(c.(string))[0]) }
	if a[2] == (values.Absent{}) {
		from, ok := a[1].(*Dict)
		if !ok {
			r.Fail("maketrans has %s, expected a dict or two strings", values.TypeName(a[1]))
		}
		for i, k := range from.Keys {
			if s, ok := values.TextOf(k); ok {
				if r.Runes(s) != 1 {
					r.Fail("maketrans has the key %.40q, expected one character", s)
				}
				k = code(s)
			} else if values.BigOf(k) == nil {
				r.Fail("maketrans has the key %s, expected a character or its number", values.TypeName(k))
			}
			d.Set(r, k, from.Values[i])
		}
		return d
	}
	from, to := characters(a[1]), characters(a[2])
	if len(from) != len(to) {
		r.Fail("maketrans has strings of %d and %d characters, expected as many in both", len(from), len(to))
	}
	for i, c := range from {
		d.Set(r, code(c), code(to[i]))
	}
	if a[3] != (values.Absent{}) {
		for _, c := range characters(a[3]) {
			d.Set(r, code(c), nil)
		}
	}
	return d
}

// translate replaces characters by what a dict, or another value with items, has for their numbers.
func translate(r *Run, a []Value) Value {
	o := values.NewOutput(r)
	if _, ok := r.Length(a[1]); !ok {
		r.Fail("translate has %s, expected a dict", values.TypeName(a[1]))
	}
	for _, c := range r.StringArg(a[0]) {
		r.Step(1)
		v := r.Item(a[1], int(r.Code(c)))
		if s, ok := values.TextOf(v); ok {
			o.Write(s)
		} else if _, undefined := v.(*Undefined); undefined {
			o.Write(string(c))
		} else if values.BigOf(v) != nil {
			o.Write(r.CharacterOf(v))
		} else if v != nil {
			r.Fail("translate has %s for a character, expected a string, a number or None", values.TypeName(v))
		}
	}
	return o.String()
}

func layoutMethods() []*Builtin {
	return []*Builtin{
		values.Fn("zfill", "self width", func(r *Run, a []Value) Value {
			s := r.StringArg(a[0])
			sign := ""
			if s != "" && (s[0] == '-' || s[0] == '+') {
				sign, s = s[:1], s[1:]
			}
			return r.Concat(sign, r.Pad(s, "0", '>', r.IntArg(a[1], 0)-len(sign)))
		}),
		values.Fn("maketrans", "self x y= z=", translations), values.Fn("translate", "self table", translate),
		values.Fn("encode", "self encoding= errors=", encode),
		values.Fn("removeprefix", "self prefix", func(r *Run, a []Value) Value {
			return strings.TrimPrefix(r.StringArg(a[0]), r.StringArg(a[1]))
		}),
		values.Fn("removesuffix", "self suffix", func(r *Run, a []Value) Value {
			return strings.TrimSuffix(r.StringArg(a[0]), r.StringArg(a[1]))
		}),
		values.Fn("expandtabs", "self tabsize=", func(r *Run, a []Value) Value {
			o, column, size := values.NewOutput(r), 0, r.IntArg(a[1], 8)
			for _, c := range r.StringArg(a[0]) {
				switch {
				case c == '\t' && size > 0:
					n := size - column%size
					o.Write(r.Pad("", " ", '<', n))
					column += n
				case c == '\t':
				case c == '\n' || c == '\r':
					o.Write(string(c))
					column = 0
				default:
					o.Write(string(c))
					column++
				}
			}
			return o.String()
		}),
		values.Raw("format", func(r *Run, a Arguments) Value { return format(r, a.Items[0], a.Items[1:], a, nil) }),
		values.Raw("format_map", func(r *Run, a Arguments) Value {
			if len(a.Items) != 2 || len(a.Names) > 0 {
				r.Fail("format_map has %d arguments, expected one", len(a.Items)-1+len(a.Names))
			}
			return format(r, a.Items[0], nil, Arguments{}, a.Items[1])
		}),
	}
}
