package vocab

import (
	"slices"
	"strings"
	"testing"
)

// What llama.cpp makes of files with these tokens, by src/llama-vocab.cpp, and what a file that lists all ends says.
func TestAssumed(t *testing.T) {
	const eos, ids = "tokenizer.ggml.eos_token_id", "tokenizer.ggml.eos_token_ids"
	for name, c := range map[string]struct {
		kind   string
		tokens string
		more   map[string]any
		stops  []string
		says   string
	}{
		"one end token": {ByteLevel, "a <|endoftext|> <|end|> <|user|>", map[string]any{eos: uint32(1)},
			[]string{"<|endoftext|>", "<|end|>"}, "answers end at <|end|> too"},
		"all are listed": {ByteLevel, "a <|endoftext|> <|end|>", map[string]any{eos: uint32(1), ids: []int32{1}},
			[]string{"<|endoftext|>"}, ""},
		"other families": {ByteLevel, "<|eot_id|> a <|im_end|> <end_of_turn> [EOT]", map[string]any{eos: uint32(0)},
			[]string{"<|eot_id|>", "<|im_end|>", "<end_of_turn>", "[EOT]"}, "<|im_end|>, <end_of_turn>, [EOT]"},
		"harmony": {ByteLevel, "<|end|> <|return|> <|call|>", map[string]any{eos: uint32(1)},
			[]string{"<|return|>", "<|call|>"}, "<|call|>"},
		"tool response": {ByteLevel, "</s> <|tool_response>", map[string]any{eos: uint32(1)},
			[]string{"<|tool_response>"}, ""},
		"no id": {ByteLevel, "a <|endoftext|>", nil, []string{"<|endoftext|>"}, eos + " is 1"},
		"no id of SentencePiece": {SentencePiece, "<unk> <s> </s> a", nil,
			[]string{"</s>"}, "tokenizer.ggml.bos_token_id is 1 (<s>)"},
		"ids of something else": {SentencePiece, "a b c d", nil, nil, ""},
	} {
		m := map[string]any{keyModel: c.kind, keyTokens: strings.Fields(c.tokens), keyPre: "default"}
		if c.kind == SentencePiece {
			m[keyScores] = make([]float32, len(strings.Fields(c.tokens)))
		}
		for k, value := range c.more {
			m[k] = value
		}
		v, err := FromMetadata(func(key string) (any, bool) { value, ok := m[key]; return value, ok })
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		var stops []string
		for _, id := range v.StopIDs {
			stops = append(stops, v.Tokens[id])
		}
		if said := strings.Join(v.Assumed, "; "); !slices.Equal(stops, c.stops) ||
			!strings.Contains(said, c.says) || c.says == "" && said != "" {
			t.Errorf("%s: ends at %q, expected %q; assumed %q", name, stops, c.stops, said)
		}
	}
}

// A file that does not name its pre-tokenizer has that of the published model with such a vocabulary.
func TestAssumedPre(t *testing.T) {
	for architecture, c := range map[string]struct{ token, want string }{
		"phi2": {"a", "phi-2"}, "phi3small": {"a", "dbrx"}, "phi3": {"<|im_sep|>", "dbrx"}, "llama": {"a", ""},
	} {
		m := map[string]any{
			keyModel: ByteLevel, keyTokens: []string{c.token}, "general.architecture": architecture,
		}
		v, err := FromMetadata(func(key string) (any, bool) { value, ok := m[key]; return value, ok })
		if err != nil || v.Pre != c.want || (len(v.Assumed) > 0) != (c.want != "") {
			t.Errorf("%s: %q, expected %q; assumed %q, %v", architecture, v.Pre, c.want, v.Assumed, err)
		}
	}
}
