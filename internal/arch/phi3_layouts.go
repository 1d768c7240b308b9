package arch

// layout is how a checkpoint holds a model of the Phi-3 block.
type layout struct {
	// base comes between the name of a linear layer and ".weight".
	base string
	// apart says that q, k and v are matrices of their own, and gate and up too, as in all models of Llama's layout.
	apart  bool
	others []Others
}

// phi3Layouts are the layouts by the name in config.json. The text part of the models that see or hear is exactly a
// Phi-3: their adapters are off as long as there is text alone.
var phi3Layouts = map[string]layout{
	"Phi3ForCausalLM": {},
	"Phi3VForCausalLM": {others: []Others{
		{"the part that sees", "the text model", []string{"model.vision_embed_tokens."}, true},
	}},
	"Phi4MMForCausalLM": {base: ".base_layer", others: []Others{
		{"the parts that see and hear", "the text model", []string{phi4Extend}, false},
		{"the adapters for images and speech", "the text model without adapters, as it answers to text",
			[]string{".lora_A.", ".lora_B."}, false},
	}},
	"Phi4MultimodalForCausalLM": {others: []Others{
		{"the parts that see and hear", "the text model", []string{phi4Extend}, true},
	}},
	"LlamaForCausalLM":   {apart: true},
	"MistralForCausalLM": {apart: true},
}

const phi4Extend = "model.embed_tokens_extend."

func phi3Others(class string) []Others { return phi3Layouts[class].others }

// llamaDefaults reads what has another default in the configuration of a model of Llama's layout.
func (c *Config) llamaDefaults(r *reader) {
	c.NormEps = r.positive("rms_norm_eps", 1e-6)
	if r.class == "LlamaForCausalLM" {
		c.SlidingWindow = 0 // it has none, whatever the key says
	} else if _, ok := r.fields["sliding_window"]; !ok { // where it is null, there is none
		c.SlidingWindow = 4096
	}
	if p := r.positive("partial_rotary_factor", 1); p != 1 {
		r.errorf("partial_rotary_factor is %g, expected 1: a %s turns all of each head", p, r.class)
	}
}

// hold says how a checkpoint of the layout has a linear layer: under the name hf, or as matrices of their own with the
// names that follow it.
func (s *layout) hold(l *Linear, n names, parts ...string) {
	l.Weight.HF = l.Weight.HF[:len(l.Weight.HF)-len(".weight")] + s.base + ".weight"
	if !s.apart || len(parts) == 0 {
		return
	}
	var from []Rows
	for i, part := range parts {
		from = append(from, all(n.hf+part+".weight", l.Outputs[i].Rows, int(l.Weight.Shape[1])))
	}
	l.Weight.HF, l.Weight.From = from[0].Name, [][]Rows{from}
}
