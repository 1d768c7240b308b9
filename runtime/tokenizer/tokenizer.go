// Package tokenizer turns text into a model's tokens and back, and renders its
// chat template.
//
// It covers the two kinds of tokenizer in the family: BPE over characters as
// SentencePiece defines it (Phi-3, Phi-3.5, PhiMoE), and BPE over the bytes of
// words that a pattern splits off (Phi-2, Phi-3-small, Phi-4, Phi-4-mini). The
// reference for both is the Hugging Face tokenizers library, and tiktoken for
// Phi-3-small: for the same files the ids are the same. See [Tokenizer.Encode] and
// [Tokenizer.Decode] for what that means for text that is not UTF-8.
//
// A Tokenizer does not change after it was made and may be used by many
// goroutines at once.
package tokenizer

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"unicode/utf8"

	"github.com/phi3conv/phi3conv/formats"
	"github.com/phi3conv/phi3conv/formats/pmap"
	"github.com/phi3conv/phi3conv/internal/arch"
	"github.com/phi3conv/phi3conv/internal/lora"
	"github.com/phi3conv/phi3conv/internal/vocab"
)

// Tokenizer is a model's tokenizer.
type Tokenizer struct {
	v       *vocab.Vocab
	added   *addedTokens // found in a text as it is
	late    *addedTokens // found in what is left, after it was normalized
	model   model
	control []bool   // by id: structure, not text
	texts   []string // by id: what Decode makes of it, as the vocabulary writes tokens
	front   []int32  // put before a text
	back    []int32  // put after it
	scratch sync.Pool
}

// model encodes what is left of a text when the added tokens were taken out.
type model interface {
	// normalize prepares a part of a text that lies between added tokens.
	normalize(part string) string
	// encode appends the ids of a normalized part, which is not empty. first says
	// that the text begins with it.
	encode(s *scratch, dst []int32, part string, first bool) []int32
}

// Open reads the tokenizer of a checkpoint directory or of a GGUF file, of which
// it needs the metadata only.
func Open(path string) (*Tokenizer, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	var v *vocab.Vocab
	if info.IsDir() {
		if err := lora.Refuse(path); err != nil {
			return nil, err
		}
		var size int
		if size, err = vocabSize(path); err == nil {
			v, err = vocab.Load(path, size)
		}
	} else {
		v, err = fromGGUF(path)
	}
	if err != nil {
		return nil, err
	}
	t, err := newTokenizer(v)
	if err != nil {
		return nil, formats.WrapFile(err, path, "")
	}
	return t, nil
}

// vocabSize reads vocab_size from a directory's config.json.
func vocabSize(dir string) (int, error) {
	path := filepath.Join(dir, "config.json")
	f, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer func() { _ = f.Close() }() // only read from
	const limit = 16 << 20
	var config struct {
		Architectures []string `json:"architectures"`
		VocabSize     *int     `json:"vocab_size"`
	}
	if err := json.NewDecoder(io.LimitReader(f, limit)).Decode(&config); err != nil {
		return 0, formats.WrapFile(err, path, "not a model's configuration")
	}
	if err := arch.CheckClasses(config.Architectures); err != nil {
		return 0, formats.WrapFile(err, path, "")
	}
	if config.VocabSize == nil {
		return 0, formats.FileErrorf(path, -1, "vocab_size is missing")
	}
	return *config.VocabSize, nil
}

func fromGGUF(path string) (*vocab.Vocab, error) {
	f, err := pmap.OpenGGUF(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // only read from
	name, _ := f.Metadata.Get("general.architecture")
	if err := arch.CheckName(name); err != nil {
		return nil, formats.WrapFile(err, path, "")
	}
	v, err := vocab.FromMetadata(f.Metadata.Get)
	if err != nil {
		return nil, formats.WithPath(err, path)
	}
	if v.RStrip == nil && v.Model == vocab.SentencePiece && slices.Contains(v.Tokens, "<|placeholder1|>") {
		v.RStrip = phi3Strip(v)
		v.Assumed = append(v.Assumed, "chat tokens swallow the white space after them, as Phi-3's do")
	}
	return v, nil
}

// phi3Strip lists the tokens of Phi-3's vocabulary that swallow the white space
// after them, for files by writers that have no place to say so.
func phi3Strip(v *vocab.Vocab) []int {
	var ids []int
	for id, text := range v.Tokens {
		added := v.Types[id] == vocab.Control || v.Types[id] == vocab.UserDefined
		if added && text != "<s>" && text != "<unk>" && text != "<|endoftext|>" {
			ids = append(ids, id)
		}
	}
	return ids
}

// maxVocab bounds ids, which take 20 bits in a table of merges.
const maxVocab = 1 << 20

// newTokenizer makes a tokenizer of a vocabulary, which it keeps and which must not change from then on.
func newTokenizer(v *vocab.Vocab) (*Tokenizer, error) {
	if len(v.Tokens) > maxVocab {
		return nil, fmt.Errorf("%d tokens, expected at most %d", len(v.Tokens), maxVocab)
	}
	if isSet(v.Lowercase, false) || isSet(v.StripAccents, false) {
		return nil, errors.New("a tokenizer that changes letters to lower case or strips accents is not supported")
	}
	t := &Tokenizer{v: v, control: controlTokens(v)}
	t.scratch.New = func() any { return new(scratch) }
	var err error
	switch v.Model {
	case vocab.SentencePiece:
		t.model, err = newSentencePiece(v)
	case vocab.ByteLevel:
		t.model, err = newByteLevel(v)
	default:
		err = fmt.Errorf("tokenizer model %q, expected %q or %q", v.Model, vocab.SentencePiece, vocab.ByteLevel)
	}
	if err != nil {
		return nil, err
	}
	t.added, t.late = newAddedTokens(v, t.control, t.model)
	t.texts = decodedTokens(v, t.model)

	// SentencePiece models put BOS before a text unless they say that they do not.
	if isSet(v.AddBOS, v.Model == vocab.SentencePiece) && v.BOS != vocab.None {
		t.front = []int32{int32(v.BOS)}
	}
	if isSet(v.AddEOS, false) && v.EOS != vocab.None {
		t.back = []int32{int32(v.EOS)}
	}
	return t, nil
}

// decodedTokens lists the tokens as they are decoded: those that are looked for in normalized text are normalized.
func decodedTokens(v *vocab.Vocab, m model) []string {
	if len(v.Normalized) == 0 {
		return v.Tokens
	}
	texts := slices.Clone(v.Tokens)
	for _, id := range v.Normalized {
		texts[id] = m.normalize(texts[id])
	}
	return texts
}

// controlTokens marks, by id, the tokens that are structure, not text. The token for unknown characters is one of them.
func controlTokens(v *vocab.Vocab) []bool {
	control := make([]bool, len(v.Types))
	for id, typ := range v.Types {
		control[id] = typ == vocab.Control || typ == vocab.Unknown
	}
	for _, id := range v.Plain {
		control[id] = false
	}
	return control
}

// isSet returns a switch of the vocabulary, or what holds where it is silent.
func isSet(b *bool, otherwise bool) bool {
	if b == nil {
		return otherwise
	}
	return *b
}

// VocabSize returns the number of ids.
func (t *Tokenizer) VocabSize() int { return len(t.v.Tokens) }

// BOS returns the id of the token that begins a text, if there is one.
func (t *Tokenizer) BOS() (id int32, ok bool) { return int32(t.v.BOS), t.v.BOS != vocab.None }

// StopIDs returns every id that ends a generation.
func (t *Tokenizer) StopIDs() []int32 {
	ids := make([]int32, len(t.v.StopIDs))
	for i, id := range t.v.StopIDs {
		ids[i] = int32(id)
	}
	return ids
}

// Assumed says what a GGUF file leaves out about its tokenizer and was assumed, a phrase for each.
func (t *Tokenizer) Assumed() []string { return t.v.Assumed }

// Token returns the token of an id as the vocabulary writes it: with "▁" for a
// space, or in GPT-2's byte alphabet. It is empty for an id out of range.
func (t *Tokenizer) Token(id int32) string {
	if id < 0 || int(id) >= len(t.v.Tokens) {
		return ""
	}
	return t.v.Tokens[id]
}

// EncodeOptions say what [Tokenizer.Encode] does with special tokens.
type EncodeOptions struct {
	AddSpecial   bool // put BOS and EOS around the text where the tokenizer says so
	ParseSpecial bool // recognize control tokens such as <|user|> in the text
}

// Encode returns the ids of a text. The text of control tokens is text like any
// other unless o.ParseSpecial is set; other added tokens are always recognized.
// Bytes that are not UTF-8 are read as U+FFFD, as Python's
// decode("utf-8", errors="replace") does, so they do not survive [Tokenizer.Decode].
func (t *Tokenizer) Encode(text string, o EncodeOptions) []int32 {
	s := t.scratch.Get().(*scratch)
	defer t.scratch.Put(s)
	if !utf8.ValidString(text) {
		text = string(appendValid(nil, []byte(text)))
	}
	ids := make([]int32, 0, len(text)/3+2)
	if o.AddSpecial {
		ids = append(ids, t.front...)
	}
	t.added.split(text, o.ParseSpecial, func(part string, id int32, first bool) {
		if id >= 0 {
			ids = append(ids, id)
			return
		}
		t.late.split(t.model.normalize(part), o.ParseSpecial, func(part string, id int32, start bool) {
			if id >= 0 {
				ids = append(ids, id)
			} else {
				ids = t.model.encode(s, ids, part, first && start)
			}
		})
	})
	if o.AddSpecial {
		ids = append(ids, t.back...)
	}
	return slices.Clip(ids)
}
