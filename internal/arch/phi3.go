package arch

import (
	"fmt"
	"math"
)

// phi3 is the block of Phi-3-mini and later: RMSNorm, fused qkv, RoPE on the
// first RotaryDims of each head, grouped-query attention, fused gate and up, SwiGLU,
// no biases. Reference: transformers, models/phi3/modeling_phi3.py.
//
// qkv_proj holds the rows of q, then k, then v, each head by head; gate_up_proj
// the rows of gate, then up. GGUF keeps both fused, or has q, k and v apart.
var phi3 = Arch{
	Name:         "phi3",
	HF:           []string{"Phi3ForCausalLM"},
	For:          "Phi-3-mini and Phi-3-medium 4k and 128k, Phi-3.5-mini, Phi-4, Phi-4-mini",
	parse:        parsePhi3,
	tensors:      phi3Tensors,
	metadata:     phi3Metadata,
	fromMetadata: phi3FromMetadata,
}

// Limits on single numbers, far above any published model, that keep products
// of two of them within 62 bits.
const (
	maxWidth   = 1 << 20
	maxLayers  = 1 << 12
	maxVocab   = 1 << 24
	maxContext = 1 << 30
)

func parsePhi3(r *reader) *Config {
	c := &Config{
		VocabSize:     r.integer("vocab_size", 1, maxVocab, -1),
		Hidden:        r.integer("hidden_size", 1, maxWidth, -1),
		Intermediate:  r.integer("intermediate_size", 1, maxWidth, -1),
		Layers:        r.integer("num_hidden_layers", 1, maxLayers, -1),
		Heads:         r.integer("num_attention_heads", 1, maxWidth, -1),
		Context:       r.integer("max_position_embeddings", 1, maxContext, -1),
		NormEps:       r.positive("rms_norm_eps", 1e-5),
		SlidingWindow: r.integer("sliding_window", 0, maxContext, 0),
		Tied:          r.boolean("tie_word_embeddings", false),
	}
	c.KVHeads = r.integer("num_key_value_heads", 1, maxWidth, c.Heads)
	if c.Hidden%c.Heads != 0 {
		r.errorf("num_attention_heads %d does not divide hidden_size %d", c.Heads, c.Hidden)
	}
	c.HeadDim = c.Hidden / c.Heads
	if d := r.integer("head_dim", 1, maxWidth, c.HeadDim); d != c.HeadDim {
		r.errorf("head_dim is %d, expected hidden_size / num_attention_heads = %d", d, c.HeadDim)
	}
	if act := r.str("hidden_act"); act != "" && act != "silu" {
		r.errorf("hidden_act is %q, expected \"silu\"", act)
	}
	for _, bias := range []string{"attention_bias", "mlp_bias", "lm_head_bias"} {
		if r.boolean(bias, false) {
			r.errorf("%s is true; a Phi3ForCausalLM has no biases", bias)
		}
	}
	if q := r.child("quantization_config"); q != nil {
		r.errorf("quantization_config: the checkpoint is already quantized (%s); start from the original",
			q.str("quant_method"))
	}
	parseRope(r, c)
	return c
}

// parseRope reads RoPE's numbers from both schemas: rope_theta, rope_scaling and
// partial_rotary_factor at the top, or rope_parameters of transformers 5, where
// a key that is missing is looked up at the top.
func parseRope(r *reader, c *Config) {
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
	c.RopeTheta = from("rope_theta").positive("rope_theta", 10000)
	partial := from("partial_rotary_factor").positive("partial_rotary_factor", 1)
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
	lr := &LongRope{Short: rope.factors("short_factor", pairs), Long: rope.factors("long_factor", pairs)}
	scale := rope.positive("factor", float64(c.Context)/float64(c.OriginalContext))
	lr.AttnFactor = 1
	if scale > 1 && c.OriginalContext > 1 {
		lr.AttnFactor = math.Sqrt(1 + math.Log(scale)/math.Log(float64(c.OriginalContext)))
	}
	lr.AttnFactor = rope.positive("attention_factor", lr.AttnFactor)
	c.LongRope = lr
}

func phi3Tensors(c *Config) []Tensor {
	h, f := uint64(c.Hidden), uint64(c.Intermediate)
	q, kv := uint64(c.Heads*c.HeadDim), uint64(c.KVHeads*c.HeadDim)
	var all []Tensor
	add := func(hf, gguf string, shape ...uint64) *Tensor {
		all = append(all, Tensor{HF: hf, GGUF: gguf, Shape: shape})
		return &all[len(all)-1]
	}
	add("model.embed_tokens.weight", Embedding, uint64(c.VocabSize), h)
	for l := range c.Layers {
		hf, gguf := fmt.Sprintf("model.layers.%d.", l), fmt.Sprintf("blk.%d.", l)
		add(hf+"input_layernorm.weight", gguf+"attn_norm.weight", h)
		qkv := add(hf+"self_attn.qkv_proj.weight", gguf+"attn_qkv.weight", q+2*kv, h)
		first := 0
		for _, p := range []struct {
			name string
			rows uint64
		}{{"attn_q.weight", q}, {"attn_k.weight", kv}, {"attn_v.weight", kv}} {
			part := Tensor{HF: qkv.HF, GGUF: gguf + p.name, Shape: []uint64{p.rows, h}, Whole: qkv.GGUF, First: first}
			qkv.Parts = append(qkv.Parts, part)
			first += int(p.rows)
		}
		add(hf+"self_attn.o_proj.weight", gguf+"attn_output.weight", h, q)
		add(hf+"post_attention_layernorm.weight", gguf+"ffn_norm.weight", h)
		add(hf+"mlp.gate_up_proj.weight", gguf+"ffn_up.weight", 2*f, h)
		add(hf+"mlp.down_proj.weight", gguf+"ffn_down.weight", h, f)
	}
	add("model.norm.weight", "output_norm.weight", h)
	if !c.Tied {
		add("lm_head.weight", Output, uint64(c.VocabSize), h)
	}
	return all
}

func phi3Metadata(c *Config) []KV {
	kv := []KV{
		{"phi3.context_length", uint32(c.Context)},
		{"phi3.rope.scaling.original_context_length", uint32(c.OriginalContext)},
		{"phi3.embedding_length", uint32(c.Hidden)},
		{"phi3.feed_forward_length", uint32(c.Intermediate)},
		{"phi3.block_count", uint32(c.Layers)},
		{"phi3.attention.head_count", uint32(c.Heads)},
		{"phi3.attention.head_count_kv", uint32(c.KVHeads)},
		{"phi3.attention.layer_norm_rms_epsilon", float32(c.NormEps)},
		{"phi3.rope.dimension_count", uint32(c.RotaryDims)},
		{"phi3.rope.freq_base", float32(c.RopeTheta)},
		{"phi3.attention.sliding_window", uint32(c.SlidingWindow)},
	}
	if c.LongRope != nil {
		kv = append(kv, KV{"phi3.rope.scaling.attn_factor", float32(c.LongRope.AttnFactor)})
	}
	return kv
}

func phi3FromMetadata(r *reader) *Config {
	c := &Config{
		Context:       r.integer("context_length", 1, maxContext, -1),
		Hidden:        r.integer("embedding_length", 1, maxWidth, -1),
		Intermediate:  r.integer("feed_forward_length", 1, maxWidth, -1),
		Layers:        r.integer("block_count", 1, maxLayers, -1),
		Heads:         r.integer("attention.head_count", 1, maxWidth, -1),
		NormEps:       r.positive("attention.layer_norm_rms_epsilon", 0),
		RopeTheta:     r.positive("rope.freq_base", 10000),
		SlidingWindow: r.integer("attention.sliding_window", 0, maxContext, 0),
	}
	c.KVHeads = r.integer("attention.head_count_kv", 1, maxWidth, c.Heads)
	if c.Hidden%c.Heads != 0 {
		r.errorf("phi3.attention.head_count %d does not divide phi3.embedding_length %d", c.Heads, c.Hidden)
	}
	c.HeadDim = c.Hidden / c.Heads
	c.RotaryDims = r.integer("rope.dimension_count", 2, c.HeadDim, c.HeadDim)
	c.OriginalContext = r.integer("rope.scaling.original_context_length", 1, maxContext, c.Context)
	if r.has("rope.scaling.attn_factor") {
		c.LongRope = &LongRope{AttnFactor: r.positive("rope.scaling.attn_factor", 1)}
	}
	return c
}
