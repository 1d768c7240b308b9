package verify

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"io"
)

// Table is a table of a report. The first row is the header.
type Table struct {
	Title string
	Left  int // columns that hold text, before those of numbers
	Rows  [][]string
}

// Text writes the table for a terminal.
func (t Table) Text(b *bytes.Buffer) { section{t.Title, t.Left, t.Rows}.text(b) }

// Markdown writes the rows in GitHub's Markdown. What the cells hold is text there.
func (t Table) Markdown(b *bytes.Buffer) { section{t.Title, t.Left, t.Rows}.markdown(b) }

// Escape returns text so that Markdown, HTML, links and mentions in it do nothing.
func Escape(s string) string { return escape(s) }

// Printable returns text of a file in a form that cannot disturb a terminal.
func Printable(s string) string { return printable(s) }

// Cells formats value, standard error and interval with as many digits as the standard error
// gives a meaning, all multiplied by k.
func (e Estimate) Cells(k float64) []string { return cells(e.times(k)) }

// TestCase is a threshold in JUnit's terms.
type TestCase struct {
	Class, Name string
	Outcome     Outcome
	Limit       float64
	Measured    Estimate
	What        string // the outcome in words
}

// WriteTestCases writes thresholds as JUnit's XML. One that is undecided has failed too, as
// nothing shows that it holds.
func WriteTestCases(w io.Writer, name string, properties [][2]string, tests []TestCase) error {
	return writeSuites(w, suiteOf(name, properties, tests))
}

func suiteOf(name string, properties [][2]string, tests []TestCase) junitSuite {
	suite := junitSuite{Name: name, Tests: len(tests)}
	for _, p := range properties {
		suite.Properties = append(suite.Properties, junitProperty{p[0], p[1]})
	}
	for _, t := range tests {
		c := junitCase{Class: t.Class, Name: t.Name}
		if t.Outcome != Pass {
			limit, m := (&Check{Threshold: Threshold{t.Name, t.Limit}, Measured: t.Measured}).Cells()
			measured := m[0]
			if m[1] != "" {
				measured += " ± " + m[1]
			}
			c.Failure = &junitFailure{string(t.Outcome), fmt.Sprintf("limit %s, measured %s: %s", limit, measured, t.What)}
			suite.Failures++
		}
		suite.Cases = append(suite.Cases, c)
	}
	return suite
}

func writeSuites(w io.Writer, suites ...junitSuite) error {
	b, err := xml.MarshalIndent(junitSuites{Suites: suites}, "", "  ")
	if err != nil {
		return err
	}
	_, err = w.Write(append(append([]byte(xml.Header), b...), '\n'))
	return err
}
