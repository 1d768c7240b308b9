package seal_test

import (
	"fmt"
	"io"
	"log"
	"os"
	"path/filepath"
	"strings"

	"github.com/phi3conv/phi3conv/formats/seal"
)

func Example() {
	dir, err := os.MkdirTemp("", "seal")
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	path := filepath.Join(dir, "model.seal")

	texts := [][]int32{{1, 3, 5, 2}}
	hash := strings.Repeat("0", 64)
	w, err := seal.Create(path, seal.Header{
		Model: "tiny", WeightsSHA256: hash, Tokenizer: seal.Tokenizer{
			Model: "llama", TokensSHA256: hash, MergesSHA256: hash, BOS: 1, EOS: 2,
		},
		VocabSize: 8, TopK: 5,
		Conventions: seal.Conventions{Name: "llama-perplexity", Context: 4, Stride: 4, First: 2, BOS: 1},
		Texts:       []seal.Text{{Name: "text.txt", Bytes: 12, SHA256: hash, Tokens: 4}},
		Positions:   1,
	}, texts)
	if err != nil {
		log.Fatal(err)
	}
	defer w.Abort()
	// Token 3 of text 0, after 3 tokens of context.
	if err := w.Add(0, 3, 3, []float32{0, 0, 4, 3, 0, 1, 2, 0}); err != nil {
		log.Fatal(err)
	}
	if err := w.Close(); err != nil {
		log.Fatal(err)
	}

	r, err := seal.Open(path)
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = r.Close() }()
	fmt.Println(r.Header.Model, r.Texts)
	for {
		e, err := r.Next()
		if err == io.EOF {
			break
		} else if err != nil {
			log.Fatal(err)
		}
		low, high := e.Top[0].Bounds()
		fmt.Printf(
			"token %d: %.4f nat; the likeliest is %d, p from %.5f to %.5f\n", e.Token, e.NLL, e.Top[0].ID, low, high,
		)
	}
	// Output:
	// tiny [[1 3 5 2]]
	// token 2: 0.4863 nat; the likeliest is 2, p from 0.61489 to 0.61491
}
