package verify

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"path/filepath"

	"github.com/phi3conv/phi3conv/formats"
	"github.com/phi3conv/phi3conv/internal/input"
	"github.com/phi3conv/phi3conv/runtime/tokenizer"
	"github.com/phi3conv/phi3conv/verify"
)

// corpus is texts in a model's tokens, cut into windows.
type corpus struct {
	tokenizer   *tokenizer.Tokenizer
	conventions verify.Conventions
	texts       []text
	windows     []verify.Window // of all texts
}

type text struct {
	path    string
	content string
	tokens  []int32
	windows int
}

// readCorpus reads texts and cuts them into windows of the model's tokens.
func readCorpus(ctx context.Context, model string, paths []string, w Windows) (*corpus, error) {
	conv, err := w.conventions()
	if err != nil {
		return nil, err
	}
	tok, err := tokenizer.Open(model)
	if err != nil {
		return nil, err
	}
	bos, hasBOS := tok.BOS()
	c := &corpus{tokenizer: tok, conventions: conv}
	for i, path := range paths {
		data, err := input.ReadFile(ctx, path)
		if err != nil {
			return nil, err
		}
		t := text{path: input.Name(path), content: string(data)}
		t.tokens = encode(tok, t.content)
		c.conventions.BOS = hasBOS && len(t.tokens) > 0 && t.tokens[0] == bos && conv.Name == verify.LlamaPerplexity
		cut := verify.Windows(i, t.tokens, c.conventions, bos)
		if w.Max > 0 {
			cut = cut[:min(w.Max, len(cut))]
		}
		if len(cut) == 0 {
			return nil, formats.FileErrorf(t.path, -1, "%d tokens, too few for a window of %d",
				len(t.tokens), conv.Context)
		}
		t.windows = len(cut)
		c.texts, c.windows = append(c.texts, t), append(c.windows, cut...)
	}
	return c, nil
}

func encode(tok *tokenizer.Tokenizer, text string) []int32 {
	return tok.Encode(text, tokenizer.EncodeOptions{AddSpecial: true})
}

// reportTexts pins the texts for a report.
func (c *corpus) reportTexts() []verify.Text {
	list := make([]verify.Text, len(c.texts))
	for i, t := range c.texts {
		list[i] = verify.Text{
			Name: filepath.Base(t.path), Bytes: int64(len(t.content)), SHA256: t.sha256(),
			Tokens: len(t.tokens), Windows: t.windows,
		}
	}
	return list
}

func (t *text) sha256() string {
	sum := sha256.Sum256([]byte(t.content))
	return hex.EncodeToString(sum[:])
}

// checkTokenizer returns an error if another model's tokenizer is not the same.
func (c *corpus) checkTokenizer(path string) error {
	tok, err := tokenizer.Open(path)
	if err != nil {
		return err
	}
	const another = "its tokenizer is another than the original's: "
	for _, t := range c.texts {
		tokens := encode(tok, t.content)
		if at := firstDifference(t.tokens, tokens); at >= 0 {
			return formats.FileErrorf(path, -1, another+"token %d of %s is %s, expected %s",
				at, t.path, tokenAt(tok, tokens, at), tokenAt(c.tokenizer, t.tokens, at))
		}
	}
	// What these texts do not show.
	if d := tok.Digest().Difference(c.tokenizer.Digest()); d != "" {
		return formats.FileErrorf(path, -1, another+"%s", d)
	}
	return nil
}

// firstDifference returns the first index at which a and b differ, or -1.
func firstDifference(a, b []int32) int {
	for i := range max(len(a), len(b)) {
		if i >= len(a) || i >= len(b) || a[i] != b[i] {
			return i
		}
	}
	return -1
}

func tokenAt(t *tokenizer.Tokenizer, tokens []int32, i int) string {
	if i >= len(tokens) {
		return "the end"
	}
	return fmt.Sprintf("%d %q", tokens[i], t.Token(tokens[i]))
}
