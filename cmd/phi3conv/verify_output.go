package main

import (
	"bytes"
	"io"
	"strings"
	"unicode/utf8"

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
		&cli.StringFlag{Name: "junit", Usage: "write the limits, and the comparison with --baseline, to `FILE` as JUnit XML"},
	}
}

// form is one in which a report can be written.
type form struct {
	flag  string // that names a file for it
	write func(io.Writer) error
}

// writeForms writes every form whose flag is set to its file, and JSON or text to the standard output.
func writeForms(c *cli.Context, text, json func(io.Writer) error, files ...form) error {
	for _, f := range files {
		if path := c.String(f.flag); path != "" {
			if err := writeFile(path, f.write); err != nil {
				return err
			}
		}
	}
	if c.Bool("json") {
		text = json
	}
	return text(c.App.Writer)
}

// writeReports writes every form that was asked for.
func writeReports(c *cli.Context, list verify.Reports) error {
	return writeForms(c, list.WriteText, list.WriteJSON,
		form{"report", list.WriteReport},
		form{"markdown", list.WriteMarkdown},
		form{"html", func(w io.Writer) error { return htmlreport.Write(w, list) }},
		form{"junit", list.WriteJUnit})
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
				p.Before, p.Piece = lastToken(t, w.Tokens[max(0, at-before):at+1])
			}
		}
	}
}

// lastToken returns the text of the tokens before the last one, and the text that this adds. Where it is
// none alone, such as a part of a character, that is the token as the vocabulary writes it.
func lastToken(t *tokenizer.Tokenizer, tokens []int32) (before, piece string) {
	last := len(tokens) - 1
	before, _ = t.Decode(tokens[:last], true)
	all, _ := t.Decode(tokens, true)
	piece, adds := strings.CutPrefix(all, before)
	if !adds || piece == "" || strings.ContainsRune(piece, utf8.RuneError) {
		piece = t.Token(tokens[last])
	}
	return before, piece
}
