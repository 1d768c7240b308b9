package calibrate

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"

	"github.com/phi3conv/phi3conv/calib/stats"
	"github.com/phi3conv/phi3conv/calib/text"
	"github.com/phi3conv/phi3conv/internal/atomicfile"
	"github.com/phi3conv/phi3conv/internal/input"
	"github.com/phi3conv/phi3conv/internal/job/model"
	"github.com/phi3conv/phi3conv/internal/usage"
	"github.com/phi3conv/phi3conv/internal/work"
	"github.com/phi3conv/phi3conv/runtime"
)

// Text says what text statistics are gathered from. [DefaultText] has the defaults.
type Text struct {
	Files  []string // see [text.Corpus.AddFile]; "-" is standard input; without any the model writes all of the text
	Length int      // tokens in a sequence
	// Tokens is about how many tokens are used, spread evenly over the texts; 0 for all texts, and as many of the
	// model's own as SelfShare makes of that, or 65,536 without files.
	Tokens int
	// Self lets the model write text beside the files. SelfShare is its share of the tokens then, between 0 and 1.
	Self        bool
	SelfShare   float64
	Temperature float64 // of the model's own text; 1 samples as the model predicts
	Seed        uint64  // of the model's own text, of the choice of sequences, and of gradients
	// Own is a file of [WriteText], "" to let the model write.
	Own string
}

// DefaultText is 65,536 tokens that the model writes itself.
func DefaultText() Text { return Text{Length: 512, SelfShare: 0.5, Temperature: 1, Seed: 1} }

// selfTokens is how much the model writes when no text is given.
const selfTokens = 128 * 512

// check refuses what is out of range; a sequence has at most longest tokens.
func (t *Text) check(longest int) error {
	switch {
	case t.Length < 2 || t.Length > longest:
		return usage.Errorf("--ctx-size is %d, expected 2 to %d", t.Length, longest)
	case t.Tokens < 0:
		return usage.Errorf("--chunks and --tokens must be at least 1")
	case !(t.SelfShare > 0 && t.SelfShare < 1):
		return usage.Errorf("--self-share is %g, expected a number between 0 and 1", t.SelfShare)
	}
	return nil
}

// share returns how much of the text the model writes.
func (t *Text) share() float64 {
	switch {
	case len(t.Files) == 0:
		return 1
	case !t.Self:
		return 0
	}
	return t.SelfShare
}

// gatherText reads the texts, chooses sequences, and lets the model write its share. It sets stats.
func (r *run) gatherText(ctx context.Context) error {
	if err := r.check(r.layers.Config().Context); err != nil {
		return err
	}
	var corpus text.Corpus
	for _, path := range r.Files {
		data, err := input.ReadFile(ctx, path)
		if err != nil {
			return err
		}
		if err := corpus.Add(input.Name(path), data, r.tok, r.Length); err != nil {
			return err
		}
	}
	want := r.Tokens
	if want == 0 {
		want = selfTokens
		if given := corpus.Tokens(); given > 0 {
			want = int(float64(given) / (1 - r.share()))
		}
	}
	written := int(r.share() * float64(want))
	if want > written {
		corpus.Sample(want-written, r.Seed)
	}
	if written > 0 {
		if err := r.addOwn(ctx, &corpus, written, want); err != nil {
			return err
		}
	}
	r.stats = &stats.File{ChunkSize: r.Length, Origin: &stats.Origin{
		Weights: r.weights, Tokenizer: text.TokenizerHash(r.tok), Seed: r.Seed,
	}}
	for _, f := range corpus.Files {
		r.stats.Datasets = append(r.stats.Datasets, f.Name)
		r.stats.Origin.Texts = append(r.stats.Origin.Texts, f.SHA256)
	}
	r.stats.Origin.Tokens, r.stats.Origin.Lengths = corpus.Flat()
	return nil
}

// ownText is the model's own text in a file, for a run that continues.
type ownText struct {
	Key       string    `json:"key"` // of what the text depends on
	Sequences [][]int32 `json:"sequences"`
}

func (r *run) textFile() string { return atomicfile.Beside(r.out, ".work.text") }

// addOwn lets the model write about that many tokens, of all.
func (r *run) addOwn(ctx context.Context, corpus *text.Corpus, tokens, all int) error {
	if !(r.Temperature > 0 && r.Temperature <= 100) {
		return usage.Errorf("--temperature is %g, expected a number above 0, up to 100", r.Temperature)
	}
	opt := text.GenerateOptions{
		Tokens: tokens, Length: r.Length, Temperature: float32(r.Temperature), Seed: r.Seed,
	}
	key := fmt.Sprintf("1 %s %s %d %d %g %d",
		r.weights, text.TokenizerHash(r.tok), opt.Tokens, opt.Length, r.Temperature, opt.Seed)
	own, err := r.ownText(ctx, key, opt, all)
	if err != nil {
		return err
	}
	r.own = own
	hash, count := sha256.New(), 0
	for _, ids := range own.Sequences {
		count += len(ids)
		_, _ = fmt.Fprintln(hash, ids) // a hash takes everything
	}
	corpus.Sequences = append(corpus.Sequences, own.Sequences...)
	corpus.Files = append(corpus.Files, text.File{
		Name:   fmt.Sprintf("written by the model at temperature %g", r.Temperature),
		SHA256: hex.EncodeToString(hash.Sum(nil)), Tokens: count,
	})
	return nil
}

// ownText reads the model's own text, or lets the model write it.
func (r *run) ownText(ctx context.Context, key string, opt text.GenerateOptions, all int) (*ownText, error) {
	if r.Own != "" {
		return r.readOwn(key)
	}
	own := new(ownText)
	if data, err := os.ReadFile(r.textFile()); err == nil && json.Unmarshal(data, own) == nil && own.Key == key {
		return own, nil
	}
	sequences, err := r.write(ctx, opt, all)
	if err != nil {
		return nil, err
	}
	own = &ownText{key, sequences}
	data, err := json.Marshal(own)
	if err != nil {
		return nil, err
	}
	return own, atomicfile.WriteFile(r.textFile(), data)
}

// write opens the model to let it write: in memory if that is allowed, otherwise in the file's own pages.
func (r *run) write(ctx context.Context, opt text.GenerateOptions, all int) ([][]int32, error) {
	memory := r.MaxRAM - work.ProgramRAM
	opt.Memory = memory - r.layers.Bytes()
	noRepack := opt.Memory < memory/4
	if noRepack {
		opt.Memory = memory
	}
	computed := func(float64) {}
	m, err := model.Open(ctx, r.model, runtime.Options{
		Computed: func(tokens float64) { computed(tokens) },
		Threads:  r.Threads, Float32: true, Cache: runtime.CacheF16, Batch: text.Parallel, NoRepack: noRepack,
	}, r.Monitor)
	if err != nil {
		return nil, err
	}
	defer func() { _ = m.Close() }() // only read from
	switch {
	case r.textOnly:
		all = 0
	case r.Shard != nil:
		all = max(1, all/r.Shard.N) // about
	}
	r.begin(all, opt.Tokens)
	computed = func(tokens float64) { r.work.Add(writtenTokens, tokens) }
	sequences, err := text.Generate(ctx, m, r.tok, opt)
	r.work.Skip(writtenTokens, float64(opt.Tokens)) // some sequences end early, and some of the last are cut
	return sequences, err
}
