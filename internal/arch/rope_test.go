package arch

import (
	"fmt"
	"math"
	"strings"
	"testing"
)

// What transformers 5.24 makes of configurations that say things twice or not at all: Phi3RotaryEmbedding's
// attention_scaling, and its inv_freq[1], which shows base, share of dimensions and factors. The values are those of
// testdata/make/golden_rope.py.
func TestRopeAsTransformers(t *testing.T) {
	list := func(step float64) string {
		var all []string
		for i := range 32 {
			all = append(all, fmt.Sprint(1+step*float64(i)))
		}
		return "[" + strings.Join(all, ",") + "]"
	}
	long := `"short_factor":` + list(.02) + `,"long_factor":` + list(.9)
	lr := `{"type":"longrope",` + long + `}`
	const base = `"architectures":["Phi3ForCausalLM"],"vocab_size":576,"hidden_size":256,"intermediate_size":512,
		"num_hidden_layers":1,"num_attention_heads":4,"num_key_value_heads":2`
	const original = `"original_max_position_embeddings":64`
	for _, c := range []struct {
		rope     string
		freq     float64 // 0 if it is refused here
		scale    float64
		resolved string // or what the refusal says
	}{
		{`"rope_theta":10000.0`, 0.749894, 1, ""},
		{original + `,"rope_parameters":{"rope_type":"default","rope_theta":10000.0},"rope_scaling":` + lr,
			0.73519, 1.224745, "rope_type is longrope in rope_scaling and default in rope_parameters"},
		{original + `,"rope_parameters":{"rope_type":"longrope",` + long + `},"rope_scaling":{"type":"default"}`,
			0.749894, 1, "rope_type is default in rope_scaling"},
		{original + `,"rope_parameters":{"rope_type":"longrope","rope_theta":10000,` + long + `},"rope_scaling":{}`,
			0.73519, 1.224745, ""},
		{`"rope_theta":20000.0,"rope_parameters":{"rope_type":"default","rope_theta":30000.0}`, 0.724586, 1,
			"rope_theta is 30000.0 in rope_scaling or rope_parameters and 20000.0 in the top of the file"},
		{original + `,"rope_parameters":{"rope_theta":30000.0},"rope_scaling":` + lr,
			0.73519, 1.224745, ""},
		{original + `,"rope_theta":20000.0,"rope_parameters":{"rope_theta":30000.0},"rope_scaling":` + lr,
			0.719437, 1.224745, ""},
		{`"original_max_position_embeddings":128,"rope_scaling":{"type":"longrope",` + original + `,` + long + `}`,
			0.73519, 1.133893, "the one at the top of the file counts"},
		{`"rope_scaling":` + lr, 0.73519, 1, ""},
		{`"rope_scaling":{"type":"longrope",` + original + `,` + long + `}`, 0, 0, "takes 4096"},
		{original + `,"rope_scaling":{"type":"longrope","factor":4.0,` + long + `}`, 0.73519, 1.154701, ""},
		{original + `,"rope_scaling":{"type":"linear","rope_type":"longrope",` + long + `}`, 0.73519, 1.224745, ""},
		{original + `,"rope_scaling":{"type":"longrope","rope_type":"default",` + long + `}`, 0, 0, "long_factor"},
		{original + `,"rope_scaling":{"type":"yarn","factor":8.0,` + long + `}`, 0, 0, `"yarn" is not supported`},
		{`"partial_rotary_factor":0.75,"rope_parameters":{"rope_type":"default","partial_rotary_factor":0.5}`,
			0.562341, 1, "partial_rotary_factor is 0.5"},
	} {
		config, err := ParseConfig([]byte("{" + base + `,"max_position_embeddings":512,` + c.rope + "}"))
		if c.freq == 0 {
			if err == nil || !strings.Contains(err.Error(), c.resolved) {
				t.Errorf("%.150s…: %v, expected %q", c.rope, err, c.resolved)
			}
			continue
		}
		if err != nil {
			t.Errorf("%.150s…: %v", c.rope, err)
			continue
		}
		freq, scale := math.Pow(config.RopeTheta, -2/float64(config.RotaryDims)), 1.0
		if l := config.LongRope; l != nil {
			freq, scale = freq/float64(l.Short[1]), l.AttnFactor
		}
		said := strings.Join(config.Resolved, "; ")
		if math.Abs(freq-c.freq) > 1e-6 || math.Abs(scale-c.scale) > 1e-6 || !strings.Contains(said, c.resolved) {
			t.Errorf("%.150s…: frequency %f, factor %f, expected %f, %f; resolved %q",
				c.rope, freq, scale, c.freq, c.scale, said)
		}
	}
}
