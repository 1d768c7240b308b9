package arch

import "math"

// MaxConfig bounds a config.json, and other files like it, in bytes. They have a few kilobytes.
const MaxConfig = 16 << 20

// Limits on single numbers, far above any published model, that keep products
// of two of them within 62 bits.
const (
	maxWidth   = 1 << 20
	maxLayers  = 1 << 12
	maxVocab   = 1 << 24
	maxContext = 1 << 30
	maxExperts = 1 << 12
	// maxParts bounds what is listed for each head or expert of each layer.
	maxParts = 1 << 14
)

// parseCommon reads the fields of config.json that all architectures have under the same names.
func parseCommon(r *reader) *Config {
	c := &Config{
		VocabSize:      r.integer("vocab_size", 1, maxVocab, -1),
		Hidden:         r.integer("hidden_size", 1, maxWidth, -1),
		Layers:         r.integer("num_hidden_layers", 1, maxLayers, -1),
		Heads:          r.integer("num_attention_heads", 1, maxWidth, -1),
		Context:        r.integer("max_position_embeddings", 1, maxContext, -1),
		RopeScale:      1,
		EmbeddingScale: 1,
		LogitScale:     1,
	}
	c.KVHeads = r.integer("num_key_value_heads", 1, maxWidth, c.Heads)
	if q := r.child("quantization_config"); q != nil {
		if c.Quantized = q.str("quant_method"); c.Quantized == "" {
			c.Quantized = "by an unknown method"
		}
	}
	return c
}

// divideHeads sets the dimensions of a head to the model's width divided by the number of heads, and the factor of
// attention to the usual one. heads and hidden are the keys of these numbers.
func (c *Config) divideHeads(r *reader, heads, hidden string) {
	if c.Hidden%c.Heads != 0 {
		r.errorf("%s%s %d does not divide %s%s %d", r.prefix, heads, c.Heads, r.prefix, hidden, c.Hidden)
	}
	c.HeadDim = c.Hidden / c.Heads
	c.AttnScale = usualScale(c.HeadDim)
}

// usualScale is the factor of the products of queries and keys in most models.
func usualScale(headDim int) float64 { return 1 / math.Sqrt(float64(headDim)) }

// configWindow reads config.json's sliding_window, where none is null. With 0, transformers hides all keys.
func (c *Config) configWindow(r *reader) {
	if r.has("sliding_window") {
		c.SlidingWindow = r.integer("sliding_window", 1, maxContext, 0)
	}
}

// onlyActivation refuses another activation than the one that the architecture has.
func onlyActivation(r *reader, want string) {
	if act := r.str("hidden_act"); act != "" && act != want {
		r.errorf("hidden_act is %q, expected %q", act, want)
	}
}

// onlyHeadDim refuses a head_dim that does not follow from the other numbers.
func (c *Config) onlyHeadDim(r *reader) {
	if d := r.integer("head_dim", 1, maxWidth, c.HeadDim); d != c.HeadDim {
		r.errorf("head_dim is %d, expected hidden_size / num_attention_heads = %d", d, c.HeadDim)
	}
}

// commonFromMetadata reads the GGUF keys that all architectures have.
func commonFromMetadata(r *reader) *Config {
	c := &Config{
		Context:        r.integer("context_length", 1, maxContext, -1),
		Hidden:         r.integer("embedding_length", 1, maxWidth, -1),
		Intermediate:   r.integer("feed_forward_length", 1, maxWidth, -1),
		Layers:         r.integer("block_count", 1, maxLayers, -1),
		Heads:          r.integer("attention.head_count", 1, maxWidth, -1),
		RopeTheta:      r.positive("rope.freq_base", 10000),
		RopeScale:      1,
		EmbeddingScale: 1,
		LogitScale:     1,
	}
	c.KVHeads = r.integer("attention.head_count_kv", 1, maxWidth, c.Heads)
	return c
}

// ropeFromMetadata reads the keys of RoPE, and refuses heads whose keys or values have not HeadDim dimensions, which
// must be known.
func (c *Config) ropeFromMetadata(r *reader) {
	for _, key := range []string{"attention.key_length", "attention.value_length"} {
		if n := r.integer(key, 1, maxWidth, c.HeadDim); n != c.HeadDim {
			r.errorf("%s%s is %d, expected %d, the dimensions of a head", r.prefix, key, n, c.HeadDim)
		}
	}
	c.RotaryDims = r.integer("rope.dimension_count", 2, c.HeadDim, c.HeadDim)
	c.OriginalContext = r.integer("rope.scaling.original_context_length", 1, maxContext, c.Context)
	if r.has("rope.scaling.attn_factor") {
		c.LongRope = &LongRope{AttnFactor: r.positive("rope.scaling.attn_factor", 1)}
		c.LongRope.AttnFactorShort = r.positive("rope.scaling.attn_factor_short", c.LongRope.AttnFactor)
	}
	c.linearFromMetadata(r)
}

// linearFromMetadata reads the factor by which positions are divided. As in llama.cpp, a file may leave out that the
// scaling is linear, and a factor of 0 is none.
func (c *Config) linearFromMetadata(r *reader) {
	const typeKey, key = "rope.scaling.type", "rope.scaling.factor"
	switch kind := r.str(typeKey); kind {
	case "", "linear":
		if f := r.notNegative(key, 1); f != 0 {
			c.RopeScale = r.factor(key, 1/f)
		}
	case "none", "longrope":
	default:
		r.errorf("%s%s is %q, expected linear, longrope or none", r.prefix, typeKey, kind)
	}
}
