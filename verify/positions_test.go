package verify

import (
	"bytes"
	"encoding/json"
	"errors"
	"math"
	"reflect"
	"strings"
	"testing"

	"github.com/phi3conv/phi3conv/formats"
)

// A report file brings back every bit of the positions.
func TestReportFile(t *testing.T) {
	r := testReport(t, threeOutcomes...)
	r.Positions[3].KLD = math.Nextafter(0.1, 1)
	r.Positions[4].Base = math.SmallestNonzeroFloat64
	text := written(t, r.WriteReport)
	back, err := ReadReport("r.json", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(back.Positions, r.Positions) {
		t.Error("the positions are others")
	}
	if again := written(t, back.WriteReport); again != text {
		t.Error("written again, the report is another")
	}
	short, err := ReadReport("r.json", []byte(written(t, r.WriteJSON)))
	if err != nil || short.Positions != nil || short.Summary.KLD != r.Summary.KLD {
		t.Errorf("without positions: %v, %+v", err, short)
	}
	// What is not a number is no JSON, and no zero either.
	r.Positions[3].KLD = math.NaN()
	if err := r.WriteReport(&bytes.Buffer{}); err == nil {
		t.Error("a NaN was written")
	}
}

func TestReadReportRefuses(t *testing.T) {
	good := written(t, testReport(t).WriteReport)
	change := func(edit func(m map[string]any, columns map[string]any)) string {
		var m map[string]any
		if err := json.Unmarshal([]byte(good), &m); err != nil {
			t.Fatal(err)
		}
		edit(m, m["positions"].(map[string]any))
		b, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	set := func(column string, i int, v any) string {
		return change(func(_, c map[string]any) { c[column].([]any)[i] = v })
	}
	for _, c := range []struct{ name, text, want string }{
		{"empty", "", "not a report of verify: EOF"},
		{"list", "[]", "not a report of verify: json: cannot unmarshal array"},
		{"syntax", `{"schema": 1,}`, "offset 14: invalid character"},
		{"cut", good[:len(good)/2], "not a report of verify: unexpected EOF"},
		{"more", good + "{}", "more after the end"},
		{"other JSON", `{"a": 1}`, `it has no "schema"`},
		{"schema", change(func(m, _ map[string]any) { m["schema"] = 2; m["texts"] = "another form" }),
			"a report of schema 2, this program reads 1"},
		{"no conventions", `{"schema": 1}`, "impossible conventions"},
		{"type", change(func(m, _ map[string]any) { m["texts"] = "x" }), "report: json: cannot unmarshal string"},
		{"lengths", change(func(_, c map[string]any) { c["kld"] = c["kld"].([]any)[1:] }),
			"positions: 599 values of kld, expected as many as of text, 600"},
		{"count", change(func(m, _ map[string]any) { m["summary"].(map[string]any)["count"] = 599 }),
			"600 positions, but a summary of 599"},
		{"text", set("text", 599, 2), "number 599 has 2 as text, expected 0 to 1"},
		{"index", set("index", 5, 1400), "number 5 has 1400 as index, expected 1 to 1399"},
		{"context", set("context", 5, 0), "number 5 has 0 as context"},
		{"token", set("token", 5, -1), "number 5 has -1 as token"},
		{"token beyond int32", set("token", 5, 1<<31), "cannot unmarshal number"},
		{"base", set("base", 5, -1), "number 5 has -1 as base"},
		{"quant", set("quant", 5, -0.5), "number 5 has -0.5 as quant"},
		{"kld", set("kld", 5, -1e-300), "number 5 has -1e-300 as kld"},
		{"top5", set("top5", 5, 6), "number 5 has 6 as top5"},
		{"delta", set("delta_p", 5, 1.5), "number 5 has 1.5 as delta_p"},
		{"null", set("kld", 5, "NaN"), "cannot unmarshal string"},
		{"order", set("index", 5, 516), "number 5 has 516 as index of text 0, expected one after 516"},
		{"worst", change(func(m, _ map[string]any) { m["worst"].([]any)[0].(map[string]any)["text"] = 2 }),
			"of text 2, expected 0 to 1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, err := ReadReport("r.json", []byte(c.text))
			var e *formats.Error
			if !errors.As(err, &e) || e.Path != "r.json" || !strings.Contains(err.Error(), c.want) || r != nil {
				t.Errorf("got %v, expected an error with %q", err, c.want)
			}
		})
	}
}

func FuzzReadReport(f *testing.F) {
	for _, s := range []string{
		`{"schema":1,"conventions":{"name":"strided","context":8,"stride":4},"texts":[{"tokens":9}],
			"summary":{"count":1},"positions":{"text":[0],"index":[1],"context":[1],"token":[3],"base":[0.5],
			"quant":[1e-9],"kld":[0],"same_top":[true],"top5":[5],"delta_p":[-1]}}`,
		`{"schema":1,"positions":{"text":[0]}}`, `{"schema":2}`, `[{}]`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := ReadReport("f", data)
		if err != nil {
			return
		}
		var b bytes.Buffer
		if err := r.WriteReport(&b); err != nil {
			t.Fatal(err)
		}
		back, err := ReadReport("f", b.Bytes())
		if err != nil || len(back.Positions) != len(r.Positions) {
			t.Errorf("%v; %s", err, b.Bytes())
		}
	})
}
