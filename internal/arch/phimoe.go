package arch

import "fmt"

// phimoe is the block of Phi-3.5-MoE, Phi-mini-MoE and Phi-tiny-MoE: LayerNorm, biases in attention, grouped-query
// attention, and experts chosen by sparsemixer. Reference: modeling_phimoe.py and modeling_slimmoe.py, published with
// the checkpoints.
//
// A GGUF file has llama.cpp's names. Its reader demands biases, which are zeros where the checkpoint has none.
var phimoe = Arch{
	Name:         "phimoe",
	HF:           []string{"PhiMoEForCausalLM", "PhimoeForCausalLM"},
	For:          "Phi-3.5-MoE, Phi-mini-MoE, Phi-tiny-MoE",
	parse:        parsePhiMoE,
	block:        phiMoEBlock,
	head:         phiMoEHead,
	metadata:     phiMoEMetadata,
	fromMetadata: phiMoEFromMetadata,
}

// usualJitter is router_jitter_noise of all published models.
const usualJitter = 0.01

func parsePhiMoE(r *reader) *Config {
	c := parseCommon(r)
	c.LayerNorm = true
	c.Intermediate = r.integer("intermediate_size", 1, maxWidth, -1)
	c.NormEps = r.positive("rms_norm_eps", 1e-5) // so named, though the norms are LayerNorm
	c.configWindow(r)
	c.Tied = r.boolean("tie_word_embeddings", false)
	c.NoAttnBias, c.NoHeadBias = !r.boolean("attention_bias", false), !r.boolean("lm_head_bias", false)
	if c.HeadDim = r.integer("head_dim", 1, maxWidth, 0); c.HeadDim == 0 {
		c.divideHeads(r, "num_attention_heads", "hidden_size")
	}
	c.AttnScale = usualScale(c.HeadDim)
	onlyActivation(r, "silu")
	c.Experts = &Experts{
		Count:  r.integer("num_local_experts", 1, maxExperts, -1),
		Used:   r.integer("num_experts_per_tok", 1, maxExperts, 2),
		Jitter: r.notNegative("router_jitter_noise", usualJitter),
	}
	c.onlyTwo(r, "num_experts_per_tok")
	parseRope(r, c, ropeRules{theta: "rope_theta", base: 1e6, partial: 1, factor: func(rope *reader, c *Config) {
		publishedFactors(rope, c, c.extension(float64(c.Context)/float64(c.OriginalContext)))
	}})
	return c
}

// onlyTwo refuses another number of experts for each token than sparsemixer has. key is that number's.
func (c *Config) onlyTwo(r *reader, key string) {
	if c.Experts.Used != 2 {
		r.errorf("%s%s is %d, expected 2: sparsemixer chooses two experts", r.prefix, key, c.Experts.Used)
	}
}

func phiMoEBlock(c *Config, layer int) Block {
	n, h := ofBlock(layer), c.Hidden
	q, kv := c.Heads*c.HeadDim, c.KVHeads*c.HeadDim
	qkv := n.apart(q, kv, h)
	for i := range qkv {
		qkv[i] = qkv[i].orZero(c.NoAttnBias)
	}
	router := n.linear("block_sparse_moe.gate", "ffn_gate_inp", c.Experts.Count, h, false)
	router.Weight.From = [][]Rows{
		{all(router.Weight.HF, c.Experts.Count, h)}, {all(n.hf+"mlp.router.weight", c.Experts.Count, h)},
	}
	return Block{
		AttnNorm: n.norm("input_layernorm", "attn_norm", h, true),
		QKV:      qkv,
		AttnOut:  n.linear("self_attn.o_proj", "attn_output", h, q, true).orZero(c.NoAttnBias),
		FFNNorm:  n.norm("post_attention_layernorm", "ffn_norm", h, true),
		Router:   &router,
		Up: []Linear{
			n.experts(c, "w1", "ffn_gate_exps", "gate_up_proj", 0, 2),
			n.experts(c, "w3", "ffn_up_exps", "gate_up_proj", 1, 2),
		},
		Down: n.experts(c, "w2", "ffn_down_exps", "down_proj", 0, 1),
	}
}

// experts makes the stack of the experts' matrices of one name. Files of transformers 5 hold them stacked already, in
// the tensor named stacked. It has as many matrices for each expert as of says, one below the other, and this one is
// number part of them.
func (n names) experts(c *Config, name, gguf, stacked string, part, of int) Linear {
	rows, cols, count := c.Intermediate, c.Hidden, c.Experts.Count
	if name == "w2" {
		rows, cols = cols, rows
	}
	var apart, together []Rows
	for e := range count {
		apart = append(apart, all(fmt.Sprintf("%sblock_sparse_moe.experts.%d.%s.weight", n.hf, e, name), rows, cols))
		together = append(together, Rows{
			Name: n.hf + "mlp.experts." + stacked, Shape: shapeOf(count, of*rows, cols),
			First: (e*of + part) * rows, Count: rows, Step: 1,
		})
	}
	return Linear{
		Weight: Tensor{
			HF: apart[0].Name, GGUF: n.gguf + gguf + ".weight", Shape: shapeOf(count, rows, cols),
			From: [][]Rows{apart, together},
		},
		Outputs: []Outputs{{Rows: rows}},
	}
}

func phiMoEHead(c *Config) Head {
	h := c.usualHead("norm", true)
	h.Output = h.Output.orZero(c.NoHeadBias)
	return h
}

// phiMoEMetadata has llama.cpp's keys, and two that it does not know: attn_factor_short and the jitter.
func phiMoEMetadata(c *Config) []KV {
	kv := []KV{
		{"phimoe.context_length", uint32(c.Context)},
		{"phimoe.rope.scaling.original_context_length", uint32(c.OriginalContext)},
		{"phimoe.embedding_length", uint32(c.Hidden)},
		{"phimoe.feed_forward_length", uint32(c.Intermediate)},
		{"phimoe.block_count", uint32(c.Layers)},
		{"phimoe.attention.head_count", uint32(c.Heads)},
		{"phimoe.attention.head_count_kv", uint32(c.KVHeads)},
		{"phimoe.attention.layer_norm_rms_epsilon", float32(c.NormEps)},
		{"phimoe.rope.dimension_count", uint32(c.RotaryDims)},
		{"phimoe.rope.freq_base", float32(c.RopeTheta)},
		{"phimoe.attention.sliding_window", uint32(c.SlidingWindow)},
	}
	if c.HeadDim*c.Heads != c.Hidden {
		kv = append(kv, KV{"phimoe.attention.key_length", uint32(c.HeadDim)},
			KV{"phimoe.attention.value_length", uint32(c.HeadDim)})
	}
	kv = append(kv, c.ropeScalingKeys()...)
	return append(kv,
		KV{"phimoe.expert_used_count", uint32(c.Experts.Used)},
		KV{"phimoe.expert_count", uint32(c.Experts.Count)},
		KV{"phimoe.router_jitter_noise", float32(c.Experts.Jitter)})
}

func phiMoEFromMetadata(r *reader) *Config {
	c := commonFromMetadata(r)
	c.LayerNorm = true
	c.NormEps = r.positive("attention.layer_norm_rms_epsilon", 0)
	c.SlidingWindow = r.integer("attention.sliding_window", 0, maxContext, 0)
	if c.HeadDim = r.integer("attention.key_length", 1, maxWidth, 0); c.HeadDim == 0 {
		c.divideHeads(r, "attention.head_count", "embedding_length")
	}
	c.AttnScale = usualScale(c.HeadDim)
	c.Experts = &Experts{
		Count:  r.integer("expert_count", 1, maxExperts, -1),
		Used:   r.integer("expert_used_count", 1, maxExperts, 2),
		Jitter: r.notNegative("router_jitter_noise", usualJitter),
	}
	c.onlyTwo(r, "expert_used_count")
	if !r.has("router_jitter_noise") {
		c.assume("phimoe.router_jitter_noise", usualJitter)
	}
	c.ropeFromMetadata(r)
	return c
}
