package main

import (
	"io"

	"github.com/phi3conv/phi3conv/internal/failure"
	"github.com/phi3conv/phi3conv/internal/output"
	"github.com/phi3conv/phi3conv/verify"
	"github.com/phi3conv/phi3conv/verify/htmlreport"
	"github.com/urfave/cli/v2"
)

// reportFlags say in which forms reports are written.
type reportFlags struct {
	files                         output.Files
	json                          bool
	report, markdown, html, junit string
	sarif                         string // lint's alone
}

func (f *reportFlags) flags() []cli.Flag {
	return []cli.Flag{
		f.jsonFlag("print the report as JSON; see docs/report-json.md"),
		&cli.StringFlag{Name: "report", Destination: &f.report,
			Usage: "write the report to `FILE` as JSON with every position: a baseline, or a part for merge"},
		f.markdownFlag(),
		&cli.StringFlag{Name: "html", Destination: &f.html,
			Usage: "write the report to `FILE` as one HTML page with plots"},
		f.junitFlag("write the limits, and the comparison with --baseline, to `FILE` as JUnit XML"),
		forceFlag(&f.files),
	}
}

func (f *reportFlags) jsonFlag(usage string) cli.Flag {
	return &cli.BoolFlag{Name: "json", Usage: usage, Destination: &f.json}
}

func (f *reportFlags) markdownFlag() cli.Flag {
	return &cli.StringFlag{Name: "markdown", Usage: "write the report to `FILE` as Markdown", Destination: &f.markdown}
}

func (f *reportFlags) junitFlag(usage string) cli.Flag {
	return &cli.StringFlag{Name: "junit", Usage: usage, Destination: &f.junit}
}

// check checks the files of the forms that were asked for. beside is added to --report for another file.
func (f *reportFlags) check(m monitor, beside string, inputs ...string) error {
	f.files.Machine = f.json
	whole := file("--report", &f.report, output.JSON)
	if beside != "" {
		whole.Beside = []string{beside}
	}
	return m.checkFiles(&f.files, inputs, whole, file("--markdown", &f.markdown, output.Markdown),
		file("--html", &f.html, output.HTML), file("--junit", &f.junit, output.XML),
		file("--sarif", &f.sarif, output.JSON))
}

// write writes the reports in every form that was asked for, and one for people to w, or to notes if w has a report.
func (f *reportFlags) write(w, notes io.Writer, list verify.Reports) error {
	return f.writeForms(w, notes, list.WriteText, list.WriteJSON,
		output.Form{Path: f.report, Write: list.WriteReport},
		output.Form{Path: f.markdown, Write: list.WriteMarkdown},
		output.Form{Path: f.html, Write: func(w io.Writer) error { return htmlreport.Write(w, list) }},
		output.Form{Path: f.junit, Write: list.WriteJUnit})
}

// writeForms writes every form that was asked for to its file, and JSON or text to w.
func (f *reportFlags) writeForms(w, notes io.Writer, text, json func(io.Writer) error, forms ...output.Form) error {
	if f.json {
		text = json
	}
	return output.WriteForms(f.files.Writer(w, notes), text, forms...)
}

// verdict is failure.ErrCheck if a report does not pass.
func verdict(list verify.Reports) error {
	if list.Outcome() != verify.Pass {
		return failure.ErrCheck
	}
	return nil
}
