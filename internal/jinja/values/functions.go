package values

import (
	"fmt"
	"math"
	"strings"
	"time"
)

// maxRange is the number of items that a range can have in Jinja's sandbox.
const maxRange = 100000

// Globals are the functions of every template. lipsum, Jinja's other one, is random.
var Globals map[string]*Builtin

func init() { // it refers to itself by way of methods
	Globals = table(
		fn("range", "start stop= step=", makeRange),
		Raw("namespace", func(r *Run, a Arguments) Value {
			n := &Namespace{NewDict()}
			d := r.makeDict(a)
			for i, k := range d.Keys {
				n.Set(r, r.string(k), d.Values[i])
			}
			return n
		}),
		Raw("dict", func(r *Run, a Arguments) Value { return r.makeDict(a) }),
		Raw("cycler", func(r *Run, a Arguments) Value {
			if len(a.Items) == 0 {
				r.Fail("cycler has no arguments, expected at least one")
			}
			return &cycler{items: a.Items}
		}),
		fn("joiner", "sep=", func(r *Run, a []Value) Value {
			sep, used := orElse(a[0], ", "), false
			return Raw("joiner", func(*Run, Arguments) Value {
				if used {
					return sep
				}
				used = true
				return ""
			})
		}),
		fn("raise_exception", "message", func(r *Run, a []Value) Value {
			r.Fail("the template refuses this conversation: %s", r.Str(a[0]))
			return nil
		}),
		fn("strftime_now", "format", func(r *Run, a []Value) Value { return r.strftime(r.string(a[0]), r.now()) }),
	)
}

func makeRange(r *Run, a []Value) Value {
	s := &span{r.int(a[0], 0), r.int(a[1], 0), r.int(a[2], 1)}
	if a[1] == (absent{}) {
		s.start, s.stop = 0, s.start
	}
	if s.step == 0 {
		r.Fail("the step of range is 0")
	}
	const most = math.MaxInt >> 3 // so that no length overflows
	if max(s.start, s.stop, s.step) > most || min(s.start, s.stop, s.step) < -most || s.length() > maxRange {
		r.Fail("the range is too long, expected at most %d integers", maxRange)
	}
	return s
}

// makeDict makes a dict of a dict or of pairs, and of named arguments.
func (r *Run) makeDict(a Arguments) *Dict {
	d := NewDict()
	if len(a.Items) > 1 {
		r.Fail("found %d dicts, expected one", len(a.Items))
	}
	for _, v := range a.Items {
		from, ok := v.(*Dict)
		for i, k := range r.Items(v) {
			if ok {
				d.Set(r, k, from.Values[i])
			} else if pair := r.Items(k); len(pair) == 2 {
				d.Set(r, pair[0], pair[1])
			} else {
				r.Fail("an item has %d values, expected a key and a value", len(pair))
			}
		}
	}
	for i, name := range a.Names {
		d.Set(r, name, a.Named[i])
	}
	return d
}

// cycler gives its items in turn.
type cycler struct {
	items []Value
	at    int
}

// TypeName names the type in an error.
func (c *cycler) TypeName() string { return "cycler" }

func (c *cycler) String() string { return "<cycler>" }

// Attribute returns the current item or a method.
func (c *cycler) Attribute(name string) (Value, bool) {
	if name == "current" {
		return c.items[c.at], true
	}
	f, ok := cyclerMethods[name]
	return &Method{f, c}, ok
}

var cyclerMethods = table(
	fn("next", "self", func(r *Run, a []Value) Value {
		c := a[0].(*cycler)
		v := c.items[c.at]
		c.at = (c.at + 1) % len(c.items)
		return v
	}),
	fn("reset", "self", func(r *Run, a []Value) Value {
		a[0].(*cycler).at = 0
		return nil
	}),
)

// times are the directives of strftime, as formats of package time.
var times = map[byte]string{'Y': "2006", 'm': "01", 'd': "02", 'H': "15", 'M': "04", 'S': "05", 'B': "January",
	'b': "Jan", 'h': "Jan", 'A': "Monday", 'a': "Mon", 'y': "06", 'p': "PM", 'I': "03", 'e': "_2", 'j': "002",
	'F': "2006-01-02", 'T': "15:04:05", 'R': "15:04", 'D': "01/02/06",
	'c': "Mon Jan _2 15:04:05 2006", 'x': "01/02/06", 'X': "15:04:05",
	'f': "000000", 'r': "03:04:05 PM", 'z': "", 'Z': ""}

// strftime formats a local time as Python does in the C locale.
func (r *Run) strftime(format string, now time.Time) string {
	o := NewOutput(r)
	r.walk(2 * len(format))
	for i := 0; i < len(format); i++ {
		if format[i] != '%' || i+1 == len(format) {
			o.Write(format[i : i+1])
			continue
		}
		i++
		bare := format[i] == '-' && i+1 < len(format)
		if bare {
			i++
		}
		layout, ok := times[format[i]]
		text := now.Format(layout)
		switch {
		case format[i] == '%':
			text = "%"
		case format[i] == 'f':
			text = fmt.Sprintf("%06d", now.Nanosecond()/1000)
		case format[i] == 'n':
			text = "\n"
		case !ok:
			r.Fail("strftime_now has %%%c, expected a directive such as %%Y, %%m, %%d, %%B, %%H or %%M", format[i])
		case bare:
			if text = strings.TrimLeft(text, "0 "); text == "" {
				text = "0"
			}
		}
		o.Write(text)
	}
	return o.String()
}

var dictMethods = table(
	fn("get", "self key default=", func(r *Run, a []Value) Value {
		if v, ok := a[0].(*Dict).lookup(r, a[1]); ok {
			return v
		}
		if _, ok := r.hash(a[1]); !ok {
			r.Fail("%s is looked for in a dict, expected a string or a number", TypeName(a[1]))
		}
		return orElse(a[2], nil)
	}),
	fn("items", "self", func(r *Run, a []Value) Value { return &List{itemsKind, r.pairs(a[0].(*Dict))} }),
	fn("keys", "self", func(r *Run, a []Value) Value { return &List{keysKind, a[0].(*Dict).Keys} }),
	fn("values", "self", func(r *Run, a []Value) Value { return &List{valuesKind, a[0].(*Dict).Values} }),
	fn("copy", "self", func(r *Run, a []Value) Value { return r.makeDict(Arguments{Items: a}) }),
)

// pairs returns the keys and values of a dict.
func (r *Run) pairs(d *Dict) []Value {
	r.Take(len(d.Keys), ValueSize)
	items := make([]Value, len(d.Keys))
	for i, k := range d.Keys {
		items[i] = r.pair(k, d.Values[i])
	}
	return items
}

var (
	tupleMethods = table(
		fn("index", "self value", func(r *Run, a []Value) Value {
			for i, item := range a[0].(*List).Items {
				if r.Equal(item, a[1]) {
					return i
				}
			}
			r.Fail("%s is not in the list", r.Repr(a[1]))
			return nil
		}),
		fn("count", "self value", func(r *Run, a []Value) Value {
			n := 0
			for _, item := range a[0].(*List).Items {
				if r.Equal(item, a[1]) {
					n++
				}
			}
			return n
		}),
	)
	listMethods = table(tupleMethods["index"], tupleMethods["count"],
		fn("copy", "self", func(r *Run, a []Value) Value { return r.List(a[0].(*List).Items) }))
)

func init() {
	stringMethods = table(append(textMethods(), append(moreTextMethods(), layoutMethods()...)...)...)
	for _, name := range []string{"append", "clear", "extend", "insert", "pop", "remove", "reverse", "sort"} {
		listMethods[name] = nil
	}
	for _, name := range []string{"clear", "pop", "popitem", "setdefault", "update"} {
		dictMethods[name] = nil
	}
	for _, methods := range []map[string]*Builtin{dictMethods, listMethods, tupleMethods, stringMethods} {
		for name, f := range methods {
			if f != nil {
				f.positional = name != "split" && name != "rsplit" && name != "splitlines" && name != "expandtabs"
			}
		}
	}
}
