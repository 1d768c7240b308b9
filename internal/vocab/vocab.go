// Package vocab reads the tokenizer of a checkpoint directory into the form in
// which a GGUF file carries it, and reads that form back.
//
// A directory holds one of two kinds of tokenizer. SentencePiece BPE (Phi-3,
// Phi-3.5, PhiMoE) comes as tokenizer.model, as tokenizer.json or as both; byte-level
// BPE (Phi-2, Phi-4, Phi-4-mini) as tokenizer.json or as vocab.json with merges.txt,
// or as a file of tiktoken (Phi-3-small). Added
// tokens, special ids and the chat template are spread over tokenizer.json,
// tokenizer_config.json, added_tokens.json, special_tokens_map.json,
// chat_template.jinja, config.json and generation_config.json. Where they
// disagree, the precedence is that of transformers: tokenizer.json counts before
// the other files, and what it says of its pipeline that a GGUF file has no place
// for is refused.
package vocab

import (
	"fmt"
	"slices"
	"strings"

	"github.com/phi3conv/phi3conv/formats"
)

// TokenType says what a token is for. The values are those of
// tokenizer.ggml.token_type.
type TokenType int32

const (
	Normal      TokenType = 1 + iota
	Unknown               // stands for text that no token covers
	Control               // structure, not text: never produced from user text
	UserDefined           // added text, matched before the text is split
	Unused                // fills an id that the tokenizer leaves out
	Byte                  // "<0x00>" to "<0xFF>": one byte
)

// The two kinds of tokenizer: the values of [Vocab.Model].
const (
	SentencePiece = "llama"
	ByteLevel     = "gpt2"
)

// None is the value of a special id that the tokenizer does not have.
const None = -1

// Values of [Vocab.SpacePrefix], the names of tokenizer.json's Metaspace.
const (
	PrefixAlways = "always" // every part that does not begin with a space
	PrefixFirst  = "first"  // the part at the start of the text, if it does not begin with a space
)

// Vocab is a tokenizer as a GGUF file carries it. Slices indexed by id have one
// entry for each row of the embedding matrix.
type Vocab struct {
	Model  string      // SentencePiece or ByteLevel
	Pre    string      // how ByteLevel splits text, by llama.cpp's name; "default" for SentencePiece
	Tokens []string    // by id; normal ByteLevel tokens are in GPT-2's byte alphabet
	Scores []float32   // by id: the highest merges first; nil for ByteLevel
	Types  []TokenType // by id
	Merges []string    // "left right", the first merges first; nil for SentencePiece

	// Special ids, or None.
	BOS, EOS, EOT, EOM, Unk, Sep, Pad, Mask int

	// What to put around a text, and how to normalize it; nil leaves it to the
	// runtime's default.
	AddBOS, AddEOS, AddSep, AddSpacePrefix *bool
	Lowercase, StripAccents                *bool

	// Where AddSpacePrefix puts a space: in front of every part of a text between
	// added tokens if this is empty, or PrefixAlways or PrefixFirst.
	SpacePrefix string

	ChatTemplate string     // Jinja; empty if there is none
	Templates    []Template // the templates that have a name other than "default"

	StopIDs []int // every id that ends a generation, EOS among them
	RStrip  []int // tokens that swallow the white space after them
	LStrip  []int // tokens that swallow the white space before them

	// Added tokens that are looked for after all others, in the normalized text
	// between them.
	Normalized []int

	SingleWord []int // added tokens that are none inside of a word
	WholeWords bool  // ByteLevel: a word that is a token becomes it, even if no merges do

	// Tokens that the model must never produce: it was not trained with them.
	Suppress []int

	// Tokens of type Control, after llama.cpp's rule, that the tokenizer's own files
	// do not call special: they are text.
	Plain []int

	// What a GGUF file leaves out and was assumed, a phrase for each.
	Assumed []string
}

// Template is a named chat template.
type Template struct{ Name, Text string }

// maxTokens bounds the vocabulary, whose holes take memory that no file backs, and
// the lists of its tokens and merges.
// The largest in the family has 200064.
const maxTokens = 1 << 20

// Scores of tokens that no model was trained for: holes and added tokens.
const (
	holeScore  = -10000
	addedScore = -1000
)

// Load reads the tokenizer of a checkpoint directory. vocabSize is config.json's
// vocab_size, the number of rows of the embedding matrix: ids that the tokenizer
// leaves out become [Unused] tokens "[PADid]". Errors are of type [formats.Error]
// and name the file.
func Load(dir string, vocabSize int) (*Vocab, error) {
	s, err := open(dir)
	if err != nil {
		return nil, err
	}
	return s.load(vocabSize)
}

func (s *source) load(vocabSize int) (*Vocab, error) {
	if vocabSize < 1 || vocabSize > maxTokens {
		return nil, s.errorf("config.json", "vocab_size is %d, expected 1 to %d", vocabSize, maxTokens)
	}
	v := newVocab(vocabSize)
	for _, id := range s.known.Masked(vocabSize) {
		v.Suppress = append(v.Suppress, int(id))
	}
	tokens := s.loadByteLevel
	switch {
	case s.tiktoken != nil:
		tokens = s.loadTiktoken
	case s.sentencePiece():
		tokens = s.loadSentencePiece
	}
	for _, step := range []func(*Vocab) error{tokens, s.loadSpecial, s.loadTemplates, (*Vocab).check} {
		if err := step(v); err != nil {
			return nil, formats.WithPath(err, s.dir)
		}
	}
	return v, nil
}

// newVocab makes a vocabulary of n unused tokens.
func newVocab(n int) *Vocab {
	v := &Vocab{Tokens: make([]string, n), Types: make([]TokenType, n)}
	for _, f := range idFields {
		*f.of(v) = None
	}
	for i := range n {
		v.Tokens[i] = fmt.Sprintf("[PAD%d]", i)
		v.Types[i] = Unused
	}
	return v
}

// check verifies what every tokenizer in a GGUF must satisfy.
func (v *Vocab) check() error {
	n := len(v.Tokens)
	seen := make(map[string]int, n)
	for id, t := range v.Tokens {
		if first, ok := seen[t]; ok {
			return formats.Errorf(-1, "tokens %d and %d are both %q; runtimes need distinct tokens", first, id, t)
		}
		seen[t] = id
	}
	if len(v.Types) != n {
		return formats.Errorf(-1, "%d token types for %d tokens", len(v.Types), n)
	}
	for id, t := range v.Types {
		if t < Normal || t > Byte {
			return formats.Errorf(-1, "token %d has type %d, expected %d to %d", id, t, Normal, Byte)
		}
	}
	if v.Model == SentencePiece && len(v.Scores) != n {
		return formats.Errorf(-1, "%d scores for %d tokens", len(v.Scores), n)
	}
	for i, m := range v.Merges {
		// The first byte may be part of the left token even when it is a space.
		if len(m) < 3 || strings.IndexByte(m[1:], ' ') < 0 {
			return formats.Errorf(-1, "merge %d is %q, expected two tokens with a space between them", i, m)
		}
	}
	for _, f := range idFields {
		if id := *f.of(v); id != None && (id < 0 || id >= n) {
			return formats.Errorf(-1, "%s is %d, but there are %d tokens", f.key, id, n)
		}
	}
	for _, f := range idListFields {
		for _, id := range *f.of(v) {
			if id < 0 || id >= n {
				return formats.Errorf(-1, "%s lists %d, but there are %d tokens", f.key, id, n)
			}
		}
	}
	return nil
}

// llamaStops are the tokens at which llama.cpp stops whatever the file's ids say.
var llamaStops = []string{"<|endoftext|>", "<|end|>", "<|im_end|>", "</s>"}

// turnEnds are the tokens that end a turn of a Phi chat.
var turnEnds = []string{"<|end|>", "<|im_end|>"}

// nameStops gives stop ids the places at which a runtime that knows only single
// ids looks for them: EOT for the end of a turn, and EOT or EOM for ids at which
// it would not stop otherwise.
func (v *Vocab) nameStops() {
	free := func(id int) bool { return id != v.EOS && id != v.EOT && id != v.EOM }
	for _, id := range v.StopIDs {
		if v.EOT == None && free(id) && slices.Contains(turnEnds, v.Tokens[id]) {
			v.EOT = id
		}
	}
	for _, id := range v.StopIDs {
		switch {
		case !free(id) || slices.Contains(llamaStops, v.Tokens[id]):
		case v.EOT == None:
			v.EOT = id
		case v.EOM == None:
			v.EOM = id
		}
	}
}
