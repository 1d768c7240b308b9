package policy

import (
	"regexp"
	"testing"

	"github.com/phi3conv/phi3conv/quant"
)

func TestPolicy(t *testing.T) {
	q8, f16 := quant.Q8_0, quant.F16
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
		{"plain", Policy{FileType: MostlyQ4_K_M}, matrix("blk.5.ffn_up.weight", 5), quant.Q4_K},
		{"norm", Policy{FileType: MostlyQ4_K_M}, Tensor{Name: "blk.0.attn_norm.weight", Cols: 3072}, quant.F32},
		{"norm in F16", Policy{FileType: MostlyF16}, Tensor{Name: "output_norm.weight", Cols: 3072}, quant.F32},
		{"output", Policy{FileType: MostlyQ4_K_M}, matrix("output.weight", 0), quant.Q6_K},
		{"output at Q8_0", Policy{FileType: MostlyQ8_0}, matrix("output.weight", 0), quant.Q8_0},
		{"output that does not divide", Policy{FileType: MostlyQ4_K_M}, narrow(matrix("output.weight", 0), 96), quant.Q8_0},
		{"output in BF16", Policy{FileType: MostlyBF16}, matrix("output.weight", 0), quant.BF16},
		{"embedding", Policy{FileType: MostlyQ4_K_M}, matrix("token_embd.weight", 0), quant.Q4_K},
		{"tied embedding", Policy{FileType: MostlyQ4_K_M}, tied(matrix("token_embd.weight", 0)), quant.Q6_K},
		{"pure", Policy{FileType: MostlyQ4_K_M, Pure: true}, matrix("output.weight", 0), quant.Q4_K},
		{"qkv first eighth", Policy{FileType: MostlyQ4_K_M}, matrix("blk.3.attn_qkv.weight", 3), quant.Q6_K},
		{"qkv third", Policy{FileType: MostlyQ4_K_M}, matrix("blk.6.attn_qkv.weight", 6), quant.Q6_K},
		{"qkv between", Policy{FileType: MostlyQ4_K_M}, matrix("blk.7.attn_qkv.weight", 7), quant.Q4_K},
		{"down last eighth", Policy{FileType: MostlyQ5_K_M}, matrix("blk.28.ffn_down.weight", 28), quant.Q6_K},
		{"down Q3_K_M", Policy{FileType: MostlyQ3_K_M}, matrix("blk.1.ffn_down.weight", 1), quant.Q5_K},
		{"out Q3_K_L", Policy{FileType: MostlyQ3_K_L}, matrix("blk.9.attn_output.weight", 9), quant.Q5_K},
		{"qkv Q2_K", Policy{FileType: MostlyQ2_K}, matrix("blk.9.attn_qkv.weight", 9), quant.Q3_K},
		{"qkv Q2_K grouped", Policy{FileType: MostlyQ2_K}, gqa(matrix("blk.9.attn_qkv.weight", 9)), quant.Q4_K},
		{"qkv IQ4_XS grouped", Policy{FileType: MostlyIQ4_XS}, gqa(matrix("blk.9.attn_qkv.weight", 9)), quant.Q5_K},
		{"down IQ4_XS", Policy{FileType: MostlyIQ4_XS}, matrix("blk.3.ffn_down.weight", 3), quant.Q5_K},
		{"down IQ4_XS imatrix", Policy{FileType: MostlyIQ4_XS, Imatrix: true}, matrix("blk.3.ffn_down.weight", 3), quant.IQ4_XS},
		{"down Q4_0 imatrix", Policy{FileType: MostlyQ4_0, Imatrix: true}, matrix("blk.3.ffn_down.weight", 3), quant.Q4_1},
		{"fallback", Policy{FileType: MostlyQ4_K_M}, narrow(matrix("blk.7.ffn_up.weight", 7), 96), quant.Q5_0},
		{"last fallback", Policy{FileType: MostlyQ4_K_M}, narrow(matrix("blk.7.ffn_up.weight", 7), 100), quant.F16},
		{"embedding type", Policy{FileType: MostlyQ4_K_M, Embedding: &f16}, matrix("token_embd.weight", 0), quant.F16},
		{"output type", Policy{FileType: MostlyQ4_K_M, Output: &q8}, matrix("output.weight", 0), quant.Q8_0},
		{"output type, tied", Policy{FileType: MostlyQ4_K_M, Output: &q8}, tied(matrix("token_embd.weight", 0)), quant.Q8_0},
		{"keep output", Policy{FileType: MostlyQ4_K_M, KeepOutput: true}, matrix("output.weight", 0), quant.BF16},
		{"override", Policy{FileType: MostlyQ4_K_M, Overrides: []Override{{regexp.MustCompile(`ffn_down`), quant.Q8_0}, {regexp.MustCompile(`.`), quant.Q2_K}}},
			matrix("blk.1.ffn_down.weight", 1), quant.Q8_0},
	} {
		if got := c.policy.Type(c.tensor); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
}

func TestFileTypeNames(t *testing.T) {
	for _, f := range FileTypes() {
		if got, err := FileTypeByName(f.String()); err != nil || got != f {
			t.Errorf("FileTypeByName(%s) = %v, %v", f, got, err)
		}
		if got, ok := FileTypeByGGUF(uint64(f.GGUF())); !ok || got != f {
			t.Errorf("FileTypeByGGUF(%d) = %v", f.GGUF(), got)
		}
	}
	if got, err := FileTypeByName("q4_k"); err != nil || got != MostlyQ4_K_M {
		t.Errorf("q4_k = %v, %v", got, err)
	}
	if _, err := FileTypeByName("Q9"); err == nil {
		t.Error("Q9 is known")
	}
}
