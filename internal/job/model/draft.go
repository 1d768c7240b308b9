package model

import (
	"context"

	"github.com/phi3conv/phi3conv/internal/progress"
	"github.com/phi3conv/phi3conv/internal/usage"
	"github.com/phi3conv/phi3conv/runtime"
	"github.com/phi3conv/phi3conv/runtime/engine"
	"github.com/phi3conv/phi3conv/runtime/tokenizer"
)

// Draft is a model that guesses what another one will say.
type Draft struct {
	*engine.DraftModel
	model *runtime.Model
}

// OpenDraft opens a model that guesses for up to parallel texts of context tokens. It must have the vocabulary of the
// model that it guesses for, m.
func OpenDraft(
	ctx context.Context, path string, m *runtime.Model, tok *tokenizer.Tokenizer, opt runtime.Options,
	context, parallel int, monitor progress.Monitor,
) (*Draft, error) {
	own, err := tokenizer.Open(path)
	if err != nil {
		return nil, err
	}
	for id := range int32(min(own.VocabSize(), tok.VocabSize())) {
		if a, b := own.Token(id), tok.Token(id); a != b {
			return nil, usage.Errorf("--draft %s has another vocabulary than the model: token %d is %q, expected %q",
				path, id, a, b)
		}
	}
	opt.Progress, opt.Computed = nil, nil
	d := new(Draft)
	if d.model, err = Open(ctx, path, opt, monitor); err != nil {
		return nil, err
	}
	if a, b := d.model.VocabSize(), m.VocabSize(); a != b {
		err = usage.Errorf("--draft %s has another vocabulary than the model: %d tokens, expected %d", path, a, b)
	} else {
		d.DraftModel, err = engine.NewDraftModel(d.model, context, parallel)
	}
	if err != nil {
		_ = d.model.Close() // only read from
		return nil, err
	}
	return d, nil
}

// Close closes the model. No request may use it any more.
func (d *Draft) Close() {
	d.DraftModel.Close()
	_ = d.model.Close() // only read from
}
