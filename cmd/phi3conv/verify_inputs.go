package main

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/phi3conv/phi3conv/formats"
	"github.com/phi3conv/phi3conv/runtime/tokenizer"
	"github.com/phi3conv/phi3conv/verify"
	"github.com/urfave/cli/v2"
)

// limits collects the thresholds of flags and file; a flag replaces the file's.
func limits(c *cli.Context) ([]verify.Threshold, error) {
	var all []verify.Threshold
	for _, m := range verify.Metrics() {
		if c.IsSet(m.Name) {
			t := verify.Threshold{Name: m.Name}
			var err error
			if m.Size {
				if t.Limit, err = verify.ParseSize(c.String(m.Name)); err != nil {
					return nil, usagef("--%s is %w", m.Name, err)
				}
			} else {
				t.Limit = c.Float64(m.Name)
			}
			if err := t.Validate(); err != nil {
				return nil, usagef("--%w", err)
			}
			all = append(all, t)
		}
	}
	if path := c.String("thresholds"); path != "" {
		data, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		file, err := verify.ReadThresholds(path, data)
		if err != nil {
			return nil, err
		}
		for _, t := range file {
			if !slices.ContainsFunc(all, func(a verify.Threshold) bool { return a.Name == t.Name }) {
				all = append(all, t)
			}
		}
	}
	return all, nil
}

func conventions(c *cli.Context) (verify.Conventions, error) {
	n := c.Int("ctx-size")
	if n < 4 {
		return verify.Conventions{}, usagef("--ctx-size is %d, expected at least 4", n)
	}
	if c.Int("chunks") < 0 || c.Int("worst") < 0 {
		return verify.Conventions{}, usagef("--chunks and --worst cannot be negative")
	}
	if !c.IsSet("stride") {
		return verify.Conventions{Name: verify.LlamaPerplexity, Context: n, Stride: n, First: n / 2}, nil
	}
	if s := c.Int("stride"); s < 1 || s > n {
		return verify.Conventions{}, usagef("--stride is %d, expected 1 to --ctx-size, %d", s, n)
	}
	return verify.Conventions{Name: verify.Strided, Context: n, Stride: c.Int("stride")}, nil
}

// shard returns the part of --shard, nil if it is not set.
func shard(c *cli.Context) (*verify.Shard, error) {
	text := c.String("shard")
	if text == "" {
		return nil, nil
	}
	var s verify.Shard
	var rest string
	if n, _ := fmt.Sscanf(text, "%d/%d%s", &s.I, &s.N, &rest); n != 2 || s.I < 1 || s.I > s.N {
		return nil, usagef("--shard is %q, expected the number of a part and how many there are, such as 1/4", text)
	}
	if !c.IsSet("report") {
		return nil, usagef("--shard needs --report, which verify merge takes")
	}
	return &s, nil
}

// readTexts reads the texts, cuts them in windows, and checks that the tokenizers of all models agree on them.
func readTexts(c *cli.Context, base string, quants []string, conv *verify.Conventions) (*tokenizer.Tokenizer, []verify.Text, []verify.Window, error) {
	fail := func(err error) (*tokenizer.Tokenizer, []verify.Text, []verify.Window, error) {
		return nil, nil, nil, err
	}
	tok, err := tokenizer.Open(base)
	if err != nil {
		return fail(err)
	}
	enc := tokenizer.EncodeOptions{AddSpecial: true}
	var texts []verify.Text
	var windows []verify.Window
	var contents []string
	var tokens [][]int32
	for i, path := range c.StringSlice("text") {
		data, err := os.ReadFile(path)
		if err != nil {
			return fail(err)
		}
		ids := tok.Encode(string(data), enc)
		bos, has := tok.BOS()
		conv.BOS = has && len(ids) > 0 && ids[0] == bos && conv.Name == verify.LlamaPerplexity
		w := verify.Windows(i, ids, *conv, bos)
		if n := c.Int("chunks"); n > 0 {
			w = w[:min(n, len(w))]
		}
		if len(w) == 0 {
			return fail(&formats.Error{Path: path, Off: -1, What: fmt.Sprintf("%d tokens, too few for a window of %d", len(ids), conv.Context)})
		}
		sum := sha256.Sum256(data)
		texts = append(texts, verify.Text{Name: filepath.Base(path), Bytes: int64(len(data)), SHA256: hex.EncodeToString(sum[:]), Tokens: len(ids), Windows: len(w)})
		windows, contents, tokens = append(windows, w...), append(contents, string(data)), append(tokens, ids)
	}
	for _, path := range quants {
		quant, err := tokenizer.Open(path)
		if err != nil {
			return fail(err)
		}
		for i, text := range contents {
			other := quant.Encode(text, enc)
			if at := firstDifference(tokens[i], other); at >= 0 {
				return fail(&formats.Error{Path: path, Off: -1, What: fmt.Sprintf("its tokenizer is another than the original's: token %d of %s is %s, expected %s",
					at, c.StringSlice("text")[i], tokenAt(quant, other, at), tokenAt(tok, tokens[i], at))})
			}
		}
		// What these texts do not show.
		if d := quant.Digest().Difference(tok.Digest()); d != "" {
			return fail(&formats.Error{Path: path, Off: -1, What: "its tokenizer is another than the original's: " + d})
		}
	}
	return tok, texts, windows, nil
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
