package arch

import "fmt"

// phi3small is the block of Phi-3-small: LayerNorm, biases, grouped-query attention that is block-sparse in some
// layers, GeGELU, and the factors of μP. Reference: modeling_phi3_small.py, published with the checkpoints.
//
// In the checkpoint, query_key_value holds for each key-value head the rows of its queries, its key and its value;
// up_proj those of gate and up in turns. A GGUF file holds each apart: docs/gguf-phi3small.md.
var phi3small = Arch{
	Name:         "phi3small",
	HF:           []string{"Phi3SmallForCausalLM"},
	For:          "Phi-3-small 8k and 128k",
	Tokenizer:    phi3SmallTokenizer,
	parse:        parsePhi3Small,
	block:        phi3SmallBlock,
	head:         func(c *Config) Head { return c.usualHead("final_layernorm", false) },
	metadata:     phi3SmallMetadata,
	fromMetadata: phi3SmallFromMetadata,
}

// phi3SmallTokenizer is that of tokenization_phi3_small.py, published with the checkpoints.
var phi3SmallTokenizer = Tokenizer{
	Class: "Phi3SmallTokenizer", Pre: "dbrx", NoBOS: true, EndOfText: []string{"bos", "eos"},
	Stops: []string{"<|end|>"}, Tiktoken: "cl100k_base.tiktoken", Special: phi3SmallSpecial(),
	Used: []string{EndOfText, "<|system|>", "<|user|>", "<|assistant|>", "<|end|>"},
}

// phi3SmallSpecial lists the tokens 100256 to 100351.
func phi3SmallSpecial() []string {
	list := []string{
		"<|dummy_id_2|>", EndOfText, "<|fim_prefix|>", "<|fim_middle|>", "<|fim_suffix|>", "<|system|>", "<|user|>",
		"<|assistant|>", "<|dummy_id_0|>", "<|dummy_id_1|>", "<|end|>",
	}
	for k := 3; k <= 86; k++ {
		list = append(list, fmt.Sprintf("<|dummy_id_%d|>", k))
		if k == 11 {
			list = append(list, "<|endofprompt|>")
		}
	}
	return list
}

func parsePhi3Small(r *reader) *Config {
	c := parseCommon(r)
	c.LayerNorm, c.Activation = true, GeGELU
	c.Intermediate = phi3SmallIntermediate(r, c.Hidden)
	c.NormEps = r.positive("layer_norm_epsilon", 1e-5)
	c.Tied = r.boolean("tie_word_embeddings", true)
	c.divideHeads(r, "num_attention_heads", "hidden_size")
	onlyActivation(r, "gegelu")
	if n := len(phi3SmallTokenizer.Special); c.VocabSize < n {
		r.errorf("vocab_size is %d, expected at least the %d special tokens", c.VocabSize, n)
	}
	if r.has("gegelu_limit") {
		c.GateLimit = r.positive("gegelu_limit", 0)
	}
	if r.boolean("mup_use_scaling", true) {
		const key = "mup_attn_multiplier"
		c.AttnScale = r.factor(key, r.positive(key, 1)/float64(c.HeadDim))
	}
	if m, ok := r.number("mup_embedding_multiplier", "a number"); ok && m > 0 {
		c.EmbeddingScale = r.factor("mup_embedding_multiplier", m)
	}
	if r.has("mup_width_multiplier") {
		c.LogitScale = r.factor("mup_width_multiplier", 1/r.positive("mup_width_multiplier", 1))
	}
	parseRope(r, c, ropeRules{
		theta: "rope_embedding_base", base: 1e6, partial: 1,
		factor: func(rope *reader, c *Config) { publishedFactors(rope, c, 1) },
	})
	if c.LongRope == nil {
		c.RopeScale = r.positive("rope_position_scale", 1)
		r.factor("rope_position_scale", 1/c.RopeScale) // which a GGUF file has
	}
	c.Sparse = parseBlockSparse(r, c)
	return c
}

// phi3SmallIntermediate returns the width of the feed-forward layer, by the rule of the published configuration where
// ff_intermediate_size is null.
func phi3SmallIntermediate(r *reader, hidden int) int {
	if r.has("ff_intermediate_size") || !r.has("ff_dim_multiplier") {
		return r.integer("ff_intermediate_size", 1, maxWidth, -1)
	}
	n := r.integer("ff_dim_multiplier", 1, 1024, -1) * (hidden / 3) * 2
	if r.boolean("gegelu_pad_to_256", true) {
		n = (n + 255) &^ 255
	}
	if n < 1 || n > maxWidth {
		r.errorf("ff_dim_multiplier makes a feed-forward layer of %d, expected 1 to %d", n, maxWidth)
	}
	return n
}

func parseBlockSparse(r *reader, c *Config) *BlockSparse {
	s := &BlockSparse{
		BlockSize:   r.integer("blocksparse_block_size", 1, maxContext, -1),
		LocalBlocks: r.integer("blocksparse_num_local_blocks", 1, maxContext, -1),
		Stride:      r.integer("blocksparse_vert_stride", 1, maxContext, -1),
		Layers:      make([]bool, c.Layers),
	}
	if !r.boolean("blocksparse_homo_head_pattern", false) {
		s.HeadStep = max(1, s.Stride/c.Heads)
	}
	every := r.integer("dense_attention_every_n_layers", 0, maxLayers, 0)
	for l := range s.Layers {
		s.Layers[l] = every == 0 || (l+1)%every != 0
	}
	return s
}

func phi3SmallBlock(c *Config, layer int) Block {
	n, h, f := ofBlock(layer), c.Hidden, c.Intermediate
	group := c.Heads / c.KVHeads
	rows := (c.Heads + 2*c.KVHeads) * c.HeadDim
	// part gathers heads heads of every group, the first of which is head number first there.
	part := func(first, heads int) []Rows {
		var ranges []Rows
		for g := range c.KVHeads {
			ranges = append(ranges, Rows{First: (g*(group+2) + first) * c.HeadDim, Count: heads * c.HeadDim, Step: 1})
		}
		return ranges
	}
	const qkv, up = "self_attn.query_key_value", "mlp.up_proj"
	return Block{
		AttnNorm: n.norm("input_layernorm", "attn_norm", h, true),
		QKV: []Linear{
			n.gather(qkv, "attn_q", rows, h, part(0, group)),
			n.gather(qkv, "attn_k", rows, h, part(group, 1)),
			n.gather(qkv, "attn_v", rows, h, part(group+1, 1)),
		},
		AttnOut: n.linear("self_attn.dense", "attn_output", h, c.Heads*c.HeadDim, true),
		FFNNorm: n.norm("post_attention_layernorm", "ffn_norm", h, true),
		Up: []Linear{
			n.gather(up, "ffn_gate", 2*f, h, []Rows{{First: 0, Count: f, Step: 2}}),
			n.gather(up, "ffn_up", 2*f, h, []Rows{{First: 1, Count: f, Step: 2}}),
		},
		Down: n.linear("mlp.down_proj", "ffn_down", h, f, true),
	}
}

func phi3SmallMetadata(c *Config) []KV {
	s := c.Sparse
	kv := []KV{
		{"phi3small.context_length", uint32(c.Context)},
		{"phi3small.embedding_length", uint32(c.Hidden)},
		{"phi3small.feed_forward_length", uint32(c.Intermediate)},
		{"phi3small.block_count", uint32(c.Layers)},
		{"phi3small.attention.head_count", uint32(c.Heads)},
		{"phi3small.attention.head_count_kv", uint32(c.KVHeads)},
		{"phi3small.attention.layer_norm_epsilon", float32(c.NormEps)},
		{"phi3small.attention.scale", float32(c.AttnScale)},
		{"phi3small.attention.block_sparse.block_size", uint32(s.BlockSize)},
		{"phi3small.attention.block_sparse.local_blocks", uint32(s.LocalBlocks)},
		{"phi3small.attention.block_sparse.vertical_stride", uint32(s.Stride)},
		{"phi3small.attention.block_sparse.head_step", uint32(s.HeadStep)},
		{"phi3small.attention.block_sparse.layers", s.Layers},
		{"phi3small.rope.dimension_count", uint32(c.RotaryDims)},
		{"phi3small.rope.freq_base", float32(c.RopeTheta)},
		{"phi3small.embedding_scale", float32(c.EmbeddingScale)},
		{"phi3small.logit_scale", float32(c.LogitScale)},
	}
	if c.GateLimit != 0 {
		kv = append(kv, KV{"phi3small.gegelu_limit", float32(c.GateLimit)})
	}
	if c.LongRope != nil {
		kv = append(kv, KV{"phi3small.rope.scaling.original_context_length", uint32(c.OriginalContext)})
	}
	return append(kv, c.ropeScalingKeys()...)
}

func phi3SmallFromMetadata(r *reader) *Config {
	c := commonFromMetadata(r)
	c.LayerNorm, c.Activation = true, GeGELU
	c.NormEps = r.positive("attention.layer_norm_epsilon", 0)
	c.divideHeads(r, "attention.head_count", "embedding_length")
	c.AttnScale = r.positive("attention.scale", 0)
	c.EmbeddingScale = r.positive("embedding_scale", 0)
	c.LogitScale = r.positive("logit_scale", 0)
	c.RopeTheta = r.positive("rope.freq_base", 0)
	if r.has("gegelu_limit") {
		c.GateLimit = r.positive("gegelu_limit", 0)
	}
	c.ropeFromMetadata(r)
	const sparse = "attention.block_sparse."
	c.Sparse = &BlockSparse{
		BlockSize:   r.integer(sparse+"block_size", 1, maxContext, -1),
		LocalBlocks: r.integer(sparse+"local_blocks", 1, maxContext, -1),
		Stride:      r.integer(sparse+"vertical_stride", 1, maxContext, -1),
		HeadStep:    r.integer(sparse+"head_step", 0, maxContext, -1),
		Layers:      r.booleans(sparse + "layers"),
	}
	return c
}
