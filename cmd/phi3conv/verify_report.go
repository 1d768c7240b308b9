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
func reportFlags() []cli.Flag {
	return []cli.Flag{
		&cli.BoolFlag{Name: "json", Usage: "print the report as JSON; see docs/report-json.md"},
		&cli.StringFlag{Name: "report",
			Usage: "write the report to `FILE` as JSON with every position: a baseline, or a part for merge"},
		&cli.StringFlag{Name: "markdown", Usage: "write the report to `FILE` as Markdown"},
		&cli.StringFlag{Name: "html",
			Usage: "write the report to `FILE` as one HTML page with plots"},
		&cli.StringFlag{Name: "junit",
			Usage: "write the limits, and the comparison with --baseline, to `FILE` as JUnit XML"},
	}
}

// finish writes the reports in every form that was asked for, calls written, and ends with the verdict.
func finish(c *cli.Context, list verify.Reports, written func() error) error {
	err := writeForms(c, list.WriteText, list.WriteJSON,
		form{"report", list.WriteReport},
		form{"markdown", list.WriteMarkdown},
		form{"html", func(w io.Writer) error { return htmlreport.Write(w, list) }},
		form{"junit", list.WriteJUnit})
	if err != nil {
		return err
	}
	if err := written(); err != nil {
		return err
	}
	if list.Outcome() != verify.Pass {
		return errCheckFailed
	}
	return nil
}

// form is one in which a report can be written.
type form struct {
	flag  string // that names a file for it
	write func(io.Writer) error
}

// writeForms writes every form whose flag is set to its file, and JSON or text to the standard output.
func writeForms(c *cli.Context, text, json func(io.Writer) error, files ...form) error {
	for _, f := range files {
		path := c.String(f.flag)
		if path == "" {
			continue
		}
		var b bytes.Buffer
		if err := f.write(&b); err != nil {
			return err
		}
		if err := atomicfile.WriteFile(path, b.Bytes()); err != nil {
			return err
		}
	}
	if c.Bool("json") {
		text = json
	}
	return text(c.App.Writer)
}
