package verify

import (
	"strings"
	"unicode/utf8"

	"github.com/phi3conv/phi3conv/runtime/tokenizer"
	"github.com/phi3conv/phi3conv/verify"
)

// describeWorst fills in the text of the worst tokens and what came before them.
func describeWorst(r *verify.Report, t *tokenizer.Tokenizer, windows []verify.Window) {
	const before = 12 // tokens
	for i := range r.Worst {
		p := &r.Worst[i]
		for _, w := range windows {
			if at := p.Index - w.Start; w.Text == p.Text && p.Context == at && at < len(w.Tokens) {
				p.Before, p.Piece = lastToken(t, w.Tokens[max(0, at-before):at+1])
			}
		}
	}
}

// lastToken returns the text of the tokens before the last one, and the text that this adds. Where it is
// none alone, such as a part of a character, that is the token as the vocabulary writes it.
func lastToken(t *tokenizer.Tokenizer, tokens []int32) (before, piece string) {
	last := len(tokens) - 1
	before, _ = t.Decode(tokens[:last], true)
	all, _ := t.Decode(tokens, true)
	piece, adds := strings.CutPrefix(all, before)
	if !adds || piece == "" || strings.ContainsRune(piece, utf8.RuneError) {
		piece = t.Token(tokens[last])
	}
	return before, piece
}
