package vocab

import (
	"fmt"
	"iter"
	"math"
	"slices"

	"github.com/phi3conv/phi3conv/formats"
)

// Keys of the tokenizer in a GGUF. Their types, in the order of the names:
// string, string, []string, []float32, []int32, []string; the rest is said where
// the keys stand in a table.
const (
	keyModel        = "tokenizer.ggml.model"
	keyPre          = "tokenizer.ggml.pre"
	keyTokens       = "tokenizer.ggml.tokens"
	keyScores       = "tokenizer.ggml.scores"
	keyTypes        = "tokenizer.ggml.token_type"
	keyMerges       = "tokenizer.ggml.merges"
	keyChatTemplate = "tokenizer.chat_template"
	keyTemplates    = "tokenizer.chat_templates" // []string: the names; the texts are at keyChatTemplate.NAME
)

// idFields are the special ids; uint32 in the file.
var idFields = []struct {
	name, key string // name as in NAME_token of tokenizer_config.json
	of        func(*Vocab) *int
}{
	{"bos", "tokenizer.ggml.bos_token_id", func(v *Vocab) *int { return &v.BOS }},
	{"eos", "tokenizer.ggml.eos_token_id", func(v *Vocab) *int { return &v.EOS }},
	{"eot", "tokenizer.ggml.eot_token_id", func(v *Vocab) *int { return &v.EOT }},
	{"eom", "tokenizer.ggml.eom_token_id", func(v *Vocab) *int { return &v.EOM }},
	{"unk", "tokenizer.ggml.unknown_token_id", func(v *Vocab) *int { return &v.Unk }},
	{"sep", "tokenizer.ggml.seperator_token_id", func(v *Vocab) *int { return &v.Sep }}, // so spelled
	{"pad", "tokenizer.ggml.padding_token_id", func(v *Vocab) *int { return &v.Pad }},
	{"mask", "tokenizer.ggml.mask_token_id", func(v *Vocab) *int { return &v.Mask }},
}

// flagFields are the switches; bool in the file.
var flagFields = []struct {
	key string
	of  func(*Vocab) **bool
}{
	{"tokenizer.ggml.add_bos_token", func(v *Vocab) **bool { return &v.AddBOS }},
	{"tokenizer.ggml.add_eos_token", func(v *Vocab) **bool { return &v.AddEOS }},
	{"tokenizer.ggml.add_sep_token", func(v *Vocab) **bool { return &v.AddSep }},
	{"tokenizer.ggml.add_space_prefix", func(v *Vocab) **bool { return &v.AddSpacePrefix }},
	{"tokenizer.ggml.normalizer.lowercase", func(v *Vocab) **bool { return &v.Lowercase }},
	{"tokenizer.ggml.normalizer.strip_accents", func(v *Vocab) **bool { return &v.StripAccents }},
}

// idListFields are the lists of ids; []int32 in the file.
//
// eos_token_ids is the key under which Ollama looks for further stop ids. The
// phi3conv keys are this project's: GGUF has no place for what they say.
var idListFields = []struct {
	key string
	of  func(*Vocab) *[]int
}{
	{"tokenizer.ggml.eos_token_ids", func(v *Vocab) *[]int { return &v.StopIDs }},
	{"tokenizer.ggml.suppress_tokens", func(v *Vocab) *[]int { return &v.Suppress }},
	{"phi3conv.rstrip_token_ids", func(v *Vocab) *[]int { return &v.RStrip }},
	{"phi3conv.lstrip_token_ids", func(v *Vocab) *[]int { return &v.LStrip }},
	{"phi3conv.normalized_token_ids", func(v *Vocab) *[]int { return &v.Normalized }},
	{"phi3conv.single_word_token_ids", func(v *Vocab) *[]int { return &v.SingleWord }},
	{"phi3conv.plain_token_ids", func(v *Vocab) *[]int { return &v.Plain }},
}

// keySpacePrefix holds [Vocab.SpacePrefix], a string; keyWholeWords holds [Vocab.WholeWords], a bool, if true.
const (
	keySpacePrefix = "phi3conv.space_prefix"
	keyWholeWords  = "phi3conv.whole_words"
)

// All yields the keys and values of the tokenizer in a GGUF file. What is absent
// has no key.
func (v *Vocab) All() iter.Seq2[string, any] {
	return func(yield func(string, any) bool) {
		for _, p := range v.pairs() {
			if !yield(p.key, p.value) {
				return
			}
		}
	}
}

type pair struct {
	key   string
	value any
}

func (v *Vocab) pairs() []pair {
	types := make([]int32, len(v.Types))
	for i, t := range v.Types {
		types[i] = int32(t)
	}
	out := []pair{{keyModel, v.Model}}
	if v.Pre != "" {
		out = append(out, pair{keyPre, v.Pre})
	}
	out = append(out, pair{keyTokens, v.Tokens})
	if len(v.Scores) > 0 {
		out = append(out, pair{keyScores, v.Scores})
	}
	out = append(out, pair{keyTypes, types})
	if len(v.Merges) > 0 {
		out = append(out, pair{keyMerges, v.Merges})
	}
	for _, f := range idFields {
		if id := *f.of(v); id != None {
			out = append(out, pair{f.key, uint32(id)})
		}
	}
	for _, f := range flagFields {
		if b := *f.of(v); b != nil {
			out = append(out, pair{f.key, *b})
		}
	}
	for _, f := range idListFields {
		if ids := *f.of(v); len(ids) > 0 {
			list := make([]int32, len(ids))
			for i, id := range ids {
				list[i] = int32(id)
			}
			out = append(out, pair{f.key, list})
		}
	}
	if v.SpacePrefix != "" {
		out = append(out, pair{keySpacePrefix, v.SpacePrefix})
	}
	if v.WholeWords {
		out = append(out, pair{keyWholeWords, true})
	}
	if len(v.Templates) > 0 {
		names := make([]string, len(v.Templates))
		for i, t := range v.Templates {
			names[i] = t.Name
			if t.Text != "" {
				out = append(out, pair{keyChatTemplate + "." + t.Name, t.Text})
			}
		}
		out = append(out, pair{keyTemplates, names})
	}
	if v.ChatTemplate != "" {
		out = append(out, pair{keyChatTemplate, v.ChatTemplate})
	}
	return out
}

// FromMetadata reads back what [Vocab.All] yields, from this project's files and
// from those of other writers, which may use other integer types and leave keys
// out; what was assumed in their place is in Assumed. get returns a key's value, of
// the Go types that All yields. Errors are of type [formats.Error] and have no path.
func FromMetadata(get func(key string) (value any, ok bool)) (*Vocab, error) {
	g := getter{get: get}
	v := newVocab(0)
	v.Model, _ = value[string](&g, keyModel)
	v.Pre, _ = value[string](&g, keyPre)
	v.Tokens, _ = value[[]string](&g, keyTokens)
	v.Scores, _ = value[[]float32](&g, keyScores)
	v.Merges, _ = value[[]string](&g, keyMerges)
	v.SpacePrefix, _ = value[string](&g, keySpacePrefix)
	v.WholeWords, _ = value[bool](&g, keyWholeWords)
	v.ChatTemplate, _ = value[string](&g, keyChatTemplate)
	g.types(v)
	g.ids(v)
	names, _ := value[[]string](&g, keyTemplates)
	for _, name := range names {
		text, _ := value[string](&g, keyChatTemplate+"."+name)
		v.Templates = append(v.Templates, Template{name, text})
	}
	if g.err != nil {
		return nil, g.err
	}
	switch {
	case v.Model != SentencePiece && v.Model != ByteLevel:
		return nil, formats.Errorf(-1, "%s is %q, expected %q or %q", keyModel, v.Model, SentencePiece, ByteLevel)
	case len(v.Tokens) == 0:
		return nil, formats.Errorf(-1, "%s: no tokens", keyTokens)
	case v.SpacePrefix != "" && v.SpacePrefix != PrefixAlways && v.SpacePrefix != PrefixFirst:
		return nil, formats.Errorf(-1, "%s is %q, expected %q or %q",
			keySpacePrefix, v.SpacePrefix, PrefixAlways, PrefixFirst)
	}
	architecture, _ := value[string](&g, "general.architecture")
	v.complete(v.StopIDs != nil, architecture)
	if err := v.check(); err != nil {
		return nil, err
	}
	return v, nil
}

// types reads the tokens' types; without them all are normal.
func (g *getter) types(v *Vocab) {
	types, ok := g.ints(keyTypes)
	if !ok {
		v.Types = slices.Repeat([]TokenType{Normal}, len(v.Tokens))
		return
	}
	v.Types = make([]TokenType, len(types))
	for i, t := range types {
		v.Types[i] = TokenType(t)
	}
}

// ids reads the special ids, and what to do with them.
func (g *getter) ids(v *Vocab) {
	for _, f := range idFields {
		if id, ok := g.int(f.key); ok {
			*f.of(v) = id
		}
	}
	for _, f := range flagFields {
		if b, ok := value[bool](g, f.key); ok {
			*f.of(v) = &b
		}
	}
	for _, f := range idListFields {
		*f.of(v), _ = g.ints(f.key)
	}
}

// getter remembers the first key whose value has the wrong type.
type getter struct {
	get func(string) (any, bool)
	err error
}

func (g *getter) wrongType(key string, v any, want string) {
	if g.err == nil {
		g.err = formats.Errorf(-1, "%s has a value of type %T, expected %s", key, v, want)
	}
}

func value[T any](g *getter, key string) (T, bool) {
	var zero T
	v, ok := g.get(key)
	if !ok {
		return zero, false
	}
	t, ok := v.(T)
	if !ok {
		g.wrongType(key, v, fmt.Sprintf("%T", zero))
	}
	return t, ok
}

func (g *getter) int(key string) (int, bool) {
	v, ok := g.get(key)
	if !ok {
		return 0, false
	}
	switch v := v.(type) {
	case uint32:
		return int(v), true
	case int32:
		return int(v), true
	case uint64:
		return int(min(v, math.MaxInt32)), true // too large either way: check refuses it
	case int64:
		return int(min(v, math.MaxInt32)), true
	}
	g.wrongType(key, v, "an integer")
	return 0, false
}

func (g *getter) ints(key string) ([]int, bool) {
	v, ok := g.get(key)
	if !ok {
		return nil, false
	}
	switch v := v.(type) {
	case []int32:
		return widen(v), true
	case []uint32:
		return widen(v), true
	}
	g.wrongType(key, v, "an array of 32-bit integers")
	return nil, false
}

func widen[T int32 | uint32](in []T) []int {
	out := make([]int, len(in))
	for i, n := range in {
		out[i] = int(n)
	}
	return out
}
