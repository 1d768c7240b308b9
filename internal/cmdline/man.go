package cmdline

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/urfave/cli/v2"
)

// manCommand is what .ci/release calls: "phi3conv __man DIR DATE" writes a page of the manual for the program and one
// for each command, with the texts of --help. The library's own are one page, which runs the lines of examples
// together.
const manCommand = "__man"

func writeManual(app *cli.App, dir, date string) error {
	pages := []struct{ name, text string }{{app.Name, overview(app, date)}}
	for _, c := range app.Commands {
		if !c.Hidden {
			pages = append(pages, struct{ name, text string }{app.Name + "-" + c.Name, commandPage(app, c, date)})
		}
	}
	for _, p := range pages {
		if err := os.WriteFile(filepath.Join(dir, p.name+".1"), []byte(p.text), 0o666); err != nil {
			return err
		}
	}
	return nil
}

// page is a page of the manual in the language of man(7).
type page struct{ strings.Builder }

func newPage(app *cli.App, name, usage, date string) *page {
	p := &page{}
	p.printf(".TH %s 1 \"%s\" %s\n.SH NAME\n%s \\- %s\n", strings.ToUpper(escape(name)), date,
		quoted(app.Name+" "+app.Version), escape(name), escape(usage))
	return p
}

func (p *page) printf(format string, args ...any) { fmt.Fprintf(&p.Builder, format, args...) }

func overview(app *cli.App, date string) string {
	p := newPage(app, app.Name, app.Usage, date)
	p.printf(".SH SYNOPSIS\n.B %s\n.I COMMAND\n[\\fIARGUMENT\\fR|\\fIFLAG\\fR]...\n", escape(app.Name))
	p.printf(".SH DESCRIPTION\n")
	p.text(app.Description)
	p.printf(".SH COMMANDS\n")
	for _, c := range app.Commands {
		if !c.Hidden {
			p.printf(".TP\n\\fB%s\\fR(1)\n%s\n", escape(app.Name+"-"+c.Name), escape(c.Usage))
		}
	}
	return p.String()
}

func commandPage(app *cli.App, c *cli.Command, date string) string {
	p := newPage(app, app.Name+"-"+c.Name, c.Usage, date)
	p.printf(".SH SYNOPSIS\n")
	p.synopsis(app.Name, c)
	if c.Description != "" {
		p.printf(".SH DESCRIPTION\n")
		p.text(c.Description)
	}
	if len(c.VisibleFlags()) > 0 {
		p.printf(".SH OPTIONS\n")
		p.flags(c)
	}
	if len(c.Subcommands) > 0 {
		p.printf(".SH COMMANDS\n")
	}
	for _, sub := range c.Subcommands {
		name := app.Name + " " + c.Name
		p.printf(".SS %s\n", quoted(name+" "+sub.Name))
		p.synopsis(name, sub)
		p.printf(".PP\n")
		p.text(sub.Usage + ".\n\n" + sub.Description)
		p.flags(sub)
	}
	p.printf(".SH SEE ALSO\n\\fB%s\\fR(1)\n", escape(app.Name))
	return p.String()
}

func (p *page) synopsis(parent string, c *cli.Command) {
	p.printf(".B %s\n", escape(parent+" "+c.Name))
	if len(c.VisibleFlags()) > 0 {
		p.printf("[\\fIFLAG\\fR]...\n")
	}
	if c.ArgsUsage != "" {
		p.printf("%s\n", escape(c.ArgsUsage))
	}
}

// text writes a description: paragraphs, and lines that are indented, which stay as they are.
func (p *page) text(description string) {
	example, between := false, false
	for line := range strings.SplitSeq(strings.TrimSpace(description), "\n") {
		if strings.TrimSpace(line) == "" {
			between = true
			continue
		}
		indented := strings.HasPrefix(line, "   ")
		switch {
		case indented && !example:
			p.printf(".RS 4\n.nf\n")
		case !indented && example:
			p.printf(".fi\n.RE\n.PP\n")
		case between && example:
			p.printf("\n")
		case between:
			p.printf(".PP\n")
		}
		example, between = indented, false
		p.printf("%s\n", escape(strings.TrimPrefix(line, "   ")))
	}
	if example {
		p.printf(".fi\n.RE\n")
	}
}

func (p *page) flags(c *cli.Command) {
	for _, f := range c.VisibleFlags() {
		names, text := flagTexts(f)
		p.printf(".TP\n.B %s\n%s\n", escape(names), escape(strings.Join(strings.Fields(text), " ")))
	}
}

// escape keeps a line of text from being read as man(7)'s language.
func escape(line string) string {
	line = strings.NewReplacer(
		`\`, `\e`, "-", `\-`, "…", "...", "–", `\(en`, "±", `\(+-`, "×", `\(mu`).Replace(line)
	if strings.HasPrefix(line, ".") || strings.HasPrefix(line, "'") {
		line = `\&` + line
	}
	return line
}

// quoted is an argument of a macro.
func quoted(text string) string { return `"` + strings.ReplaceAll(escape(text), `"`, `\(dq`) + `"` }
