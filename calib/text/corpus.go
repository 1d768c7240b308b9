package text

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/phi3conv/phi3conv/formats"
	"github.com/phi3conv/phi3conv/runtime/tokenizer"
)

// Corpus is texts cut into sequences of tokens, each of which a model sees by itself.
type Corpus struct {
	Files     []File
	Sequences [][]int32
}

// File is one text of a corpus.
type File struct {
	Name   string // without directories
	SHA256 string // of its bytes, hexadecimal
	Tokens int
}

// Tokens returns the number of tokens of all sequences.
func (c *Corpus) Tokens() int {
	n := 0
	for _, s := range c.Sequences {
		n += len(s)
	}
	return n
}

// AddFile adds a text file. Plain text is cut into windows of context tokens, one after the
// other, as llama-imatrix does: what is left at the end is dropped, and where the
// tokenizer begins a text with BOS, BOS replaces the first token of each window.
//
// A name that ends in .jsonl has an object in each line, with a "text" or with "messages", a
// conversation that the model's chat template renders. Each is a sequence by itself,
// or several if it is longer than context.
func (c *Corpus) AddFile(path string, tok *tokenizer.Tokenizer, context int) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	return c.Add(path, data, tok, context)
}

// Add adds what is in a file, or comes from somewhere else and has such a name: see [Corpus.AddFile].
func (c *Corpus) Add(path string, data []byte, tok *tokenizer.Tokenizer, context int) error {
	before := len(c.Sequences)
	var err error
	if strings.EqualFold(filepath.Ext(path), ".jsonl") {
		err = c.addLines(data, tok, context)
	} else {
		err = c.addText(data, tok, context)
	}
	if err != nil {
		return formats.WithPath(err, path)
	}
	sum := sha256.Sum256(data)
	f := File{Name: filepath.Base(path), SHA256: hex.EncodeToString(sum[:])}
	for _, s := range c.Sequences[before:] {
		f.Tokens += len(s)
	}
	c.Files = append(c.Files, f)
	return nil
}

func (c *Corpus) addText(data []byte, tok *tokenizer.Tokenizer, context int) error {
	tokens := tok.Encode(string(data), tokenizer.EncodeOptions{AddSpecial: true})
	if len(tokens) < context {
		return formats.Errorf(-1, "%d tokens, too few for a sequence of %d: use a longer text or a smaller --ctx-size",
			len(tokens), context)
	}
	bos, has := tok.BOS()
	has = has && tokens[0] == bos
	for ; len(tokens) >= context; tokens = tokens[context:] {
		s := slices.Clone(tokens[:context])
		if has {
			s[0] = bos
		}
		c.Sequences = append(c.Sequences, s)
	}
	return nil
}

func (c *Corpus) addLines(data []byte, tok *tokenizer.Tokenizer, context int) error {
	before := len(c.Sequences)
	number, off := 0, 0
	for line := range bytes.Lines(data) {
		number++
		at := off
		off += len(line)
		if len(bytes.TrimSpace(line)) == 0 {
			continue
		}
		tokens, err := encodeRecord(line, tok)
		if err != nil {
			return formats.Wrapf(err, int64(at), "line %d", number)
		}
		for part := range slices.Chunk(tokens, context) {
			c.Sequences = append(c.Sequences, part)
		}
	}
	if len(c.Sequences) == before {
		return formats.Errorf(-1, "no text in %d lines", number)
	}
	return nil
}

// encodeRecord encodes a line of a .jsonl file.
func encodeRecord(line []byte, tok *tokenizer.Tokenizer) ([]int32, error) {
	var record struct {
		Text     *string             `json:"text"`
		Messages []tokenizer.Message `json:"messages"`
	}
	if err := json.Unmarshal(line, &record); err != nil {
		return nil, err
	}
	switch {
	case record.Messages != nil:
		text, err := tok.Chat(record.Messages, false, "")
		if err != nil {
			return nil, err
		}
		return tok.Encode(text, tokenizer.EncodeOptions{ParseSpecial: true}), nil
	case record.Text != nil:
		return tok.Encode(*record.Text, tokenizer.EncodeOptions{AddSpecial: true}), nil
	}
	return nil, fmt.Errorf(`expected an object with "text" or "messages", got %.60q`, bytes.TrimSpace(line))
}

// Sample keeps about tokens tokens, 0 for all: whole sequences, spread evenly over all
// texts. Of the equal parts that the corpus is divided into, each gives the one that seed chooses.
func (c *Corpus) Sample(tokens int, seed uint64) {
	total := c.Tokens()
	if tokens <= 0 || tokens >= total {
		return
	}
	all := len(c.Sequences)
	n := max(1, (tokens*all+total/2)/total)
	r := rand.New(rand.NewPCG(seed, 0))
	var kept [][]int32
	for i := range n {
		first, end := i*all/n, (i+1)*all/n
		kept = append(kept, c.Sequences[first+r.IntN(end-first)])
	}
	c.Sequences = kept
}

// Flat returns the tokens of all sequences, one after the other, and each one's length.
func (c *Corpus) Flat() (tokens, lengths []int32) {
	for _, s := range c.Sequences {
		tokens, lengths = append(tokens, s...), append(lengths, int32(len(s)))
	}
	return tokens, lengths
}

// TokenizerHash returns the SHA-256 of the texts of all tokens, in hexadecimal.
func TokenizerHash(tok *tokenizer.Tokenizer) string {
	h := sha256.New()
	for i := range tok.VocabSize() {
		_, _ = fmt.Fprintf(h, "%q\n", tok.Token(int32(i)))
	}
	return hex.EncodeToString(h.Sum(nil))
}
