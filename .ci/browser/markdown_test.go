package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"
)

// Markdown as the page shows it, and its limits.
func (s *served) testMarkdown(t *testing.T) {
	p := s.open(t, "chat")
	render := func(text string) string {
		quoted, _ := json.Marshal(text)
		return value[string](p, `import("/page/markdown.js").then(m => { const d = document.createElement("div");
			m.render(d, `+string(quoted)+`); return d.innerHTML })`)
	}
	link := func(href, text string) string {
		return `<a href="` + href + `" target="_blank" rel="noopener noreferrer">` + text + `</a>`
	}
	heading := func(n int, text string) string {
		return fmt.Sprintf(`<div role="heading" aria-level="%d" class="heading h%d">%s</div>`, n+3, n, text)
	}
	for _, c := range []struct{ text, want string }{
		{"a\nb\n\nc", "<p>a\nb</p><p>c</p>"},
		{"a  \nb\\\nc", "<p>a  <br>\nb<br>c</p>"},
		{"**a** *b* __c__ _d_ ***e*** ~~f~~ ~g~", "<p><strong>a</strong> <em>b</em> <strong>c</strong> <em>d</em> " +
			"<em><strong>e</strong></em> <del>f</del> ~g~</p>"},
		{"a*b*c a_b_c 2 * 3 * 4 ** x", "<p>a<em>b</em>c a_b_c 2 * 3 * 4 ** x</p>"},
		{"**a *b** c*", "<p><em><em>a <em>b</em></em> c</em></p>"}, // as CommonMark has it
		{"*a **b** c*", "<p><em>a <strong>b</strong> c</em></p>"},
		{`\*a\* \q`, `<p>*a* \q</p>`},
		{"`a*b*` ``c`d`` `e", "<p><code>a*b*</code> <code>c`d</code> `e</p>"},
		{"# A #\n###### B\n####### C", heading(1, "A") + heading(6, "B") + "<p>####### C</p>"},
		{"a\n***\nb", "<p>a</p><hr><p>b</p>"},
		{"> a\nb\n> > c", "<blockquote><p>a\nb</p><blockquote><p>c</p></blockquote></blockquote>"},
		{"- a\n- b\n  - c\n\nd", "<ul><li>a</li><li>b<ul><li>c</li></ul></li></ul><p>d</p>"},
		{"3. a\n4. b", `<ol start="3"><li>a</li><li>b</li></ol>`},
		{"1. a\n\n   b\n2. c", `<ol start="1"><li><p>a</p><p>b</p></li><li><p>c</p></li></ol>`},
		{"1990. It was", `<ol start="1990"><li>It was</li></ol>`},
		{"In\n1990. It was", "<p>In\n1990. It was</p>"},
		{"[a*b*](https://e.org/x_y \"t\") <https://e.org> https://e.org/a_b. (https://e.org/(c))", "<p>" +
			link("https://e.org/x_y", "a<em>b</em>") + " " + link("https://e.org/", "https://e.org") + " " +
			link("https://e.org/a_b", "https://e.org/a_b") + ". (" + link("https://e.org/(c)", "https://e.org/(c)") + ")</p>"},
		{"![a](https://e.org/a.png) ![b](data:image/png;base64,AA)", "<p>" + link("https://e.org/a.png", "a") +
			" ![b](data:image/png;base64,AA)</p>"},
		{"[a](javascript:x) [b](mailto:b@e.org) [c] [d][e]", "<p>[a](javascript:x) " + link("mailto:b@e.org", "b") +
			" [c] [d][e]</p>"},
		{"<b>a</b> &lt; & <!-- b -->", "<p>&lt;b&gt;a&lt;/b&gt; &amp;lt; &amp; &lt;!-- b --&gt;</p>"},
	} {
		if got := render(c.text); got != c.want {
			t.Errorf("%q:\n%s, expected\n%s", c.text, got, c.want)
		}
	}
	for _, c := range []struct {
		text  string
		parts []string
	}{
		{"```go\na < b\n\n\tc\n```\nd", []string{"<code>a &lt; b\n\n\tc</code>", "<p>d</p>"}},
		{"~~~\n```\nno end", []string{"<code>```\nno end</code>"}},
		{"| a | b |\n|---|--:|\n| `c` | d \\| e |\n| f |", []string{`<th class="right" scope="col">b</th>`,
			`<td class=""><code>c</code></td><td class="right">d | e</td>`, `<td class="">f</td><td class="right"></td>`}},
	} {
		got := render(c.text)
		for _, part := range c.parts {
			if !strings.Contains(got, part) {
				t.Errorf("%q: %s, expected %s in it", c.text, got, part)
			}
		}
	}

	// Texts that make bad readers slow, or deep.
	for _, part := range []string{
		"*", "**a ", "_a ", "[", "](", "![a](b", "`a``b", "> ", "- ", "1. a\n   ", "<a", "|", "~~~\n", "\\", "*a_", "[a](",
		"https://a.", "a**b", "# ", "  ", "***a* ", "((((", "[a](<", "\n- a\n\n",
	} {
		begin := time.Now()
		render(strings.Repeat(part, 20000/len(part)))
		if d := time.Since(begin); d > 3*time.Second {
			t.Errorf("%q many times takes %v", part, d)
		}
	}
	// What was shown stays: its nodes are the same.
	same := value[bool](p, `import("/page/markdown.js").then(m => { const d = document.createElement("div");
		m.render(d, "one\n\ntwo"); const [a, b] = d.childNodes; m.render(d, "one\n\ntwo, and more\n\nthree");
		return d.childNodes.length === 3 && d.childNodes[0] === a && d.childNodes[1] !== b &&
			d.textContent === "onetwo, and morethree" })`)
	if !same {
		t.Error("a text that grows is shown anew")
	}
	p.quiet()
}
