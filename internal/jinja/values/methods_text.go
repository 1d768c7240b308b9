package values

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// mapped makes a method that returns a text of about the same length.
func mapped(name string, convert func(string) string) *Builtin {
	return fn(name, "self", func(r *Run, a []Value) Value {
		s := r.string(a[0])
		r.scan(len(s))
		if !isASCII(s) {
			r.walk(2 * len(s))
		}
		r.Take(len(s), 3)
		return convert(s)
	})
}

// every makes a method that says whether all characters are of a kind, and there is one.
func every(name string, of func(rune) bool) *Builtin {
	return fn(name, "self", func(r *Run, a []Value) Value {
		s := r.string(a[0])
		r.walk(len(s))
		return s != "" && strings.IndexFunc(s, func(c rune) bool { return !of(c) }) < 0
	})
}

func wrongCase(name string, wrong func(rune) bool) *Builtin {
	return fn(name, "self", func(r *Run, a []Value) Value { return hasCase(r, r.string(a[0]), wrong) })
}

// padded makes a method that fills a text up to a width.
func padded(name string, align byte) *Builtin {
	return fn(name, "self width fill=", func(r *Run, a []Value) Value {
		fill := r.string(orElse(a[2], " "))
		if runes(fill) != 1 {
			r.Fail("%s fills with %q, expected one character", name, fill)
		}
		return r.pad(r.string(a[0]), fill, align, r.int(a[1], 0))
	})
}

// strip makes a method that drops white space, or given characters, at the ends.
func strip(name string, left, right bool) *Builtin {
	return fn(name, "self chars=", func(r *Run, a []Value) Value {
		s := r.string(a[0])
		drop := func(c rune) bool {
			r.walk(8)
			return IsSpace(c)
		}
		if given(a[1]) {
			chars := r.string(a[1])
			drop = func(c rune) bool {
				r.walk(8 + len(chars))
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
func (r *Run) window(s string, from, to Value) (part string, start int, ok bool) {
	if !given(from) && !given(to) {
		return s, 0, true
	}
	n := r.runes(s)
	if from == (absent{}) {
		from = nil
	}
	if to == (absent{}) {
		to = nil
	}
	if i, ok := from.(int); ok && i > n {
		return "", 0, false
	}
	start, stop, _ := r.bounds([3]Value{from, to, nil}, n)
	if start > stop {
		return "", 0, false
	}
	return r.cut(s, start, stop), start, true
}

// finder makes a method that looks for a text and returns its index; a strict one fails if it
// is not there.
func finder(name string, index func(s, sub string) int, strict bool) *Builtin {
	return fn(name, "self sub start= end=", func(r *Run, a []Value) Value {
		s, sub := r.string(a[0]), r.string(a[1])
		r.scan(len(s))
		if part, start, ok := r.window(s, a[2], a[3]); ok {
			if i := index(part, sub); i >= 0 {
				return start + r.runes(part[:i])
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
	return fn(name, "self prefix start= end=", func(r *Run, a []Value) Value {
		options := []Value{a[1]}
		if l, ok := a[1].(*List); ok && l.isTuple() {
			options = l.Items
		}
		part, _, ok := r.window(r.string(a[0]), a[2], a[3])
		for _, o := range options {
			s := r.string(o)
			r.Step(1)
			r.scan(len(s))
			if ok && has(part, s) {
				return true
			}
		}
		return false
	})
}

// texts makes values of strings that are parts of another.
func (r *Run) texts(parts []string) []Value {
	r.Take(len(parts), ValueSize+16+16)
	items := make([]Value, len(parts))
	for i, p := range parts {
		items[i] = p
	}
	return items
}

// split makes a method that splits a text at a separator, from the left or the right.
func split(name string, right bool) *Builtin {
	return fn(name, "self sep= maxsplit=", func(r *Run, a []Value) Value {
		s, most := r.string(a[0]), r.int(a[2], -1)
		r.scan(len(s))
		if !given(a[1]) {
			r.walk(len(s))
			r.Take(len(s)/2, 16) // most that there can be
			return r.List(r.texts(splitSpace(s, most, right)))
		}
		sep := r.string(a[1])
		if sep == "" {
			r.Fail("split has an empty separator; list makes a list of characters")
		}
		n := strings.Count(s, sep)
		r.walk(n)
		r.Take(n, 32)
		parts := strings.Split(s, sep)
		if most >= 0 && most < n && right {
			head := strings.Join(parts[:n-most+1], sep)
			r.Take(len(head), 1)
			parts = append([]string{head}, parts[n-most+1:]...)
		} else if most >= 0 && most < n {
			parts = strings.SplitN(s, sep, most+1)
		}
		return r.List(r.texts(parts))
	})
}

func splitSpace(s string, most int, right bool) []string {
	fields := strings.FieldsFunc(s, IsSpace)
	if most < 0 || len(fields) <= most {
		return fields
	}
	if right {
		kept := fields[len(fields)-most:]
		s = strings.TrimRightFunc(s, IsSpace)
		for i := len(kept) - 1; i >= 0; i-- {
			s = strings.TrimRightFunc(strings.TrimSuffix(s, kept[i]), IsSpace)
		}
		if s == "" {
			return kept
		}
		return append([]string{s}, kept...)
	}
	kept := fields[:most]
	s = strings.TrimLeftFunc(s, IsSpace)
	for _, f := range kept {
		s = strings.TrimLeftFunc(strings.TrimPrefix(s, f), IsSpace)
	}
	if s == "" {
		return kept
	}
	return append(kept[:len(kept):len(kept)], s)
}

// splitLines cuts a text at the ends of lines.
func splitLines(r *Run, s string, keep bool) []Value {
	r.walk(len(s))
	var lines []Value
	for s != "" {
		end := strings.IndexFunc(s, func(c rune) bool {
			return c >= '\n' && c <= '\r' || c >= 0x1c && c <= 0x1e || c == 0x85 || c == 0x2028 || c == 0x2029
		})
		size := 0
		if end < 0 {
			end = len(s)
		} else if size = runeSize(s[end:]); strings.HasPrefix(s[end:], "\r\n") {
			size = 2
		}
		line := s[:end]
		if keep {
			line = s[:end+size]
		}
		r.Take(1, 4*ValueSize+16)
		lines = append(lines, line)
		s = s[end+size:]
	}
	return lines
}

// partition makes a method that cuts a text in what is before a separator, it, and what is after.
func partition(name string, index func(s, sub string) int) *Builtin {
	return fn(name, "self sep", func(r *Run, a []Value) Value {
		s, sep := r.string(a[0]), r.string(a[1])
		r.scan(len(s))
		if sep == "" {
			r.Fail("%s has an empty separator", name)
		}
		parts := []string{s, "", ""}
		if i := index(s, sep); i >= 0 {
			parts = []string{s[:i], sep, s[i+len(sep):]}
		} else if name == "rpartition" {
			parts = []string{"", "", s}
		}
		return &List{TupleKind, r.texts(parts)}
	})
}

// stringMethods are Python's, without encode, format_map, maketrans, translate and some tests of characters.
var stringMethods map[string]*Builtin

func textMethods() []*Builtin {
	return []*Builtin{
		mapped("upper", upper), mapped("lower", lower), mapped("casefold", fold), mapped("title", titleMethod),
		mapped("capitalize", capitalize), mapped("swapcase", swapCase),
		strip("strip", true, true), strip("lstrip", true, false), strip("rstrip", false, true),
		split("split", false), split("rsplit", true),
		partition("partition", strings.Index), partition("rpartition", strings.LastIndex),
		padded("center", '^'), padded("ljust", '<'), padded("rjust", '>'),
		finder("find", strings.Index, false), finder("rfind", strings.LastIndex, false),
		finder("index", strings.Index, true), finder("rindex", strings.LastIndex, true),
		affix("startswith", strings.HasPrefix), affix("endswith", strings.HasSuffix),
		every("isdigit", isDigit), every("isdecimal", unicode.IsDigit), every("isnumeric", unicode.IsNumber),
		every("isalpha", unicode.IsLetter), every("isspace", IsSpace),
		every("isalnum", func(c rune) bool { return unicode.IsLetter(c) || unicode.IsNumber(c) }),
		every("isascii", func(c rune) bool { return c < utf8.RuneSelf }),
		wrongCase("islower", unicode.IsUpper), wrongCase("isupper", unicode.IsLower),
	}
}

func moreTextMethods() []*Builtin {
	return []*Builtin{
		fn("istitle", "self", func(r *Run, a []Value) Value {
			s := r.string(a[0])
			r.Take(len(s), 3)
			return strings.IndexFunc(s, isCased) >= 0 && titleMethod(s) == s
		}),
		fn("splitlines", "self keepends=", func(r *Run, a []Value) Value {
			return r.List(splitLines(r, r.string(a[0]), r.Truth(orElse(a[1], false))))
		}),
		fn("replace", "self old new count=", func(r *Run, a []Value) Value {
			return r.replace(r.string(a[0]), r.string(a[1]), r.string(a[2]), r.int(a[3], -1))
		}),
		fn("count", "self sub start= end=", func(r *Run, a []Value) Value {
			s, sub := r.string(a[0]), r.string(a[1])
			r.scan(len(s))
			part, _, ok := r.window(s, a[2], a[3])
			if !ok {
				return 0
			}
			return strings.Count(part, sub)
		}),
		fn("join", "self iterable", func(r *Run, a []Value) Value {
			d := r.string(a[0])
			o := NewOutput(r)
			for i, item := range r.Items(a[1]) {
				if i > 0 {
					o.Write(d)
				}
				r.Step(1)
				o.Write(r.string(item))
			}
			return o.String()
		}),
	}
}

func layoutMethods() []*Builtin {
	return []*Builtin{
		fn("zfill", "self width", func(r *Run, a []Value) Value {
			s := r.string(a[0])
			sign := ""
			if s != "" && (s[0] == '-' || s[0] == '+') {
				sign, s = s[:1], s[1:]
			}
			return r.Concat(sign, r.pad(s, "0", '>', r.int(a[1], 0)-len(sign)))
		}),
		fn("removeprefix", "self prefix", func(r *Run, a []Value) Value {
			return strings.TrimPrefix(r.string(a[0]), r.string(a[1]))
		}),
		fn("removesuffix", "self suffix", func(r *Run, a []Value) Value {
			return strings.TrimSuffix(r.string(a[0]), r.string(a[1]))
		}),
		fn("expandtabs", "self tabsize=", func(r *Run, a []Value) Value {
			o, column, size := NewOutput(r), 0, r.int(a[1], 8)
			for _, c := range r.string(a[0]) {
				switch {
				case c == '\t' && size > 0:
					n := size - column%size
					o.Write(r.pad("", " ", '<', n))
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
		Raw("format", func(r *Run, a Arguments) Value { return r.format(r.string(a.Items[0]), a.Items[1:], a) }),
	}
}
