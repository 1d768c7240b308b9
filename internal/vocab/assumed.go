package vocab

import (
	"fmt"
	"slices"
	"strings"

	"github.com/phi3conv/phi3conv/internal/arch"
)

// ends are the tokens at which llama.cpp ends an answer whatever the ids of a file say (src/llama-vocab.cpp, August
// 2026), except <|end|> and </s> in vocabularies where these are no ends.
var ends = []string{
	"<|eot_id|>", "<|im_end|>", "<|end|>", "<|return|>", "<|call|>", "<|flush|>", "<|calls|>", "<end_of_turn>",
	"<|endoftext|>", "</s>", "<|eom_id|>", "<EOT>", "_<EOT>", "[EOT]", "[EOS]", "<|end_of_text|>",
	"<end_of_utterance>", "<eos>", "<turn|>", "<|tool_response>", "<｜end▁of▁sentence｜>", "[e~[",
	"<|fim_pad|>", "<fim-pad>", "<fim_pad>", "<PAD>", "[PAD]",
	"<|fim_repo|>", "<|repo_name|>", "<fim-repo>", "<REPO>", "<reponame>", "<|file_sep|>",
}

// published are the special tokens of SentencePiece's vocabularies, which llama.cpp takes for granted at these ids.
var published = map[string]struct {
	id   int
	text string
}{"bos": {1, "<s>"}, "eos": {2, "</s>"}, "unk": {0, "<unk>"}}

// complete fills in what files of other programs leave out and readers are expected to know, and notes it in Assumed.
// listed says that the file lists all ids that end an answer.
func (v *Vocab) complete(listed bool, architecture string) {
	for _, f := range idFields {
		id, text := slices.Index(v.Tokens, arch.EndOfText), arch.EndOfText
		if p, ok := published[f.name]; ok && v.Model == SentencePiece {
			id, text = p.id, p.text
		} else if f.name != "eos" {
			continue
		}
		if to := f.of(v); *to == None && id >= 0 && id < len(v.Tokens) && v.Tokens[id] == text {
			*to = id
			v.assume("%s is %d (%s)", f.key, id, text)
		}
	}
	for _, id := range []int{v.EOS, v.EOT, v.EOM} {
		if id != None && !slices.Contains(v.StopIDs, id) {
			v.StopIDs = append(v.StopIDs, id)
		}
	}
	if !listed {
		v.completeEnds()
	}
	if v.Model == ByteLevel && v.Pre == "" {
		if v.Pre = v.publishedPre(architecture); v.Pre != "" {
			v.assume("%s is %s", keyPre, v.Pre)
		}
	}
}

// completeEnds makes all tokens whose text says so ends of an answer.
func (v *Vocab) completeEnds() {
	has := func(texts ...string) bool {
		return !slices.ContainsFunc(texts, func(text string) bool { return !slices.Contains(v.Tokens, text) })
	}
	not := map[string]bool{
		"<|end|>": has("<|return|>", "<|call|>") || has("<|call|>", "<|flush|>") || has("<|calls|>", "<|flush|>"),
		"</s>":    has("<|tool_response>"),
	}
	var more []string
	for id, text := range v.Tokens {
		if not[text] || !slices.Contains(ends, text) {
			continue
		}
		if id < len(v.Types) && v.Types[id] == Normal {
			v.Types[id] = Control // so that it is found in a text
		}
		if !slices.Contains(v.StopIDs, id) {
			v.StopIDs = append(v.StopIDs, id)
			more = append(more, text)
		}
	}
	if len(more) > 0 {
		v.assume("answers end at %s too", strings.Join(more, ", "))
	}
}

// publishedPre returns how the published model with such a vocabulary splits text, "" if there is none.
func (v *Vocab) publishedPre(architecture string) string {
	for _, a := range arch.Archs {
		if a.Name == architecture && a.Tokenizer.Pre != "" {
			return a.Tokenizer.Pre
		}
	}
	switch {
	case slices.Contains(v.Tokens, "<|im_sep|>"): // Phi-4
		return "dbrx"
	case architecture == "phi3" && len(v.Tokens) > 190000: // Phi-4-mini
		return "gpt-4o"
	}
	return ""
}

func (v *Vocab) assume(format string, args ...any) {
	v.Assumed = append(v.Assumed, fmt.Sprintf(format, args...))
}
