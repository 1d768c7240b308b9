package verify

import (
	"testing"

	"github.com/phi3conv/phi3conv/runtime/tokenizer"
)

// The last token of a text is shown as text, or as the vocabulary writes it where it ends within a
// character.
func TestLastToken(t *testing.T) {
	tok, err := tokenizer.Open(tiny)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ text, before, piece string }{
		{"a a", "a", " a"},
		{"a\n", "a", "\n"},
		{"a 語", "a \ufffd\ufffd", "<0x9E>"}, // three byte tokens
	} {
		tokens := tok.Encode(c.text, tokenizer.EncodeOptions{})
		if before, piece := lastToken(tok, tokens); before != c.before || piece != c.piece {
			t.Errorf("%q: %q and %q, expected %q and %q", c.text, before, piece, c.before, c.piece)
		}
	}
}
