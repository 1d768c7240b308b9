package vocab

import (
	"fmt"
	"slices"
	"strings"
)

// facts are what a model's published code decides about its tokenizer, and its files may not say.
type facts struct {
	modelType string // config.json's model_type
	class     string // tokenizer_config.json's tokenizer_class, without "Fast"

	pre       string   // how ByteLevel splits text, by llama.cpp's name
	noBOS     bool     // no BOS before a text unless the files say so
	endOfText []string // roles of <|endoftext|>, as in idFields, where the files name no token
	stops     []string // tokens that end a generation, EOS apart
	tiktoken  string   // the only vocabulary file, which has no special tokens
	special   []string // those tokens: their ids follow its last one
	used      []string // those of special that the model was trained with; the others are never generated
}

const endOfText = "<|endoftext|>"

// phi2Pre splits as "gpt-2" does.
const phi2Pre = "phi-2"

// family has the facts of each architecture by its name in GGUF. Sources are transformers' classes, and for Phi-3-small
// tokenization_phi3_small.py, which is published with it.
var family = map[string]facts{
	"phi2": { // Phi-1, Phi-1.5, Phi-2
		modelType: "phi", class: "CodeGenTokenizer",
		pre: phi2Pre, noBOS: true, endOfText: []string{"bos", "eos", "unk"},
	},
	"phi3": {modelType: "phi3"}, // the files say everything
	"phi3small": {
		modelType: "phi3small", class: "Phi3SmallTokenizer",
		pre: "dbrx", noBOS: true, endOfText: []string{"bos", "eos"}, stops: []string{"<|end|>"},
		tiktoken: "cl100k_base.tiktoken", special: phi3SmallSpecial(),
		used: []string{endOfText, "<|system|>", "<|user|>", "<|assistant|>", "<|end|>"},
	},
	"phimoe": {modelType: "phimoe"}, // the files of Phi-3
}

// phi3SmallSpecial lists the tokens 100256 to 100351 of Phi-3-small.
func phi3SmallSpecial() []string {
	list := []string{
		"<|dummy_id_2|>", endOfText, "<|fim_prefix|>", "<|fim_middle|>", "<|fim_suffix|>", "<|system|>", "<|user|>",
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

// findFacts finds the facts of the directory's model, without a known model_type by the class of its tokenizer.
func (s *source) findFacts() facts {
	for _, f := range family {
		if f.modelType == s.model.ModelType {
			return f
		}
	}
	if s.config == nil {
		return facts{}
	}
	for _, f := range family {
		if f.class != "" && f.class == strings.TrimSuffix(s.config.Class, "Fast") {
			return f
		}
	}
	return facts{}
}

// suppress lists the tokens that the model must never produce.
func (f facts) suppress(v *Vocab) {
	for id, text := range v.Tokens {
		if v.Types[id] == Control && slices.Contains(f.special, text) && !slices.Contains(f.used, text) {
			v.Suppress = append(v.Suppress, id)
		}
	}
}
