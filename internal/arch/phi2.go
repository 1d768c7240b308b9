package arch

// phi2 is the block of Phi-1, Phi-1.5 and Phi-2: LayerNorm, biases everywhere, RoPE on a part of each head, and
// attention and a GELU layer side by side after one norm. Reference: transformers, models/phi/modeling_phi.py.
var phi2 = Arch{
	Name:         "phi2",
	HF:           []string{"PhiForCausalLM"},
	For:          "Phi-1, Phi-1.5, Phi-2",
	Tokenizer:    phi2Tokenizer,
	parse:        parsePhi2,
	block:        phi2Block,
	head:         func(c *Config) Head { return c.usualHead("final_layernorm", true) },
	metadata:     phi2Metadata,
	fromMetadata: phi2FromMetadata,
}

// phi2Tokenizer is that of transformers, models/codegen.
var phi2Tokenizer = Tokenizer{
	Class: "CodeGenTokenizer", Pre: "phi-2", NoBOS: true, EndOfText: []string{"bos", "eos", "unk"},
}

func parsePhi2(r *reader) *Config {
	c := parseCommon(r)
	c.phi2()
	c.Intermediate = r.integer("intermediate_size", 1, maxWidth, -1)
	c.NormEps = r.positive("layer_norm_eps", 1e-5)
	c.Tied = r.boolean("tie_word_embeddings", false)
	c.divideHeads(r, "num_attention_heads", "hidden_size")
	c.onlyHeadDim(r)
	onlyActivation(r, "gelu_new")
	if r.boolean("qk_layernorm", false) {
		r.errorf("qk_layernorm is true: norms of queries and keys are not supported; no published Phi model has them")
	}
	parseRope(r, c, ropeRules{theta: "rope_theta", base: 10000, partial: 0.5, factor: transformersFactor})
	return c
}

// phi2 sets what is the same in all models of the architecture.
func (c *Config) phi2() { c.LayerNorm, c.Activation, c.Parallel = true, GELU, true }

func phi2Block(c *Config, layer int) Block {
	n, h := ofBlock(layer), c.Hidden
	q, kv := c.Heads*c.HeadDim, c.KVHeads*c.HeadDim
	return Block{
		AttnNorm: n.norm("input_layernorm", "attn_norm", h, true),
		QKV:      n.apart(q, kv, h),
		AttnOut:  n.linear("self_attn.dense", "attn_output", h, q, true),
		Up:       []Linear{n.linear("mlp.fc1", "ffn_up", c.Intermediate, h, true)},
		Down:     n.linear("mlp.fc2", "ffn_down", h, c.Intermediate, true),
	}
}

// apart makes the matrices of queries, keys and values that checkpoint and GGUF hold apart, with biases. Old GGUF files
// of Phi-2 have them in one, attn_qkv.
func (n names) apart(q, kv, cols int) []Linear {
	qkv := []Linear{
		n.linear("self_attn.q_proj", "attn_q", q, cols, true),
		n.linear("self_attn.k_proj", "attn_k", kv, cols, true),
		n.linear("self_attn.v_proj", "attn_v", kv, cols, true),
	}
	first := 0
	for i := range qkv {
		l := &qkv[i]
		rows := l.Outputs[0].Rows
		l.Weight.Fused = []Rows{{n.gguf + "attn_qkv.weight", shapeOf(q+2*kv, cols), first, rows, 1}}
		l.Bias.Fused = []Rows{{n.gguf + "attn_qkv.bias", shapeOf(q + 2*kv), first, rows, 1}}
		first += rows
	}
	return qkv
}

// phi2Metadata has no rope.freq_base where it is the one that readers take for granted, as in llama.cpp.
func phi2Metadata(c *Config) []KV {
	kv := []KV{
		{"phi2.context_length", uint32(c.Context)},
		{"phi2.embedding_length", uint32(c.Hidden)},
		{"phi2.feed_forward_length", uint32(c.Intermediate)},
		{"phi2.block_count", uint32(c.Layers)},
		{"phi2.attention.head_count", uint32(c.Heads)},
		{"phi2.attention.head_count_kv", uint32(c.KVHeads)},
		{"phi2.attention.layer_norm_epsilon", float32(c.NormEps)},
		{"phi2.rope.dimension_count", uint32(c.RotaryDims)},
	}
	if c.RopeTheta != 10000 {
		kv = append(kv, KV{"phi2.rope.freq_base", float32(c.RopeTheta)})
	}
	return append(kv, c.ropeScalingKeys()...)
}

func phi2FromMetadata(r *reader) *Config {
	c := commonFromMetadata(r)
	c.phi2()
	c.NormEps = r.positive("attention.layer_norm_epsilon", 0)
	c.divideHeads(r, "attention.head_count", "embedding_length")
	c.ropeFromMetadata(r)
	return c
}
