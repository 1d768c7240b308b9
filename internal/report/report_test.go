package report

import (
	"bytes"
	"encoding/json"
	"io"
	"math"
	"strings"
	"testing"
)

func TestTable(t *testing.T) {
	table := Table{"Names", 1, [][]string{{"name", "size"}, {"a|b", "1"}, {"ä", "100000"}}}
	var b bytes.Buffer
	table.Text(&b, 0)
	if want := "Names\n  name    size\n  a|b        1\n  ä     100000\n"; b.String() != want {
		t.Errorf("text is\n%s, expected\n%s", &b, want)
	}
	b.Reset()
	table.MarkdownFolded(&b)
	want := "<details><summary>Names</summary>\n\n| name | size |\n|---|--:|\n| a&#124;b | 1 |\n| ä | " +
		"100000 |\n\n</details>\n\n"
	if b.String() != want {
		t.Errorf("Markdown is\n%s, expected\n%s", &b, want)
	}
}

func TestEscape(t *testing.T) {
	if got := Escape("<b> @you *x* #1 plain"); got != "&#60;b&#62; &#64;you &#42;x&#42; &#35;1 plain" {
		t.Error(got)
	}
}

func TestColumns(t *testing.T) {
	var b bytes.Buffer
	c := NewColumns(&b, "name", "count", "note")
	c.Row("ä", 5, "x")
	c.Row("long name", Decimal("12345678"), 7) // a number in a column of text
	if err := c.Flush(); err != nil {
		t.Fatal(err)
	}
	if want := "name          count  note\nä                 5  x\nlong name  12345678  7\n"; b.String() != want {
		t.Errorf("got\n%s, expected\n%s", &b, want)
	}
}

func TestJSON(t *testing.T) {
	var b bytes.Buffer
	if err := WriteJSON(&b, []any{"<a>", Number(1.5), Number(math.NaN()), Number(math.Inf(-1))}); err != nil {
		t.Fatal(err)
	}
	if want := "[\n  \"<a>\",\n  1.5,\n  null,\n  null\n]\n"; b.String() != want {
		t.Errorf("got %s, expected %s", &b, want)
	}
	if !json.Valid(b.Bytes()) {
		t.Error("not JSON")
	}
}

func TestDocument(t *testing.T) {
	var b bytes.Buffer
	v := struct {
		A string `json:"a"`
		B []int  `json:"b"`
	}{"<a>", []int{1}}
	if err := WriteDocument(&b, 2, v); err != nil {
		t.Fatal(err)
	}
	if want := "{\n  \"schema\": 2,\n  \"a\": \"<a>\",\n  \"b\": [\n    1\n  ]\n}\n"; b.String() != want {
		t.Errorf("got %s, expected %s", &b, want)
	}
	for _, v := range []any{[]int{1}, struct{}{}} {
		if err := WriteDocument(&b, 1, v); err == nil {
			t.Errorf("%T is written", v)
		}
	}
}

func TestJUnit(t *testing.T) {
	var b bytes.Buffer
	err := WriteJUnit(&b, Suite{"s<1>", [][2]string{{"tool", "x"}}, []Case{
		{"c", "kept", nil, ""},
		{"c", "says", nil, "a < b"},
		{"c", "missed", NotKept("fail", "too much", "1", "2", "0.5"), ""},
		{"c", "exact", NotKept("fail", "too much", "1", "2", ""), ""},
	}})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`<testsuite name="s&lt;1&gt;" tests="4" failures="2" errors="0">`, `<property name="tool" value="x">`,
		`<testcase classname="c" name="kept"></testcase>`,
		`<system-out>a &lt; b</system-out>`,
		`<failure type="fail" message="limit 1, measured 2 ± 0.5: too much"></failure>`,
		`<failure type="fail" message="limit 1, measured 2: too much"></failure>`,
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %s in\n%s", want, &b)
		}
	}
}

// The first error of the writer ends a printer's text.
func TestPrinter(t *testing.T) {
	var b bytes.Buffer
	p := Printer{W: &b}
	p.Printf("%d", 1)
	_, p.W = io.Pipe()
	_ = p.W.(*io.PipeWriter).Close()
	p.Printf("%d", 2)
	p.W = &b
	p.Printf("%d", 3)
	if b.String() != "1" || p.Err != io.ErrClosedPipe {
		t.Errorf("%q, %v", &b, p.Err)
	}
}
