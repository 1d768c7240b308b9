package policy

import (
	"regexp"
	"testing"

	"github.com/phi3conv/phi3conv/quant"
)

func TestPolicy(t *testing.T) {
	q8, f16 := quant.Q8_0, quant.F16
	q4km, iq4xs := Policy{FileType: MostlyQ4_K_M}, Policy{FileType: MostlyIQ4_XS}
	matrix := func(name string, layer int) Tensor {
		return Tensor{Name: name, Source: quant.BF16, Cols: 3072, Matrix: true, Layer: layer, Layers: 32, GQA: 1}
	}
	narrow := func(t Tensor, cols int) Tensor { t.Cols = cols; return t }
	tied := func(t Tensor) Tensor { t.Tied = true; return t }
	gqa := func(t Tensor) Tensor { t.GQA = 4; return t }
	for _, c := range []struct {
		name   string
		policy Policy
		tensor Tensor
		want   quant.Type
	}{
		{"plain", q4km, matrix("blk.5.ffn_up.weight", 5), quant.Q4_K},
		{"norm", q4km, Tensor{Name: "blk.0.attn_norm.weight", Cols: 3072}, quant.F32},
		{"norm in F16", Policy{FileType: MostlyF16}, Tensor{Name: "output_norm.weight", Cols: 3072}, quant.F32},
		{"output", q4km, matrix("output.weight", 0), quant.Q6_K},
		{"output at Q8_0", Policy{FileType: MostlyQ8_0}, matrix("output.weight", 0), quant.Q8_0},
		{"output that does not divide", q4km, narrow(matrix("output.weight", 0), 96), quant.Q8_0},
		{"output in BF16", Policy{FileType: MostlyBF16}, matrix("output.weight", 0), quant.BF16},
		{"embedding", q4km, matrix("token_embd.weight", 0), quant.Q4_K},
		{"tied embedding", q4km, tied(matrix("token_embd.weight", 0)), quant.Q6_K},
		{"pure", Policy{FileType: MostlyQ4_K_M, Pure: true}, matrix("output.weight", 0), quant.Q4_K},
		{"qkv first eighth", q4km, matrix("blk.3.attn_qkv.weight", 3), quant.Q6_K},
		{"qkv third", q4km, matrix("blk.6.attn_qkv.weight", 6), quant.Q6_K},
		{"qkv between", q4km, matrix("blk.7.attn_qkv.weight", 7), quant.Q4_K},
		{"down last eighth", Policy{FileType: MostlyQ5_K_M}, matrix("blk.28.ffn_down.weight", 28), quant.Q6_K},
		{"down Q3_K_M", Policy{FileType: MostlyQ3_K_M}, matrix("blk.1.ffn_down.weight", 1), quant.Q5_K},
		{"out Q3_K_L", Policy{FileType: MostlyQ3_K_L}, matrix("blk.9.attn_output.weight", 9), quant.Q5_K},
		{"qkv Q2_K", Policy{FileType: MostlyQ2_K}, matrix("blk.9.attn_qkv.weight", 9), quant.Q3_K},
		{"qkv Q2_K grouped", Policy{FileType: MostlyQ2_K}, gqa(matrix("blk.9.attn_qkv.weight", 9)), quant.Q4_K},
		{"qkv IQ4_XS grouped", iq4xs, gqa(matrix("blk.9.attn_qkv.weight", 9)), quant.Q5_K},
		{"down IQ4_XS", iq4xs, matrix("blk.3.ffn_down.weight", 3), quant.Q5_K},
		{"down IQ4_XS imatrix", Policy{FileType: MostlyIQ4_XS, Imatrix: true},
			matrix("blk.3.ffn_down.weight", 3), quant.IQ4_XS},
		{"down Q4_0 imatrix", Policy{FileType: MostlyQ4_0, Imatrix: true},
			matrix("blk.3.ffn_down.weight", 3), quant.Q4_1},
		{"fallback", q4km, narrow(matrix("blk.7.ffn_up.weight", 7), 96), quant.Q5_0},
		{"last fallback", q4km, narrow(matrix("blk.7.ffn_up.weight", 7), 100), quant.F16},
		{"embedding type", Policy{FileType: MostlyQ4_K_M, Embedding: &f16}, matrix("token_embd.weight", 0), quant.F16},
		{"output type", Policy{FileType: MostlyQ4_K_M, Output: &q8}, matrix("output.weight", 0), quant.Q8_0},
		{"output type, tied", Policy{FileType: MostlyQ4_K_M, Output: &q8},
			tied(matrix("token_embd.weight", 0)), quant.Q8_0},
		{"keep output", Policy{FileType: MostlyQ4_K_M, KeepOutput: true}, matrix("output.weight", 0), quant.BF16},
		{"override", Policy{FileType: MostlyQ4_K_M, Overrides: []Override{
			{regexp.MustCompile(`ffn_down`), quant.Q8_0}, {regexp.MustCompile(`.`), quant.Q2_K},
		}}, matrix("blk.1.ffn_down.weight", 1), quant.Q8_0},
	} {
		if got := c.policy.Type(c.tensor); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
}

// Where a block of 256 does not divide a row, one of 32 takes over, for every type.
func TestFallbacks(t *testing.T) {
	for _, typ := range quant.Types() {
		f, ok := fallbacks[typ]
		if typ.BlockLen() > 32 && !ok {
			t.Errorf("%s: no line in the table of fallbacks", typ)
		}
		if ok && (typ.BlockLen() <= 32 || f.BlockLen() > 32) {
			t.Errorf("%s falls back to %s", typ, f)
		}
	}
}
