package values

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
func toJSON(r *Run, a []Value) Value {
	st := jsonStyle{comma: ", ", colon: ": "}
	st.ascii, st.sorted = r.Truth(orElse(a[1], false)), r.Truth(orElse(a[4], false))
	if given(a[2]) {
		st.lines, st.comma = true, ","
		if s, ok := textOf(a[2]); ok {
			st.indent = s
		} else {
			n := max(0, r.int(a[2], 0))
			r.Take(n, 1)
			st.indent = strings.Repeat(" ", n)
		}
	}
	if given(a[3]) {
		pair := r.Items(a[3])
		if len(pair) != 2 {
			r.Fail("tojson has %d separators, expected 2", len(pair))
		}
		st.comma, st.colon = r.string(pair[0]), r.string(pair[1])
	}
	o := NewOutput(r)
	r.writeJSON(o, &st, a[0], 0)
	return o.String()
}

func (r *Run) writeJSON(o *Output, st *jsonStyle, v Value, depth int) {
	r.Step(1)
	r.Enter()
	defer r.Leave()
	switch v := v.(type) {
	case nil:
		o.Write("null")
	case bool:
		o.Write(strconv.FormatBool(v))
	case int, float64:
		o.Write(jsonNumber(v))
	case string:
		r.writeJSONString(o, st, v)
	case markup:
		r.writeJSONString(o, st, string(v))
	case *List:
		if !v.sequence() {
			r.Fail("tojson is applied to %s, expected a list: apply list to it", TypeName(v))
		}
		r.writeJSONItems(o, st, "[]", len(v.Items), depth, func(i int) { r.writeJSON(o, st, v.Items[i], depth+1) })
	case *Dict:
		r.writeJSONDict(o, st, v, depth)
	default:
		r.FailUndefined(v)
		r.Fail("tojson is applied to %s, expected what JSON can hold", TypeName(v))
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
func (r *Run) writeJSONItems(o *Output, st *jsonStyle, brackets string, n, depth int, item func(i int)) {
	o.Write(brackets[:1])
	newline := func(depth int) {
		if st.lines && n > 0 {
			o.Write("\n")
			for range depth {
				o.Write(st.indent)
			}
		}
	}
	for i := range n {
		if i > 0 {
			o.Write(st.comma)
		}
		newline(depth + 1)
		item(i)
	}
	newline(depth)
	o.Write(brackets[1:])
}

func (r *Run) writeJSONDict(o *Output, st *jsonStyle, d *Dict, depth int) {
	if st.sorted {
		sorted := NewDict()
		for _, pair := range r.sorted(r.pairs(d), false, func(v Value) Value { return v.(*List).Items[0] }) {
			sorted.Set(r, pair.(*List).Items[0], pair.(*List).Items[1])
		}
		d = sorted
	}
	r.writeJSONItems(o, st, "{}", len(d.Keys), depth, func(i int) {
		switch k := d.Keys[i].(type) {
		case string:
			r.writeJSONString(o, st, k)
		case nil, bool:
			r.writeJSONString(o, st, map[Value]string{nil: "null", true: "true", false: "false"}[k])
		case int, float64:
			r.writeJSONString(o, st, jsonNumber(k))
		default:
			r.Fail("a key is %s, expected a string", TypeName(k))
		}
		o.Write(st.colon)
		r.writeJSON(o, st, d.Values[i], depth+1)
	})
}

var jsonEscapes = map[rune]string{'"': `\"`, '\\': `\\`, '\n': `\n`, '\r': `\r`, '\t': `\t`, '\b': `\b`, '\f': `\f`}

func (r *Run) writeJSONString(o *Output, st *jsonStyle, s string) {
	r.walk(len(s))
	o.Write(`"`)
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
		r.Step(1)
		o.Write(s[from:i])
		o.Write(text)
		_, size := utf8.DecodeRuneInString(s[i:])
		from = i + size
	}
	o.Write(s[from:])
	o.Write(`"`)
}
