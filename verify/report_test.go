package verify

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"io"
	"math"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"

	"github.com/phi3conv/phi3conv/internal/report"
)

// testReport is of 600 positions in two texts, with names that try to be markup.
func testReport(t *testing.T, thresholds ...Threshold) *Report {
	t.Helper()
	p := population{rand.New(rand.NewPCG(11, 12))}.draw(600)
	for i := range p {
		p[i].Text, p[i].Index, p[i].Context, p[i].Token = i/400, 512+i%400, 256+i%256, int32(i)
		p[i].Quant = math.Abs(p[i].Quant)
	}
	r := NewReport(p, []Text{{"wiki.txt", 5000, strings.Repeat("1a", 32), 1400, 2},
		{"code|*x*.txt", 4000, strings.Repeat("2b", 32), 900, 1}}, 3)
	r.Tool = "phi3conv v1.2.3"
	r.Conventions = Conventions{Name: "llama-perplexity", Context: 512, Stride: 512, First: 256, BOS: true}
	r.Base = Model{"tiny_phi3", "BF16", 5 << 20, strings.Repeat("3c", 32), 5<<20 + 100, 16}
	r.Quant = Model{"tiny<b>@you.gguf", "Q4_K", 2 << 20, strings.Repeat("4d", 32), 2<<20 + 100, 6.4}
	for i := range r.Worst {
		r.Worst[i].Before, r.Worst[i].Piece = "the \x1b[31m`cat|`\n", " <i>sat</i>"
	}
	if thresholds != nil {
		v, err := Judge(p, thresholds)
		if err != nil {
			t.Fatal(err)
		}
		r.Verdict = &v
	}
	return r
}

var threeOutcomes = []Threshold{{"max-kld", 0.5}, {"min-top1", 0.99}, {"max-kld-p99.9", 3}}

func written(t *testing.T, write func(io.Writer) error) string {
	t.Helper()
	var b bytes.Buffer
	if err := write(&b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestReportJSON(t *testing.T) {
	r := testReport(t, threeOutcomes...)
	text := written(t, r.WriteJSON)
	var back Report
	if err := json.Unmarshal([]byte(text), &back); err != nil {
		t.Fatal(err)
	}
	if again := written(t, back.WriteJSON); again != text {
		t.Errorf("comes back as\n%s, expected\n%s", again, text)
	}
	if back.Schema != Schema || !reflect.DeepEqual(back.Worst, r.Worst) || back.Summary.KLD != r.Summary.KLD ||
		back.Verdict.Outcome != Fail {
		t.Errorf("comes back as %+v", back)
	}
	for _, want := range []string{`"schema": 1`, `"sha256": "3c3c`, `"outcome": "undecided"`, `"by_context": [`,
		`"name": "256-287"`, `"high": null`} {
		if !strings.Contains(text, want) {
			t.Errorf("no %s in\n%s", want, text)
		}
	}
	// Figures that no number can express are null, not an error.
	r = NewReport([]Position{{Quant: 1e38}, {Quant: 1e38}}, []Text{{}}, 1)
	if text := written(t, r.WriteJSON); !strings.Contains(text, `"value": null`) {
		t.Errorf("no null in\n%s", text)
	}
}

func TestReportText(t *testing.T) {
	text := written(t, testReport(t, threeOutcomes...).WriteText)
	for _, want := range []string{
		"Verdict: fail\n", "max-kld ", "not enough tokens to tell: about 30", "here are 600", "original   tiny_phi3",
		"4d4d4d4d4d4d", "5.0 MiB",
		"600 tokens\n", "KLD p99.9", "  256-287 ", "code|*x*.txt  ", `"the \x1b[31m`,
		"windows of 512 tokens every 512, a BOS token first, scored from 256",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	if strings.Contains(text, "\x1b") {
		t.Error("text of the model reaches the terminal unquoted")
	}
	if text := written(t, testReport(t).WriteText); strings.Contains(text, "Verdict") {
		t.Errorf("a verdict without thresholds:\n%s", text)
	}
}

func TestReportMarkdown(t *testing.T) {
	text := written(t, testReport(t, threeOutcomes...).WriteMarkdown)
	if !strings.HasPrefix(text,
		"### tiny&#60;b&#62;&#64;you.gguf against tiny&#95;phi3: fail\n\n|  |  | limit | value |") {
		t.Errorf("begins with %.200s", text)
	}
	for _, bad := range []string{"<b>", "<i>", "@you", "\x1b", "*x*"} {
		if strings.Contains(text, bad) {
			t.Errorf("%q is not escaped in\n%s", bad, text)
		}
	}
	columns := 0 // of the table that the line is in
	for _, line := range strings.Split(text, "\n") {
		n := strings.Count(line, "|")
		if n > 0 && columns > 0 && n != columns {
			t.Errorf("%d separators, expected %d: %s", n, columns, line)
		}
		columns = n
	}
	if open, end := strings.Count(text, "<details>"), strings.Count(text, "</details>"); open != 5 || end != 5 {
		t.Errorf("%d sections begin, %d end, expected 5", open, end)
	}
	if text := written(t, testReport(t).WriteMarkdown); !strings.HasPrefix(text,
		"### tiny&#60;b&#62;&#64;you.gguf against tiny&#95;phi3\n\n<details>") {
		t.Errorf("begins with %.200s", text)
	}
}

// junit is JUnit's format, as far as the tests look at it.
type junit struct {
	Suites []struct {
		Tests    int `xml:"tests,attr"`
		Failures int `xml:"failures,attr"`
		Cases    []struct {
			Class   string          `xml:"classname,attr"`
			Name    string          `xml:"name,attr"`
			Failure *report.Failure `xml:"failure"`
		} `xml:"testcase"`
	} `xml:"testsuite"`
}

func TestReportJUnit(t *testing.T) {
	text := written(t, testReport(t, threeOutcomes...).WriteJUnit)
	var got junit
	if err := xml.Unmarshal([]byte(text), &got); err != nil {
		t.Fatal(err)
	}
	s := got.Suites[0]
	if s.Tests != 3 || s.Failures != 2 || len(s.Cases) != 3 || s.Cases[0].Failure != nil || s.Cases[1].Failure == nil ||
		s.Cases[2].Failure == nil ||
		s.Cases[0].Class != "verify.tiny<b>@you.gguf" || s.Cases[0].Name != "max-kld" {
		t.Fatalf("got %s", text)
	}
	if f := s.Cases[1].Failure; f.Type != "fail" || !strings.HasPrefix(f.Message, "limit 0.99, measured 0.9") {
		t.Errorf("failure %+v", f)
	}
	if f := s.Cases[2].Failure; f.Type != "undecided" ||
		!strings.Contains(f.Message, "not enough tokens to tell: about ") {
		t.Errorf("failure %+v", f)
	}
	if text := written(t, testReport(t).WriteJUnit); !strings.Contains(text, `tests="0"`) {
		t.Errorf("without thresholds:\n%s", text)
	}
}

// An error of the writer is an error of the report.
func TestReportWriteError(t *testing.T) {
	r := testReport(t, threeOutcomes...)
	for i, write := range []func(io.Writer) error{r.WriteText, r.WriteMarkdown, r.WriteJUnit, r.WriteJSON} {
		_, w := io.Pipe()
		_ = w.Close()
		if err := write(w); err != io.ErrClosedPipe {
			t.Errorf("form %d: %v", i, err)
		}
	}
}

func TestDigits(t *testing.T) {
	for _, c := range []struct {
		x, scale float64
		want     string
	}{
		{12.34567, 0.0432, "12.346"}, {0.0432, 0.0432, "0.043"}, {1234.5, 12, "1234"}, {5, 0, "5"},
		{0.1234567, math.NaN(), "0.1235"},
		{math.NaN(), 1, "?"}, {math.Inf(1), 1, "∞"}, {math.Inf(-1), 1, "-∞"}, {1e30, 1, "1e+30"},
		{1e-12, 1e-12, "1e-12"}, {0, 0, "0"},
		{14380.4, 0, "14380"}, {-14380.4, math.Inf(1), "-14380"}, {9999.4, 0, "9999"}, {2e9, 0, "2e+09"},
	} {
		if got := Digits(c.x, c.scale); got != c.want {
			t.Errorf("Digits(%v, %v) is %q, expected %q", c.x, c.scale, got, c.want)
		}
	}
}
