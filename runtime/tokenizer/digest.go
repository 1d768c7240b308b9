package tokenizer

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math"
)

// Digest pins what a tokenizer does to a text, part by part. It is the same for a checkpoint
// directory and for a GGUF file made of it.
type Digest struct {
	Model, Pre   string
	TokensSHA256 string // of each token in order: type (1 byte), length (uint32), text
	MergesSHA256 string // of each merge in order: length (uint32), text; or of the scores (float32)
	BOS, EOS     int    // -1 for none
}

// Digest pins what the tokenizer does to a text. Numbers are hashed as little-endian.
func (t *Tokenizer) Digest() Digest {
	v := t.v
	le := binary.LittleEndian
	tokens, merges := sha256.New(), sha256.New()
	var b []byte
	for id, text := range v.Tokens {
		b = le.AppendUint32(append(b[:0], byte(v.Types[id])), uint32(len(text)))
		_, _ = tokens.Write(append(b, text...))
	}
	for _, text := range v.Merges {
		_, _ = merges.Write(append(le.AppendUint32(b[:0], uint32(len(text))), text...))
	}
	for _, score := range v.Scores {
		_, _ = merges.Write(le.AppendUint32(b[:0], math.Float32bits(score)))
	}
	return Digest{
		v.Model, v.Pre, hex.EncodeToString(tokens.Sum(nil)), hex.EncodeToString(merges.Sum(nil)), v.BOS, v.EOS,
	}
}

// Difference says in which part d differs from want, "" if in none.
func (d Digest) Difference(want Digest) string {
	switch {
	case d.Model != want.Model:
		return fmt.Sprintf("its kind is %q, expected %q", d.Model, want.Model)
	case d.Pre != want.Pre:
		return fmt.Sprintf("it splits text by %q, expected %q", d.Pre, want.Pre)
	case d.TokensSHA256 != want.TokensSHA256:
		return fmt.Sprintf("its tokens have the SHA-256 %.12s…, expected %.12s…", d.TokensSHA256, want.TokensSHA256)
	case d.MergesSHA256 != want.MergesSHA256:
		return fmt.Sprintf("its merges have the SHA-256 %.12s…, expected %.12s…", d.MergesSHA256, want.MergesSHA256)
	case d.BOS != want.BOS:
		return fmt.Sprintf("its BOS is %d, expected %d", d.BOS, want.BOS)
	case d.EOS != want.EOS:
		return fmt.Sprintf("its EOS is %d, expected %d", d.EOS, want.EOS)
	}
	return ""
}
