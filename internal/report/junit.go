package report

import (
	"encoding/xml"
	"fmt"
	"io"
)

// Suite is a list of test cases in JUnit's terms.
type Suite struct {
	Name       string
	Properties [][2]string // names and values
	Cases      []Case
}

// Case is a test case.
type Case struct {
	Class, Name string
	Failure     *Failure // nil if it passed
	Output      string   // what it has to say, if anything
}

// Failure says why a test case failed.
type Failure struct {
	Type    string `xml:"type,attr"`
	Message string `xml:"message,attr"`
}

// NotKept describes a limit that was not kept: the outcome in a word and in words, the limit, and
// what was measured with its standard error, empty where there is none.
func NotKept(outcome, words, limit, value, se string) *Failure {
	if se != "" {
		value += " ± " + se
	}
	return &Failure{outcome, fmt.Sprintf("limit %s, measured %s: %s", limit, value, words)}
}

// JUnit's format, as far as reports have a use for it.
type (
	junitSuites struct {
		XMLName xml.Name     `xml:"testsuites"`
		Suites  []junitSuite `xml:"testsuite"`
	}
	junitSuite struct {
		Name       string          `xml:"name,attr"`
		Tests      int             `xml:"tests,attr"`
		Failures   int             `xml:"failures,attr"`
		Errors     int             `xml:"errors,attr"`
		Properties []junitProperty `xml:"properties>property"`
		Cases      []junitCase     `xml:"testcase"`
	}
	junitProperty struct {
		Name  string `xml:"name,attr"`
		Value string `xml:"value,attr"`
	}
	junitCase struct {
		Class   string   `xml:"classname,attr"`
		Name    string   `xml:"name,attr"`
		Failure *Failure `xml:"failure"`
		Output  string   `xml:"system-out,omitempty"`
	}
)

// WriteJUnit writes suites as JUnit's XML.
func WriteJUnit(w io.Writer, suites ...Suite) error {
	var all junitSuites
	for _, s := range suites {
		out := junitSuite{Name: s.Name, Tests: len(s.Cases)}
		for _, p := range s.Properties {
			out.Properties = append(out.Properties, junitProperty{p[0], p[1]})
		}
		for _, c := range s.Cases {
			out.Cases = append(out.Cases, junitCase(c))
			if c.Failure != nil {
				out.Failures++
			}
		}
		all.Suites = append(all.Suites, out)
	}
	b, err := xml.MarshalIndent(all, "", "  ")
	if err != nil {
		return err
	}
	_, err = w.Write(append(append([]byte(xml.Header), b...), '\n'))
	return err
}
