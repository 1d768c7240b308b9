package arch

import (
	"slices"
	"testing"
)

// The ids are those of tokenization_phi3_small.py, less 100256; so are the 91 that are never predicted.
func TestPhi3SmallTokenizer(t *testing.T) {
	special := phi3small.Tokenizer.Special
	for id, want := range map[int]string{
		0: "<|dummy_id_2|>", 1: "<|endoftext|>", 2: "<|fim_prefix|>", 3: "<|fim_middle|>", 4: "<|fim_suffix|>",
		5: "<|system|>", 6: "<|user|>", 7: "<|assistant|>", 8: "<|dummy_id_0|>", 9: "<|dummy_id_1|>", 10: "<|end|>",
		11: "<|dummy_id_3|>", 19: "<|dummy_id_11|>", 20: "<|endofprompt|>", 21: "<|dummy_id_12|>",
		95: "<|dummy_id_86|>",
	} {
		if special[id] != want {
			t.Errorf("%d is %s, expected %s", id, special[id], want)
		}
	}
	masked := phi3small.Tokenizer.Masked(100352)
	for id := int32(100256); id < 100352; id++ {
		used := slices.Contains([]int32{100257, 100261, 100262, 100263, 100266}, id)
		if slices.Contains(masked, id) == used {
			t.Errorf("%d: masked %t", id, !used)
		}
	}
	if len(masked) != 91 || len(special) != 96 {
		t.Errorf("%d of %d special tokens are masked, expected 91 of 96", len(masked), len(special))
	}
}

// What a tokenizer uses is among its special tokens, and a class belongs to one architecture.
func TestTokenizers(t *testing.T) {
	classes := make(map[string]string)
	for _, a := range Archs {
		for _, text := range slices.Concat(a.Tokenizer.Used, a.Tokenizer.Stops) {
			if !slices.Contains(a.Tokenizer.Special, text) {
				t.Errorf("%s: %s is no special token", a.Name, text)
			}
		}
		if other := classes[a.Tokenizer.Class]; other != "" {
			t.Errorf("%s and %s have the class %s", other, a.Name, a.Tokenizer.Class)
		}
		if a.Tokenizer.Class != "" {
			classes[a.Tokenizer.Class] = a.Name
		}
	}
}
