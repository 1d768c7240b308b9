// Quality writes the table of quality.md and draws quality.svg, in the directory DIR, from a report that quality.sh makes:
//
//	go run ./docs/quality REPORT.json DIR
//
// The report's models are named TYPE-WAY.gguf. In the page it replaces what is between two comments.
package main

import (
	"bytes"
	"cmp"
	"fmt"
	"image/color"
	"log"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	vgdraw "gonum.org/v1/plot/vg/draw"

	"github.com/phi3conv/phi3conv/verify"
)

// way is how a file was made.
type way struct {
	name, title string
	color       color.Color
}

// ways are the table's columns; the others are compared with reference.
var ways = []way{
	{"llama", "llama.cpp, imatrix", color.Gray{0x70}},
	{"rtn", "rtn", color.RGBA{0xcc, 0x99, 0x22, 0xff}},
	{"imatrix", "imatrix", color.RGBA{0x22, 0x77, 0xcc, 0xff}},
	{"awq", "awq", color.RGBA{0xcc, 0x66, 0x99, 0xff}},
	{"gptq-text", "gptq", color.RGBA{0xcc, 0x33, 0x33, 0xff}},
	{"gptq-long", "gptq, 51,200 tokens", color.RGBA{0xee, 0x88, 0x22, 0xff}},
	{"gptq-self", "gptq, own text", color.RGBA{0x99, 0x33, 0xaa, 0xff}},
	{"budget", "--size", color.RGBA{0x22, 0x99, 0x44, 0xff}},
	{"split", "--size, --split-qkv", color.RGBA{0x11, 0x66, 0x66, 0xff}},
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
	if err := os.WriteFile(page, slices.Concat(head, []byte(begin), tables(types), []byte(end), tail), 0o644); err != nil {
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

// draw plots KLD against size.
func draw(types []*typeReports, path string) error {
	p := plot.New()
	p.BackgroundColor = color.White
	p.X.Label.Text, p.Y.Label.Text = "size of the file, MB", "mean KLD, nats"
	p.Y.Scale, p.Y.Tick.Marker = plot.LogScale{}, plot.LogTicks{Prec: -1}
	p.Legend.Top = true
	p.Add(plotter.NewGrid())
	for _, w := range ways {
		var points plotter.XYs
		var names []string
		for _, t := range types {
			if r := t.ways[w.name]; r != nil {
				points = append(points, plotter.XY{X: float64(r.Quant.FileBytes) / 1e6, Y: r.Summary.KLD.Value})
				names = append(names, " "+t.name)
			}
		}
		if len(points) == 0 {
			continue
		}
		dots, err := plotter.NewScatter(points)
		if err != nil {
			return err
		}
		dots.Color, dots.Shape, dots.Radius = w.color, vgdraw.CircleGlyph{}, 3
		p.Add(dots)
		p.Legend.Add(w.title, dots)
		if w.name != reference {
			continue
		}
		labels, err := plotter.NewLabels(plotter.XYLabels{XYs: points, Labels: names})
		if err != nil {
			return err
		}
		p.Add(labels)
	}
	return p.Save(9*vg.Inch, 6*vg.Inch, path)
}
