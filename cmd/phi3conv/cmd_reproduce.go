package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"

	"github.com/phi3conv/phi3conv/calib"
	"github.com/phi3conv/phi3conv/formats"
	"github.com/phi3conv/phi3conv/formats/gguf"
	"github.com/phi3conv/phi3conv/formats/pmap"
	"github.com/phi3conv/phi3conv/internal/convert"
	"github.com/phi3conv/phi3conv/internal/source"
	"github.com/urfave/cli/v2"
)

var reproduceCommand = &cli.Command{
	Name:      "reproduce",
	Usage:     "make a quantized file again from what it says about itself, and compare",
	ArgsUsage: "FILE",
	Description: `FILE's metadata hold the recipe that it was made by, and SHA-256 of the weights and statistics
that it was made from. Builds it again, from --model and --stats, and compares all bytes; of split
sets and .pmap files all tensors and metadata. Exits with 1 if anything differs, and says which tensor is the
first, which keys, and which of the inputs is another. The machine and the number of
threads do not matter. Example:

   phi3conv reproduce phi-3-mini-Q4_K_M.gguf --model Phi-3-mini-4k-instruct --stats stats.gguf`,
	Flags: []cli.Flag{
		&cli.StringFlag{Name: "model", Usage: "the original: a checkpoint `DIR` or a GGUF file"},
		statsFlag(),
		&cli.StringFlag{Name: "output", Aliases: []string{"o"}, Usage: "keep what is built in `FILE` (default: a temporary file, in TMPDIR)"},
		&cli.BoolFlag{Name: "json", Usage: "print the result as JSON"},
		maxRAMFlag(),
		threadsFlag(),
	},
	Action: reproduceAction,
}

// reproduction is the result as it is printed.
type reproduction struct {
	File   string           `json:"file"`
	Same   bool             `json:"same"`
	Inputs []reproduceInput `json:"inputs"`
	// Tensor is the first that differs, Keys are metadata that do.
	Tensor string   `json:"first_different_tensor,omitempty"`
	Why    string   `json:"difference,omitempty"`
	Keys   []string `json:"different_keys"`
	// whole says that files were compared byte by byte: of split sets and .pmap files, which may hold more, only
	// tensors and metadata are.
	whole bool
}

type reproduceInput struct {
	Input    string `json:"input"` // model or stats
	Path     string `json:"path"`
	SHA256   string `json:"sha256"`
	Recorded string `json:"recorded_sha256"`
	Same     bool   `json:"same"`
}

func reproduceAction(c *cli.Context) error {
	if c.NArg() != 1 || !c.IsSet("model") {
		return usagef("reproduce takes one FILE and --model")
	}
	path := c.Args().First()
	f, err := pmap.OpenGGUF(path)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }() // only read from
	text, ok := f.Metadata.Str(keyRecipe)
	if !ok {
		return &formats.Error{Path: path, Off: -1, What: "no key " + keyRecipe + ": it does not say how it was made; quantize records that with --method, --stats, --recipe or a budget"}
	}
	recipe, err := calib.ParseRecipe([]byte(text))
	if err != nil {
		return formats.WithPath(fmt.Errorf("%s: %w", keyRecipe, err), path)
	}
	meth := &method{Recipe: *recipe, recorded: true}
	if meth.Method.Importance != c.IsSet("stats") {
		if meth.Method.Importance {
			return usagef("%s was made by the method %s: reproduce needs --stats", path, meth.Method.Name)
		}
		return usagef("%s was made by the method %s, which uses no --stats", path, meth.Method.Name)
	}
	if err := meth.open(c); err != nil {
		return err
	}
	defer meth.close()
	r := &reproduction{File: path, Keys: []string{}}
	if err := rebuild(c, meth, f, r); err != nil {
		return err
	}
	if c.Bool("json") {
		err = printJSON(c.App.Writer, r)
	} else {
		err = r.print(c.App.Writer)
	}
	if err == nil && !r.Same {
		err = errCheckFailed
	}
	return err
}

// rebuild builds f again and compares.
func rebuild(c *cli.Context, meth *method, f *gguf.File, r *reproduction) error {
	threads := c.Int("threads")
	ram, err := memory(c, meth, threads)
	if err != nil {
		return err
	}
	m, err := source.Open(c.String("model"))
	if err != nil {
		return err
	}
	defer func() { _ = m.Close() }()
	opt := convert.Options{AllowRequantize: true, Types: meth.Tensors}
	opt.Policy.FileType = meth.FileType
	opt.Name, _ = f.Metadata.Str("general.name")
	if meth.Method.Importance {
		opt.Imatrix = importance(meth.stats)
	}
	plan, err := meth.plan(c, m, opt)
	if err != nil {
		return err
	}
	const imatrixName = "quantize.imatrix.file" // the statistics' name, which may have changed
	if name, ok := f.Metadata.Str(imatrixName); ok && meth.stats != nil {
		plan.Metadata.Set(imatrixName, name)
	}
	r.input("model", m.Path, meth.weights, f, keySource)
	if meth.stats != nil {
		r.input("stats", meth.stats.Path, meth.hash, f, keyStats)
	}
	out := c.String("output")
	if out == "" {
		dir, err := os.MkdirTemp("", "phi3conv-reproduce-")
		if err != nil {
			return err
		}
		defer func() { _ = os.RemoveAll(dir) }()
		out = filepath.Join(dir, "again"+filepath.Ext(f.Shards[0].Path))
	} else {
		for _, s := range f.Shards {
			if err := refuseReplacing([]string{s.Path}, out); err != nil {
				return err
			}
		}
	}
	if err := refuseOverwrite(plan, out); err != nil {
		return err
	}
	if err := meth.build(c, plan, out, threads, ram); err != nil {
		return err
	}
	again, err := pmap.OpenGGUF(out)
	if err != nil {
		return err
	}
	defer func() { _ = again.Close() }() // only read from
	return r.compare(f, again)
}

// input notes an input and whether it is the recorded one.
func (r *reproduction) input(what, path, hash string, f *gguf.File, key string) {
	recorded, _ := f.Metadata.Str(key)
	r.Inputs = append(r.Inputs, reproduceInput{what, path, hash, recorded, hash == recorded})
}

// compare compares files, metadata and tensors.
func (r *reproduction) compare(a, b *gguf.File) error {
	for _, pair := range [][2]*gguf.File{{a, b}, {b, a}} {
		for key, value := range pair[0].Metadata.All() {
			other, ok := pair[1].Metadata.Get(key)
			if ok && (reflect.DeepEqual(value, other) || pair[0] == b) || strings.HasPrefix(key, "split.") {
				continue
			}
			r.Keys = append(r.Keys, key)
		}
	}
	for i, t := range a.Tensors {
		why := ""
		if i >= len(b.Tensors) {
			why = "it is not there"
		} else if u := b.Tensors[i]; u.Name != t.Name {
			why = fmt.Sprintf("%s is in its place", u.Name)
		} else if u.Type != t.Type || !reflect.DeepEqual(u.Dims, t.Dims) {
			why = fmt.Sprintf("it is %s %v, expected %s %v", u.Type, u.Dims, t.Type, t.Dims)
		} else if at, err := difference(io.NewSectionReader(t, 0, t.Size()), io.NewSectionReader(u, 0, u.Size())); err != nil {
			return err
		} else if at >= 0 {
			why = fmt.Sprintf("byte %d of %d", at, t.Size())
		}
		if why != "" {
			r.Tensor, r.Why = t.Name, why
			return nil
		}
	}
	if len(b.Tensors) > len(a.Tensors) {
		r.Tensor, r.Why = b.Tensors[len(a.Tensors)].Name, "it is not in the file"
		return nil
	}
	r.Same = len(r.Keys) == 0
	if r.whole = len(a.Shards) == 1 && !convert.IsPMAP(r.File); !r.Same || !r.whole {
		return nil
	}
	files := make([]*os.File, 2)
	for i, path := range []string{a.Shards[0].Path, b.Shards[0].Path} {
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer func() { _ = f.Close() }()
		files[i] = f
	}
	at, err := difference(files[0], files[1])
	if at >= 0 {
		r.Same, r.Why = false, fmt.Sprintf("byte %d of the file", at)
	}
	return err
}

// difference returns where a and b first differ, -1 for nowhere.
func difference(a, b io.Reader) (int64, error) {
	x, y := make([]byte, 1<<20), make([]byte, 1<<20)
	for at := int64(0); ; {
		n, err := io.ReadFull(a, x)
		m, err2 := io.ReadFull(b, y)
		if k := min(n, m); !bytes.Equal(x[:k], y[:k]) {
			for i := range k {
				if x[i] != y[i] {
					return at + int64(i), nil
				}
			}
		}
		if at += int64(min(n, m)); n != m {
			return at, nil
		}
		for _, e := range []error{err, err2} {
			if e != nil && e != io.EOF && e != io.ErrUnexpectedEOF {
				return 0, e
			}
		}
		if n < len(x) {
			return -1, nil
		}
	}
}

func (r *reproduction) print(w io.Writer) error {
	p := &printer{w: w}
	for _, in := range r.Inputs {
		if in.Same {
			p.printf("%s %s: the one it was made from\n", in.Input, in.Path)
		} else {
			p.printf("%s %s: another one than it was made from: SHA-256 %s, recorded %s\n", in.Input, in.Path, in.SHA256, in.Recorded)
		}
	}
	for _, key := range r.Keys {
		p.printf("key %s differs\n", printable(key))
	}
	switch {
	case r.Same && r.whole:
		p.printf("%s: the same bytes\n", r.File)
	case r.Same:
		p.printf("%s: the same tensors and metadata\n", r.File)
	case r.Tensor != "":
		p.printf("%s: the first tensor that differs is %s: %s\n", r.File, printable(r.Tensor), r.Why)
	case r.Why != "":
		p.printf("%s: differs: %s\n", r.File, r.Why)
	default:
		p.printf("%s: the same tensors, other metadata\n", r.File)
	}
	return p.err
}
