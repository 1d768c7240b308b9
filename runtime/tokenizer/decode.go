package tokenizer

import (
	"fmt"
	"unicode/utf8"

	"github.com/phi3conv/phi3conv/internal/vocab"
)

// Decode returns the text of ids. Control tokens appear in it if special is set;
// ids without a token never do. The space that [Tokenizer.Encode] puts in front of
// a text is taken off. Bytes that are not UTF-8 become U+FFFD: each one if it is
// a SentencePiece model's byte token, else each longest beginning of a character.
//
// That is what the tokenizers library returns, with one difference: of byte tokens in a row that hold whole characters
// and other bytes, it replaces the characters by U+FFFD too.
//
// An id out of range is an error.
func (t *Tokenizer) Decode(ids []int32, special bool) (string, error) {
	for i, id := range ids {
		if id < 0 || int(id) >= len(t.v.Tokens) {
			return "", fmt.Errorf("id %d of %d is %d, expected 0 to %d", i+1, len(ids), id, len(t.v.Tokens)-1)
		}
	}
	d := t.NewDecoder(special)
	var out []byte
	for _, id := range ids {
		out = d.next(out, id)
	}
	return string(d.flush(out)), nil
}

// Decoder decodes ids one by one.
type Decoder struct {
	t       *Tokenizer
	special bool
	begun   bool   // some text has come
	held    []byte // the beginning of a character
	out     []byte // memory of the last result
}

// NewDecoder returns a decoder for one text. What its Next and Flush return is,
// put together, what [Tokenizer.Decode] returns.
func (t *Tokenizer) NewDecoder(special bool) *Decoder {
	return &Decoder{t: t, special: special}
}

// Next returns the text that id adds: whole characters only, which may be none. An
// id out of range adds nothing.
func (d *Decoder) Next(id int32) string {
	d.out = d.next(d.out[:0], id)
	return string(d.out)
}

// Flush returns what is left of the text when it ends in the middle of a character.
// After that the decoder is ready for another text.
func (d *Decoder) Flush() string {
	d.out = d.flush(d.out[:0])
	d.begun = false
	return string(d.out)
}

func (d *Decoder) next(dst []byte, id int32) []byte {
	t := d.t
	if id < 0 || int(id) >= len(t.v.Tokens) {
		return dst
	}
	if t.v.Types[id] == vocab.Unused || t.control[id] && !d.special {
		return dst
	}
	n := len(dst)
	if t.v.Model == vocab.ByteLevel || t.v.Types[id] == vocab.Byte {
		d.held = t.appendToken(d.held, id)
		dst = d.release(dst, false)
	} else {
		dst = t.appendToken(d.release(dst, true), id)
	}
	return d.strip(dst, n)
}

// Bytes returns what id stands for within a text, which may be a part of a character; nil for an id without a token.
func (t *Tokenizer) Bytes(id int32) []byte {
	if id < 0 || int(id) >= len(t.v.Tokens) || t.v.Types[id] == vocab.Unused {
		return nil
	}
	return t.appendToken(nil, id)
}

// appendToken appends the bytes of a token.
func (t *Tokenizer) appendToken(dst []byte, id int32) []byte {
	token, typ := t.texts[id], t.v.Types[id]
	switch {
	case t.v.Model == vocab.ByteLevel && typ != vocab.Normal:
		return append(dst, token...)
	case t.v.Model == vocab.ByteLevel:
		return appendBytes(dst, token)
	case typ == vocab.Byte:
		b, _ := byteValue(token) // zero for a byte token that is none
		return append(dst, b)
	}
	for _, r := range token {
		if r == space {
			r = ' '
		}
		dst = utf8.AppendRune(dst, r)
	}
	return dst
}

func (d *Decoder) flush(dst []byte) []byte {
	n := len(dst)
	return d.strip(d.release(dst, true), n)
}

// strip takes a space off that is the first of a text. What is new begins at dst[n].
func (d *Decoder) strip(dst []byte, n int) []byte {
	if d.begun || len(dst) == n {
		return dst
	}
	d.begun = true
	if dst[n] == ' ' && d.t.v.Model == vocab.SentencePiece && isSet(d.t.v.AddSpacePrefix, true) {
		dst = append(dst[:n], dst[n+1:]...)
	}
	return dst
}

// release appends the characters of the held bytes; the beginning of one stays
// unless the run of bytes ends.
func (d *Decoder) release(dst []byte, ends bool) []byte {
	b := d.held
	for len(b) > 0 && (ends || utf8.FullRune(b)) {
		r, n := utf8.DecodeRune(b)
		if r == utf8.RuneError && n == 1 && d.t.v.Model == vocab.ByteLevel {
			n = brokenLen(b)
		}
		dst = utf8.AppendRune(dst, r)
		b = b[n:]
	}
	d.held = append(d.held[:0], b...)
	return dst
}
