package arch

// phi3 is the block of Phi-3-mini and later: RMSNorm, fused qkv, RoPE on the
// first RotaryDims of each head, grouped-query attention, fused gate and up, SwiGLU,
// no biases. Reference: transformers, models/phi3/modeling_phi3.py.
//
// qkv_proj holds the rows of q, then k, then v, each head by head; gate_up_proj
// the rows of gate, then up. GGUF keeps both fused, or has q, k and v apart.
var phi3 = Arch{
	Name: "phi3",
	HF: []string{
		"Phi3ForCausalLM", "Phi3VForCausalLM", "Phi4MMForCausalLM", "Phi4MultimodalForCausalLM", "LlamaForCausalLM",
		"MistralForCausalLM",
	},
	For: "Phi-3-mini and Phi-3-medium 4k and 128k, Phi-3.5-mini, Phi-4, Phi-4-mini, also in Llama's layout; " +
		"the text part of Phi-3-vision, Phi-3.5-vision and Phi-4-multimodal",
	parse:        parsePhi3,
	block:        phi3Block,
	head:         func(c *Config) Head { return c.usualHead("norm", false) },
	metadata:     phi3Metadata,
	fromMetadata: phi3FromMetadata,
	others:       phi3Others,
}

func parsePhi3(r *reader) *Config {
	c := parseCommon(r)
	c.Intermediate = r.integer("intermediate_size", 1, maxWidth, -1)
	c.NormEps = r.positive("rms_norm_eps", 1e-5)
	c.configWindow(r)
	c.Tied = r.boolean("tie_word_embeddings", false)
	c.divideHeads(r, "num_attention_heads", "hidden_size")
	c.onlyHeadDim(r)
	onlyActivation(r, "silu")
	for _, bias := range []string{"attention_bias", "mlp_bias", "lm_head_bias"} {
		if r.boolean(bias, false) {
			r.errorf("%s is true; this block has no biases", bias)
		}
	}
	rules := ropeRules{theta: "rope_theta", base: 10000, partial: 1, factor: transformersFactor}
	if !phi3Layouts[r.class].apart {
		rules.original = publishedOriginal // the default of transformers' Phi3Config
	}
	parseRope(r, c, rules)
	if phi3Layouts[r.class].apart {
		c.llamaDefaults(r)
	}
	return c
}

func phi3Block(c *Config, layer int) Block {
	n, h, f := ofBlock(layer), c.Hidden, c.Intermediate
	q, kv := c.Heads*c.HeadDim, c.KVHeads*c.HeadDim
	held := phi3Layouts[c.Class]
	qkv := n.linear("self_attn.qkv_proj", "attn_qkv", q+2*kv, h, false)
	qkv.Outputs = []Outputs{{"q", q}, {"k", kv}, {"v", kv}}
	held.hold(&qkv, n, "self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj")
	first := 0
	for _, o := range qkv.Outputs {
		qkv.Weight.Parts = append(qkv.Weight.Parts, Tensor{
			HF: qkv.Weight.HF, GGUF: n.gguf + "attn_" + o.Name + ".weight", Shape: shapeOf(o.Rows, h),
			Whole: qkv.Weight.GGUF, First: first,
		})
		first += o.Rows
	}
	up := n.linear("mlp.gate_up_proj", "ffn_up", 2*f, h, false)
	up.Outputs = []Outputs{{"gate", f}, {"up", f}}
	held.hold(&up, n, "mlp.gate_proj", "mlp.up_proj")
	out := n.linear("self_attn.o_proj", "attn_output", h, q, false)
	held.hold(&out, n)
	down := n.linear("mlp.down_proj", "ffn_down", h, f, false)
	held.hold(&down, n)
	return Block{
		AttnNorm: n.norm("input_layernorm", "attn_norm", h, false),
		QKV:      []Linear{qkv},
		AttnOut:  out,
		FFNNorm:  n.norm("post_attention_layernorm", "ffn_norm", h, false),
		Up:       []Linear{up},
		Down:     down,
	}
}

func phi3Metadata(c *Config) []KV {
	return append([]KV{
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
	}, c.ropeScalingKeys()...)
}

func phi3FromMetadata(r *reader) *Config {
	c := commonFromMetadata(r)
	c.NormEps = r.positive("attention.layer_norm_rms_epsilon", 0)
	c.SlidingWindow = r.integer("attention.sliding_window", 0, maxContext, 0)
	if n := c.publishedWindow(); n > 0 && !r.has("attention.sliding_window") {
		c.SlidingWindow = n
		c.assume("phi3.attention.sliding_window", n)
	}
	c.divideHeads(r, "attention.head_count", "embedding_length")
	c.ropeFromMetadata(r)
	return c
}

// publishedWindow returns the window of the published model that has the other numbers of c, 0 if there is none. Files
// made before July 2024 do not have the key. The rule is llama.cpp's (pull request 8931).
func (c *Config) publishedWindow() int {
	mini, medium := c.Layers == 32, c.Layers == 40
	switch {
	case (mini || medium) && c.Context == 4096:
		return 2047
	case mini && c.KVHeads == 32 && c.Context == 131072:
		return 262144
	case medium && c.Context == 131072:
		return 131072
	}
	return 0
}
