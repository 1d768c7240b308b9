package arch

import (
	"fmt"
	"math"
)

// parseRope reads RoPE's numbers from both schemas: rope_theta, rope_scaling and
// partial_rotary_factor at the top, or rope_parameters of transformers 5, where
// a key that is missing is looked up at the top. theta is the name of the base's key, and partial the share of
// dimensions that turn where the file does not say. factor sets the factors of cos and sin of LongRoPE.
func parseRope(r *reader, c *Config, theta string, partial float64, factor func(rope *reader, c *Config)) {
	rope := r.child("rope_parameters")
	if rope == nil {
		rope = r.child("rope_scaling")
	}
	if rope == nil {
		rope = object(nil)
	}
	from := func(key string) *reader {
		if rope.has(key) {
			return rope
		}
		return r
	}
	defer func() {
		if rope.err != nil {
			r.errorf("rope_parameters or rope_scaling: %w", rope.err)
		}
	}()
	c.RopeTheta = from(theta).positive(theta, 10000)
	partial = from("partial_rotary_factor").positive("partial_rotary_factor", partial)
	if partial > 1 {
		r.errorf("partial_rotary_factor is %g, expected at most 1", partial)
	}
	c.RotaryDims = int(float64(c.HeadDim) * partial)
	// This key is the other way round: transformers prefers the one at the top.
	original := r
	if !r.has("original_max_position_embeddings") {
		original = rope
	}
	c.OriginalContext = original.integer("original_max_position_embeddings", 1, maxContext, c.Context)

	kind := rope.str("rope_type")
	if kind == "" {
		kind = rope.str("type")
	}
	switch kind {
	case "su", "longrope": // the first is the older name
	case "", "default":
		if rope.has("long_factor") || rope.has("short_factor") {
			r.errorf("rope_type is %q but there are long_factor and short_factor; expected \"longrope\"", kind)
		}
		return
	default:
		r.errorf("rope_type %q is not supported; supported: longrope, su, default", kind)
		return
	}
	if !original.has("original_max_position_embeddings") {
		r.errorf("original_max_position_embeddings is missing, which rope_type %q needs", kind)
	}
	pairs := c.RotaryDims / 2
	c.LongRope = &LongRope{Short: rope.factors("short_factor", pairs), Long: rope.factors("long_factor", pairs)}
	factor(rope, c)
}

// transformersFactor is the rule of transformers: one factor for all sequences.
func transformersFactor(rope *reader, c *Config) {
	scale := rope.positive("factor", float64(c.Context)/float64(c.OriginalContext))
	f := rope.positive("attention_factor", c.extension(scale))
	c.LongRope.AttnFactor, c.LongRope.AttnFactorShort = f, f
}

// publishedFactors takes the factors that the file has. Where one is missing or not above 0, that of short sequences
// is short and that of long ones follows from the contexts.
func publishedFactors(rope *reader, c *Config, short float64) {
	l := c.LongRope
	l.AttnFactorShort, l.AttnFactor = short, c.extension(float64(c.Context)/float64(c.OriginalContext))
	if m, ok := rope.number("short_mscale", "a number"); ok && m > 0 {
		l.AttnFactorShort = m
	}
	if m, ok := rope.number("long_mscale", "a number"); ok && m > 0 {
		l.AttnFactor = m
	}
}

// extension is the factor of cos and sin of a context that is scale times the original one.
func (c *Config) extension(scale float64) float64 {
	if scale <= 1 || c.OriginalContext <= 1 {
		return 1
	}
	return math.Sqrt(1 + math.Log(scale)/math.Log(float64(c.OriginalContext)))
}

// publishedOriginal is the original context of all published models that have LongRoPE factors for a longer one.
const publishedOriginal = 4096

// SetFactors sets the LongRoPE factors that a GGUF file has as tensors. Of what the file leaves out, the original
// context is that of the published models, and the factor of cos and sin follows from the contexts as in training.
// get returns a key's value.
func (c *Config) SetFactors(short, long []float32, get func(key string) (any, bool)) {
	const original = ".rope.scaling.original_context_length"
	if _, ok := get(c.Arch.Name + original); !ok && c.Context > publishedOriginal {
		c.OriginalContext = publishedOriginal
		c.assume(original, publishedOriginal)
	}
	if c.LongRope == nil {
		f := c.extension(float64(c.Context) / float64(c.OriginalContext))
		c.LongRope = &LongRope{AttnFactor: f, AttnFactorShort: f}
		c.assume(attnFactor, float32(f))
	}
	c.LongRope.Short, c.LongRope.Long = short, long
}

// assume notes the value that stands for a key that a GGUF file leaves out.
func (c *Config) assume(key string, value any) {
	c.Assumed = append(c.Assumed, fmt.Sprintf("%s%s is %v", c.Arch.Name, key, value))
}

// attnFactor is the key, after the architecture's name, of LongRoPE's factor of cos and sin.
const attnFactor = ".rope.scaling.attn_factor"

// longRopeKeys lists the keys of LongRoPE's factors of cos and sin.
func (c *Config) longRopeKeys() []KV {
	if c.LongRope == nil {
		return nil
	}
	kv := []KV{{c.Arch.Name + attnFactor, float32(c.LongRope.AttnFactor)}}
	if c.LongRope.AttnFactorShort != c.LongRope.AttnFactor {
		kv = append(kv, KV{c.Arch.Name + attnFactor + "_short", float32(c.LongRope.AttnFactorShort)})
	}
	return kv
}
