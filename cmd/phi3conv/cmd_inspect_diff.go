package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"reflect"
	"slices"
	"sync/atomic"

	"github.com/phi3conv/phi3conv/formats/gguf"
	"github.com/phi3conv/phi3conv/internal/arch"
	"github.com/phi3conv/phi3conv/internal/modelcard"
	"github.com/phi3conv/phi3conv/internal/tensorfile"
	"github.com/phi3conv/phi3conv/internal/vocab"
	"github.com/phi3conv/phi3conv/verify"
	"github.com/phi3conv/phi3conv/verify/tensorstats"
	"github.com/urfave/cli/v2"
	"golang.org/x/sync/errgroup"
)

type diffJSON struct {
	A          string           `json:"a"`
	B          string           `json:"b"`
	Notes      []string         `json:"notes,omitempty"`
	EqualKeys  int              `json:"equal_keys"`
	KeysA      []keyJSON        `json:"keys_only_a"`
	KeysB      []keyJSON        `json:"keys_only_b"`
	Keys       []keyDiffJSON    `json:"keys_different"`
	TensorsA   []string         `json:"tensors_only_a"`
	TensorsB   []string         `json:"tensors_only_b"`
	Unlike     []unlikeJSON     `json:"tensors_not_compared"`
	Tensors    []tensorDiffJSON `json:"tensors"`
	Overall    metricsJSON      `json:"overall"`
	Parameters int64            `json:"parameters_compared"`
	Weights    verify.Weights   `json:"rows"`
}

type keyDiffJSON struct {
	Key   string  `json:"key"`
	A     keyJSON `json:"a"`
	B     keyJSON `json:"b"`
	First *int    `json:"first_difference,omitempty"` // index in two arrays
	texts [2]string
}

type unlikeJSON struct {
	Name string `json:"name"`
	Why  string `json:"why"`
}

type tensorDiffJSON struct {
	Name  string   `json:"name"`
	TypeA string   `json:"type_a"`
	TypeB string   `json:"type_b"`
	Shape []uint64 `json:"shape"`
	metricsJSON
}

// metricsJSON has null where a value is NaN, and for an SQNR that is infinite: +Inf
// of equal tensors, -Inf where only the reference is zero. Whether tensors are
// equal is told by an RMSE of 0.
type metricsJSON struct {
	RMSE   number `json:"rmse"`
	MaxErr number `json:"max_error"`
	Cosine number `json:"cosine"`
	SQNR   number `json:"sqnr_db"`
}

func metrics(d *tensorstats.Diff) metricsJSON {
	return metricsJSON{number(d.RMSE()), number(d.MaxAbs()), number(d.Cosine()), number(d.SQNR())}
}

func inspectDiff(c *cli.Context, pathA, pathB string, threads int) error {
	a, err := openInspected(pathA)
	if err != nil {
		return err
	}
	defer a.close()
	b, err := openInspected(pathB)
	if err != nil {
		return err
	}
	defer b.close()
	d := &diffJSON{A: pathA, B: pathB, KeysA: []keyJSON{}, KeysB: []keyJSON{}, Keys: []keyDiffJSON{},
		TensorsA: []string{}, TensorsB: []string{}, Unlike: []unlikeJSON{}, Tensors: []tensorDiffJSON{}, Weights: verify.Weights{Unlike: []tensorstats.UnlikeRow{}}}
	d.keys(a, b)
	if err := d.tensors(c.Context, c.App.ErrWriter, a, b, threads); err != nil {
		return err
	}
	if c.Bool("json") {
		return printJSON(c.App.Writer, d)
	}
	return printDiff(c.App.Writer, d)
}

// keys returns the metadata; of a directory the keys that a conversion to GGUF
// gives, but those of the conversion itself. notes say what is left out.
func (m *inspected) keys() (md *gguf.Metadata, notes []string) {
	if m.file.GGUF != nil {
		return m.file.GGUF.Metadata, nil
	}
	md = new(gguf.Metadata)
	if m.config == nil {
		for _, key := range slices.Sorted(maps.Keys(m.file.Safetensors.Metadata)) {
			md.Set(key, m.file.Safetensors.Metadata[key])
		}
		return md, nil
	}
	md.Set("general.architecture", m.config.Arch.Name)
	for _, kv := range m.config.Metadata() {
		md.Set(kv.Key, kv.Value)
	}
	card, err := modelcard.Load(m.path, m.params())
	if err != nil {
		notes = append(notes, fmt.Sprintf("keys of the model card are left out: %v", err))
	} else {
		for key, value := range card.All() {
			md.Set(key, value)
		}
	}
	v, err := vocab.Load(m.path, m.config.VocabSize)
	if err != nil {
		notes = append(notes, fmt.Sprintf("keys of the tokenizer are left out: %v", err))
	} else {
		for key, value := range v.All() {
			md.Set(key, value)
		}
	}
	return md, notes
}

// params returns the number of elements of the tensors that a conversion writes.
func (m *inspected) params() int64 {
	written := make(map[string]bool)
	for _, t := range m.config.Tensors() {
		written[t.GGUF] = true
	}
	for name := range m.config.FactorTensors() {
		written[name] = true
	}
	var n int64
	names, list := m.tensors()
	for i, name := range names {
		if written[name] {
			n += list[i].Elems
		}
	}
	return n
}

func (d *diffJSON) keys(a, b *inspected) {
	ma, notesA := a.keys()
	mb, notesB := b.keys()
	d.Notes = slices.Concat(notesA, notesB)
	for key, va := range ma.All() {
		vb, ok := mb.Get(key)
		switch {
		case !ok:
			d.KeysA = append(d.KeysA, newKeyJSON(key, va))
		case sameValue(ma, mb, key):
			d.EqualKeys++
		default:
			d.Keys = append(d.Keys, newKeyDiff(key, va, vb))
		}
	}
	for key, v := range mb.All() {
		if _, ok := ma.Get(key); !ok {
			d.KeysB = append(d.KeysB, newKeyJSON(key, v))
		}
	}
}

// sameValue compares a key's values. The width of numbers does not matter, since
// writers disagree about it: a float32 equals the float64 that rounds to it. A NaN
// equals a NaN.
func sameValue(a, b *gguf.Metadata, key string) bool {
	va, _ := a.Get(key)
	vb, _ := b.Get(key)
	if reflect.DeepEqual(va, vb) {
		return true
	}
	if x, ok := a.Int(key); ok {
		y, ok := b.Int(key)
		return ok && x == y
	}
	if x, ok := a.Float(key); ok {
		y, ok := b.Float(key)
		_, narrowA := va.(float32)
		_, narrowB := vb.(float32)
		if narrowA || narrowB {
			x, y = float64(float32(x)), float64(float32(y))
		}
		return ok && (x == y || x != x && y != y)
	}
	x, okA := a.Int32s(key)
	y, okB := b.Int32s(key)
	return okA && okB && slices.Equal(x, y)
}

func newKeyDiff(key string, a, b any) keyDiffJSON {
	d := keyDiffJSON{Key: key, A: newKeyJSON(key, a), B: newKeyJSON(key, b)}
	d.texts = [2]string{valueText(d.A), valueText(d.B)}
	ra, rb := reflect.ValueOf(a), reflect.ValueOf(b)
	if ra.Kind() == reflect.Slice && rb.Kind() == reflect.Slice {
		i := 0
		for i < min(ra.Len(), rb.Len()) && reflect.DeepEqual(ra.Index(i).Interface(), rb.Index(i).Interface()) {
			i++
		}
		d.First = &i
		for side, v := range []reflect.Value{ra, rb} {
			typ := []keyJSON{d.A, d.B}[side].Type
			d.texts[side] = typ + ", ends"
			if i < v.Len() {
				d.texts[side] = fmt.Sprintf("%s, [%d] %s", typ, i, valueText(newKeyJSON("", v.Index(i).Interface())))
			}
		}
		return d
	}
	if d.texts[0] == d.texts[1] { // the types differ, or the parts that are cut off
		d.texts = [2]string{d.A.Type + " " + d.texts[0], d.B.Type + " " + d.texts[1]}
	}
	return d
}

// apart replaces matrices by their parts where the other model has those.
func (m *inspected) apart(names []string, list []*tensorfile.Tensor, other []string) ([]string, []*tensorfile.Tensor) {
	if m.config == nil {
		return names, list
	}
	for _, t := range m.config.Tensors() {
		at := slices.Index(names, t.GGUF)
		if at < 0 || !slices.Equal(list[at].Shape, t.Shape) || !slices.ContainsFunc(t.Parts, func(p arch.Tensor) bool { return slices.Contains(other, p.GGUF) }) {
			continue
		}
		var partNames []string
		var parts []*tensorfile.Tensor
		for _, p := range t.Parts {
			partNames = append(partNames, p.GGUF)
			parts = append(parts, list[at].Rows(p.GGUF, int64(p.First), int64(p.Shape[0])))
		}
		names, list = slices.Replace(names, at, at+1, partNames...), slices.Replace(list, at, at+1, parts...)
	}
	return names, list
}

// tensors compares all tensors that both models have.
func (d *diffJSON) tensors(ctx context.Context, progress io.Writer, a, b *inspected, threads int) error {
	namesA, listA := a.tensors()
	namesB, listB := b.tensors()
	namesA, listA = a.apart(namesA, listA, namesB)
	namesB, listB = b.apart(namesB, listB, namesA)
	byName := make(map[string]*tensorfile.Tensor)
	for i, name := range namesB {
		byName[name] = listB[i]
	}
	type pair struct{ a, b *tensorfile.Tensor }
	var pairs []pair
	var total int64
	for i, name := range namesA {
		ta, tb := listA[i], byName[name]
		delete(byName, name)
		switch {
		case tb == nil:
			d.TensorsA = append(d.TensorsA, name)
		case !slices.Equal(ta.Shape, tb.Shape):
			d.Unlike = append(d.Unlike, unlikeJSON{name, fmt.Sprintf("shapes %d and %d", ta.Shape, tb.Shape)})
		case ta.Unusable != nil || tb.Unusable != nil:
			d.Unlike = append(d.Unlike, unlikeJSON{name, fmt.Sprintf("types %s and %s", ta.Type, tb.Type)})
		default:
			d.Tensors = append(d.Tensors, tensorDiffJSON{Name: name, TypeA: ta.Type, TypeB: tb.Type, Shape: ta.Shape})
			pairs = append(pairs, pair{ta, tb})
			total += ta.Bytes + tb.Bytes
		}
	}
	for _, name := range namesB {
		if byName[name] != nil {
			d.TensorsB = append(d.TensorsB, name)
		}
	}

	bar := newProgress(progress, "comparing", total)
	defer bar.done()
	var done atomic.Int64
	diffs := make([]tensorstats.Diff, len(pairs))
	rows := make([]*tensorstats.Rows, len(pairs)) // of matrices
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(threads)
	for i, p := range pairs {
		if n := len(p.a.Shape); n == 2 {
			rows[i] = tensorstats.NewRows(int(p.a.Shape[n-1]))
		}
		g.Go(func() error {
			rb := p.b.Reader()
			var err error
			each := eachValue(ctx, p.a, func(x []float32) {
				y, data, e := rb.Next() // as many: the shapes are equal
				if err = e; err == nil {
					diffs[i].Add(x, y)
					if rows[i] != nil {
						rows[i].Add(x, y)
					}
				}
				bar.set(done.Add(int64(len(data))))
			})
			return errors.Join(each, err)
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	var overall tensorstats.Diff
	for i := range diffs {
		d.Tensors[i].metricsJSON = metrics(&diffs[i])
		overall.Merge(&diffs[i])
		if rows[i] != nil {
			d.Weights.Rows += int(pairs[i].a.Shape[0])
			d.Weights.Unlike = append(d.Weights.Unlike, rows[i].Unlike(d.Tensors[i].Name)...)
		}
	}
	d.Overall, d.Parameters = metrics(&overall), overall.Count
	return nil
}

func printDiff(w io.Writer, d *diffJSON) error {
	p := &printer{w: w}
	p.printf("A: %s\nB: %s\n", d.A, d.B)
	for _, note := range d.Notes {
		p.printf("%s\n", note)
	}
	for _, side := range []struct {
		name    string
		keys    []keyJSON
		tensors []string
	}{{"A", d.KeysA, d.TensorsA}, {"B", d.KeysB, d.TensorsB}} {
		if len(side.keys) > 0 {
			p.printf("\n")
			t := newTable(w, "key only in "+side.name, "type", "value")
			for _, k := range side.keys {
				t.row(printable(k.Key), k.Type, valueText(k))
			}
			if err := t.flush(); err != nil {
				return err
			}
		}
		if len(side.tensors) > 0 {
			p.printf("\ntensors only in %s\n", side.name)
			for _, name := range side.tensors {
				p.printf("%s\n", printable(name))
			}
		}
	}
	if len(d.Keys) > 0 {
		p.printf("\n")
		t := newTable(w, "key that differs", "A", "B")
		for _, k := range d.Keys {
			t.row(printable(k.Key), k.texts[0], k.texts[1])
		}
		if err := t.flush(); err != nil {
			return err
		}
	}
	if len(d.Unlike) > 0 {
		p.printf("\n")
		t := newTable(w, "tensor not compared", "why")
		for _, u := range d.Unlike {
			t.row(printable(u.Name), u.Why)
		}
		if err := t.flush(); err != nil {
			return err
		}
	}
	p.printf("\n")
	t := newTable(w, "tensor", "A", "B", "RMSE", "max error", "cosine", "SQNR dB")
	row := func(name, a, b string, m metricsJSON) {
		sqnr := decimals(m.SQNR, 2)
		if math.IsInf(float64(m.SQNR), 1) {
			sqnr = "equal"
		}
		t.row(name, a, b, scientific(m.RMSE), scientific(m.MaxErr), decimals(m.Cosine, 8), sqnr)
	}
	for _, x := range d.Tensors {
		row(printable(x.Name), x.TypeA, x.TypeB, x.metricsJSON)
	}
	row("overall", "", "", d.Overall)
	if err := t.flush(); err != nil {
		return err
	}
	if len(d.Weights.Unlike) > 0 {
		p.printf("\n")
		t := newTable(w, "row unlike A's", "row", "cosine", "of most rows")
		for _, u := range d.Weights.Unlike {
			cells := u.Cells()
			t.row(cells[0], cells[1], decimal(cells[2]), decimal(cells[3]))
		}
		if err := t.flush(); err != nil {
			return err
		}
	}
	p.printf("\n%s equal, %d different, %d only in A, %d only in B\n", plural(d.EqualKeys, "key"), len(d.Keys), len(d.KeysA), len(d.KeysB))
	p.printf("%s compared (%d parameters), %d not comparable, %d only in A, %d only in B\n",
		plural(len(d.Tensors), "tensor"), d.Parameters, len(d.Unlike), len(d.TensorsA), len(d.TensorsB))
	return p.err
}

func scientific(x number) decimal {
	switch {
	case x == 0:
		return "0"
	case math.IsNaN(float64(x)):
		return "NaN"
	}
	return decimal(fmt.Sprintf("%.3e", float64(x)))
}
