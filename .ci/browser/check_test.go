package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

var browser context.Context

func TestMain(m *testing.M) {
	var stop func()
	var err error
	if browser, stop, err = start(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	stop()
	os.Exit(code)
}

// whole is a page with nothing wrong; %s is more style and more content.
const whole = `<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>t</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>:root { color-scheme: light dark } @media print { :root { color-scheme: light } } %s</style></head>
<body><main><h1>Title</h1><p>Some text.</p>%s</main></body></html>`

const plot = `<svg role="%s" aria-label="plot" width="300" height="100" fill="currentColor" font-size="11">%s</svg>`

const part = `<g tabindex="0" role="img" aria-label="part">`

// Each rule finds what breaks it, and a page without a fault has none.
func TestRules(t *testing.T) {
	long := strings.Repeat("unbroken", 100)
	table := `<table><caption>c</caption><tr><th scope="col">` + long + `</th></tr></table>`
	for _, c := range []struct{ rule, style, content string }{
		{"", "", ""},
		{"", "", `<div role="region" tabindex="0" aria-label="wide" style="overflow-x:auto">` + long + `</div>`},
		{"", "", fmt.Sprintf(plot, "img", `<text x="10" y="20">one</text><text x="60" y="20">two</text>`)},
		{"", "", `<p>A sentence with <a href="#x">a link</a>.</p><a href="#x" style="clip-path:inset(50%)">skip</a>`},
		{"outside", "", `<p style="width:2000px">` + strings.Repeat("word ", 300) + `</p>`},
		{"outside", "", table},
		{"outside", "", `<p style="position:absolute;left:-50px">left</p>`},
		{"scroller", "", `<div style="overflow-x:auto">` + long + `</div>`},
		{"sideways", "", `<div role="region" tabindex="0" aria-label="w" style="overflow-x:auto">` + long + `</div>`},
		{"cut off", "", `<p style="overflow:hidden;text-overflow:ellipsis;width:100px">` + long + `</p>`},
		{"cut off", "", fmt.Sprintf(plot, "img", `<text x="290" y="20">beyond the edge</text>`)},
		{"spill", "", `<p style="width:100px">` + long[:60] + `</p>`},
		{"overlap", "", fmt.Sprintf(plot, "img", `<text x="10" y="20">one label</text><text x="40" y="24">two</text>`)},
		{"overlap", "", `<p>above</p><p style="margin-top:-35px">below, on it</p>`},
		{"small", "", `<p style="font-size:8px">tiny</p>`},
		{"small", "", `<svg viewBox="0 0 999 99" width="250" role="img" aria-label="a"><text y="40">tiny</text></svg>`},
		{"contrast", "", `<p style="color:#888;background:#999">faint</p>`},
		{"contrast", "@media print { p { color: #ddd } }", ""},
		{"tap", "", `<p><a href="#x" style="font-size:12px">Link</a></p>`},
		{"name", "", `<svg width="10" height="10"></svg>`},
		{"name", "", `<button style="padding:20px"></button>`},
		{"name", "", `<table><caption>c</caption><tr><th>no scope</th></tr></table>`},
		{"name", "", `<p id="a">a</p><p id="a">a</p>`},
		{"heading", "", `<h3>too deep</h3>`},
		{"tip", "", fmt.Sprintf(plot, "group", part+`<rect width="9" height="9"/></g>`)},
		{"tip", "", fmt.Sprintf(plot, "group", part+`<text x="280" y="50">long text</text></g>`)},
		{"break", "", `<figure><p>figure</p></figure>`},
		{"break", "", `<table><caption>c</caption><tr><td>a</td></tr></table>`},
		{"scheme", "html { background: white; color: black }", ""},
		{"paper", "@media print { body { background: #222; color: white } }", ""},
		{"console", "", `<script>console.error("no")</script>`},
		{"console", "", `<script>nothing()</script>`},
		{"network", "", `<img alt="" src="http://127.0.0.1:9/x.png">`},
		{"network", "", `<link rel="stylesheet" href="style.css">`},
	} {
		style := "h1, h2, h3 { break-after: avoid } " + c.style
		if c.rule != "break" {
			style += "tr, figure, svg { break-inside: avoid } "
		}
		file := filepath.Join(t.TempDir(), "page.html")
		if err := os.WriteFile(file, fmt.Appendf(nil, whole, style, c.content), 0o644); err != nil {
			t.Fatal(err)
		}
		found, err := check(browser, file, options{widths: []int{375}, narrow: c.rule == "sideways"})
		if err != nil {
			t.Fatal(err)
		}
		hit := slices.ContainsFunc(found, func(f finding) bool { return f.Rule == c.rule })
		if c.rule == "" && len(found) > 0 || c.rule != "" && !hit {
			t.Errorf("%q: %s %s: found %v", c.rule, c.style, c.content, found)
		}
	}
}

// Of files that are none and pages that do not answer it says so.
func TestNoPage(t *testing.T) {
	for _, target := range []string{"no-such-file.html", "http://127.0.0.1:9/"} {
		if found, err := check(browser, target, options{}); err == nil {
			t.Errorf("%s: %v", target, found)
		}
	}
}
