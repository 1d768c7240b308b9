package main

import (
	"bytes"
	"io"

	"github.com/phi3conv/phi3conv/internal/atomicfile"
	"github.com/phi3conv/phi3conv/runtime/tokenizer"
	"github.com/phi3conv/phi3conv/verify"
	"github.com/phi3conv/phi3conv/verify/htmlreport"
	"github.com/urfave/cli/v2"
)

// reportFlags say in which forms reports are written.
func reportFlags() []cli.Flag {
	return []cli.Flag{
		&cli.BoolFlag{Name: "json", Usage: "print the report as JSON (docs/report-json.md)"},
		&cli.StringFlag{Name: "report", Usage: "write the report to `FILE` as JSON with every position: a baseline, or a part for merge"},
		&cli.StringFlag{Name: "markdown", Usage: "write the report to `FILE` as Markdown"},
		&cli.StringFlag{Name: "html", Usage: "write the report to `FILE` as a page with plots, which needs nothing but a browser"},
		&cli.StringFlag{Name: "junit", Usage: "write the limits to `FILE` as JUnit XML"},
	}
}

// writeReports writes every form that was asked for.
func writeReports(c *cli.Context, list verify.Reports) error {
	for _, f := range []struct {
		flag  string
		write func(io.Writer) error
	}{
		{"report", list.WriteReport},
		{"markdown", list.WriteMarkdown},
		{"html", func(w io.Writer) error { return htmlreport.Write(w, list) }},
		{"junit", list.WriteJUnit},
	} {
		if path := c.String(f.flag); path != "" {
			if err := writeFile(path, f.write); err != nil {
				return err
			}
		}
	}
	write := list.WriteText
	if c.Bool("json") {
		write = list.WriteJSON
	}
	return write(c.App.Writer)
}

func writeFile(path string, write func(io.Writer) error) error {
	var b bytes.Buffer
	if err := write(&b); err != nil {
		return err
	}
	return atomicfile.WriteFile(path, b.Bytes())
}

// describeWorst fills in the text of the worst tokens and what came before them.
func describeWorst(r *verify.Report, t *tokenizer.Tokenizer, windows []verify.Window) {
	const before = 12 // tokens
	for i := range r.Worst {
		p := &r.Worst[i]
		for _, w := range windows {
			if at := p.Index - w.Start; w.Text == p.Text && p.Context == at && at < len(w.Tokens) {
				p.Before, _ = t.Decode(w.Tokens[max(0, at-before):at], true)
				p.Piece = t.Token(p.Token)
			}
		}
	}
}
