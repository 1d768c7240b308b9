package calibrate

import (
	"context"
	"fmt"

	"github.com/phi3conv/phi3conv/calib/stats"
	"github.com/phi3conv/phi3conv/calib/text"
	"github.com/phi3conv/phi3conv/formats"
	"github.com/phi3conv/phi3conv/internal/input"
	"github.com/phi3conv/phi3conv/internal/usage"
	"github.com/phi3conv/phi3conv/runtime/tokenizer"
)

// Show describes a statistics file of either form. If evaluation is not "", the summary warns if that text is in the
// calibration text; model, which is not needed otherwise, is a model of the same tokenizer.
func Show(ctx context.Context, path, evaluation, model string) (*stats.Summary, error) {
	s, err := stats.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = s.Close() }() // only read from
	sum := s.Summarize()
	switch {
	case evaluation == "":
		return sum, nil
	case model == "":
		return nil, usage.Errorf("--show with --against needs MODEL, for its tokenizer")
	case s.Origin == nil:
		return nil, formats.FileErrorf(path, -1, "it does not say which text it was made from, "+
			"as files of llama-imatrix do not: --against is impossible")
	}
	tok, err := tokenizer.Open(model)
	if err != nil {
		return nil, err
	}
	if text.TokenizerHash(tok) != s.Origin.Tokenizer {
		return nil, formats.FileErrorf(path, -1, "it was made with another tokenizer than that of %s", model)
	}
	return sum, against(ctx, sum, s.Origin, evaluation, tok)
}

// overlapLimit is the overlap from which a text counts as seen.
const overlapLimit = 0.01

// against warns in a summary if the text of a file, "" for none, is in the calibration text.
func against(ctx context.Context, sum *stats.Summary, o *stats.Origin, path string, tok *tokenizer.Tokenizer) error {
	if path == "" {
		return nil
	}
	data, err := input.ReadFile(ctx, path)
	if err != nil {
		return err
	}
	path = input.Name(path)
	share := text.Overlap(o.Tokens, o.Lengths, tok.Encode(string(data), tokenizer.EncodeOptions{}))
	if share > overlapLimit {
		sum.Warnings = append(sum.Warnings, fmt.Sprintf("%.1f %% of the calibration text or of %s, "+
			"whichever is shorter, is in the other: %s cannot judge what is calibrated with it", 100*share, path, path))
	}
	return nil
}
