package vocab

import (
	"fmt"
	"strings"
)

// Disagreement is something that a file of a checkpoint says of the tokenizer and that does not count, as another file
// says otherwise.
type Disagreement struct{ File, What string }

// Disagreements lists where the files of a checkpoint directory disagree about its tokenizer and chat template.
// vocabSize and errors are as for [Load].
func Disagreements(dir string, vocabSize int) ([]Disagreement, error) {
	s, err := open(dir)
	if err != nil {
		return nil, err
	}
	v, err := s.load(vocabSize)
	if err != nil {
		return nil, err
	}
	var list []Disagreement
	add := func(file, format string, args ...any) {
		list = append(list, Disagreement{file, fmt.Sprintf(format, args...)})
	}
	s.switchesDisagree(v, add)
	s.modelDisagrees(add)
	s.vocabDisagrees(add)
	s.idsDisagree(v, add)
	s.flagsDisagree(add)
	s.templatesDisagree(v, add)
	return list, nil
}

type addFunc func(file, format string, args ...any)

// switchesDisagree compares what tokenizer_config.json says is put around a text with the post-processor.
func (s *source) switchesDisagree(v *Vocab, add addFunc) {
	if s.config == nil || s.tokenizer == nil {
		return
	}
	for _, f := range []struct {
		name          string
		stated, added *bool
	}{
		{"add_bos_token", s.config.AddBOS, v.AddBOS},
		{"add_eos_token", s.config.AddEOS, v.AddEOS},
	} {
		if is := f.added != nil && *f.added; f.stated != nil && *f.stated != is {
			add(configFile, "%s is %t, but it is %t by the post-processor of tokenizer.json, which counts",
				f.name, *f.stated, is)
		}
	}
}

// modelDisagrees compares tokenizer.model with tokenizer.json.
func (s *source) modelDisagrees(add addFunc) {
	if s.spm == nil || s.tokenizer == nil {
		return
	}
	if !s.sentencePiece() {
		add(modelFile, "a SentencePiece model, but tokenizer.json, which counts, is a byte-level tokenizer")
		return
	}
	m, err := parseModel(s.spm, maxTokens)
	if err != nil {
		return // then loading fails
	}
	list, _ := s.vocabulary(maxTokens)
	merges, _ := s.merges()
	if !m.same(list, merges) {
		add(modelFile, "another vocabulary or other merges than those of tokenizer.json, which counts")
	}
	if prefix, _, err := s.prefixFromJSON(); err == nil && prefix != m.addDummyPrefix {
		add(modelFile, "add_dummy_prefix is %t, but %t by tokenizer.json, which counts", m.addDummyPrefix, prefix)
	}
}

// vocabDisagrees compares vocab.json with tokenizer.json.
func (s *source) vocabDisagrees(add addFunc) {
	const file = "vocab.json"
	var list entries
	if s.tokenizer == nil {
		return
	}
	if ok, err := readJSON(s.dir, file, &list); !ok || err != nil {
		return // it does not count
	}
	ids := make(map[string]int)
	base, _ := s.vocabulary(maxTokens)
	for _, e := range base {
		ids[e.text] = e.id
	}
	for _, a := range s.tokenizer.AddedTokens {
		if a.ID != nil {
			ids[a.Content] = int(*a.ID)
		}
	}
	differ(add, file, list, ids)
}

// differ reports the tokens of a file that have another id, or none.
func differ(add addFunc, file string, list []entry, ids map[string]int) {
	n, example := 0, ""
	for _, e := range list {
		id, ok := ids[e.text]
		if ok && id == e.id {
			continue
		}
		if n++; n > 1 {
			continue
		}
		example = fmt.Sprintf("%q has the id %d here, and is no token", e.text, e.id)
		if ok {
			example = fmt.Sprintf("%q has the id %d here, and %d", e.text, e.id, id)
		}
	}
	if n > 0 {
		add(file, "%d of %d tokens are others by the files that count: %s by those", n, len(list), example)
	}
}

// idsDisagree compares added_tokens.json, and the roles of special_tokens_map.json, with the tokenizer.
func (s *source) idsDisagree(v *Vocab, add addFunc) {
	if s.tiktoken != nil {
		return // other added tokens are refused
	}
	ids := make(map[string]int, len(v.Tokens))
	for id, text := range v.Tokens {
		ids[text] = id
	}
	differ(add, "added_tokens.json", s.added, ids)
	if s.config == nil {
		return
	}
	mine, other := s.config.list(), s.specialMap.list()
	for i, role := range []string{"bos", "eos", "unk", "sep", "pad", "cls", "mask"} {
		a, b := mine[i].Content, other[i].Content
		if a == "" || b == "" || a == b {
			continue
		}
		counts := a
		if s.config.Added == nil {
			counts = b
		}
		add("special_tokens_map.json", "%s_token is %q, but %q in tokenizer_config.json; %q counts", role, b, a, counts)
	}
}

// flagsDisagree compares the flags of the tokens that both tokenizer.json and tokenizer_config.json add.
func (s *source) flagsDisagree(add addFunc) {
	if s.tokenizer == nil || s.config == nil || s.tiktoken != nil {
		return
	}
	decoder, err := s.decoder()
	if err != nil {
		return // then loading fails
	}
	byText := make(map[string]addedToken)
	for _, a := range decoder {
		byText[a.Content] = a
	}
	for _, a := range s.tokenizer.AddedTokens {
		b, ok := byText[a.Content]
		if !ok {
			continue
		}
		var flags []string
		for _, f := range []struct {
			name string
			a, b bool
		}{
			{"lstrip", a.LStrip, b.LStrip}, {"rstrip", a.RStrip, b.RStrip}, {"single_word", a.SingleWord, b.SingleWord},
			{"normalized", a.normalized(), b.normalized()}, {"special", a.Special, b.Special},
		} {
			if f.a != f.b {
				flags = append(flags, fmt.Sprintf("%s is %t", f.name, f.a))
			}
		}
		if flags != nil {
			add(jsonFile, "of token %q %s, and not so in tokenizer_config.json, which counts (a token that is special "+
				"in one of them is special)", a.Content, strings.Join(flags, ", "))
		}
	}
}

// templatesDisagree compares the chat template of tokenizer_config.json with those of files of their own.
func (s *source) templatesDisagree(v *Vocab, add addFunc) {
	if s.config == nil || s.config.ChatTemplate == nil {
		return
	}
	other := new(Vocab)
	other.setTemplates(s.config.ChatTemplate)
	if other.ChatTemplate != v.ChatTemplate {
		add(configFile, "chat_template is not that of chat_template.jinja or additional_chat_templates, which counts")
	}
}
