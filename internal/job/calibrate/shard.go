package calibrate

import (
	"context"
	"encoding/json"
	"os"
	"time"

	"github.com/phi3conv/phi3conv/calib/stats"
	"github.com/phi3conv/phi3conv/formats"
	"github.com/phi3conv/phi3conv/internal/atomicfile"
	"github.com/phi3conv/phi3conv/internal/output"
	"github.com/phi3conv/phi3conv/internal/progress"
	"github.com/phi3conv/phi3conv/internal/usage"
	"github.com/phi3conv/phi3conv/internal/work"
)

// Merge makes the statistics of a calibration in the file out from what [Run] has written of all of its parts, whatever
// their order. The file is that of one run.
func Merge(ctx context.Context, paths []string, out string) (*Result, error) {
	if len(paths) == 0 {
		return nil, usage.Errorf("no files to merge")
	}
	if err := output.NotInput(paths, out); err != nil {
		return nil, err
	}
	start := time.Now()
	s, err := stats.Merge(ctx, paths, out)
	if err != nil {
		return nil, work.Interrupted(err, ", %s was not written", out)
	}
	return &Result{Output: out, Seconds: time.Since(start).Seconds(), Summary: s.Summarize(),
		TextTokens: len(s.Origin.Tokens), merged: true}, nil
}

// WriteText lets a model write the text that [Run] with these options would let it write, to a file for Text.Own.
func WriteText(ctx context.Context, model, out string, opt Options) (*Result, error) {
	opt.Monitor = progress.Quiet(opt.Monitor)
	if opt.MaxRAM == 0 {
		opt.MaxRAM = defaultRAM
	}
	if opt.share() == 0 {
		return nil, usage.Errorf("with texts alone the model writes none")
	}
	r := &run{Options: opt, model: model, out: out, textOnly: true}
	if err := r.open(ctx); err != nil {
		return nil, r.interrupted(err)
	}
	defer func() { _ = r.layers.Close() }() // only read from
	start := time.Now()
	defer r.end()
	if err := r.gatherText(ctx); err != nil {
		return nil, r.interrupted(err)
	}
	if r.own == nil {
		return nil, usage.Errorf("of %d tokens, the model's share of %g is none", r.Tokens, r.share())
	}
	tokens := 0
	for _, ids := range r.own.Sequences {
		tokens += len(ids)
	}
	data, err := json.Marshal(r.own)
	if err != nil {
		return nil, err
	}
	if err := atomicfile.Save(out, data); err != nil {
		return nil, err
	}
	_ = os.Remove(r.textFile()) // the same text
	return &Result{Output: out, Seconds: time.Since(start).Seconds(), TextTokens: tokens,
		Summary: r.summary(len(r.own.Sequences), tokens)}, nil
}

// summary is that of an output without statistics.
func (r *run) summary(sequences, tokens int) *stats.Summary {
	return &stats.Summary{
		Tokens: int64(tokens), Sequences: sequences, ChunkSize: r.Length, Datasets: r.stats.Datasets,
		Entries: []stats.EntrySummary{}, Warnings: []string{},
	}
}

// readOwn reads a file of [WriteText], which must be of a key.
func (r *run) readOwn(key string) (*ownText, error) {
	data, err := os.ReadFile(r.Own)
	if err != nil {
		return nil, err
	}
	own := new(ownText)
	if err := json.Unmarshal(data, own); err != nil {
		return nil, formats.WithPath(formats.Wrapf(err, -1, "no file of calibrate own-text"), r.Own)
	}
	if own.Key != key {
		return nil, formats.FileErrorf(r.Own, -1, "its text is of another model, or of other options: "+
			"give calibrate own-text those of this command")
	}
	for i, ids := range own.Sequences {
		if len(ids) < 1 || len(ids) > r.Length {
			return nil, formats.FileErrorf(r.Own, -1, "sequence %d has %d tokens, expected 1 to %d",
				i, len(ids), r.Length)
		}
		for _, id := range ids {
			if id < 0 || int(id) >= r.tok.VocabSize() {
				return nil, formats.FileErrorf(r.Own, -1, "sequence %d has the token %d of a vocabulary of %d",
					i, id, r.tok.VocabSize())
			}
		}
	}
	return own, nil
}

// openGradients opens the files with the gradients of all parts, nil if there are none to be opened.
func (r *run) openGradients() (stats.Shards, error) {
	if len(r.Gradients) == 0 {
		return nil, nil
	}
	sums, gradients, err := stats.OpenShards(r.Gradients)
	if err != nil {
		return nil, err
	}
	if sums != nil {
		err = formats.FileErrorf(sums[0].Path, -1, "it holds statistics, expected gradients")
	} else {
		err = gradients.Of(r.stats.Origin)
	}
	if err != nil {
		sums.Close()
		gradients.Close()
		return nil, err
	}
	return gradients, nil
}

// checkShard refuses what does not go together.
func (o *Options) checkShard() error {
	switch {
	case len(o.Gradients) == 0:
		return nil
	case o.Shard == nil:
		return usage.Errorf("--gradients is for --shard")
	case !o.fisher():
		return usage.Errorf("--gradients is for --fisher, which is off")
	case o.FisherOutputs != nil:
		return usage.Errorf("--fisher-outputs is for the parts with gradients, which --gradients says are there")
	}
	return nil
}
