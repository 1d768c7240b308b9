package diff

import (
	"testing"

	"github.com/phi3conv/phi3conv/internal/source"
	"github.com/phi3conv/phi3conv/internal/testmodel"
)

// The matrices of the first block whose rows make channels that can be scaled, and those that read them. In fused
// matrices it is the last rows, those of v and of up.
func TestMadeChannels(t *testing.T) {
	const v, up = "blk.0.attn_v.weight", "blk.0.ffn_up.weight"
	for name, want := range map[string]map[string]string{
		"tiny-phi3": {
			"blk.0.attn_qkv.weight": "blk.0.attn_output.weight", v: "blk.0.attn_output.weight",
			up: "blk.0.ffn_down.weight",
		},
		"tiny-phi2":      {v: "blk.0.attn_output.weight"}, // GELU is not linear in what up makes
		"tiny-phi3small": {v: "blk.0.attn_output.weight"},
		"tiny-phimoe":    {v: "blk.0.attn_output.weight", "blk.0.ffn_up_exps.weight": "blk.0.ffn_down_exps.weight"},
	} {
		m, err := source.Open(testmodel.Copy(t, name))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = m.Close() })
		c := m.Config
		c.Layers = 1
		made := madeChannels(c)
		if len(made) != len(want) {
			t.Errorf("%s: %v", name, made)
		}
		rows := map[string]int{v: c.KVHeads * c.HeadDim}
		for _, x := range m.Tensors {
			if len(x.Shape) > 1 {
				rows[x.GGUF] = int(x.Shape[len(x.Shape)-2])
			}
		}
		for maker, reader := range want {
			matrices := 1
			if maker == "blk.0.ffn_up_exps.weight" {
				matrices = c.Experts.Count
			}
			if len(made[maker]) != matrices {
				t.Fatalf("%s: %s makes %v", name, maker, made[maker])
			}
			for _, x := range made[maker] {
				if x.reader != reader || x.first+x.count != rows[maker] {
					t.Errorf("%s: rows %d to %d of %s, expected the last of %d, are read by %s, expected %s",
						name, x.first, x.first+x.count, maker, rows[maker], x.reader, reader)
				}
			}
		}
	}
}
