package quantize

import (
	"context"
	"fmt"

	"github.com/phi3conv/phi3conv/calib"
	"github.com/phi3conv/phi3conv/calib/text"
	"github.com/phi3conv/phi3conv/formats/gguf"
	"github.com/phi3conv/phi3conv/internal/progress"
)

// Keys of the output's metadata that tell how it was made: the method, the recipe in its compact form,
// and SHA-256 of the source's weights, of the statistics file and of the texts that these are from, and a sketch of the
// texts.
const (
	keyMethod = "phi3conv.quantize.method"
	keyRecipe = "phi3conv.quantize.recipe"
	keySource = "phi3conv.quantize.source_sha256"
	keyStats  = "phi3conv.quantize.stats_sha256"
	keyTexts  = text.KeyTexts
	keySketch = text.KeySketch
)

// record puts into the output's metadata how its tensors come about.
func (j *Job) record(ctx context.Context, md *gguf.Metadata) error {
	for _, key := range []string{keyMethod, keyRecipe, keySource, keyStats, keyTexts, keySketch} {
		md.Delete(key) // a source that was quantized has them
	}
	if !j.recorded {
		return nil
	}
	if err := j.hashSource(ctx); err != nil {
		return err
	}
	recipe, err := j.recipe.Compact()
	if err != nil {
		return err
	}
	md.Set(keyMethod, j.recipe.Method.Name)
	md.Set(keyRecipe, recipe)
	md.Set(keySource, j.weights)
	if j.recipe.Method.Needs > calib.Nothing {
		md.Set(keyStats, j.stats.sha256)
		if o := j.stats.Origin; o != nil && len(o.Texts) > 0 {
			md.Set(keyTexts, o.Texts)
		}
		if s := j.stats.sketch; len(s) > 0 {
			md.Set(keySketch, []uint64(s))
		}
	}
	return nil
}

// hashSource hashes the source's weights, once for all plans of the job.
func (j *Job) hashSource(ctx context.Context) (err error) {
	if j.weights != "" {
		return nil
	}
	step := j.monitor.Begin("hashing", j.source.Bytes(), progress.Bytes)
	j.weights, err = j.source.SHA256(ctx, step.Set)
	step.End()
	if err != nil {
		return err
	}
	// Names and shapes agree, as the plan has found out. A GGUF file of the same model has
	// another hash, so this is no error.
	if j.stats.hasTokens() && j.stats.Origin.Weights != j.weights {
		j.notes = append(j.notes, fmt.Sprintf("%s was made from another file or other weights than %s",
			j.stats.Path, j.source.Path))
	}
	return nil
}
