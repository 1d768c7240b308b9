// Quality writes the table of quality.md and draws quality.svg, in the directory DIR, from a report that quality.sh
// makes:
//
//	go run ./docs/quality REPORT.json DIR
//
// The report's models are named TYPE-WAY.gguf. In the page it replaces what is between two comments.
package main

import (
	"bytes"
	"cmp"
	"fmt"
	"log"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/phi3conv/phi3conv/internal/plot"
	"github.com/phi3conv/phi3conv/verify"
)

// way is how a file was made.
type way struct {
	name, title string
	light, dark string // colours of its points
}

// ways are the table's columns; the others are compared with reference.
var ways = []way{
	{"llama", "llama.cpp, imatrix", "#707070", "#a0a0a0"},
	{"rtn", "rtn", "#a67c00", "#d9ad33"},
	{"imatrix", "imatrix", "#2277cc", "#5aa8f5"},
	{"awq", "awq", "#c2488a", "#ee8cc0"},
	{"gptq-text", "gptq", "#cc3333", "#ff7a70"},
	{"gptq-long", "gptq, 51,200 tokens", "#d66a00", "#ffa04d"},
	{"gptq-self", "gptq, own text", "#9933aa", "#cf86dd"},
	{"budget", "--size", "#1f8a3f", "#58c978"},
	{"split", "--size, --split-qkv", "#116666", "#4db8b8"},
}

const reference = "llama"

const begin, end = "<!-- docs/quality writes this -->\n", "<!-- end -->\n"

func main() {
	log.SetFlags(0)
	if len(os.Args) != 3 {
		log.Fatal("usage: quality REPORT.json DIR")
	}
	if err := run(os.Args[1], os.Args[2]); err != nil {
		log.Fatal(err)
	}
}

func run(path, dir string) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	reports, err := verify.ReadReports(path, data)
	if err != nil {
		return err
	}
	page := filepath.Join(dir, "quality.md")
	text, err := os.ReadFile(page)
	if err != nil {
		return err
	}
	head, rest, begins := bytes.Cut(text, []byte(begin))
	_, tail, ends := bytes.Cut(rest, []byte(end))
	if !begins || !ends {
		return fmt.Errorf("%s: expected %q and %q", page, begin, end)
	}
	types, err := byType(reports)
	if err != nil {
		return err
	}
	if err := os.WriteFile(page, slices.Concat(head, []byte(begin), tables(types), []byte(end), tail),
		0o644); err != nil {
		return err
	}
	return draw(types, filepath.Join(dir, "quality.svg"))
}

// typeReports are the reports of one type, by the way that files were made.
type typeReports struct {
	name  string
	bytes int64 // of the smallest file: metadata differ
	ways  map[string]*verify.Report
}

// byType sorts reports into types, smallest first.
func byType(reports verify.Reports) ([]*typeReports, error) {
	var types []*typeReports
	for _, r := range reports {
		name, way, _ := strings.Cut(strings.TrimSuffix(filepath.Base(r.Quant.Name), ".gguf"), "-")
		if indexWay(way) < 0 {
			return nil, fmt.Errorf("model %q, expected TYPE-WAY.gguf with one of %v", r.Quant.Name, ways)
		}
		i := slices.IndexFunc(types, func(t *typeReports) bool { return t.name == name })
		if i < 0 {
			i = len(types)
			types = append(types, &typeReports{name, r.Quant.FileBytes, map[string]*verify.Report{}})
		}
		types[i].ways[way] = r
		types[i].bytes = min(types[i].bytes, r.Quant.FileBytes)
	}
	slices.SortStableFunc(types, func(a, b *typeReports) int { return cmp.Compare(a.bytes, b.bytes) })
	return types, nil
}

func indexWay(name string) int {
	return slices.IndexFunc(ways, func(w way) bool { return w.name == name })
}

// tables have a row for each type: KLD and how it compares with the reference's, then the same top token.
func tables(types []*typeReports) []byte {
	var b bytes.Buffer
	b.WriteString("Mean KLD in nats; in parentheses its ratio to llama.cpp's.\n\n")
	table(&b, types, func(r, llama *verify.Report) string {
		kld := r.Summary.KLD
		digits := max(0, 1-int(math.Floor(math.Log10(kld.SE)))) // two of the error's
		cell := fmt.Sprintf("%.*f ± %.*f", digits, kld.Value, digits, kld.SE)
		if llama != nil && r != llama {
			cell += fmt.Sprintf(" (%.2f)", kld.Value/llama.Summary.KLD.Value)
		}
		return cell
	})
	b.WriteString("\nThe same top token, %:\n\n")
	table(&b, types, func(r, _ *verify.Report) string { return fmt.Sprintf("%.1f", 100*r.Summary.SameTop.Value) })
	return b.Bytes()
}

// table leaves out the ways in which no file was made.
func table(b *bytes.Buffer, types []*typeReports, cell func(r, llama *verify.Report) string) {
	ways := slices.DeleteFunc(slices.Clone(ways), func(w way) bool {
		return !slices.ContainsFunc(types, func(t *typeReports) bool { return t.ways[w.name] != nil })
	})
	b.WriteString("| linear layers | MB |")
	for _, w := range ways {
		fmt.Fprintf(b, " %s |", w.title)
	}
	fmt.Fprintf(b, "\n|---|---|%s\n", strings.Repeat("---|", len(ways)))
	for _, t := range types {
		fmt.Fprintf(b, "| %s | %.1f |", t.name, float64(t.bytes)/1e6)
		for _, w := range ways {
			text := ""
			if r := t.ways[w.name]; r != nil {
				text = cell(r, t.ways[reference])
			}
			fmt.Fprintf(b, " %s |", text)
		}
		b.WriteString("\n")
	}
}

// Colours of the page that shows the picture, in light and in dark.
const (
	light = "--ink:#1b1f24;--muted:#59616b;--grid:#e3e6ea;--surface:#ffffff;"
	dark  = "--ink:#e8eaed;--muted:#a3abb5;--grid:#2c323a;--surface:#0d1117;"
)

// draw plots KLD against size.
func draw(types []*typeReports, path string) error {
	style := plot.Style{Text: "var(--ink)", Axis: "var(--muted)", Grid: "var(--grid)", Ground: "var(--surface)"}
	c := plot.New(760, 500, style, "size of the file, MB", "mean KLD, nats (logarithmic)")
	c.Y.Log = true
	inLight, inDark := light, dark
	for _, w := range ways {
		color := "var(--" + w.name + ")"
		var points []plot.Point
		for _, t := range types {
			if r := t.ways[w.name]; r != nil {
				p := plot.Point{X: float64(r.Quant.FileBytes) / 1e6, Y: r.Summary.KLD.Value}
				points = append(points, p)
				c.PointTip(p, fmt.Sprintf("%s, %s: %.1f MB, %.3g nats", t.name, w.title, p.X, p.Y))
				if w.name == reference {
					c.Name(p, t.name)
				}
			}
		}
		if len(points) == 0 {
			continue
		}
		c.Dots(color, true, points...)
		c.Legend = append(c.Legend, plot.Entry{Color: color, Text: w.title})
		inLight += fmt.Sprintf("--%s:%s;", w.name, w.light)
		inDark += fmt.Sprintf("--%s:%s;", w.name, w.dark)
	}
	c.X.Widen(0.03)
	c.Y.Widen(0.03)
	css := fmt.Sprintf("svg{%s}\n@media (prefers-color-scheme:dark){svg{%s}}\n", inLight, inDark)
	return os.WriteFile(path, []byte(c.File("Size of the file against mean KLD, by type and method", css)), 0o644)
}
