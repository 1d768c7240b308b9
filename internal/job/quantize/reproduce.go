package quantize

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	"github.com/phi3conv/phi3conv/calib"
	"github.com/phi3conv/phi3conv/calib/text"
	"github.com/phi3conv/phi3conv/formats"
	"github.com/phi3conv/phi3conv/formats/gguf"
	"github.com/phi3conv/phi3conv/formats/pmap"
	"github.com/phi3conv/phi3conv/internal/atomicfile"
	"github.com/phi3conv/phi3conv/internal/convert"
	"github.com/phi3conv/phi3conv/internal/output"
	"github.com/phi3conv/phi3conv/internal/progress"
	"github.com/phi3conv/phi3conv/internal/usage"
)

// ReproduceOptions say what a file is made again from.
type ReproduceOptions struct {
	Model string // the original: a checkpoint directory or a file
	Stats string // the statistics file, empty for methods without
	// Output keeps what is made under that path. Empty uses a temporary directory.
	Output string
	Limits
}

// Reproduction is a file that is to be made again. Everything about it is decided.
type Reproduction struct {
	path   string
	file   *gguf.File
	job    *Job
	remove func() // what was made without a name for it; or nil
}

// Comparison is what Reproduction.Run finds.
type Comparison struct {
	File   string  `json:"file"`
	Same   bool    `json:"same"`
	Inputs []Input `json:"inputs"`
	// Tensor is the first that differs, Keys are metadata that do.
	Tensor string   `json:"first_different_tensor,omitempty"`
	Why    string   `json:"difference,omitempty"`
	Keys   []string `json:"different_keys"`
	// Whole says that files were compared byte by byte: of split sets and .pmap files, which may hold more, only
	// tensors and metadata are.
	Whole bool `json:"-"`
}

// Input is what a file is made again from.
type Input struct {
	Input    string `json:"input"` // model or stats
	Path     string `json:"path"`
	SHA256   string `json:"sha256"`
	Recorded string `json:"recorded_sha256"` // of what the file was made from
	Same     bool   `json:"same"`
}

// PrepareReproduction decides how to make the file at path again, from its metadata. The monitor may be nil.
// The reproduction must be closed. Until then the memory of the whole program is limited to what opt says.
func PrepareReproduction(
	ctx context.Context, path string, opt ReproduceOptions, m progress.Monitor,
) (_ *Reproduction, err error) {
	r := &Reproduction{path: path, job: &Job{out: opt.Output, recorded: true, monitor: progress.Quiet(m)}}
	defer func() {
		if err != nil {
			r.Close()
		}
	}()
	if r.file, err = pmap.OpenGGUF(path); err != nil {
		return nil, err
	}
	if err := r.readRecipe(opt.Stats != ""); err != nil {
		return nil, err
	}
	if r.job.stats, err = openStats(ctx, opt.Stats); err != nil {
		return nil, err
	}
	if opt.Output == "" {
		dir, remove, err := atomicfile.MkdirTemp("phi3conv-reproduce-")
		if err != nil {
			return nil, err
		}
		r.remove = remove
		r.job.out = filepath.Join(dir, "again"+filepath.Ext(r.file.Shards[0].Path))
	}
	if err := r.plan(ctx, opt); err != nil {
		return nil, err
	}
	return r, nil
}

// readRecipe reads the recipe that the file was made by. stats says that there are statistics.
func (r *Reproduction) readRecipe(stats bool) error {
	text, ok := r.file.Metadata.Str(keyRecipe)
	if !ok {
		return formats.FileErrorf(r.path, -1, "no key %s: it does not say how it was made; "+
			"quantize records that with --method, --stats, --recipe or a budget", keyRecipe)
	}
	recipe, err := calib.ParseRecipe([]byte(text))
	if err != nil {
		return formats.WithPath(fmt.Errorf("%s: %w", keyRecipe, err), r.path)
	}
	switch name := recipe.Method.Name; {
	case recipe.Method.Needs > calib.Nothing && !stats:
		return usage.Errorf("%s was made by the method %s: reproduce needs --stats", r.path, name)
	case recipe.Method.Needs == calib.Nothing && stats:
		return usage.Errorf("%s was made by the method %s, which uses no --stats", r.path, name)
	}
	r.job.recipe = *recipe
	return nil
}

// plan plans what the recipe makes.
func (r *Reproduction) plan(ctx context.Context, opt ReproduceOptions) error {
	j := r.job
	j.options = convert.Options{AllowRequantize: true, Types: j.recipe.Tensors}
	j.options.Policy.FileType = j.recipe.FileType
	j.options.Name, _ = r.file.Metadata.Str("general.name")
	j.origin = originOf(r.file.Metadata)
	if err := j.open(opt.Model, "", nil, opt.Limits); err != nil {
		return err
	}
	if err := j.makePlan(ctx); err != nil {
		return err
	}
	const imatrixName = "quantize.imatrix.file" // the statistics' name, which may have changed
	if name, ok := r.file.Metadata.Str(imatrixName); ok && j.stats != nil {
		j.plan.Metadata.Set(imatrixName, name)
	}
	if text.SketchOf(r.file.Metadata) == nil { // files of earlier versions have none
		j.plan.Metadata.Delete(keySketch)
	}
	return nil
}

// Notes says what a user of the comparison should know.
func (r *Reproduction) Notes() []string { return r.job.notes }

// Close closes the files, and removes what was made unless the options name it.
func (r *Reproduction) Close() {
	r.job.Close()
	if r.file != nil {
		_ = r.file.Close() // only read from
	}
	if r.remove != nil {
		r.remove()
	}
}

// Run makes the file again and compares. What differs is no error.
func (r *Reproduction) Run(ctx context.Context) (*Comparison, error) {
	j := r.job
	c := &Comparison{File: r.path, Keys: []string{}}
	c.addInput("model", j.source.Path, j.weights, r.file, keySource)
	if j.stats != nil {
		c.addInput("stats", j.stats.Path, j.stats.sha256, r.file, keyStats)
	}
	var files []string
	for _, s := range r.file.Shards {
		files = append(files, s.Path)
	}
	if err := output.NotInput(files, j.out); err != nil {
		return nil, err
	}
	if err := refuseOverwrite(j.plan, j.out); err != nil {
		return nil, err
	}
	if err := j.build(ctx); err != nil {
		return nil, err
	}
	again, err := pmap.OpenGGUF(j.out)
	if err != nil {
		return nil, err
	}
	defer func() { _ = again.Close() }() // only read from
	return c, c.compare(r.file, again)
}

// addInput notes an input and whether it is the recorded one.
func (c *Comparison) addInput(what, path, hash string, f *gguf.File, key string) {
	recorded, _ := f.Metadata.Str(key)
	c.Inputs = append(c.Inputs, Input{what, path, hash, recorded, hash == recorded})
}

// compare compares metadata, tensors and, where they can be the same, all bytes.
func (c *Comparison) compare(file, again *gguf.File) error {
	c.Keys = differentKeys(file.Metadata, again.Metadata)
	var err error
	if c.Tensor, c.Why, err = differentTensor(file.Tensors, again.Tensors); err != nil || c.Tensor != "" {
		return err
	}
	c.Same = len(c.Keys) == 0
	c.Whole = len(file.Shards) == 1 && !convert.IsPMAP(c.File)
	if !c.Same || !c.Whole {
		return nil
	}
	at, err := differentByte(file.Shards[0].Path, again.Shards[0].Path)
	if at >= 0 {
		c.Same, c.Why = false, fmt.Sprintf("byte %d of the file", at)
	}
	return err
}

// differentKeys lists the keys that have another value, or are missing on one side. How a file is split does not count.
func differentKeys(a, b *gguf.Metadata) []string {
	keys := []string{}
	for key, value := range a.All() {
		if other, ok := b.Get(key); !ok || !reflect.DeepEqual(value, other) {
			keys = append(keys, key)
		}
	}
	for key := range b.All() {
		if _, ok := a.Get(key); !ok {
			keys = append(keys, key)
		}
	}
	return slices.DeleteFunc(keys, func(key string) bool { return strings.HasPrefix(key, "split.") })
}

// differentTensor returns the name of the first tensor that differs, and how; empty if none does.
func differentTensor(a, b []*gguf.Tensor) (name, why string, err error) {
	for i, t := range a {
		if i >= len(b) {
			return t.Name, "it is not there", nil
		}
		u := b[i]
		switch {
		case u.Name != t.Name:
			return t.Name, fmt.Sprintf("%s is in its place", u.Name), nil
		case u.Type != t.Type || !slices.Equal(u.Dims, t.Dims):
			return t.Name, fmt.Sprintf("it is %s %v, expected %s %v", u.Type, u.Dims, t.Type, t.Dims), nil
		}
		at, err := firstDifference(io.NewSectionReader(t, 0, t.Size()), io.NewSectionReader(u, 0, u.Size()))
		if err != nil {
			return "", "", err
		}
		if at >= 0 {
			return t.Name, fmt.Sprintf("byte %d of %d", at, t.Size()), nil
		}
	}
	if len(b) > len(a) {
		return b[len(a)].Name, "it is not in the file", nil
	}
	return "", "", nil
}

// differentByte returns where two files first differ, -1 for nowhere.
func differentByte(a, b string) (int64, error) {
	f, err := os.Open(a)
	if err != nil {
		return -1, err
	}
	defer func() { _ = f.Close() }() // only read from
	g, err := os.Open(b)
	if err != nil {
		return -1, err
	}
	defer func() { _ = g.Close() }() // only read from
	return firstDifference(f, g)
}

// firstDifference returns where a and b first differ, -1 for nowhere. If one is longer, that is after the other's end.
func firstDifference(a, b io.Reader) (int64, error) {
	x, y := make([]byte, 1<<20), make([]byte, 1<<20)
	for at := int64(0); ; {
		n, err := fill(a, x)
		if err != nil {
			return -1, err
		}
		m, err := fill(b, y)
		if err != nil {
			return -1, err
		}
		k := min(n, m)
		if !bytes.Equal(x[:k], y[:k]) {
			for i := range k {
				if x[i] != y[i] {
					return at + int64(i), nil
				}
			}
		}
		at += int64(k)
		switch {
		case n != m:
			return at, nil
		case n < len(x):
			return -1, nil
		}
	}
}

// fill reads until b is full or r ends.
func fill(r io.Reader, b []byte) (int, error) {
	n, err := io.ReadFull(r, b)
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		err = nil
	}
	return n, err
}
