package verify

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"

	"github.com/phi3conv/phi3conv/formats"
)

// Positions are the comparisons of all scored tokens, in the order of the texts. In
// JSON they are an object of columns, one array for each field of [Position], all of
// the same length.
type Positions []Position

// columns is the JSON form of Positions.
type columns struct {
	Text    []int     `json:"text"`
	Index   []int     `json:"index"`
	Context []int     `json:"context"`
	Token   []int32   `json:"token"`
	Base    []float64 `json:"base"`
	Quant   []float64 `json:"quant"`
	KLD     []float64 `json:"kld"`
	SameTop []bool    `json:"same_top"`
	Top5    []int     `json:"top5"`
	DeltaP  []float64 `json:"delta_p"`
}

// MarshalJSON writes the columns. Every float64 is read back as the same one.
func (p Positions) MarshalJSON() ([]byte, error) {
	n := len(p)
	c := columns{
		make([]int, n), make([]int, n), make([]int, n), make([]int32, n),
		make([]float64, n), make([]float64, n), make([]float64, n), make([]bool, n), make([]int, n), make([]float64, n),
	}
	for i, q := range p {
		c.Text[i], c.Index[i], c.Context[i], c.Token[i] = q.Text, q.Index, q.Context, q.Token
		c.Base[i], c.Quant[i], c.KLD[i] = q.Base, q.Quant, q.KLD
		c.SameTop[i], c.Top5[i], c.DeltaP[i] = q.SameTop, q.Top5, q.DeltaP
	}
	return json.Marshal(c)
}

// UnmarshalJSON reads the columns and checks their lengths.
func (p *Positions) UnmarshalJSON(b []byte) error {
	var c columns
	if err := json.Unmarshal(b, &c); err != nil {
		return err
	}
	n := len(c.Text)
	for _, column := range []struct {
		name string
		n    int
	}{
		{"index", len(c.Index)}, {"context", len(c.Context)}, {"token", len(c.Token)}, {"base", len(c.Base)},
		{"quant", len(c.Quant)},
		{"kld", len(c.KLD)}, {"same_top", len(c.SameTop)}, {"top5", len(c.Top5)}, {"delta_p", len(c.DeltaP)},
	} {
		if column.n != n {
			return fmt.Errorf("positions: %d values of %s, expected as many as of text, %d", column.n, column.name, n)
		}
	}
	*p = make(Positions, n)
	for i := range *p {
		(*p)[i] = Position{
			c.Text[i], c.Index[i], c.Context[i], c.Token[i],
			c.Base[i], c.Quant[i], c.KLD[i], c.SameTop[i], c.Top5[i], c.DeltaP[i],
		}
	}
	return nil
}

// check returns an error if a value is not one that a comparison gives, or if the positions
// are not in order.
func (p Positions) check(texts []Text) error {
	before := Position{Text: -1}
	for i, q := range p {
		got, what := q.wrongPlace(before, texts)
		if what == "" {
			got, what = q.wrongFigure()
		}
		if what != "" {
			return fmt.Errorf("positions: number %d has %v as %s", i, got, what)
		}
		before = q
	}
	return nil
}

// wrongPlace says which field that tells the token is impossible after the position before: its value, and
// what it is and what was expected.
func (q *Position) wrongPlace(before Position, texts []Text) (got any, what string) {
	switch {
	case q.Text < 0 || q.Text >= len(texts):
		return q.Text, fmt.Sprintf("text, expected 0 to %d", len(texts)-1)
	case q.Index < 1 || q.Index >= texts[q.Text].Tokens:
		return q.Index, fmt.Sprintf("index, expected 1 to %d", texts[q.Text].Tokens-1)
	case q.Text < before.Text || q.Text == before.Text && q.Index <= before.Index:
		return q.Index, fmt.Sprintf("index of text %d, expected one after %d of text %d",
			q.Text, before.Index, before.Text)
	case q.Context < 1 || q.Context > q.Index:
		return q.Context, fmt.Sprintf("context, expected 1 to the index, %d", q.Index)
	case q.Token < 0:
		return q.Token, "token, expected 0 or more"
	}
	return nil, ""
}

// wrongFigure says which figure is impossible.
func (q *Position) wrongFigure() (got any, what string) {
	possible := func(x float64) bool { return x >= 0 && x <= math.MaxFloat64 }
	switch {
	case !possible(q.Base):
		return q.Base, "base, expected a finite number of 0 or more"
	case !possible(q.Quant):
		return q.Quant, "quant, expected a finite number of 0 or more"
	case !possible(q.KLD):
		return q.KLD, "kld, expected a finite number of 0 or more"
	case q.Top5 < 0 || q.Top5 > TopK:
		return q.Top5, fmt.Sprintf("top5, expected 0 to %d", TopK)
	case !(q.DeltaP >= -1 && q.DeltaP <= 1):
		return q.DeltaP, "delta_p, expected -1 to 1"
	}
	return nil, ""
}

// WriteReport writes the report with its positions, for [ReadReport]. The JSON is on one line.
func (r *Report) WriteReport(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	return e.Encode(r)
}

// ReadReport reads what [Report.WriteReport] wrote, or [Report.WriteJSON]: without
// positions then. The path is for errors, which are of type [formats.Error].
func ReadReport(path string, data []byte) (*Report, error) {
	list, err := ReadReports(path, data)
	if err != nil {
		return nil, err
	}
	if len(list) != 1 {
		return nil, formats.FileErrorf(path, -1, "reports on %d models, expected one", len(list))
	}
	return list[0], nil
}

// ReadReports reads what [Reports.WriteReport] wrote, at least one report. Errors are those of [ReadReport].
func ReadReports(path string, data []byte) (Reports, error) {
	refuse := func(what string, err error) (Reports, error) {
		return nil, formats.WrapFile(err, path, what)
	}
	var version struct {
		Schema  *int            `json:"schema"`
		Reports json.RawMessage `json:"reports"`
	}
	if err := decodeJSON(data, &version); err != nil {
		return refuse("not a report of verify", err)
	}
	if version.Schema == nil {
		return refuse(`not a report of verify: it has no "schema"`, nil)
	}
	if *version.Schema != Schema {
		return refuse(fmt.Sprintf("a report of schema %d, this program reads %d", *version.Schema, Schema), nil)
	}
	list := make(Reports, 1)
	var into any = &list[0]
	if version.Reports != nil {
		data, into = version.Reports, &list
	}
	if err := decodeJSON(data, into); err != nil {
		return refuse("report", err)
	}
	if len(list) == 0 {
		return refuse("no report in it", nil)
	}
	for i, r := range list {
		if r == nil || r.Schema != Schema {
			return refuse(fmt.Sprintf("report %d is not one of schema %d", i+1, Schema), nil)
		}
		if err := r.check(); err != nil {
			return refuse("report", err)
		}
	}
	return list, nil
}

// decodeJSON decodes one value and refuses what follows it.
func decodeJSON(data []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(data))
	if err := d.Decode(v); err != nil {
		var syntax *json.SyntaxError
		if errors.As(err, &syntax) {
			return formats.Errorf(syntax.Offset, "%v", err)
		}
		return err
	}
	if _, err := d.Token(); err != io.EOF {
		return formats.Errorf(d.InputOffset(), "more after the end of the report")
	}
	return nil
}

// check returns an error if the report cannot be one of a verification.
func (r *Report) check() error {
	if c := r.Conventions; c.Name != LlamaPerplexity && c.Name != Strided || c.Context < 2 || c.Stride < 1 ||
		c.Stride > c.Context || c.First < 0 || c.First >= c.Context {
		return fmt.Errorf("impossible conventions %+v", c)
	}
	for _, t := range r.Texts {
		if t.Tokens < 0 || t.Bytes < 0 || t.Windows < 0 {
			return fmt.Errorf("text %q has %d bytes, %d tokens and %d windows", t.Name, t.Bytes, t.Tokens, t.Windows)
		}
	}
	if s := r.Shard; s != nil && (s.I < 1 || s.I > s.N) {
		return fmt.Errorf("part %d of %d", s.I, s.N)
	}
	if n := len(r.Positions); n > 0 && n != r.Summary.Count {
		return fmt.Errorf("%d positions, but a summary of %d", n, r.Summary.Count)
	}
	for _, t := range r.Worst {
		if t.Text < 0 || t.Text >= len(r.Texts) {
			return fmt.Errorf("one of the worst tokens is of text %d, expected 0 to %d", t.Text, len(r.Texts)-1)
		}
	}
	return r.Positions.check(r.Texts)
}
