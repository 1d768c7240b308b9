package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	cdpbrowser "github.com/chromedp/cdproto/browser"
	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// served is phi3conv serve --demo, behind a proxy that answers some messages itself.
type served struct {
	reports
	url  string
	left chan struct{} // gets a value when a client leaves a slow answer
}

func serve(t *testing.T) *served {
	t.Helper()
	s := &served{newReports(t), "", make(chan struct{}, 1)}
	cmd := exec.Command(s.program, "serve", "--demo", "--port", "0")
	out, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if _, address, ok := strings.Cut(lines.Text(), "serving at "); ok {
			s.url, _, _ = strings.Cut(address, ";")
			break
		}
	}
	go func() { _, _ = io.Copy(io.Discard, out) }()
	to, err := url.Parse(s.url)
	if err != nil || s.url == "" {
		t.Fatalf("no address: %v", err)
	}
	proxy := httputil.NewSingleHostReverseProxy(to)
	proxy.FlushInterval = -1
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		switch text := string(body); {
		case strings.Contains(text, "SLOW"):
			s.slow(w, r)
		case strings.Contains(text, "HOSTILE") && r.URL.Path == "/compare":
			hostileComparison(w)
		case strings.Contains(text, "HOSTILE"):
			say(w, hostile)
		case strings.Contains(text, "RICH"):
			say(w, rich)
		case strings.Contains(text, "BROKEN"):
			w.WriteHeader(http.StatusBadGateway)
		default:
			r.Body = io.NopCloser(bytes.NewReader(body))
			proxy.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(front.Close)
	s.url = front.URL
	return s
}

// The page of the server: each part in a tab of its own.
func TestServed(t *testing.T) {
	s := serve(t)
	for name, test := range map[string]func(t *testing.T){
		"markdown": s.testMarkdown, "chat": s.testChat, "hostile": s.testHostile, "compare": s.testCompare,
		"layout": s.testLayout,
	} {
		t.Run(name, test)
	}
}

func event(w http.ResponseWriter, v any) {
	b, _ := json.Marshal(v)
	_, _ = fmt.Fprintf(w, "data: %s\n\n", b)
	_ = http.NewResponseController(w).Flush()
}

func delta(text string) any {
	return map[string]any{"choices": []any{map[string]any{"delta": map[string]any{"content": text}}}}
}

// say answers a chat with a text, in small pieces.
func say(w http.ResponseWriter, text string) {
	for len(text) > 0 {
		n := min(7, len(text))
		for n < len(text) && text[n]&0xc0 == 0x80 {
			n++
		}
		event(w, delta(text[:n]))
		text = text[n:]
	}
	_, _ = io.WriteString(w, "data: [DONE]\n\n")
}

func (s *served) slow(w http.ResponseWriter, r *http.Request) {
	for range 1000 {
		event(w, delta("slowly "))
		select {
		case <-r.Context().Done():
			s.left <- struct{}{}
			return
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// hostile is what a model might write to be more than text.
const hostile = `<script>window.hacked = 1</script><img src=x onerror="window.hacked = 1"><svg onload="hacked = 1">

<iframe src="javascript:parent.hacked = 1"></iframe> <style>* { display: none }</style>

[a](javascript:window.hacked=1) [b](JaVaScRiPt:hacked=1) [c](data:text/html,<script>hacked=1</script>)
[d]( java&#115;cript:hacked=1) [e](vbscript:x) [f](file:///etc/passwd) [g](//evil.example/x) [h](/v1/models)
[i](https://example.org/" onmouseover="hacked=1) <javascript:hacked=1> <a href="javascript:hacked=1">j</a>

![pixel](http://127.0.0.1:9/track.png) ![k](data:image/svg+xml,<svg onload=hacked=1>) ![l](javascript:hacked=1)

` + "```html\n<script>window.hacked = 1</script>\n</code></pre><img src=x onerror=hacked=1>\n```" + `

| <img src=x onerror=hacked=1> | b |
|---|---|
| <b onclick=hacked=1>c</b> | [m](javascript:hacked=1) |

"><base href="http://127.0.0.1:9/"><meta http-equiv=refresh content="0;url=http://127.0.0.1:9/">
<form action=x><input name=y>`

// rich is an answer with all that the page lays out.
const rich = `# A heading

Some text with **bold**, *italic*, ~~struck~~ and ` + "`code`" + `, a [link](https://example.org)
and https://example.org/a_b.

1. One
2. Two
   - nested, with a long line that has to be wrapped somewhere, since it is longer than a phone is wide
   - another

> A quote.

` + "```go\nfunc main() { fmt.Println(\"code that is longer than a phone is wide, and is scrolled\") }\n```" + `

| type | bits | what it is for, in a column that is rather wide |
|:-----|-----:|:---:|
| Q4_K | 4.5 | most |
| Q8_0 | 8.5 | nearly lossless |

---

### The end
` + "a-very-long-word-" + "without-any-break-without-any-break-without-any-break-without-any-break-without-any-break"

func hostileComparison(w http.ResponseWriter) {
	const text = `<img src=x onerror="window.hacked = 1">`
	event(w, map[string]any{"begin": map[string]any{"original": "tiny-phi3", "prompt": text}})
	for i := range 3 {
		event(w, map[string]any{"token": map[string]any{"writer": "tiny-phi3", "index": i, "id": i, "token": text,
			"text": text}})
		event(w, map[string]any{"position": map[string]any{"model": "tiny-phi3-Q4_K_M", "writer": "tiny-phi3", "index": i,
			"kld": 2, "candidates": []any{map[string]any{"id": i, "token": text, "original": -1, "quantized": -2}}}})
	}
	_, _ = io.WriteString(w, "data: [DONE]\n\n")
}

// tab is a tab of the browser with the page.
type tab struct {
	*testing.T
	ctx      context.Context
	messages func() []finding
}

func (s *served) open(t *testing.T, view string) *tab {
	t.Helper()
	ctx, closeTab := chromedp.NewContext(browser)
	t.Cleanup(closeTab)
	address, err := url.Parse(s.url + "/#" + view)
	if err != nil {
		t.Fatal(err)
	}
	messages, err := listen(ctx, address)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(ctx, onePage)
	t.Cleanup(cancel)
	p := &tab{t, ctx, messages}
	p.do(chromedp.Navigate(address.String()))
	p.until(ready)
	return p
}

const ready = `document.documentElement.dataset.ready === "yes"`

// quiet fails if the page complained, or loaded anything from elsewhere.
func (p *tab) quiet() {
	p.Helper()
	for _, f := range p.messages() {
		p.Error(f)
	}
}

func (p *tab) do(steps ...chromedp.Action[chromedp.Void]) {
	p.Helper()
	if err := chromedp.Do(p.ctx, steps...); err != nil {
		p.Fatal(err)
	}
}

func value[T any](p *tab, expression string) T {
	p.Helper()
	v, err := chromedp.Run(p.ctx, chromedp.Evaluate[T](expression, chromedp.EvalAwaitPromise))
	if err != nil {
		p.Fatalf("%s: %v", expression, err)
	}
	return v
}

// until waits for an expression to be true.
func (p *tab) until(expression string) {
	p.Helper()
	for deadline := time.Now().Add(30 * time.Second); !value[bool](p, "!!("+expression+")"); {
		if time.Now().After(deadline) {
			p.Fatalf("never: %s; the page says %q", expression, value[string](p, "document.body.innerText"))
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// hover moves the mouse to an element, again until it is there: the page may still be laid out.
func (p *tab) hover(sel string) {
	p.Helper()
	for range 50 {
		at := value[[]float64](p, fmt.Sprintf(`(() => {
			const t = document.querySelector(%q);
			t.scrollIntoView({ block: "center" });
			const r = [...t.getClientRects()].sort((a, b) => b.width - a.width)[0];
			return [r.left + r.width / 2, r.top + r.height / 2];
		})()`, sel))
		for _, from := range []float64{9, 0} {
			p.do(chromedp.MouseEvent(input.DispatchMouseEventTypeMouseMoved, at[0]+from, at[1]+from))
		}
		if value[bool](p, fmt.Sprintf(`document.querySelector(%q).matches(":hover")`, sel)) {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	p.Fatalf("the mouse does not get to %s", sel)
}

func (p *tab) want(what, expression, expected string) {
	p.Helper()
	if got := value[string](p, "String("+expression+")"); got != expected {
		p.Errorf("%s: %q, expected %q", what, got, expected)
	}
}

// fill writes into a field, in place of what is there.
func fill(sel, text string) chromedp.Action[chromedp.Void] {
	return chromedp.Func(func(ctx context.Context, _ *chromedp.Target) error {
		_, err := chromedp.Run(ctx, chromedp.Evaluate[bool](fmt.Sprintf(`(() => { const f = document.querySelector(%q);
			f.value = %q; f.dispatchEvent(new Event("input", { bubbles: true }));
			f.dispatchEvent(new Event("change", { bubbles: true })); return true })()`, sel, text)))
		return err
	})
}

func click(sel string) chromedp.Action[chromedp.Void] { return chromedp.Click(sel) }

func keys(sel, text string) chromedp.Action[chromedp.Void] { return chromedp.SendKeys(sel, text) }

const idle = `!document.querySelector(".busy")`

// Chats: an answer as the API gives it, stopping, editing, answering again; what is said is there after a reload.
func (s *served) testChat(t *testing.T) {
	p := s.open(t, "chat")
	p.do(click("#settings summary"), fill("#temperature", "0"), fill("#max_tokens", "20"),
		click("#settings summary"))
	p.do(keys("#message", "Where is the red ball?"+kb.Enter))
	p.until(`document.querySelectorAll("#messages > li").length === 2 && ` + idle)
	var whole struct {
		Choices []struct{ Message struct{ Content string } }
	}
	s.post("/v1/chat/completions", `{"temperature":0,"max_tokens":20,"messages":[{"role":"user",`+
		`"content":"Where is the red ball?"}]}`, &whole)
	const answer = `document.querySelector("#messages > li:last-child .markdown").textContent`
	p.want("answer", answer, strings.TrimSpace(whole.Choices[0].Message.Content))
	p.want("what a screen reader is told", `document.getElementById("status").textContent === `+answer, "true")
	p.want("focus", "document.activeElement.id", "message")
	p.want("the field", `document.getElementById("message").value`, "")

	// Escape and the button stop an answer, and the server learns of it.
	for _, stop := range []chromedp.Action[chromedp.Void]{keys("#message", kb.Escape), click("#stop")} {
		p.do(keys("#message", "SLOW"+kb.Enter))
		p.until(`document.querySelector("#messages > li:last-child .markdown").textContent.includes("slowly slowly")`)
		p.want("only Stop is shown", `document.getElementById("send").hidden`, "true")
		p.do(stop)
		p.until(idle)
		<-s.left
		p.want("note", `document.querySelector("#messages > li:last-child .foot .note").textContent`, "stopped")
		p.want("focus after a stop", "document.activeElement.id", "message")
	}

	// The first message is edited: what came after it is gone, and there is another answer.
	p.do(click(`#messages > li:first-child button[aria-label="Edit this message"]`))
	p.want("focus in the editor", "document.activeElement.ariaLabel", "Edit the message")
	p.do(chromedp.KeyEvent(kb.Escape))
	p.want("focus after cancelling", "document.activeElement.ariaLabel", "Edit this message")
	p.do(click(`#messages > li:first-child button[aria-label="Edit this message"]`))
	p.do(fill(".edit textarea", "Where is the dog?"), click(".edit .primary"))
	p.until(`document.querySelectorAll("#messages > li").length === 2 && ` + idle)
	p.want("edited", `document.querySelector("#messages .plain").textContent`, "Where is the dog?")
	before := value[string](p, answer)
	p.do(click(`button[aria-label="Answer again"]`))
	p.until(`document.querySelectorAll("#messages > li").length === 2 && ` + idle + ` && ` + answer)
	p.want("the likeliest answer again", answer, before)

	p.do(chromedp.Navigate(s.url + "/"))
	p.until(ready)
	p.want("after a reload", answer, before)
	p.do(click("#new"))
	p.want("a new chat", `document.querySelectorAll("#messages > li").length`, "0")
	p.quiet()

	// An error is shown with the message. The browser logs it, too.
	p.do(keys("#message", "BROKEN"+kb.Enter))
	p.until(`document.querySelector("#messages .error")`)
	p.want("error", `document.querySelector("#messages .error").textContent`, "The server answers with status 502.")
}

func (s *served) post(path, body string, into any) {
	s.Helper()
	r, err := http.Post(s.url+path, "application/json", strings.NewReader(body))
	if err != nil {
		s.Fatal(err)
	}
	defer func() { _ = r.Body.Close() }()
	if err := json.NewDecoder(r.Body).Decode(into); err != nil {
		s.Fatal(err)
	}
}

// What a model writes is text, whatever it is.
func (s *served) testHostile(t *testing.T) {
	p := s.open(t, "chat")
	p.do(keys("#message", "HOSTILE <b onclick=hacked=1>x</b>"+kb.Enter))
	p.until(`document.querySelectorAll("#messages > li").length === 2 && ` + idle)
	const all = `[...document.querySelectorAll("#messages *")]`
	p.want("elements that are no text", all+`.map(e => e.tagName)
		.filter(t => !/^(OL|LI|H3|DIV|P|PRE|CODE|SPAN|BUTTON|A|TABLE|THEAD|TBODY|TR|TH|TD)$/.test(t))`, "")
	p.want("attributes", `[...new Set(`+all+`.flatMap(e => e.getAttributeNames()))].sort()`,
		"aria-label,class,href,rel,role,scope,tabindex,target,type")
	p.want("addresses", `[...new Set(`+all+`.filter(e => e.href).map(e => e.href))]`,
		"https://example.org/,http://127.0.0.1:9/track.png,http://127.0.0.1:9/")
	p.want("text", `document.getElementById("messages").textContent
		.includes("<script>window.hacked = 1</script><img src=x")`, "true")
	p.do(chromedp.Navigate(s.url + "/#compare"))
	p.do(keys("#prompt", "HOSTILE"), click("#run"))
	p.until(`document.querySelectorAll(".token.k4").length >= 3 && ` + idle)
	p.do(chromedp.Focus(".tokens .k4"))
	p.want("in a comparison", `document.querySelectorAll("#results img, #results script").length`, "0")
	p.want("token", `document.querySelector("#inspector b").textContent`, `<img src=x onerror="window.hacked = 1">`)
	p.want("nothing ran", "typeof window.hacked", "undefined")
	p.quiet()
}

// Comparisons: with two models, hovering, keys, both kinds of answers, files.
func (s *served) testCompare(t *testing.T) {
	p := s.open(t, "compare")
	down := t.TempDir()
	save := cdpbrowser.SetDownloadBehaviorParams{Behavior: cdpbrowser.SetDownloadBehaviorBehaviorAllow,
		DownloadPath: down}
	if _, err := chromedp.CallBrowser(p.ctx, cdpbrowser.SetDownloadBehavior, save); err != nil {
		t.Fatal(err)
	}
	const prompt = "The little dog ran to"
	p.do(click(`input[name=kind][value=text]`), fill("#compare-max", "40"), keys("#prompt", prompt), click("#run"))
	p.until(`document.querySelectorAll(".token.k0, .token.k1, .token.k2, .token.k3, .token.k4").length > 80 && ` + idle)
	p.want("cards", `document.querySelectorAll("#cards article").length`, "3")

	exported := s.saved(p, down, "#save-json", "compare.json")
	var e struct {
		Original, Prompt string
		PromptTokens     int `json:"prompt_tokens"`
		Finished         bool
		Texts            []struct{ Text string }
		Positions        []struct {
			Model      string
			KLD        float64
			Candidates []struct{ Token string }
		}
		Models []struct {
			Model   string
			Compare *struct{ KLD float64 }
		}
	}
	if err := json.Unmarshal(exported, &e); err != nil {
		t.Fatal(err)
	}
	if len(e.Positions) != 80 || len(e.Models) != 3 || !e.Finished || e.Prompt != prompt {
		t.Fatalf("%d positions, %d models: %.300s", len(e.Positions), len(e.Models), exported)
	}
	for i, m := range e.Models[1:] {
		shown := value[float64](p, fmt.Sprintf(`Number(document.querySelectorAll("#cards dd")[%d].textContent)`, 2+3*i))
		if math.Abs(shown-m.Compare.KLD) > 0.01*m.Compare.KLD || shown == 0 {
			t.Errorf("%s: the page shows %v, the server says %v", m.Model, shown, m.Compare.KLD)
		}
	}

	// The saved text is one that verify measures.
	text := s.saved(p, down, "#save-text button", "compare.txt")
	if string(text) != prompt+e.Texts[0].Text {
		t.Errorf("text %q", text)
	}
	s.run("convert", "tiny-phi3", "--type", "Q4_K_M", "-o", "q.gguf")
	s.run("verify", "q.gguf", "--base", "tiny-phi3", "--text", filepath.Join(down, "compare.txt"), "-c", "512",
		"--stride", "512")

	// The mouse and the arrow keys show what the models expected.
	p.hover(`#cards article:nth-child(2) .token:nth-child(6)`)
	p.until(`document.querySelector("#inspector table")`)
	p.want("token", `document.querySelector("#inspector .note").textContent.trim()`, "token 6 · tiny-phi3-Q4_K_M")
	p.want("marked in all", `document.querySelectorAll(".token.at").length`, "3")
	if n := value[int](p, `document.querySelectorAll("#inspector tbody tr").length`); n < 5 {
		t.Errorf("%d candidates", n)
	}
	p.do(chromedp.Focus(`#cards article:nth-child(3) .token`), chromedp.KeyEvent(kb.ArrowRight+kb.ArrowRight+kb.ArrowLeft))
	p.want("by keys", `document.querySelector("#inspector .note").textContent.trim()`, "token 2 · tiny-phi3-Q2_K")
	p.do(chromedp.KeyEvent(kb.End))
	p.want("the last", `document.querySelector("#inspector .note").textContent.trim()`, "token 40 · tiny-phi3-Q2_K")

	// Each its own text, as chats.
	p.do(click(`input[name=force][value=false]`), click(`input[name=kind][value=chat]`), click("#run"))
	p.until(`document.querySelectorAll("#save-text button").length === 3 &&
		document.querySelectorAll("#cards dt").length === 8 && ` + idle)
	p.want("nobody reads", `[...document.querySelectorAll("#cards dt")].map(e => e.textContent.trim())`,
		"writes,tokens,mean KLD,same top token,writes,mean KLD,same top token,writes")

	// A comparison that is stopped keeps what there is.
	p.do(fill("#prompt", "SLOW"), click("#run"))
	p.until(`document.querySelector("#compare-view.busy")`)
	p.do(click("#compare-stop"))
	p.until(idle)
	p.do(fill("#prompt", ""), click("#run"))
	p.want("without a prompt", `document.getElementById("problem").textContent`, "Write a prompt to compare the models with.")
	p.quiet()
}

// saved clicks a button that saves a file, and reads that.
func (s *served) saved(p *tab, dir, sel, name string) []byte {
	p.Helper()
	p.do(click(sel))
	path := filepath.Join(dir, name)
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		if b, err := os.ReadFile(path); err == nil && len(b) > 0 {
			return b
		}
		if time.Now().After(deadline) {
			p.Fatalf("%s was not saved", name)
		}
	}
}

// Nothing of the page is cut off, too faint, too small for a finger or without a name: on a phone and a screen, light
// and dark, empty and full.
func (s *served) testLayout(t *testing.T) {
	for _, c := range []struct {
		name, view string
		steps      []chromedp.Action[chromedp.Void]
	}{
		{"empty", "chat", nil},
		{"chat", "chat", []chromedp.Action[chromedp.Void]{
			keys("#message", "RICH"+kb.Enter),
			chromedp.WaitVisible(`button[aria-label="Answer again"]`),
			keys("#message", "HOSTILE"+kb.Enter),
			chromedp.WaitVisible(`#messages > li:nth-child(4) button[aria-label="Answer again"]`),
		}},
		{"edit", "chat", []chromedp.Action[chromedp.Void]{
			keys("#message", "RICH"+kb.Enter),
			chromedp.WaitVisible(`button[aria-label="Answer again"]`),
			click(`button[aria-label="Edit this message"]`),
		}},
		{"compare", "compare", []chromedp.Action[chromedp.Void]{
			keys("#prompt", "Where is the red ball? Tell me a long story about the little dog."),
			fill("#compare-temperature", "1.5"), fill("#compare-seed", "3"),
			click("#run"), chromedp.WaitVisible("#cards article:nth-child(3) .token:nth-child(20).other, .k0 ~ .k0 ~ .k0"),
			chromedp.WaitVisible("#run"), chromedp.Focus("#cards article:nth-child(3) .token:nth-child(4)"),
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			shots := os.Getenv("SHOTS")
			if shots != "" {
				shots = filepath.Join(shots, c.name)
				_ = os.MkdirAll(shots, 0o755)
			}
			steps := append([]chromedp.Action[chromedp.Void]{chromedp.WaitReady(`html[data-ready=yes]`)}, c.steps...)
			found, err := check(browser, s.url+"/#"+c.view, options{widths: []int{375, 1280}, screen: true, shots: shots,
				prepare: chromedp.Steps(steps...)})
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range found {
				t.Error(f)
			}
		})
	}
}
