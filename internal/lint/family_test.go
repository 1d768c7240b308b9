package lint

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/phi3conv/phi3conv/formats/gguf"
	"github.com/phi3conv/phi3conv/internal/arch"
	"github.com/phi3conv/phi3conv/internal/vocab"
	"github.com/phi3conv/phi3conv/quant"
	"github.com/phi3conv/phi3conv/quant/policy"
)

// published is a model of the family as llama.cpp's converter describes it, with
// fewer and narrower layers.
type published struct {
	name                            string // general.name
	context, original, window       uint32
	heads, kvHeads, headDim, rotary uint32
	freqBase                        float32
	longRope, tied                  bool
	phi3Tokens                      bool // else a byte-level vocabulary
	pre                             string
	chat                            []string // tokens of a byte-level vocabulary; <|endoftext|> is the first
	eos, pad                        string
	template                        string
	warnings                        []string // codes that are right about such a file
}

const (
	miniTemplate = "{% for message in messages %}{% if message['role'] == 'system' %}{{'<|system|>\n' + " +
		"message['content'] + '<|end|>\n'}}" +
		"{% elif message['role'] == 'user' %}{{'<|user|>\n' + message['content'] + '<|end|>\n'}}" +
		"{% elif message['role'] == 'assistant' %}{{'<|assistant|>\n' + message['content'] + '<|end|>\n'}}{% endif %}" +
		"{% endfor %}" +
		"{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% else %}{{ eos_token }}{% endif %}"
	phi4Template = "{% for message in messages %}" +
		"{% if (message['role'] == 'system') %}{{'<|im_start|>system<|im_sep|>' + message['content'] + '<|im_end|>'}}" +
		"{% elif (message['role'] == 'user') %}{{'<|im_start|>user<|im_sep|>' + message['content'] + '<|im_end|>'}}" +
		"{% elif (message['role'] == 'assistant') %}{{'<|im_start|>assistant<|im_sep|>' + message['content'] + " +
		"'<|im_end|>'}}{% endif %}{% endfor %}" +
		"{% if add_generation_prompt %}{{ '<|im_start|>assistant<|im_sep|>' }}{% endif %}"
	phi4MiniTemplate = "{% for message in messages %}{% if message['role'] == 'system' and 'tools' in message and " +
		"message['tools'] is not none %}" +
		"{{ '<|' + message['role'] + '|>' + message['content'] + '<|tool|>' + message['tools'] + " +
		"'<|/tool|>' + '<|end|>' }}" +
		"{% else %}{{ '<|' + message['role'] + '|>' + message['content'] + '<|end|>' }}{% endif %}{% endfor %}" +
		"{% if add_generation_prompt %}{{ '<|assistant|>' }}{% else %}{{ eos_token }}{% endif %}"
)

var family = []published{
	{name: "Phi 3 Mini 4k Instruct", context: 4096, original: 4096, window: 2047, heads: 1, kvHeads: 1, headDim: 96,
		rotary: 96, freqBase: 10000,
		phi3Tokens: true, template: miniTemplate, warnings: []string{"PHI407", "PHI503"}},
	{name: "Phi 3 Mini 128k Instruct", context: 131072, original: 4096, window: 262144, heads: 1, kvHeads: 1,
		headDim: 96, rotary: 96, freqBase: 10000,
		longRope: true, phi3Tokens: true, template: miniTemplate, warnings: []string{"PHI407", "PHI503"}},
	{name: "Phi 3 Medium 4k Instruct", context: 4096, original: 4096, window: 2047, heads: 2, kvHeads: 1, headDim: 128,
		rotary: 128, freqBase: 10000,
		phi3Tokens: true, template: medium, warnings: []string{"PHI407", "PHI503"}},
	{name: "Phi 3 Medium 128k Instruct", context: 131072, original: 4096, window: 131072, heads: 2, kvHeads: 1,
		headDim: 128, rotary: 128, freqBase: 10000,
		longRope: true, phi3Tokens: true, template: medium, warnings: []string{"PHI407", "PHI503"}},
	{name: "Phi 3.5 Mini Instruct", context: 131072, original: 4096, window: 262144, heads: 1, kvHeads: 1, headDim: 96,
		rotary: 96, freqBase: 10000,
		longRope: true, phi3Tokens: true, template: miniTemplate, warnings: []string{"PHI407", "PHI503"}},
	{name: "Phi-3 Mini 4k Instruct", context: 4096, original: 4096, window: 2047, heads: 1, kvHeads: 1, headDim: 96,
		rotary: 96, freqBase: 10000,
		phi3Tokens: true, template: miniTemplate, warnings: []string{"PHI503"}},
	{name: "Phi 4", context: 16384, original: 16384, heads: 4, kvHeads: 1, headDim: 128, rotary: 128, freqBase: 250000,
		pre:  "dbrx",
		chat: []string{"<|endoftext|>", "<|fim_prefix|>", "<|im_start|>", "<|im_end|>", "<|im_sep|>", "<|dummy_85|>"},
		eos:  "<|im_end|>", pad: "<|dummy_85|>", template: phi4Template},
	{name: "Phi 4 Mini Instruct", context: 131072, original: 4096, window: 262144, heads: 3, kvHeads: 1, headDim: 128,
		rotary: 96, freqBase: 10000,
		longRope: true, tied: true, pre: "gpt-4o",
		chat: []string{"<|endoftext|>", "<|endofprompt|>", "<|assistant|>", "<|end|>", "<|user|>", "<|system|>",
			"<|tool|>", "<|/tool|>"},
		eos: "<|endoftext|>", pad: "<|endoftext|>", template: phi4MiniTemplate, warnings: []string{"PHI503"}},
}

// tokenizer sets the keys of the tokenizer and returns the number of tokens.
func (p *published) tokenizer(md *gguf.Metadata) int {
	var words []string
	var types []int32
	add := func(typ vocab.TokenType, text string) { words, types = append(words, text), append(types, int32(typ)) }
	ids := map[string]string{"bos": "<|endoftext|>", "eos": p.eos, "padding": p.pad}
	if p.phi3Tokens {
		ids = map[string]string{"bos": "<s>", "eos": "<|endoftext|>", "unknown": "<unk>", "padding": "<|endoftext|>"}
		add(vocab.Control, "<unk>")
		add(vocab.Control, "<s>")
		add(vocab.UserDefined, "</s>")
		for b := range 256 {
			add(vocab.Byte, fmt.Sprintf("<0x%02X>", b))
		}
		for len(words) < 32000 {
			add(vocab.Normal, fmt.Sprintf("▁w%d", len(words)))
		}
		for _, text := range strings.Fields("<|endoftext|> <|assistant|> <|placeholder1|> <|placeholder2|> " +
			"<|placeholder3|> <|placeholder4|> " +
			"<|system|> <|end|> <|placeholder5|> <|placeholder6|> <|user|>") {
			add(vocab.Control, text)
		}
		for len(words) < 32064 {
			add(vocab.Unused, fmt.Sprintf("[PAD%d]", len(words)))
		}
		md.Set(modelKey, vocab.SentencePiece)
		md.Set(preKey, "default")
		md.Set(scoresKey, make([]float32, len(words)))
	} else {
		for _, text := range []string{"a", "b", "Ġ", "ab", "Ġab"} {
			add(vocab.Normal, text)
		}
		for _, text := range p.chat {
			add(vocab.Control, text)
		}
		for len(words) < 64 {
			add(vocab.Unused, fmt.Sprintf("[PAD%d]", len(words)))
		}
		md.Set(modelKey, vocab.ByteLevel)
		md.Set(preKey, p.pre)
		md.Set(mergesKey, []string{"a b", "Ġ ab"})
	}
	md.Set(tokensKey, words)
	md.Set(typesKey, types)
	for role, text := range ids {
		md.Set("tokenizer.ggml."+role+"_token_id", uint32(slices.Index(words, text)))
	}
	md.Set(addBOSKey, false)
	md.Set(addEOSKey, false)
	md.Set(templateKey, p.template)
	return len(words)
}

// build makes the model as an F16 file.
func (p *published) build(t *testing.T) *file {
	t.Helper()
	f := &file{md: new(gguf.Metadata)}
	hidden := p.heads * p.headDim
	for _, kv := range []struct {
		key   string
		value any
	}{
		{"general.architecture", "phi3"},
		{"general.type", "model"},
		{"general.name", p.name},
		{"phi3.context_length", p.context},
		{"phi3.rope.scaling.original_context_length", p.original},
		{"phi3.embedding_length", hidden},
		{"phi3.feed_forward_length", uint32(64)},
		{"phi3.block_count", uint32(1)},
		{"phi3.attention.head_count", p.heads},
		{"phi3.attention.head_count_kv", p.kvHeads},
		{"phi3.attention.layer_norm_rms_epsilon", float32(1e-5)},
		{"phi3.rope.dimension_count", p.rotary},
		{"phi3.rope.freq_base", p.freqBase},
		{"phi3.attention.sliding_window", p.window},
		{"general.file_type", policy.MostlyF16.GGUF()},
		{"general.quantization_version", uint32(2)},
	} {
		f.md.Set(kv.key, kv.value)
	}
	if p.longRope {
		f.md.Set("phi3.rope.scaling.attn_factor", float32(1.1902380714238083))
		for i, name := range factorNames {
			factors := make([]float32, p.rotary/2)
			for j := range factors {
				factors[j] = 1 + float32(i+j)/8
			}
			f.add(name, quant.F32, floats(factors...), uint64(len(factors)))
		}
	}
	n := p.tokenizer(f.md)
	config, err := arch.FromMetadata(f.md.Get)
	if err != nil {
		t.Fatal(err)
	}
	config.VocabSize, config.Tied = n, p.tied
	random := rand.New(rand.NewPCG(1, 2))
	for _, x := range config.Tensors() {
		elems := 1
		for _, d := range x.Shape {
			elems *= int(d)
		}
		dims := slices.Clone(x.Shape)
		slices.Reverse(dims)
		var data []byte
		typ := quant.F16
		if len(dims) == 1 {
			typ = quant.F32
		}
		for range elems {
			if typ == quant.F32 {
				data = binary.LittleEndian.AppendUint32(data, math.Float32bits(1+random.Float32()))
			} else { // of either sign, from 1/64 to 1/32
				data = binary.LittleEndian.AppendUint16(data, uint16(random.Uint32())&0x83ff|0x2400)
			}
		}
		f.add(x.GGUF, typ, data, dims...)
	}
	return f
}

// The published models must pass, but for what their files do lack.
func TestPublishedModels(t *testing.T) {
	for _, p := range family {
		t.Run(p.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "model.gguf")
			p.build(t).write(t, path)
			var warnings []string
			for _, f := range run(t, path, Options{Threads: 2}).Findings {
				switch f.Severity {
				case Error:
					t.Errorf("%s %s: %s", f.Code, f.Subject, f.Message)
				case Warning:
					warnings = append(warnings, f.Code)
				}
			}
			if !slices.Equal(warnings, p.warnings) {
				t.Errorf("warnings %s, expected %s", warnings, p.warnings)
			}
		})
	}
}
