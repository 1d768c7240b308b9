package lint

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/phi3conv/phi3conv/internal/testmodel"
)

// A check that found an error has failed, one that found something else has not, and says what.
func TestForms(t *testing.T) {
	dir := testmodel.Phi3(t)
	r := run(t, dir, Options{Fast: true})
	warning := r.ran[len(r.ran)-1].Code
	for i := range r.ran {
		switch c := r.ran[i]; c.Code {
		case "PHI504":
			for n := range maxSubjects + 2 {
				r.Findings = append(r.Findings, Finding{c, fmt.Sprintf("<|%d|>\x1b", n), "is no | stop id"})
			}
		case warning:
			c.Severity = Warning
			r.ran[i] = c
			r.Findings = append(r.Findings, Finding{c, "a.weight", "odd"})
		}
	}
	var text, markdown, junit bytes.Buffer
	if err := errors.Join(r.WriteText(&text), r.WriteMarkdown(&markdown), r.WriteJUnit(&junit)); err != nil {
		t.Fatal(err)
	}
	for _, b := range []*bytes.Buffer{&text, &markdown, &junit} {
		if strings.Contains(b.String(), "\x1b") || !strings.Contains(b.String(), "… and 2 more") {
			t.Errorf("a control character, or no count of the rest:\n%s", b)
		}
	}
	for _, want := range []string{
		"12 errors, 1 warning (", "| error | PHI504 | &#34;&#60;&#124;0&#124;&#62;", "| is no &#124; stop id |",
		"| warning | " + warning + " | a.weight | odd |", "<details><summary>Why, and what to do</summary>",
	} {
		if !strings.Contains(markdown.String(), want) {
			t.Errorf("no %q in\n%s", want, &markdown)
		}
	}
	var suites struct {
		Suite struct {
			Tests    int `xml:"tests,attr"`
			Failures int `xml:"failures,attr"`
			Cases    []struct {
				Class   string    `xml:"classname,attr"`
				Failure *struct{} `xml:"failure"`
				Output  string    `xml:"system-out"`
			} `xml:"testcase"`
		} `xml:"testsuite"`
	}
	if err := xml.Unmarshal(junit.Bytes(), &suites); err != nil {
		t.Fatal(err)
	}
	s := &suites.Suite
	if s.Tests != r.Checks || s.Failures != 1 || len(s.Cases) != r.Checks {
		t.Errorf("%d tests, %d failures, %d cases; expected %d, 1 and %d\n%s",
			s.Tests, s.Failures, len(s.Cases), r.Checks, r.Checks, &junit)
	}
	for _, c := range s.Cases {
		if failed := c.Failure != nil; failed != (c.Class == "lint.PHI504") ||
			(c.Output == "a.weight: odd") != (c.Class == "lint."+warning) {
			t.Errorf("%s: failed %v, says %q", c.Class, failed, c.Output)
		}
	}
}

func TestWrap(t *testing.T) {
	long := strings.Repeat("x", 90)
	for _, tc := range []struct{ text, want string }{
		{"a b", "  why: a b\n"},
		{strings.Repeat("word ", 20),
			"  why: " + strings.Repeat("word ", 13) + "word\n       " + strings.Repeat("word ", 5) + "word\n"},
		{"a " + long + " b", "  why: a\n       " + long + "\n       b\n"},
	} {
		if got := wrap("  why: ", tc.text); got != tc.want {
			t.Errorf("got\n%s\nexpected\n%s", got, tc.want)
		}
	}
}
