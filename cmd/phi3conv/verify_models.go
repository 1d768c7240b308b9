package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/phi3conv/phi3conv/internal/source"
	"github.com/phi3conv/phi3conv/runtime"
	"github.com/phi3conv/phi3conv/verify"
	"github.com/urfave/cli/v2"
)

// predictor is a model for verify.Run.
type predictor struct {
	model *runtime.Model
	seq   *runtime.Sequence
}

func openPredictor(c *cli.Context, path string, opt runtime.Options, context int) (*predictor, error) {
	m, err := open(c, path, opt)
	if err != nil {
		return nil, err
	}
	s, err := m.NewSequence(context)
	if err != nil {
		_ = m.Close() // only read from
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return &predictor{m, s}, nil
}

func (p *predictor) close() { _ = p.model.Close() }

func (p *predictor) VocabSize() int { return p.model.VocabSize() }

func (p *predictor) Logits(ctx context.Context, tokens []int32, first int, emit func(i int, logits []float32) error) error {
	p.seq.Truncate(0)
	return p.model.Eval(ctx, runtime.Request{Seq: p.seq, Tokens: tokens, All: true, First: first, Logits: emit})
}

// describeModel names a model by the type that most of its weights have, and pins its
// weights: the SHA-256 of the file, or of the list of the checksums of all files with weights.
func describeModel(ctx context.Context, path string) (verify.Model, error) {
	m, err := source.Open(path)
	if err != nil {
		return verify.Model{}, err
	}
	defer func() { _ = m.Close() }()
	d := verify.Model{Name: filepath.Base(filepath.Clean(path)), Bytes: m.Bytes()}
	weights := map[string]int64{}
	var files []string
	for i := range m.Tensors {
		t := &m.Tensors[i]
		weights[t.TypeName()] += t.Elems()
		if !slices.Contains(files, t.Path) {
			files = append(files, t.Path)
		}
	}
	for name, n := range weights {
		if most := weights[d.Format]; n > most || n == most && name < d.Format {
			d.Format = name
		}
	}
	slices.Sort(files)
	d.BitsPerWeight = 8 * float64(d.Bytes) / float64(m.Params())
	var list strings.Builder
	for _, f := range files {
		sum, size, err := fileSHA256(ctx, f)
		if err != nil {
			return d, err
		}
		d.SHA256 = sum
		d.FileBytes += size
		fmt.Fprintf(&list, "%s  %s\n", sum, filepath.Base(f))
	}
	if len(files) > 1 {
		sum := sha256.Sum256([]byte(list.String()))
		d.SHA256 = hex.EncodeToString(sum[:])
	}
	return d, nil
}

func fileSHA256(ctx context.Context, path string) (sum string, size int64, err error) {
	f, err := os.Open(path)
	if err != nil {
		return "", 0, err
	}
	defer func() { _ = f.Close() }()
	h := sha256.New()
	size, err = io.Copy(h, readerFunc(func(b []byte) (int, error) {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		return f.Read(b)
	}))
	return hex.EncodeToString(h.Sum(nil)), size, err
}

type readerFunc func(b []byte) (int, error)

func (f readerFunc) Read(b []byte) (int, error) { return f(b) }

// described describes models in the background, each once.
type described struct {
	done   chan struct{}
	cancel context.CancelFunc
	models []verify.Model
	err    error
}

func describeModels(ctx context.Context, paths []string) *described {
	ctx, cancel := context.WithCancel(ctx)
	d := &described{done: make(chan struct{}), cancel: cancel}
	go func() {
		defer close(d.done)
		for i, p := range paths {
			if k := slices.Index(paths[:i], p); k >= 0 {
				d.models = append(d.models, d.models[k])
				continue
			}
			m, err := describeModel(ctx, p)
			if err != nil {
				d.err = err
				return
			}
			d.models = append(d.models, m)
		}
	}()
	return d
}

// wait returns the models in the order of the paths.
func (d *described) wait() ([]verify.Model, error) {
	<-d.done
	return d.models, d.err
}

// ready reports whether wait returns at once.
func (d *described) ready() bool {
	select {
	case <-d.done:
		return true
	default:
		return false
	}
}

// close ends it.
func (d *described) close() {
	d.cancel()
	<-d.done
}
