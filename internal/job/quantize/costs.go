package quantize

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/phi3conv/phi3conv/calib/alloc"
	"github.com/phi3conv/phi3conv/calib/stats"
	"github.com/phi3conv/phi3conv/formats"
	"github.com/phi3conv/phi3conv/internal/atomicfile"
	"github.com/phi3conv/phi3conv/internal/progress"
	"github.com/phi3conv/phi3conv/internal/report"
	"github.com/phi3conv/phi3conv/internal/usage"
	"github.com/phi3conv/phi3conv/internal/work"
	"github.com/phi3conv/phi3conv/runtime"
)

// costsFile is a file of what a part of measuring costs has found. Budgets of all sizes take the same costs.
type costsFile struct {
	Form     int             `json:"phi3conv_costs"` // costsForm
	Weights  string          `json:"source_sha256"`
	Stats    string          `json:"stats_sha256"`
	Shard    work.Part       `json:"shard"`
	Measured *alloc.Measured `json:"measured"`

	path string
}

const (
	costsForm = 2        // 1 had gains on fewer tokens, and no rounding
	maxCosts  = 64 << 20 // more than any model's
)

// MeasuredPart says what [Measure] has done.
type MeasuredPart struct {
	Output  string    `json:"output"`
	Shard   work.Part `json:"shard"`
	Tensors int       `json:"tensors"` // whose costs the part has
	Layers  int       `json:"layers"`  // where it has measured what the method gains
	Seconds float64   `json:"seconds"`
}

// WriteText writes it for people.
func (m *MeasuredPart) WriteText(w io.Writer) error {
	_, err := fmt.Fprintf(w, "%s: part %d of %d of the costs: %s, gains in %s; %.1f s\n",
		m.Output, m.Shard.I, m.Shard.N, report.Plural(m.Tensors, "tensor"),
		report.Plural(m.Layers, "layer"), m.Seconds)
	return err
}

// Measure measures a part of what a budget needs to know, and writes it to the file out, for Options.Costs. The limit
// does not matter, but whether it is one of bits per weight does: then embedding and output matrix have no choice.
func Measure(
	ctx context.Context, in, out string, shard work.Part, opt Options, m progress.Monitor,
) (*MeasuredPart, error) {
	start := time.Now()
	if opt.Budget == nil {
		return nil, usage.Errorf("--shard is for --size, --bpw or --max-kld")
	}
	if len(opt.Costs) > 0 {
		return nil, usage.Errorf("--shard measures what --costs has")
	}
	j, err := prepare(ctx, in, out, opt, m)
	if err != nil {
		return nil, err
	}
	defer j.Close()
	f, err := j.measure(ctx, opt.Budget, shard)
	if err != nil {
		return nil, work.Interrupted(err, ", %s was not written", out)
	}
	data, err := json.Marshal(f)
	if err != nil {
		return nil, err
	}
	if err := atomicfile.Save(out, append(data, '\n')); err != nil {
		return nil, err
	}
	return &MeasuredPart{Output: out, Shard: shard, Tensors: len(f.Measured.Costs), Layers: len(f.Measured.Errors),
		Seconds: time.Since(start).Seconds()}, nil
}

func (j *Job) measure(ctx context.Context, b *Budget, shard work.Part) (*costsFile, error) {
	if err := b.check(j); err != nil {
		return nil, err
	}
	if err := j.hashSource(ctx); err != nil {
		return nil, err
	}
	f := &costsFile{Form: costsForm, Weights: j.weights, Stats: j.stats.sha256, Shard: shard}
	a := &allocator{Job: j, budget: b, pinned: map[string]bool{}}
	err := a.withLayers(func(l *runtime.Layers, opt alloc.Options) (err error) {
		f.Measured, err = alloc.Measure(ctx, l, j.stats.File, opt, stats.Shard(shard))
		return err
	})
	return f, err
}

// readCosts reads the files of all parts, nil if there are none.
func (j *Job) readCosts(ctx context.Context, paths []string) (*alloc.Measured, error) {
	if len(paths) == 0 {
		return nil, nil
	}
	if err := j.hashSource(ctx); err != nil {
		return nil, err
	}
	var files []*costsFile
	for _, path := range paths {
		f, err := readCostsFile(path)
		if err != nil {
			return nil, formats.WithPath(err, path)
		}
		switch {
		case f.Weights != j.weights:
			return nil, formats.FileErrorf(path, -1, "it is of another model")
		case f.Stats != j.stats.sha256:
			return nil, formats.FileErrorf(path, -1, "it was measured with other statistics")
		}
		files = append(files, f)
	}
	slices.SortStableFunc(files, func(a, b *costsFile) int { return a.Shard.I - b.Shard.I })
	all := &alloc.Measured{Options: files[0].Measured.Options, Divergences: true}
	var parts []work.Part
	for _, f := range files {
		parts = append(parts, f.Shard)
		all.Join(f.Measured)
	}
	if at, wrong := work.CheckParts(parts); wrong != "" {
		return nil, formats.FileErrorf(files[at].path, -1, "%s", wrong)
	}
	return all, nil
}

func readCostsFile(path string) (*costsFile, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }() // only read from
	data, err := io.ReadAll(io.LimitReader(file, maxCosts+1))
	if err != nil {
		return nil, err
	}
	f := &costsFile{path: path}
	switch err := json.Unmarshal(data, f); {
	case err != nil || f.Form == 0 || f.Measured == nil || len(data) > maxCosts:
		return nil, formats.Errorf(-1, "no file of quantize --shard, or one that is cut off")
	case f.Form != costsForm:
		return nil, formats.Errorf(-1, "its form is %d, expected %d: another version of phi3conv has measured it; "+
			"measure again, with quantize --shard", f.Form, costsForm)
	}
	return f, nil
}

// costsError adds to an error of what was measured which files that is from.
func costsError(err error, paths []string) error {
	if len(paths) == 0 {
		return err
	}
	return formats.WithPath(err, strings.Join(paths, ", "))
}
