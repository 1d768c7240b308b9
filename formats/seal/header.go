package seal

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/phi3conv/phi3conv/formats"
)

// Limits of a seal, which readers and writers enforce.
const (
	MaxVocab  = 1 << 20 // tokens in the vocabulary
	MaxTopK   = 1 << 12 // likely tokens of a position
	MinTopK   = 5       // likely tokens that every position has
	MaxTokens = 1 << 26 // in all texts together
	MaxTexts  = 1 << 12
)

// Header says what a seal is of. It is written as JSON.
type Header struct {
	Model         string    `json:"model"`          // name of the base model
	WeightsSHA256 string    `json:"weights_sha256"` // of its weights, 64 lower-case hexadecimal digits
	Tokenizer     Tokenizer `json:"tokenizer"`
	VocabSize     int       `json:"vocab_size"` // logits that the model gives for a token
	TopK          int       `json:"top_k"`      // most likely tokens that a position has
	// Least probability of a likely token beyond the first MinTopK; may be 0
	MinP        float64     `json:"min_p"`
	Conventions Conventions `json:"conventions"`
	Texts       []Text      `json:"texts"`
	Positions   int         `json:"positions"` // number of scored tokens
	Full        int         `json:"full"`      // how many of them have the whole vocabulary
}

// Tokenizer pins the base model's tokenizer, part by part. docs/format-seal.md says what
// is hashed.
type Tokenizer struct {
	Model        string `json:"model"`         // kind of tokenizer: "llama" or "gpt2", as in GGUF
	Pre          string `json:"pre"`           // how it splits text, as in GGUF
	TokensSHA256 string `json:"tokens_sha256"` // of the tokens and their types
	MergesSHA256 string `json:"merges_sha256"` // of the merges, or of the scores that order them
	BOS          int    `json:"bos"`           // -1 if there is none
	EOS          int    `json:"eos"`           // likewise
}

// Conventions say which tokens are scored, and after what.
type Conventions struct {
	Name    string `json:"name"`    // how the windows are laid, such as "llama-perplexity"
	Context int    `json:"context"` // tokens in a window
	Stride  int    `json:"stride"`  // tokens from one window to the next
	First   int    `json:"first"`   // least number of tokens before a scored one in its window
	BOS     int32  `json:"bos"`     // replaces the first token of each window; -1 if nothing does
}

// Text is a text whose tokens are pinned.
type Text struct {
	Name   string `json:"name"`
	Bytes  int64  `json:"bytes"`
	SHA256 string `json:"sha256"` // of the bytes, 64 lower-case hexadecimal digits
	Tokens int    `json:"tokens"` // their number
}

// tokens returns the number of tokens of all texts.
func (h *Header) tokens() (n int) {
	for _, t := range h.Texts {
		n += t.Tokens
	}
	return n
}

// idBytes returns the number of bytes that a token id takes in the file.
func (h *Header) idBytes() int {
	if h.VocabSize <= 1<<16 {
		return 2
	}
	return 3
}

// check returns what is wrong with the header, or nil.
func (h *Header) check() error {
	within := func(name string, value, least, most int) error {
		if value < least || value > most {
			return fmt.Errorf("header: %s is %d, must be %d to %d", name, value, least, most)
		}
		return nil
	}
	digest := func(name, value string) error {
		if b, err := hex.DecodeString(value); err != nil || len(b) != 32 || value != strings.ToLower(value) {
			return fmt.Errorf("header: %s is %.80q, must be 64 lower-case hexadecimal digits", name, value)
		}
		return nil
	}
	names := []string{h.Model, h.Conventions.Name, h.Tokenizer.Model, h.Tokenizer.Pre}
	if err := within("number of texts", len(h.Texts), 1, MaxTexts); err != nil {
		return err
	}
	total := 0
	for i, t := range h.Texts {
		if err := within(fmt.Sprintf("tokens of text %d", i), t.Tokens, 0, MaxTokens-total); err != nil {
			return err
		}
		total += t.Tokens
		if err := digest(fmt.Sprintf("sha256 of text %d", i), t.SHA256); err != nil {
			return err
		}
		if t.Bytes < 0 {
			return fmt.Errorf("header: bytes of text %d is %d, must not be negative", i, t.Bytes)
		}
		names = append(names, t.Name)
	}
	for _, name := range names {
		if !utf8.ValidString(name) {
			return fmt.Errorf("header: name %.80q is not valid UTF-8", name)
		}
	}
	c := &h.Conventions
	for _, err := range []error{
		digest("weights_sha256", h.WeightsSHA256),
		digest("tokens_sha256", h.Tokenizer.TokensSHA256),
		digest("merges_sha256", h.Tokenizer.MergesSHA256),
		within("vocab_size", h.VocabSize, MinTopK, MaxVocab),
		within("top_k", h.TopK, MinTopK, min(h.VocabSize, MaxTopK)),
		within("context", c.Context, 2, MaxTokens),
		within("stride", c.Stride, 1, c.Context),
		within("first", c.First, 0, c.Context-1),
		within("bos", int(c.BOS), -1, h.VocabSize-1),
		within("bos of the tokenizer", h.Tokenizer.BOS, -1, h.VocabSize-1),
		within("eos of the tokenizer", h.Tokenizer.EOS, -1, h.VocabSize-1),
		within("positions", h.Positions, 1, total),
		within("full", h.Full, 0, h.Positions),
	} {
		if err != nil {
			return err
		}
	}
	if !(h.MinP >= 0 && h.MinP < 1) {
		return fmt.Errorf("header: min_p is %v, must be at least 0 and less than 1", h.MinP)
	}
	return nil
}

// parseHeader reads the JSON, which begins at offset off of the file.
func parseHeader(text []byte, off int64) (*Header, error) {
	if !utf8.Valid(text) {
		return nil, formats.Errorf(off, "header: JSON is not valid UTF-8")
	}
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.DisallowUnknownFields()
	h := new(Header)
	if err := dec.Decode(h); err != nil {
		return nil, formats.Wrapf(err, off+dec.InputOffset(), "header: JSON")
	}
	if _, err := dec.Token(); err != io.EOF {
		return nil, formats.Errorf(off+dec.InputOffset(), "header: something follows the JSON object")
	}
	if err := h.check(); err != nil {
		return nil, formats.Errorf(off, "%v", err)
	}
	return h, nil
}
