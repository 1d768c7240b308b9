// Package htmlreport writes reports of [verify] as a page for people: one file without scripts
// or anything to load, in light and dark, with plots.
//
// The same reports give the same bytes. Names and text from files are escaped, and
// characters that do not show or that reorder text are shown by their code.
package htmlreport

import (
	"bytes"
	_ "embed"
	"errors"
	"fmt"
	"html/template"
	"io"
	"slices"

	"github.com/phi3conv/phi3conv/verify"
)

//go:embed report.html
var reportHTML string

//go:embed style.css
var style string

//go:embed stacked.css
var stacked string

var page = template.Must(template.New("report").Funcs(template.FuncMap{"text": visibleHTML, "number": unbroken,
	"heading": heading, "subheading": subheading}).Parse(reportHTML))

// Write writes the reports of one quantized model, or of several to compare, as HTML.
func Write(w io.Writer, reports verify.Reports) error {
	if len(reports) == 0 {
		return errors.New("no report to write")
	}
	d := document{Style: template.CSS(styles()), Title: title(reports), Notes: notes(reports)}
	names, front := modelNames(reports), reports.Pareto()
	for i, r := range reports {
		m := newModel(r)
		m.ID, m.Front, m.Level = fmt.Sprintf("model-%d", i+1), front[i], 2
		if len(reports) > 1 {
			m.Name, m.Level = names[i], 3
		}
		d.Models = append(d.Models, m)
	}
	d.Level = 2
	for _, draw := range comparisons {
		if f := draw(reports); f != nil {
			d.Figures = append(d.Figures, f)
		}
	}
	if len(reports) == 1 {
		d.Banner = d.Models[0].Banner
		d.Models[0].Figures = append(d.Models[0].Figures, d.Figures...)
	} else {
		d.Banner, d.Compared = overall(reports), comparison(d.Models)
	}
	var b bytes.Buffer
	if err := page.Execute(&b, &d); err != nil {
		return err
	}
	_, err := w.Write(b.Bytes())
	return err
}

// What the template shows.
type (
	document struct {
		Style    template.CSS
		Title    string
		Banner   *banner
		Level    int // of the headings of the comparison
		Models   []*model
		Compared *table    // of all models
		Figures  []*figure // of all models
		Notes    []string
	}
	model struct {
		ID, Name string
		Level    int // of the headings of its parts
		Banner   *banner
		Front    bool // on the Pareto front
		Compared []string
		Tiles    []tile
		Checks   []check
		Damage   *table
		Baseline *comparedTo
		Compares []*table
		Facts    []tile
		Figures  []*figure
		Worst    []token
		Numbers  []*table
	}
	banner struct {
		Tone  string // class: pass, fail, undecided or none
		Badge string
		Word  string
		Lines []string
	}
	tile  struct{ Name, Value, Note string }
	check struct {
		Tone, Badge, Name, What string
		Value, SE, Low, High    string
		Bound, Limit, Words     string
		Gauge                   *gauge
	}
	gauge struct {
		Description, LimitText, Anchor string
		Allowed                        extent
		Span                           *extent
		Value, Limit                   string // percent of the width
	}
	extent struct{ From, Width string }
	token  struct {
		Before, Piece, Text, Index, KLD string
		Base, Quant                     string
		BaseWidth, QuantWidth           string
	}
)

// heading is the heading of a part, one level below subheading's.
func heading(level int, id, text string) template.HTML {
	return template.HTML(fmt.Sprintf(`<h%d class="part" id="%s">%s</h%d>`, level, id, template.HTMLEscapeString(text),
		level))
}

// subheading is a heading within a part of the level.
func subheading(level int, text string) template.HTML {
	return template.HTML(fmt.Sprintf(`<h%d class="sub">%s</h%d>`, level+1, template.HTMLEscapeString(text), level+1))
}

func title(reports []*verify.Report) string {
	base := reports[0].Base.Name
	if len(reports) == 1 {
		return fmt.Sprintf("%s against %s", visible(reports[0].Quant.Name), visible(base))
	}
	for _, r := range reports {
		if r.Base.SHA256 != reports[0].Base.SHA256 {
			return fmt.Sprintf("%d quantized models against their originals", len(reports))
		}
	}
	return fmt.Sprintf("%d quantized models against %s", len(reports), visible(base))
}

// notes are the footnotes; they say what the figures mean.
func notes(reports []*verify.Report) []string {
	list := []string{
		"KL divergence (KLD) is the mean of ln p(original) − ln p(quantized) over what the original expects next, " +
			"in nats: 0 where both models predict the same, and never less. Logits are compared in float32.",
		"Perplexity (PPL) is e to the mean of −ln p of the tokens that came. Both models saw the same tokens, so " +
			"the standard error of the ratio is that of the paired differences.",
		"Δp is the probability of the token that came under the quantized model less that under the original.",
		"Standard errors (SE) and 95 % confidence intervals take tokens as independent. A limit passes or fails " +
			"with 95 % confidence on one side, so the two-sided interval shown may just touch a limit that is kept.",
	}
	if slices.ContainsFunc(reports, func(r *verify.Report) bool { return r.Seal != nil }) {
		list = append(list, "With a seal the original was not there: the KL divergence of each token, and every "+
			"figure of these but the estimate of the mean, is a proven lower bound. The estimate takes for each "+
			"token one drawn from those that the original finds unlikely. Perplexity, top tokens and Δp are exact.")
	}
	named := map[string]bool{}
	for _, r := range reports {
		if named[r.Conventions.Name] {
			continue
		}
		named[r.Conventions.Name] = true
		switch r.Conventions.Name {
		case verify.LlamaPerplexity:
			list = append(list, "Convention llama-perplexity: windows follow each other without overlap, and the "+
				"second half of each is scored, as that program does.")
		case verify.Strided:
			list = append(list, "Convention strided: windows overlap and every token is scored once, with as many "+
				"tokens before it as its window has, as in transformers' documentation.")
		}
	}
	return append(list, "SHA-256 of a model is that of its file, or, if it has several, of the list of their "+
		"checksums.")
}
