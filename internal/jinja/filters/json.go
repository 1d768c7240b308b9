package filters

import (
	"fmt"
	"math"
	"math/big"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/phi3conv/phi3conv/internal/jinja/values"
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
	st.ascii, st.sorted = r.Truth(values.OrElse(a[1], false)), r.Truth(values.OrElse(a[4], false))
	if values.Given(a[2]) {
		st.lines, st.comma = true, ","
		if s, ok := values.TextOf(a[2]); ok {
			st.indent = s
		} else {
			n := max(0, r.IntArg(a[2], 0))
			r.Take(n, 1)
			st.indent = strings.Repeat(" ", n)
		}
	}
	if values.Given(a[3]) {
		pair := r.Items(a[3])
		if len(pair) != 2 {
			r.Fail("tojson has %d separators, expected 2", len(pair))
		}
		st.comma, st.colon = r.StringArg(pair[0]), r.StringArg(pair[1])
	}
	o := values.NewOutput(r)
	writeJSON(r, o, &st, a[0], 0)
	return o.String()
}

func writeJSON(r *Run, o *Output, st *jsonStyle, v Value, depth int) {
	r.Step(1)
	r.Enter()
	defer r.Leave()
	switch v := v.(type) {
	case nil:
		o.Write("null")
	case bool:
		o.Write(strconv.FormatBool(v))
	case int, *big.Int, float64:
		o.Write(jsonNumber(r, v))
	case string:
		writeJSONString(r, o, st, v)
	case values.Markup:
		writeJSONString(r, o, st, string(v))
	case *List:
		if !v.Sequence() {
			r.Fail("tojson is applied to %s, expected a list: apply list to it", values.TypeName(v))
		}
		writeJSONItems(r, o, st, "[]", len(v.Items), depth, func(i int) { writeJSON(r, o, st, v.Items[i], depth+1) })
	case *Dict:
		writeJSONDict(r, o, st, v, depth)
	default:
		r.FailUndefined(v)
		r.Fail("tojson is applied to %s, expected what JSON can hold", values.TypeName(v))
	}
}

func jsonNumber(r *Run, v Value) string {
	f, ok := v.(float64)
	switch {
	case !ok:
		return r.Decimal(v)
	case math.IsNaN(f):
		return "NaN"
	case math.IsInf(f, 1):
		return "Infinity"
	case math.IsInf(f, -1):
		return "-Infinity"
	}
	return values.FormatFloat(f)
}

// writeJSONItems writes n items between two brackets.
func writeJSONItems(r *Run, o *Output, st *jsonStyle, brackets string, n, depth int, item func(i int)) {
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

func writeJSONDict(r *Run, o *Output, st *jsonStyle, d *Dict, depth int) {
	if st.sorted {
		ordered := values.NewDict()
		for _, pair := range sorted(r, r.List(r.Pairs(d)), false, func(v Value) Value { return v.(*List).Items[0] }) {
			ordered.Set(r, pair.(*List).Items[0], pair.(*List).Items[1])
		}
		d = ordered
	}
	writeJSONItems(r, o, st, "{}", len(d.Keys), depth, func(i int) {
		switch k := d.Keys[i].(type) {
		case string:
			writeJSONString(r, o, st, k)
		case nil, bool:
			writeJSONString(r, o, st, map[Value]string{nil: "null", true: "true", false: "false"}[k])
		case int, *big.Int, float64:
			writeJSONString(r, o, st, jsonNumber(r, k))
		default:
			r.Fail("a key is %s, expected a string", values.TypeName(k))
		}
		o.Write(st.colon)
		writeJSON(r, o, st, d.Values[i], depth+1)
	})
}

var jsonEscapes = map[rune]string{'"': `\"`, '\\': `\\`, '\n': `\n`, '\r': `\r`, '\t': `\t`, '\b': `\b`, '\f': `\f`}

func writeJSONString(r *Run, o *Output, st *jsonStyle, s string) {
	r.Walk(len(s))
	o.Write(`"`)
	from := 0
	for i, c := range s {
		c = r.Code(c)
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
