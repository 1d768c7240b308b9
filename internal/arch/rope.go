package arch

import (
	"fmt"
	"maps"
	"math"
	"reflect"
	"slices"
)

// ropeRules are what architectures read in their own ways.
type ropeRules struct {
	theta    string  // the name of the base's key
	base     float64 // the base where the file does not say
	partial  float64 // share of dimensions that turn where the file does not say
	original int     // original context where the top of the file does not say, 0 if there is no such default
	// factor sets the factors of cos and sin of LongRoPE.
	factor func(rope *reader, c *Config)
}

// parseRope reads RoPE's numbers from both schemas: rope_theta, rope_scaling and partial_rotary_factor at the top, or
// rope_parameters of transformers 5, where a key that is missing is looked up at the top. Where both are there,
// rope_scaling counts and nothing of rope_parameters, as in transformers 5.24 (convert_rope_params_to_dict).
func parseRope(r *reader, c *Config, rules ropeRules) {
	rope, older := r.child("rope_parameters"), r.child("rope_scaling")
	if older != nil && len(older.fields) > 0 {
		c.noteContradictions(older, rope, "rope_scaling", "rope_parameters")
		rope = older
	}
	if rope == nil {
		rope = object(nil)
	}
	c.noteContradictions(rope, r, "rope_scaling or rope_parameters", "the top of the file")
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
	c.RopeTheta = from(rules.theta).positive(rules.theta, rules.base)
	partial := from("partial_rotary_factor").positive("partial_rotary_factor", rules.partial)
	if partial > 1 {
		r.errorf("partial_rotary_factor is %g, expected at most 1", partial)
	}
	c.RotaryDims = int(float64(c.HeadDim) * partial)
	// This key is the other way round: transformers prefers the one at the top.
	original := r
	if !r.has(originalKey) {
		original = rope
	}
	c.OriginalContext = original.integer(originalKey, 1, maxContext, c.Context)

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
	c.requireOriginal(r, original, rules.original, kind)
	pairs := c.RotaryDims / 2
	c.LongRope = &LongRope{Short: rope.factors("short_factor", pairs), Long: rope.factors("long_factor", pairs)}
	rules.factor(rope, c)
}

// requireOriginal refuses LongRoPE without an original context. Where the top of the file, r, does not have it,
// transformers takes the default, if there is one, whatever from says.
func (c *Config) requireOriginal(r, from *reader, byDefault int, kind string) {
	own := from.has(originalKey)
	switch {
	case from == r && own:
	case byDefault > 0 && (!own || c.OriginalContext == byDefault):
		c.OriginalContext = byDefault
	case byDefault > 0:
		r.errorf("%s is %d in rope_scaling or rope_parameters alone, where transformers passes over it and takes %d; "+
			"expected it at the top of the file", originalKey, c.OriginalContext, byDefault)
	case !own:
		r.errorf("%s is missing, which rope_type %q needs", originalKey, kind)
	}
}

const originalKey = "original_max_position_embeddings"

// noteContradictions notes what two places of a configuration say about the same key: the first one counts, but for the
// original context.
func (c *Config) noteContradictions(a, b *reader, nameOfA, nameOfB string) {
	if b == nil {
		return
	}
	values := func(r *reader) map[string]any {
		m := map[string]any{}
		for _, key := range []string{
			"rope_type", "rope_theta", "partial_rotary_factor", originalKey, "short_factor", "long_factor", "factor",
			"attention_factor",
		} {
			if v, ok := r.get(key); ok {
				m[key] = v
			}
		}
		if v, ok := r.get("type"); ok && m["rope_type"] == nil {
			m["rope_type"] = v
		}
		return m
	}
	inA, inB := values(a), values(b)
	for _, key := range slices.Sorted(maps.Keys(inA)) {
		x, y := inA[key], inB[key]
		if y == nil || reflect.DeepEqual(x, y) {
			continue
		}
		if f, ok := toFloat(x); ok {
			if g, ok := toFloat(y); ok && f == g {
				continue
			}
		}
		counts := nameOfA
		if key == originalKey {
			counts = "the one at the top of the file"
		}
		said := fmt.Sprintf("%s is %v in %s and %v in %s", key, x, nameOfA, y, nameOfB)
		if len(said) > 200 {
			said = fmt.Sprintf("%s is not the same in %s and in %s", key, nameOfA, nameOfB)
		}
		c.Resolved = append(c.Resolved, said+": "+counts+" counts, as in transformers")
	}
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
		l.AttnFactorShort = rope.factor("short_mscale", m)
	}
	if m, ok := rope.number("long_mscale", "a number"); ok && m > 0 {
		l.AttnFactor = rope.factor("long_mscale", m)
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
		c.assume(c.Arch.Name+original, publishedOriginal)
	}
	if c.LongRope == nil {
		f := c.extension(float64(c.Context) / float64(c.OriginalContext))
		c.LongRope = &LongRope{AttnFactor: f, AttnFactorShort: f}
		c.assume(c.Arch.Name+attnFactor, float32(f))
	}
	c.LongRope.Short, c.LongRope.Long = short, long
}

// assume notes the value that stands for a key that a GGUF file leaves out.
func (c *Config) assume(key string, value any) {
	c.Assumed = append(c.Assumed, fmt.Sprintf("%s is %v", key, value))
}

// attnFactor is the key, after the architecture's name, of LongRoPE's factor of cos and sin.
const attnFactor = ".rope.scaling.attn_factor"

// ropeScalingKeys lists the keys of linear scaling, or of LongRoPE's factors of cos and sin.
func (c *Config) ropeScalingKeys() []KV {
	if c.LongRope == nil && c.RopeScale != 1 {
		return []KV{
			{c.Arch.Name + ".rope.scaling.type", "linear"},
			{c.Arch.Name + ".rope.scaling.factor", float32(1 / c.RopeScale)},
		}
	}
	if c.LongRope == nil {
		return nil
	}
	kv := []KV{{c.Arch.Name + attnFactor, float32(c.LongRope.AttnFactor)}}
	if c.LongRope.AttnFactorShort != c.LongRope.AttnFactor {
		kv = append(kv, KV{c.Arch.Name + attnFactor + "_short", float32(c.LongRope.AttnFactorShort)})
	}
	return kv
}
