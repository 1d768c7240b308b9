package jinja

import (
	"fmt"
	"strings"
	"time"
)

// maxRange is the number of items that a range can have in Jinja's sandbox.
const maxRange = 100000

// globals are the functions of every template. lipsum, Jinja's other one, is random.
var globals map[string]*builtin

func init() { // it refers to itself by way of methods
	globals = table(
		fn("range", "start stop= step=", makeRange),
		raw("namespace", func(r *run, a arguments) Value {
			n := &namespace{newDict()}
			d := r.makeDict(a)
			for i, k := range d.keys {
				n.set(r, r.string(k), d.values[i])
			}
			return n
		}),
		raw("dict", func(r *run, a arguments) Value { return r.makeDict(a) }),
		raw("cycler", func(r *run, a arguments) Value {
			if len(a.items) == 0 {
				r.fail("cycler has no arguments, expected at least one")
			}
			return &cycler{items: a.items}
		}),
		fn("joiner", "sep=", func(r *run, a []Value) Value {
			sep, used := orElse(a[0], ", "), false
			return raw("joiner", func(*run, arguments) Value {
				if used {
					return sep
				}
				used = true
				return ""
			})
		}),
		fn("raise_exception", "message", func(r *run, a []Value) Value {
			r.fail("the template refuses this conversation: %s", r.str(a[0]))
			return nil
		}),
		fn("strftime_now", "format", func(r *run, a []Value) Value { return r.strftime(r.string(a[0]), r.now()) }),
	)
}

func makeRange(r *run, a []Value) Value {
	s := &span{r.int(a[0], 0), r.int(a[1], 0), r.int(a[2], 1)}
	if a[1] == (absent{}) {
		s.start, s.stop = 0, s.start
	}
	if s.step == 0 {
		r.fail("the step of range is 0")
	}
	const most = 1 << 60 // so that no length overflows
	if max(s.start, s.stop, s.step) > most || min(s.start, s.stop, s.step) < -most || s.length() > maxRange {
		r.fail("the range is too long, expected at most %d integers", maxRange)
	}
	return s
}

// makeDict makes a dict of a dict or of pairs, and of named arguments.
func (r *run) makeDict(a arguments) *dict {
	d := newDict()
	if len(a.items) > 1 {
		r.fail("found %d dicts, expected one", len(a.items))
	}
	for _, v := range a.items {
		from, ok := v.(*dict)
		for i, k := range r.items(v) {
			if ok {
				d.set(r, k, from.values[i])
			} else if pair := r.items(k); len(pair) == 2 {
				d.set(r, pair[0], pair[1])
			} else {
				r.fail("an item has %d values, expected a key and a value", len(pair))
			}
		}
	}
	for i, name := range a.names {
		d.set(r, name, a.named[i])
	}
	return d
}

// cycler gives its items in turn.
type cycler struct {
	items []Value
	at    int
}

var cyclerMethods = table(
	fn("next", "self", func(r *run, a []Value) Value {
		c := a[0].(*cycler)
		v := c.items[c.at]
		c.at = (c.at + 1) % len(c.items)
		return v
	}),
	fn("reset", "self", func(r *run, a []Value) Value {
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
func (r *run) strftime(format string, now time.Time) string {
	o := &output{run: r}
	r.walk(2 * len(format))
	for i := 0; i < len(format); i++ {
		if format[i] != '%' || i+1 == len(format) {
			o.write(format[i : i+1])
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
			r.fail("strftime_now has %%%c, expected a directive such as %%Y, %%m, %%d, %%B, %%H or %%M", format[i])
		case bare:
			if text = strings.TrimLeft(text, "0 "); text == "" {
				text = "0"
			}
		}
		o.write(text)
	}
	return o.String()
}

var dictMethods = table(
	fn("get", "self key default=", func(r *run, a []Value) Value {
		if v, ok := a[0].(*dict).lookup(r, a[1]); ok {
			return v
		}
		if _, ok := r.hash(a[1]); !ok {
			r.fail("%s is looked for in a dict, expected a string or a number", typeName(a[1]))
		}
		return orElse(a[2], nil)
	}),
	fn("items", "self", func(r *run, a []Value) Value { return &list{itemsKind, r.pairs(a[0].(*dict))} }),
	fn("keys", "self", func(r *run, a []Value) Value { return &list{keysKind, a[0].(*dict).keys} }),
	fn("values", "self", func(r *run, a []Value) Value { return &list{valuesKind, a[0].(*dict).values} }),
	fn("copy", "self", func(r *run, a []Value) Value { return r.makeDict(arguments{items: a}) }),
)

// pairs returns the keys and values of a dict.
func (r *run) pairs(d *dict) []Value {
	r.take(len(d.keys), valueSize)
	items := make([]Value, len(d.keys))
	for i, k := range d.keys {
		items[i] = r.pair(k, d.values[i])
	}
	return items
}

var (
	tupleMethods = table(
		fn("index", "self value", func(r *run, a []Value) Value {
			for i, item := range a[0].(*list).items {
				if r.equal(item, a[1]) {
					return i
				}
			}
			r.fail("%s is not in the list", r.repr(a[1]))
			return nil
		}),
		fn("count", "self value", func(r *run, a []Value) Value {
			n := 0
			for _, item := range a[0].(*list).items {
				if r.equal(item, a[1]) {
					n++
				}
			}
			return n
		}),
	)
	listMethods = table(tupleMethods["index"], tupleMethods["count"],
		fn("copy", "self", func(r *run, a []Value) Value { return r.list(a[0].(*list).items) }))
)

func init() {
	stringMethods = table(append(textMethods(), append(moreTextMethods(), layoutMethods()...)...)...)
	for _, name := range []string{"append", "clear", "extend", "insert", "pop", "remove", "reverse", "sort"} {
		listMethods[name] = nil
	}
	for _, name := range []string{"clear", "pop", "popitem", "setdefault", "update"} {
		dictMethods[name] = nil
	}
	for _, methods := range []map[string]*builtin{dictMethods, listMethods, tupleMethods, stringMethods} {
		for name, f := range methods {
			if f != nil {
				f.positional = name != "split" && name != "rsplit" && name != "splitlines" && name != "expandtabs"
			}
		}
	}
}
