package main

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

//go:embed page.js
var pageJS string

// options say how a page is looked at. The zero value is all of it.
type options struct {
	widths  []int                          // in pixels; nil is a phone of each size, a tablet and two screens
	schemes []string                       // "light", "dark"; nil is both
	screen  bool                           // not printed too
	narrow  bool                           // nothing may have to be scrolled sideways, not even in a box of its own
	prepare chromedp.Action[chromedp.Void] // run once after the page has loaded; nil is nothing
	shots   string                         // directory for screenshots and the PDF, none if empty
}

var (
	allWidths  = []int{320, 375, 768, 1000, 1440}
	allSchemes = []string{"light", "dark"}
)

const (
	phone     = 480             // pixels; targets of a narrower page are for fingers
	a4        = 717             // pixels between the margins of a printed page
	onePage   = 3 * time.Minute // for one on a machine that is busy
	mostDrawn = 12000           // pixels of a page in a screenshot
	maxCopies = 4               // of a finding are named
)

// finding is what is wrong with a page, and where.
type finding struct {
	Rule  string // such as "overlap"; page.js says which there are
	Where string // the element
	What  string
	At    []string // such as "375 px, dark"
}

func (f finding) String() string {
	at := f.At[:min(len(f.At), maxCopies)]
	more := ""
	if n := len(f.At) - len(at); n > 0 {
		more = fmt.Sprintf(" and %d more", n)
	}
	return fmt.Sprintf("%s: %s: %s (%s%s)", f.Rule, f.Where, f.What, strings.Join(at, "; "), more)
}

// findings of a page, each once, in the order in which they were found.
type findings struct {
	list   []finding
	looks  []string // what it was looked at as
	narrow bool
}

func (l *findings) add(f finding, at string) {
	i := slices.IndexFunc(l.list, func(g finding) bool {
		return g.Rule == f.Rule && g.Where == f.Where && (g.What == f.What || f.Rule != "overlap")
	})
	if i < 0 {
		f.At = []string{at}
		l.list = append(l.list, f)
	} else if !slices.Contains(l.list[i].At, at) {
		l.list[i].At = append(l.list[i].At, at)
	}
}

// start starts a browser. The function stops it.
func start() (context.Context, func(), error) {
	flags := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.NoSandbox)
	allocator, stop := chromedp.NewExecAllocator(context.Background(), flags...)
	browser, cancel := chromedp.NewContext(allocator)
	end := func() { cancel(); stop() }
	if err := chromedp.Do(browser); err != nil {
		end()
		return nil, nil, fmt.Errorf("starting Chromium: %w", err)
	}
	return browser, end, nil
}

// check opens a page, given by its address or as a file, and returns what is wrong with it.
func check(browser context.Context, target string, o options) ([]finding, error) {
	address, err := addressOf(target)
	if err != nil {
		return nil, err
	}
	tab, closeTab := chromedp.NewContext(browser)
	defer closeTab()
	messages, err := listen(tab, address)
	if err != nil {
		return nil, err
	}
	tab, cancel := context.WithTimeout(tab, onePage)
	defer cancel()
	steps := []chromedp.Action[chromedp.Void]{chromedp.Navigate(address.String())}
	if o.prepare != nil {
		steps = append(steps, o.prepare)
	}
	if err := chromedp.Do(tab, steps...); err != nil {
		return nil, fmt.Errorf("%s: %w", target, err)
	}
	list := findings{narrow: o.narrow}
	shot := func(name string) string {
		base := strings.TrimSuffix(filepath.Base(address.Path), ".html")
		return filepath.Join(o.shots, strings.Trim(base, "/.")+"-"+name)
	}
	if o.widths == nil {
		o.widths = allWidths
	}
	if o.schemes == nil {
		o.schemes = allSchemes
	}
	for _, scheme := range o.schemes {
		for _, width := range o.widths {
			if err := onScreen(tab, &list, width, scheme); err != nil {
				return nil, fmt.Errorf("%s: %w", target, err)
			}
			if o.shots != "" {
				if err := screenshot(tab, width, shot(fmt.Sprintf("%d-%s.png", width, scheme))); err != nil {
					return nil, err
				}
			}
		}
	}
	if !o.screen {
		pdf, err := onPaper(tab, &list)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", target, err)
		}
		if o.shots != "" {
			if err := os.WriteFile(shot("print.pdf"), pdf, 0o644); err != nil {
				return nil, err
			}
		}
	}
	for _, f := range messages() {
		list.add(f, "any")
	}
	return list.list, nil
}

// addressOf returns the address of a page, which may be a file.
func addressOf(target string) (*url.URL, error) {
	if u, err := url.Parse(target); err == nil && (u.Scheme == "http" || u.Scheme == "https") {
		return u, nil
	}
	path, err := filepath.Abs(target)
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(path); err != nil {
		return nil, err
	}
	return &url.URL{Scheme: "file", Path: path}, nil
}

// listen collects what a page complains about, and what it loads from elsewhere.
func listen(tab context.Context, address *url.URL) (func() []finding, error) {
	list := make(chan finding, 1000)
	add := func(rule, what string) {
		select {
		case list <- finding{Rule: rule, Where: "page", What: what}:
		default: // it has said enough
		}
	}
	err := chromedp.Listen(tab, func(event any) {
		switch e := event.(type) {
		case *runtime.EventExceptionThrown:
			add("console", exceptionText(e.ExceptionDetails))
		case *runtime.EventConsoleAPICalled:
			if e.Type == runtime.ConsoleAPICalledTypeError || e.Type == runtime.ConsoleAPICalledTypeWarning {
				var words []string
				for _, a := range e.Args {
					words = append(words, string(a.Value)+a.Description)
				}
				add("console", strings.Join(words, " "))
			}
		case *log.EventEntryAdded:
			if e.Entry.Level == log.EntryLevelError || e.Entry.Level == log.EntryLevelWarning {
				add("console", e.Entry.Text+" "+e.Entry.URL)
			}
		case *network.EventRequestWillBeSent:
			if u, err := url.Parse(e.Request.URL); err != nil || !own(u, address) {
				add("network", "loads "+e.Request.URL)
			}
		}
	})
	return func() []finding {
		var all []finding
		for {
			select {
			case f := <-list:
				all = append(all, f)
			default:
				return all
			}
		}
	}, err
}

// own reports whether an address is the page's, or in the page itself, or of its server.
func own(u, of *url.URL) bool {
	return u.Scheme == "data" || u.Scheme == "blob" || u.Scheme == of.Scheme && u.Host == of.Host &&
		(u.Scheme != "file" || u.Path == of.Path)
}

// look runs page.js on the page as it is laid out now, and returns how light its ground is, from 0 to 1.
func look(tab context.Context, list *findings, width int, at string) (float64, error) {
	first := len(list.looks) == 0 // the plots have the same shape whatever their size
	list.looks = append(list.looks, at)
	call := fmt.Sprintf("(%s)({phone: %v, narrow: %v, tips: %v})", strings.TrimSpace(pageJS), width < phone,
		list.narrow, first)
	result, err := chromedp.Run(tab, chromedp.Evaluate[struct {
		Found  []finding
		Ground float64
		Texts  int
	}](call))
	if err != nil {
		return 0, err
	}
	for _, f := range result.Found {
		list.add(f, at)
	}
	if result.Texts == 0 {
		return 0, errors.New("a page without any text")
	}
	return result.Ground, nil
}

// emulate lays the page out anew.
func emulate(tab context.Context, width int, media, scheme string) error {
	size := emulation.SetDeviceMetricsOverrideParams{Width: int64(width), Height: 900, DeviceScaleFactor: 1}
	if _, err := chromedp.Call(tab, emulation.SetDeviceMetricsOverride, size); err != nil {
		return err
	}
	_, err := chromedp.Call(tab, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Media: media,
		Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme},
			{Name: "prefers-reduced-motion", Value: "reduce"}}})
	return err
}

// unfold opens or closes what can be folded away.
func unfold(tab context.Context, open bool) error {
	_, err := chromedp.Run(tab, chromedp.Evaluate[any](
		fmt.Sprintf(`document.querySelectorAll("details").forEach(d => d.open = %v)`, open)))
	return err
}

// onScreen looks at a page as it opens, and with all open that can be.
func onScreen(tab context.Context, list *findings, width int, scheme string) error {
	at := fmt.Sprintf("%d px, %s", width, scheme)
	if err := emulate(tab, width, "screen", scheme); err != nil {
		return err
	}
	ground, err := look(tab, list, width, at)
	if err != nil {
		return err
	}
	if dark := ground < 0.2; dark != (scheme == "dark") {
		list.add(finding{Rule: "scheme", Where: "body", What: fmt.Sprintf("has a luminance of %.2f", ground)}, at)
	}
	if err := unfold(tab, true); err != nil {
		return err
	}
	if _, err := look(tab, list, width, at+", unfolded"); err != nil {
		return err
	}
	return unfold(tab, false)
}

// onPaper looks at a page as it is printed, by someone whose screen is dark, and prints it.
func onPaper(tab context.Context, list *findings) ([]byte, error) {
	const at = "printed"
	if err := emulate(tab, a4, "print", "dark"); err != nil {
		return nil, err
	}
	ground, err := look(tab, list, a4, at)
	if err != nil {
		return nil, err
	}
	if ground < 0.95 {
		list.add(finding{Rule: "paper", Where: "body", What: fmt.Sprintf("has a luminance of %.2f", ground)}, at)
	}
	return chromedp.Run(tab, chromedp.PrintToPDF(chromedp.PDFPaper(chromedp.PaperA4), chromedp.PDFPrintBackground()))
}

// screenshot writes a picture of the whole page, or of as much of it as a browser draws at once.
func screenshot(tab context.Context, width int, file string) error {
	height, err := chromedp.Run(tab, chromedp.Evaluate[float64]("document.documentElement.scrollHeight"))
	if err != nil {
		return err
	}
	shot := page.CaptureScreenshotParams{CaptureBeyondViewport: new(true),
		Clip: &page.Viewport{Width: float64(width), Height: min(height, mostDrawn), Scale: 1}}
	picture, err := chromedp.Call(tab, page.CaptureScreenshot, shot)
	if err != nil {
		return err
	}
	return os.WriteFile(file, picture.Data, 0o644)
}

func exceptionText(e *runtime.ExceptionDetails) string {
	if e.Exception != nil && e.Exception.Description != "" {
		return e.Exception.Description
	}
	return e.Text
}
