package verify

import (
	"context"
	"fmt"
	"slices"

	"github.com/phi3conv/phi3conv/formats"
	"github.com/phi3conv/phi3conv/internal/arch"
	"github.com/phi3conv/phi3conv/internal/job/model"
	"github.com/phi3conv/phi3conv/internal/progress"
	"github.com/phi3conv/phi3conv/internal/source"
	"github.com/phi3conv/phi3conv/runtime/tokenizer"
	"github.com/phi3conv/phi3conv/verify"
)

// checkHeaders finds what the models' headers tell before anything is evaluated: the first is the original, the
// others must be quantized from it, and all must be made for windows of context tokens. It notes what was assumed.
func checkHeaders(paths []string, context int, monitor progress.Monitor) error {
	var original *arch.Config
	for i, path := range paths {
		m, err := source.Open(path)
		if err != nil {
			return err
		}
		cfg := m.Config
		_ = m.Close() // only read from
		if i == 0 {
			original = cfg
		} else if d := cfg.Difference(original); d != "" {
			return formats.FileErrorf(path, -1, "another model than the original: %s", d)
		}
		if context > cfg.Context {
			return fmt.Errorf("%s: a context of %d tokens; the model was made for 1 to %d", path, context, cfg.Context)
		}
		tok, err := tokenizer.Open(path)
		if err != nil {
			return err
		}
		model.NoteAssumed(monitor, path, slices.Concat(tok.Assumed(), cfg.Assumed))
	}
	return nil
}

// descriptions are those of models, made in the background since that reads all weights.
type descriptions struct {
	done   chan struct{}
	cancel context.CancelFunc
	models []verify.Model
	err    error
}

// describe describes each model once. The caller ends it with close.
func describe(ctx context.Context, paths []string) *descriptions {
	ctx, cancel := context.WithCancel(ctx)
	d := &descriptions{done: make(chan struct{}), cancel: cancel}
	go func() {
		defer close(d.done)
		for i, path := range paths {
			if k := slices.Index(paths[:i], path); k >= 0 {
				d.models = append(d.models, d.models[k])
				continue
			}
			m, err := model.Describe(ctx, path, nil)
			if err != nil {
				d.err = err
				return
			}
			d.models = append(d.models, m)
		}
	}()
	return d
}

// wait returns the models in the order of the paths, when their files are hashed.
func (d *descriptions) wait(m progress.Monitor) ([]verify.Model, error) {
	if !d.ready() {
		step := m.Begin("hashing", 0, progress.Bytes)
		<-d.done
		step.End()
	}
	return d.models, d.err
}

// ready reports whether wait returns at once.
func (d *descriptions) ready() bool {
	select {
	case <-d.done:
		return true
	default:
		return false
	}
}

func (d *descriptions) close() {
	d.cancel()
	<-d.done
}
