package main

import (
	"bytes"
	"io"

	"github.com/phi3conv/phi3conv/internal/atomicfile"
	"github.com/phi3conv/phi3conv/verify"
	"github.com/phi3conv/phi3conv/verify/htmlreport"
	"github.com/urfave/cli/v2"
)

// reportFlags say in which forms reports are written.
type reportFlags struct {
	json                          bool
	report, markdown, html, junit string
}

func (f *reportFlags) flags() []cli.Flag {
	return []cli.Flag{
		&cli.BoolFlag{Name: "json", Usage: "print the report as JSON; see docs/report-json.md", Destination: &f.json},
		&cli.StringFlag{Name: "report", Destination: &f.report,
			Usage: "write the report to `FILE` as JSON with every position: a baseline, or a part for merge"},
		&cli.StringFlag{Name: "markdown", Usage: "write the report to `FILE` as Markdown", Destination: &f.markdown},
		&cli.StringFlag{Name: "html", Destination: &f.html,
			Usage: "write the report to `FILE` as one HTML page with plots"},
		&cli.StringFlag{Name: "junit", Destination: &f.junit,
			Usage: "write the limits, and the comparison with --baseline, to `FILE` as JUnit XML"},
	}
}

// write writes the reports in every form that was asked for.
func (f *reportFlags) write(w io.Writer, list verify.Reports) error {
	return writeForms(w, f.json, list.WriteText, list.WriteJSON,
		form{f.report, list.WriteReport},
		form{f.markdown, list.WriteMarkdown},
		form{f.html, func(w io.Writer) error { return htmlreport.Write(w, list) }},
		form{f.junit, list.WriteJUnit})
}

// verdict is errCheckFailed if a report does not pass.
func verdict(list verify.Reports) error {
	if list.Outcome() != verify.Pass {
		return errCheckFailed
	}
	return nil
}

// form is one in which a report can be written.
type form struct {
	path  string // where to, "" if it was not asked for
	write func(io.Writer) error
}

// writeForms writes every form that was asked for to its file, and JSON or text to w.
func writeForms(w io.Writer, asJSON bool, text, json func(io.Writer) error, files ...form) error {
	for _, f := range files {
		if f.path == "" {
			continue
		}
		var b bytes.Buffer
		if err := f.write(&b); err != nil {
			return err
		}
		if err := atomicfile.WriteFile(f.path, b.Bytes()); err != nil {
			return err
		}
	}
	if asJSON {
		return json(w)
	}
	return text(w)
}
