package jinja

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"
)

// jsonStyle is how transformers' tojson writes.
type jsonStyle struct {
	ascii  bool
	sorted bool
	indent string
	lines  bool // each item on a line of its own
	comma  string
	colon  string
}

// toJSON is transformers' filter tojson: Python's json.dumps.
func toJSON(r *run, a []Value) Value {
	st := jsonStyle{comma: ", ", colon: ": "}
	st.ascii, st.sorted = r.truth(orElse(a[1], false)), r.truth(orElse(a[4], false))
	if given(a[2]) {
		st.lines, st.comma = true, ","
		if s, ok := textOf(a[2]); ok {
			st.indent = s
		} else {
			n := max(0, r.int(a[2], 0))
			r.take(n, 1)
			st.indent = strings.Repeat(" ", n)
		}
	}
	if given(a[3]) {
		pair := r.items(a[3])
		if len(pair) != 2 {
			r.fail("tojson has %d separators, expected 2", len(pair))
		}
		st.comma, st.colon = r.string(pair[0]), r.string(pair[1])
	}
	o := &output{run: r}
	r.writeJSON(o, &st, a[0], 0)
	return o.String()
}

func (r *run) writeJSON(o *output, st *jsonStyle, v Value, depth int) {
	r.step(1)
	r.enter()
	defer r.leave()
	switch v := v.(type) {
	case nil:
		o.write("null")
	case bool:
		o.write(strconv.FormatBool(v))
	case int, float64:
		o.write(jsonNumber(v))
	case string:
		r.writeJSONString(o, st, v)
	case markup:
		r.writeJSONString(o, st, string(v))
	case *list:
		if !v.sequence() {
			r.fail("tojson is applied to %s, expected a list: apply list to it", typeName(v))
		}
		r.writeJSONItems(o, st, "[]", len(v.items), depth, func(i int) { r.writeJSON(o, st, v.items[i], depth+1) })
	case *dict:
		r.writeJSONDict(o, st, v, depth)
	default:
		r.failUndefined(v)
		r.fail("tojson is applied to %s, expected what JSON can hold", typeName(v))
	}
}

func jsonNumber(v Value) string {
	if i, ok := v.(int); ok {
		return strconv.Itoa(i)
	}
	f := v.(float64)
	switch {
	case math.IsNaN(f):
		return "NaN"
	case math.IsInf(f, 1):
		return "Infinity"
	case math.IsInf(f, -1):
		return "-Infinity"
	}
	return formatFloat(f)
}

// writeJSONItems writes n items between two brackets.
func (r *run) writeJSONItems(o *output, st *jsonStyle, brackets string, n, depth int, item func(i int)) {
	o.write(brackets[:1])
	newline := func(depth int) {
		if st.lines && n > 0 {
			o.write("\n")
			for range depth {
				o.write(st.indent)
			}
		}
	}
	for i := range n {
		if i > 0 {
			o.write(st.comma)
		}
		newline(depth + 1)
		item(i)
	}
	newline(depth)
	o.write(brackets[1:])
}

func (r *run) writeJSONDict(o *output, st *jsonStyle, d *dict, depth int) {
	if st.sorted {
		sorted := newDict()
		for _, pair := range r.sorted(r.pairs(d), false, func(v Value) Value { return v.(*list).items[0] }) {
			sorted.set(r, pair.(*list).items[0], pair.(*list).items[1])
		}
		d = sorted
	}
	r.writeJSONItems(o, st, "{}", len(d.keys), depth, func(i int) {
		switch k := d.keys[i].(type) {
		case string:
			r.writeJSONString(o, st, k)
		case nil, bool:
			r.writeJSONString(o, st, map[Value]string{nil: "null", true: "true", false: "false"}[k])
		case int, float64:
			r.writeJSONString(o, st, jsonNumber(k))
		default:
			r.fail("a key is %s, expected a string", typeName(k))
		}
		o.write(st.colon)
		r.writeJSON(o, st, d.values[i], depth+1)
	})
}

var jsonEscapes = map[rune]string{'"': `\"`, '\\': `\\`, '\n': `\n`, '\r': `\r`, '\t': `\t`, '\b': `\b`, '\f': `\f`}

func (r *run) writeJSONString(o *output, st *jsonStyle, s string) {
	r.walk(len(s))
	o.write(`"`)
	from := 0
	for i, c := range s {
		text, ok := jsonEscapes[c]
		switch {
		case ok:
		case c < ' ' || st.ascii && c > '~' && c < 0x10000:
			text = fmt.Sprintf(`\u%04x`, c)
		case st.ascii && c > '~':
			c -= 0x10000
			text = fmt.Sprintf(`\u%04x\u%04x`, 0xd800+c>>10, 0xdc00+c&0x3ff)
		default:
			continue
		}
		r.step(1)
		o.write(s[from:i])
		o.write(text)
		_, size := utf8.DecodeRuneInString(s[i:])
		from = i + size
	}
	o.write(s[from:])
	o.write(`"`)
}
