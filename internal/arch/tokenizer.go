package arch

import "slices"

// Tokenizer has what a model's published code decides about its tokenizer, and the tokenizer's files may not say. The
// zero value leaves everything to the files.
type Tokenizer struct {
	Class     string   // tokenizer_class in tokenizer_config.json, without "Fast"; empty if others have it too
	Pre       string   // how bytes are split into words, by llama.cpp's name
	NoBOS     bool     // no BOS before a text unless the files say so
	EndOfText []string // roles (bos, eos, unk) of <|endoftext|> where the files name no token
	Stops     []string // tokens that end a generation, EOS apart, where generation_config.json is silent
	Tiktoken  string   // the only vocabulary file, in tiktoken's format, which has no special tokens
	Special   []string // those tokens: the last rows of the vocabulary
	Used      []string // those of Special that the model was trained with; the others are never predicted
}

// EndOfText is the token that ends a document.
const EndOfText = "<|endoftext|>"

// Masked lists the tokens that a model with so many tokens never predicts.
func (t *Tokenizer) Masked(vocabSize int) []int32 {
	var ids []int32
	for i, text := range t.Special {
		if !slices.Contains(t.Used, text) {
			ids = append(ids, int32(vocabSize-len(t.Special)+i))
		}
	}
	return ids
}
