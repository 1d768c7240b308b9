package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/dustin/go-humanize"
	"github.com/phi3conv/phi3conv/formats"
	"github.com/phi3conv/phi3conv/internal/arch"
	"github.com/phi3conv/phi3conv/internal/source"
	"github.com/phi3conv/phi3conv/internal/tensorfile"
	"github.com/phi3conv/phi3conv/quant/policy"
	"github.com/phi3conv/phi3conv/verify/tensorstats"
	"github.com/urfave/cli/v2"
	"golang.org/x/sync/errgroup"
)

var inspectCommand = &cli.Command{
	Name:      "inspect",
	Usage:     "show what is in a model, or how two models differ",
	ArgsUsage: "FILE|DIR, --check FILE, or --diff A B",
	Description: `FILE is a GGUF file of any architecture (or any part of a split one), of the
tensor types F32, F16, BF16, Q4_0 to Q8_0, Q2_K to Q6_K, IQ4_NL and IQ4_XS, a
.pmap file or a .safetensors file; DIR is a checkpoint directory. Shapes are rows, columns, for
GGUF files too. Long arrays and texts are shortened.

--tensor reads the values of a tensor, named as in the checkpoint or as in a GGUF
file, and shows their statistics.

--check reads all of a .pmap file and compares it with its checksums. It names the tensors and
sections that are damaged and exits with 1 if there are any.

--diff compares two models, of which the first is the reference: keys, tensors,
and the values of every tensor in both. A checkpoint directory has the keys and
names of the GGUF file that its conversion gives, but for general.file_type and
general.quantization_version. With --json, sqnr_db is null where it is infinite or
not a number; tensors are equal if rmse is 0. It exits with 0 also when the models
differ. Examples:

   phi3conv inspect Phi-3-mini-4k-instruct
   phi3conv inspect phi-3-mini-Q4_K_M.gguf --tensor blk.0.ffn_down.weight
   phi3conv inspect --diff Phi-3-mini-4k-instruct phi-3-mini-Q4_K_M.gguf`,
	Flags: []cli.Flag{
		&cli.StringSliceFlag{Name: "tensor", Usage: "show statistics of the tensor `NAME`; repeatable"},
		&cli.BoolFlag{Name: "check", Usage: "compare a .pmap file with its checksums"},
		&cli.BoolFlag{Name: "diff", Usage: "compare two models"},
		&cli.BoolFlag{Name: "json", Usage: "print JSON"},
		threadsFlag(),
	},
	Action: func(c *cli.Context) error {
		names := c.StringSlice("tensor")
		threads, err := threads(c)
		if err != nil {
			return err
		}
		switch {
		case c.Bool("diff") && (c.NArg() != 2 || len(names) > 0):
			return usagef("inspect --diff takes two models and no --tensor, got %d arguments", c.NArg())
		case c.Bool("diff"):
			return inspectDiff(c, c.Args().Get(0), c.Args().Get(1), threads)
		case c.NArg() != 1:
			return usagef("inspect takes one FILE or DIR, got %d arguments", c.NArg())
		case c.Bool("check") && len(names) > 0:
			return usagef("inspect takes --check or --tensor")
		case c.Bool("check"):
			return inspectCheck(c, c.Args().First(), threads)
		}
		m, err := openInspected(c.Args().First())
		if err != nil {
			return err
		}
		defer m.close()
		if len(names) > 0 {
			return inspectTensors(c, m, names, threads)
		}
		if c.Bool("json") {
			return printJSON(c.App.Writer, m.overview())
		}
		return printOverview(c.App.Writer, m)
	},
}

// inspected is an open file or directory.
type inspected struct {
	path   string
	file   *tensorfile.File
	config *arch.Config               // nil if it is no model of a known architecture
	fields map[string]json.RawMessage // config.json of a directory
}

func openInspected(path string) (*inspected, error) {
	file, err := tensorfile.Open(path)
	if err != nil {
		return nil, err
	}
	m := &inspected{path: path, file: file}
	if file.GGUF != nil {
		m.config, _ = source.GGUFConfig(file.GGUF) // other architectures are shown too
		return m, nil
	}
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		m.config, _ = source.ReadConfig(path)
		if f, err := os.Open(filepath.Join(path, "config.json")); err == nil {
			_ = json.NewDecoder(io.LimitReader(f, 16<<20)).Decode(&m.fields) // shown if it is an object
			_ = f.Close()
		}
	}
	return m, nil
}

func (m *inspected) close() { _ = m.file.Close() } // only read from

// tensors lists the tensors with their names in a GGUF file, if they have one.
// The LongRoPE factors of a checkpoint are tensors too, as they are in a GGUF file.
func (m *inspected) tensors() (names []string, list []*tensorfile.Tensor) {
	names = make([]string, len(m.file.Tensors))
	byHF := make(map[string]string)
	if m.config != nil && m.file.GGUF == nil {
		for _, t := range m.config.Tensors() {
			byHF[t.HF] = t.GGUF
		}
	}
	for i := range m.file.Tensors {
		t := &m.file.Tensors[i]
		names[i] = t.Name
		if name, ok := byHF[t.Name]; ok {
			names[i] = name
		}
		list = append(list, t)
	}
	if m.config != nil && m.file.GGUF == nil {
		factors := m.config.FactorTensors()
		for _, name := range slices.Sorted(maps.Keys(factors)) {
			t := tensorfile.FromValues(name, factors[name])
			names, list = append(names, name), append(list, &t)
		}
	}
	return names, list
}

// tensor finds a tensor by its name in the checkpoint or in a GGUF file.
func (m *inspected) tensor(name string) (*tensorfile.Tensor, error) {
	if t := m.file.Tensor(name); t != nil {
		return t, nil
	}
	if m.config != nil {
		for _, t := range m.config.Tensors() {
			if t.HF == name {
				name = t.GGUF
			}
		}
	}
	names, list := m.tensors()
	if i := slices.Index(names, name); i >= 0 {
		return list[i], nil
	}
	return nil, &formats.Error{Path: m.path, Off: -1, What: fmt.Sprintf("no tensor %q; phi3conv inspect %s lists those that are there", name, m.path)}
}

// The overview.

type overviewJSON struct {
	Path      string                     `json:"path"`
	Format    string                     `json:"format"`
	Version   uint32                     `json:"version,omitempty"`   // of GGUF
	Alignment int64                      `json:"alignment,omitempty"` // of GGUF, bytes
	Files     []fileJSON                 `json:"files"`
	Model     string                     `json:"model,omitempty"` // the configuration in words
	Metadata  []keyJSON                  `json:"metadata"`
	Config    map[string]json.RawMessage `json:"config,omitempty"` // config.json of a directory
	Tensors   []storedJSON               `json:"tensors"`
	Total     totalJSON                  `json:"total"`
}

// keyJSON is a key with its value; of an array of more than maxArray elements the first.
type keyJSON struct {
	Key   string `json:"key"`
	Type  string `json:"type"` // such as "uint32" or "string[32064]"
	Value any    `json:"value"`
	Cut   bool   `json:"shortened,omitempty"`
}

type storedJSON struct {
	Name  string   `json:"name"`
	Type  string   `json:"type"`
	Shape []uint64 `json:"shape"` // rows, columns
	Elems int64    `json:"parameters"`
	Bytes int64    `json:"bytes"`
	Bits  number   `json:"bits_per_weight"`
}

type totalJSON struct {
	Tensors int          `json:"tensors"`
	Elems   int64        `json:"parameters"`
	Bytes   int64        `json:"bytes"`
	Bits    number       `json:"bits_per_weight"`
	Types   []storedType `json:"types"` // by bytes, the most first
}

type storedType struct {
	Type    string `json:"type"`
	Tensors int    `json:"tensors"`
	Elems   int64  `json:"parameters"`
	Bytes   int64  `json:"bytes"`
}

func bitsPerWeight(bytes, elems int64) number { return number(8 * float64(bytes) / float64(elems)) }

func (m *inspected) overview() *overviewJSON {
	o := &overviewJSON{Path: m.path, Format: m.file.Format, Config: m.fields, Metadata: []keyJSON{}, Tensors: []storedJSON{}}
	if g := m.file.GGUF; g != nil {
		o.Version, o.Alignment = g.Version, g.Alignment
		for _, s := range g.Shards {
			o.Files = append(o.Files, fileJSON{s.Path, s.Size})
		}
		for key, v := range g.Metadata.All() {
			o.Metadata = append(o.Metadata, newKeyJSON(key, v))
		}
	} else {
		for _, s := range m.file.Safetensors.Shards {
			o.Files = append(o.Files, fileJSON{s.Path, s.Size})
		}
		md := m.file.Safetensors.Metadata
		for _, key := range slices.Sorted(maps.Keys(md)) {
			o.Metadata = append(o.Metadata, newKeyJSON(key, md[key]))
		}
	}
	if m.config != nil {
		o.Model = describeConfig(m.config)
	}
	o.Total.Types = []storedType{}
	byType := make(map[string]*storedType)
	for i := range m.file.Tensors {
		t := &m.file.Tensors[i]
		shape := t.Shape
		if shape == nil {
			shape = []uint64{} // a scalar; not null
		}
		o.Tensors = append(o.Tensors, storedJSON{t.Name, t.Type, shape, t.Elems, t.Bytes, bitsPerWeight(t.Bytes, t.Elems)})
		s := byType[t.Type]
		if s == nil {
			s = &storedType{Type: t.Type}
			byType[t.Type] = s
		}
		s.Tensors++
		s.Elems += t.Elems
		s.Bytes += t.Bytes
		o.Total.Tensors++
		o.Total.Elems += t.Elems
		o.Total.Bytes += t.Bytes
	}
	o.Total.Bits = bitsPerWeight(o.Total.Bytes, o.Total.Elems)
	for _, name := range slices.Sorted(maps.Keys(byType)) {
		o.Total.Types = append(o.Total.Types, *byType[name])
	}
	slices.SortStableFunc(o.Total.Types, func(a, b storedType) int { return cmp.Compare(b.Bytes, a.Bytes) })
	return o
}

// describeConfig writes a configuration on one line.
func describeConfig(c *arch.Config) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s of width %d, %s of %d", c.Arch.Name, plural(c.Layers, "layer"), c.Hidden, plural(c.Heads, "head"), c.HeadDim)
	if c.KVHeads != c.Heads {
		fmt.Fprintf(&b, " (%d for keys and values)", c.KVHeads)
	}
	fmt.Fprintf(&b, ", feed-forward %d, %d tokens, context %d", c.Intermediate, c.VocabSize, c.Context)
	if c.RotaryDims != c.HeadDim {
		fmt.Fprintf(&b, ", %d rotary dimensions", c.RotaryDims)
	}
	if c.LongRope != nil {
		fmt.Fprintf(&b, ", LongRoPE from %d (attention factor %.6f)", c.OriginalContext, c.LongRope.AttnFactor)
	}
	if c.SlidingWindow > 0 && c.SlidingWindow < c.Context {
		fmt.Fprintf(&b, ", sliding window %d", c.SlidingWindow)
	}
	if c.Tied {
		b.WriteString(", tied embedding")
	}
	return b.String()
}

func printOverview(w io.Writer, m *inspected) error {
	o := m.overview()
	p := &printer{w: w}
	var size int64
	for _, f := range o.Files {
		size += f.Bytes
	}
	if o.Version > 0 {
		recipe := ""
		if n, ok := m.file.GGUF.Metadata.Uint("general.file_type"); ok {
			if ft, ok := policy.FileTypeByGGUF(n); ok {
				recipe = ", " + ft.String()
			}
		}
		if o.Format == "pmap" {
			p.printf("%s: stands for GGUF version %d%s, alignment %d, %s\n", o.Path, o.Version, recipe, o.Alignment, byteSize(size))
		} else {
			p.printf("%s: GGUF version %d%s, alignment %d, %s\n", o.Path, o.Version, recipe, o.Alignment, byteSize(size))
		}
	} else {
		p.printf("%s: safetensors, %s\n", o.Path, byteSize(size))
	}
	if len(o.Files) > 1 {
		for _, f := range o.Files {
			p.printf("  %s: %s\n", filepath.Base(f.Path), byteSize(f.Bytes))
		}
	}
	if o.Model != "" {
		p.printf("%s\n", o.Model)
	}
	if p.err != nil {
		return p.err
	}
	if len(o.Config) > 0 {
		p.printf("\n")
		t := newTable(w, "config.json", "value")
		for _, key := range slices.Sorted(maps.Keys(o.Config)) {
			var line bytes.Buffer
			_ = json.Compact(&line, o.Config[key]) // it is valid: it was parsed
			t.row(printable(key), shorten(line.String()))
		}
		if err := t.flush(); err != nil {
			return err
		}
	}
	if len(o.Metadata) > 0 {
		p.printf("\n")
		t := newTable(w, "key", "type", "value")
		for _, k := range o.Metadata {
			t.row(printable(k.Key), k.Type, valueText(k))
		}
		if err := t.flush(); err != nil {
			return err
		}
	}
	p.printf("\n")
	t := newTable(w, "tensor", "type", "shape", "bytes", "bits/weight")
	for _, x := range o.Tensors {
		t.row(printable(x.Name), x.Type, fmt.Sprint(x.Shape), x.Bytes, decimals(x.Bits, 2))
	}
	if err := t.flush(); err != nil {
		return err
	}
	p.printf("\n")
	t = newTable(w, "type", "tensors", "parameters", "bytes", "bits/weight")
	for _, x := range append(o.Total.Types, storedType{"total", o.Total.Tensors, o.Total.Elems, o.Total.Bytes}) {
		t.row(x.Type, x.Tensors, x.Elems, x.Bytes, decimals(bitsPerWeight(x.Bytes, x.Elems), 4))
	}
	if err := t.flush(); err != nil {
		return err
	}
	return p.err
}

func byteSize(n int64) string {
	if n < 1<<10 {
		return fmt.Sprintf("%d bytes", n)
	}
	return fmt.Sprintf("%d bytes (%s)", n, humanize.IBytes(uint64(n)))
}

func decimals(x number, digits int) decimal {
	if math.IsNaN(float64(x)) {
		return "-"
	}
	return decimal(strconv.FormatFloat(float64(x), 'f', digits, 64))
}

// Values of keys.

const (
	maxArray = 16 // elements of an array that are shown
	maxText  = 60 // characters of a text that are shown
)

func newKeyJSON(key string, v any) keyJSON {
	rv := reflect.ValueOf(v)
	if rv.Kind() != reflect.Slice {
		return keyJSON{Key: key, Type: fmt.Sprintf("%T", v), Value: jsonValue(v)}
	}
	typ := rv.Type().Elem().String()
	if _, ok := v.([]any); ok {
		typ = "array"
	}
	k := keyJSON{Key: key, Type: fmt.Sprintf("%s[%d]", typ, rv.Len()), Cut: rv.Len() > maxArray}
	first := make([]any, min(rv.Len(), maxArray))
	for i := range first {
		first[i] = jsonValue(rv.Index(i).Interface())
	}
	k.Value = first
	return k
}

// jsonValue returns a metadata value in a form that JSON has.
func jsonValue(v any) any {
	switch v := v.(type) {
	case float32:
		if v-v != 0 {
			return nil
		}
	case float64:
		return number(v)
	}
	if rv := reflect.ValueOf(v); rv.Kind() == reflect.Slice { // an array in an array
		k := newKeyJSON("", v)
		return k.Value
	}
	return v
}

// valueText writes a value on one line.
func valueText(k keyJSON) string {
	switch v := k.Value.(type) {
	case nil:
		return "not finite"
	case string:
		return shortText(v)
	case []any:
		var b strings.Builder
		b.WriteString("[")
		for i, x := range v {
			if i > 0 {
				b.WriteString(", ")
			}
			text := valueText(keyJSON{Value: x})
			if b.Len()+len(text) > maxText {
				b.WriteString("…")
				break
			}
			b.WriteString(text)
			if i == len(v)-1 && k.Cut {
				b.WriteString(", …")
			}
		}
		b.WriteString("]")
		return b.String()
	}
	return fmt.Sprint(k.Value)
}

// firstRunes returns the first characters of a text, all of them or more than maxText.
func firstRunes(s string) []rune {
	return []rune(s[:min(len(s), (maxText+1)*utf8.UTFMax)])
}

// shortText quotes a text and cuts it.
func shortText(s string) string {
	if runes := firstRunes(s); len(runes) > maxText {
		return fmt.Sprintf("%q… (%d bytes)", string(runes[:maxText]), len(s))
	}
	return strconv.Quote(s)
}

// shorten cuts JSON text.
func shorten(s string) string {
	if runes := firstRunes(s); len(runes) > maxText {
		s = string(runes[:maxText]) + "…"
	}
	return printable(s)
}

// Statistics of single tensors.

type statsJSON struct {
	Name     string        `json:"name"`
	Type     string        `json:"type"`
	Shape    []uint64      `json:"shape"` // rows, columns
	Elems    int64         `json:"parameters"`
	Bytes    int64         `json:"bytes"`
	Bits     number        `json:"bits_per_weight"`
	Min      float32       `json:"min"` // this and what follows: of the finite values
	Max      float32       `json:"max"`
	AbsMax   float32       `json:"abs_max"`
	Mean     number        `json:"mean"`
	Std      number        `json:"std"`
	Zeros    int64         `json:"zeros"`
	NaN      int64         `json:"nan"`
	Inf      int64         `json:"infinite"`
	Outliers int64         `json:"outliers"`         // beyond 6 standard deviations
	Farthest []extremeJSON `json:"farthest"`         // from the mean
	Edges    []number      `json:"histogram_edges"`  // first and last bin are open
	Counts   []int64       `json:"histogram_counts"` // one fewer
}

type extremeJSON struct {
	Row   int64   `json:"row"`
	Col   int64   `json:"column"`
	Value float32 `json:"value"`
	Sigma number  `json:"sigma"` // standard deviations from the mean
}

func inspectTensors(c *cli.Context, m *inspected, names []string, threads int) error {
	all := make([]*statsJSON, len(names))
	g, ctx := errgroup.WithContext(c.Context)
	g.SetLimit(threads)
	for i, name := range names {
		t, err := m.tensor(name)
		if err != nil {
			return err
		}
		g.Go(func() (err error) {
			all[i], err = statistics(ctx, t)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	if c.Bool("json") {
		return printJSON(c.App.Writer, struct {
			Path    string       `json:"path"`
			Tensors []*statsJSON `json:"tensors"`
		}{m.path, all})
	}
	p := &printer{w: c.App.Writer}
	for i, s := range all {
		if i > 0 {
			p.printf("\n")
		}
		printStatistics(p, s)
	}
	return p.err
}

// statistics reads the tensor twice.
func statistics(ctx context.Context, t *tensorfile.Tensor) (*statsJSON, error) {
	var s tensorstats.Stats
	if err := eachValue(ctx, t, s.Add); err != nil {
		return nil, err
	}
	d := tensorstats.NewDistribution(&s)
	if err := eachValue(ctx, t, d.Add); err != nil {
		return nil, err
	}
	j := &statsJSON{Name: t.Name, Type: t.Type, Shape: t.Shape, Elems: t.Elems, Bytes: t.Bytes, Bits: bitsPerWeight(t.Bytes, t.Elems),
		Min: s.Min, Max: s.Max, AbsMax: s.AbsMax(), Mean: number(s.Mean()), Std: number(s.Std()), Zeros: s.Zero, NaN: s.NaN, Inf: s.Inf,
		Outliers: d.Outliers, Farthest: []extremeJSON{}, Counts: d.Bin[:]}
	for _, e := range d.Top {
		row, col := t.Place(e.Index)
		j.Farthest = append(j.Farthest, extremeJSON{row, col, e.Value, number(d.Sigma(e.Value))})
	}
	for i := range tensorstats.Bins + 1 {
		j.Edges = append(j.Edges, number(d.Edge(i)))
	}
	return j, nil
}

// eachValue calls f with the tensor's values, piece by piece.
func eachValue(ctx context.Context, t *tensorfile.Tensor, f func([]float32)) error {
	if t.Unusable != nil {
		return &formats.Error{Path: t.Path, Off: -1, What: "tensor " + t.Name, Err: t.Unusable}
	}
	for r := t.Reader(); ; {
		if err := ctx.Err(); err != nil {
			return err
		}
		x, _, err := r.Next()
		if errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		f(x)
	}
}

func printStatistics(p *printer, s *statsJSON) {
	p.printf("%s\n", printable(s.Name))
	p.printf("  %s %d, %d values, %d bytes, %.2f bits per weight\n", s.Type, s.Shape, s.Elems, s.Bytes, s.Bits)
	p.printf("  min %.6g  max %.6g  abs max %.6g  mean %.6g  std %.6g\n", s.Min, s.Max, s.AbsMax, s.Mean, s.Std)
	p.printf("  zeros %d  NaN %d  infinite %d  beyond %d std %d\n", s.Zeros, s.NaN, s.Inf, tensorstats.Sigmas, s.Outliers)
	if s.Elems == s.NaN+s.Inf || s.Std == 0 {
		return
	}
	p.printf("\n")
	t := newTable(p.w, "  farthest from the mean:", "row", "column", "value", "std")
	for _, e := range s.Farthest {
		t.row("", e.Row, e.Col, decimal(fmt.Sprintf("%.6g", e.Value)), decimals(e.Sigma, 1))
	}
	if err := t.flush(); p.err == nil {
		p.err = err
	}
	p.printf("\n  values from (half a std each)\n")
	const width = 32 // of the longest bar
	most := slices.Max(s.Counts)
	for i, n := range s.Counts {
		label := fmt.Sprintf("%.3g", float64(s.Edges[i]))
		switch i {
		case 0:
			label = "below"
		case len(s.Counts) - 1:
			label = "≥ " + label
		}
		bar := strings.Repeat("#", int((n*width+most-1)/most)) // at least one for one value
		p.printf("  %10s  %-*s  %6.2f %%\n", label, width, bar, 100*float64(n)/float64(s.Elems-s.NaN-s.Inf))
	}
}

// The difference of two models.
