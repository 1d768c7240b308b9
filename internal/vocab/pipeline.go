package vocab

import (
	"fmt"
	"strings"
)

// rebuilds tells whether transformers takes no more than the vocabulary, the merges and the post-processor from
// tokenizer.json, as the tokenizer's class builds the rest itself.
func (s *source) rebuilds() bool {
	if s.known.Class == "" || s.known.Tiktoken != "" {
		return false
	}
	class := ""
	if s.config != nil {
		class = strings.TrimSuffix(s.config.Class, "Fast")
	}
	return class == "" || class == s.known.Class || class == "GPT2Tokenizer"
}

// checkPipeline refuses what files say of a tokenizer that a GGUF file has no place for.
func (s *source) checkPipeline(v *Vocab) error {
	if c := s.config; c != nil {
		switch {
		case c.SplitSpecial:
			return s.errorf(configFile, "split_special_tokens is true: such tokenizers are not supported")
		case c.PrefixSpace && v.Model == ByteLevel && (s.tokenizer == nil || s.rebuilds()):
			return s.errorf(configFile, "add_prefix_space is true: such byte-level tokenizers are not supported")
		}
	}
	if s.tokenizer == nil {
		return nil
	}
	m := s.tokenizer.Model
	switch {
	case m.Dropout != nil && *m.Dropout != 0:
		return s.errorf(jsonFile, "model.dropout is %g, expected none: tokens would be random", *m.Dropout)
	case m.Prefix != "":
		return s.errorf(jsonFile, "model.continuing_subword_prefix is %q, expected none", m.Prefix)
	case m.Suffix != "":
		return s.errorf(jsonFile, "model.end_of_word_suffix is %q, expected none", m.Suffix)
	}
	if s.rebuilds() {
		return nil
	}
	if v.Model == ByteLevel {
		if steps := flatten(s.tokenizer.Normalizer); len(steps) > 0 {
			return s.errorf(jsonFile, "normalizer %s: byte-level tokenizers with one are not supported", steps[0].Type)
		}
	}
	return s.checkDecoder(v)
}

// checkDecoder refuses decoders other than those that undo what the pipelines do.
func (s *source) checkDecoder(v *Vocab) error {
	want := "ByteLevel"
	if v.Model == SentencePiece {
		want = `Replace("▁", " ") + ByteFallback + Fuse`
		if v.AddSpacePrefix == nil {
			want += ` + Strip(" ", 1, 0)`
		}
	}
	var steps []string
	for _, c := range flatten(s.tokenizer.Decoder) {
		step := c.Type
		switch {
		case step == "Replace" && c.Pattern.String != nil:
			step = fmt.Sprintf("Replace(%q, %q)", *c.Pattern.String, c.Content)
		case step == "Strip":
			step = fmt.Sprintf("Strip(%q, %d, %d)", c.Content, c.Start, c.Stop)
		}
		steps = append(steps, step)
	}
	got := strings.Join(steps, " + ")
	if got == "" {
		got = "(none)"
	}
	if got != want {
		return s.errorf(jsonFile, "decoder is %s, expected %s", got, want)
	}
	return nil
}

// around is what a post-processor puts before and after a text.
func (s *source) around() (before, after []framed, err error) {
	for _, c := range flatten(s.tokenizer.PostProcessor) {
		var first, last []framed
		switch c.Type {
		case "ByteLevel": // moves offsets only
		case "BertProcessing", "RobertaProcessing":
			first, last = []framed{c.Cls}, []framed{c.Sep}
		case "TemplateProcessing":
			if first, last, err = s.template(c); err != nil {
				return nil, nil, err
			}
		default:
			return nil, nil, s.errorf(jsonFile, "post-processor %s is not supported", c.Type)
		}
		before, after = append(first, before...), append(after, last...)
	}
	return before, after, nil
}

// template reads what a TemplateProcessing puts around a single text.
func (s *source) template(c component) (before, after []framed, err error) {
	seen := false
	for _, p := range c.Single {
		text := p.SpecialToken.ID
		if text == "" {
			if seen || p.Sequence.ID != "A" {
				return nil, nil, s.errorf(jsonFile, "post-processor: single has the text twice or not at all")
			}
			seen = true
			continue
		}
		ids := c.SpecialTokens[text].IDs
		if len(ids) == 0 {
			return nil, nil, s.errorf(jsonFile, "post-processor: %q has no ids in special_tokens", text)
		}
		for _, id := range ids {
			if f := (framed{text, id}); seen {
				after = append(after, f)
			} else {
				before = append(before, f)
			}
		}
	}
	if !seen {
		return nil, nil, s.errorf(jsonFile, "post-processor: single has the text twice or not at all")
	}
	return before, after, nil
}

// setAround sets whether BOS and EOS are put around a text. With a tokenizer.json that is what its post-processor
// says, as transformers passes over the switches of tokenizer_config.json; and a post-processor that puts anything
// else there is refused. Without one the switches count, and without those nothing is put there.
func (s *source) setAround(v *Vocab) error {
	switches := s.config
	if switches == nil {
		switches = new(tokenizerConfig)
	}
	if switches.AddSep != nil {
		v.AddSep = switches.AddSep
	}
	if s.tokenizer == nil {
		v.AddBOS, v.AddEOS = switches.AddBOS, switches.AddEOS
	} else {
		before, after, err := s.around()
		if err != nil {
			return err
		}
		if v.AddBOS, err = s.beside("before", "bos", v.BOS, before, switches.AddBOS); err != nil {
			return err
		}
		if v.AddEOS, err = s.beside("after", "eos", v.EOS, after, switches.AddEOS); err != nil {
			return err
		}
	}
	// Readers put BOS before a text by default if this is SentencePiece.
	if v.AddBOS == nil && (v.Model == SentencePiece || s.known.NoBOS) {
		v.AddBOS = new(bool)
	}
	return nil
}

// beside returns the switch for the token that is put on one side of a text, nil if no file says anything about it. id
// is that of the role which GGUF puts there.
func (s *source) beside(side, role string, id int, tokens []framed, stated *bool) (*bool, error) {
	add := len(tokens) > 0
	switch {
	case !add && stated == nil:
		return nil, nil
	case len(tokens) > 1:
		return nil, s.errorf(jsonFile, "post-processor: %d tokens are put %s a text, at most one is supported",
			len(tokens), side)
	case add && int64(id) != tokens[0].id:
		return nil, s.errorf(jsonFile,
			"post-processor: %q, with the id %d, is put %s a text, but the id of %s_token is %d: a GGUF file has no "+
				"place for another token", tokens[0].text, tokens[0].id, side, role, id)
	}
	return &add, nil
}
