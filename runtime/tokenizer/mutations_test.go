package tokenizer

import (
	"encoding/json"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/phi3conv/phi3conv/formats"
	"github.com/phi3conv/phi3conv/internal/testmodel"
	"github.com/phi3conv/phi3conv/internal/vocab"
)

// change is a change of a tokenizer's files, and what transformers makes of it.
type change struct {
	Base, Name, Error string
	Edits             []testmodel.Edit
	IDs               json.RawMessage
	Decoded, Skipped  json.RawMessage // ids back to text, with special tokens and without
}

// result is what is made of the texts.
type result struct {
	ids              [][]int32
	decoded, skipped []string
}

// refused are changes that are refused though transformers reads them, by what the error says.
var refused = map[string]string{
	"tiny-phi3/post: another token in front":                                     `with the id 522, is put before`,
	"tiny-phi3/post: two tokens in front":                                        "2 tokens are put before",
	"tiny-phi3/post: BertProcessing":                                             `"</s>", with the id 2, is put after`,
	"tiny-phi3/post: RobertaProcessing":                                          `"</s>", with the id 2, is put after`,
	"tiny-phi3/post: a wrong id":                                                 `"<s>", with the id 5, is put before`,
	"tiny-phi3/post: the text twice":                                             "single has the text",
	"tiny-phi3/normalizer: none":                                                 "normalizer and pre-tokenizer are",
	"tiny-phi3/normalizer: replace only":                                         "decoder is",
	"tiny-phi3/normalizer: the other order":                                      "normalizer and pre-tokenizer are",
	"tiny-phi3/normalizer: NFC":                                                  "normalizer and pre-tokenizer are",
	"tiny-phi3/normalizer: NFKC":                                                 "normalizer and pre-tokenizer are",
	"tiny-phi3/normalizer: NFD":                                                  "normalizer and pre-tokenizer are",
	"tiny-phi3/normalizer: NFKD":                                                 "normalizer and pre-tokenizer are",
	"tiny-phi3/normalizer: Lowercase":                                            "normalizer and pre-tokenizer are",
	"tiny-phi3/normalizer: StripAccents":                                         "normalizer and pre-tokenizer are",
	"tiny-phi3/normalizer: Strip":                                                "normalizer and pre-tokenizer are",
	"tiny-phi3/normalizer: a regular expression":                                 "normalizer and pre-tokenizer are",
	"tiny-phi3/normalizer: another prefix":                                       "normalizer and pre-tokenizer are",
	"tiny-phi3/pre-tokenizer: Metaspace first, split True":                       "normalizer and pre-tokenizer are",
	"tiny-phi3/pre-tokenizer: Metaspace always, split True":                      "normalizer and pre-tokenizer are",
	"tiny-phi3/pre-tokenizer: Metaspace never, split False":                      "decoder is",
	"tiny-phi3/pre-tokenizer: Metaspace never, split True":                       "normalizer and pre-tokenizer are",
	"tiny-phi3/pre-tokenizer: Metaspace of old":                                  "normalizer and pre-tokenizer are",
	"tiny-phi3/pre-tokenizer: Metaspace with another character":                  "normalizer and pre-tokenizer are",
	"tiny-phi3/pre-tokenizer: Metaspace too":                                     "normalizer and pre-tokenizer are",
	"tiny-phi3/pre-tokenizer: Digits too":                                        "normalizer and pre-tokenizer are",
	"tiny-phi3/decoder: none":                                                    "decoder is",
	"tiny-phi3/decoder: no Strip":                                                "decoder is",
	"tiny-phi3/decoder: no ByteFallback":                                         "decoder is",
	"tiny-phi3/decoder: Metaspace":                                               "decoder is",
	"tiny-phi3/decoder: ByteLevel":                                               "decoder is",
	"tiny-phi3/new word: in tokenizer_config.json, beyond the next id":           "but loaders number it 523",
	"tiny-phi3/files: tokenizer.model with the prefix that tokenizer.json lacks": "decoder is",
	"tiny-phi3/model: ignore_merges":                                             "model.ignore_merges is true",
	"tiny-phi3/model: no byte_fallback":                                          "model.byte_fallback is false",
	"tiny-phi3/model: end_of_word_suffix":                                        `model.end_of_word_suffix is "</w>"`,
	"tiny-phi3/model: a merge less":                                              `"ac" is made by 0 merges of the 1`,
	"tiny-phi3/model: two merges changed places":                                 `merge 21 makes "on"`,
	"tiny-phi3/model: WordLevel":                                                 `model of type "WordLevel"`,
	"tiny-phi3/split_special_tokens":                                             "split_special_tokens is true",
	"cl100k/normalizer: NFC":                                                     "normalizer NFC",
	"cl100k/normalizer: NFKC":                                                    "normalizer NFKC",
	"cl100k/normalizer: NFD":                                                     "normalizer NFD",
	"cl100k/normalizer: NFKD":                                                    "normalizer NFKD",
	"cl100k/normalizer: Lowercase":                                               "normalizer Lowercase",
	"cl100k/normalizer: StripAccents":                                            "normalizer StripAccents",
	"cl100k/normalizer: Strip":                                                   "normalizer Strip",
	"cl100k/normalizer: Replace":                                                 "normalizer Replace",
	"cl100k/normalizer: Prepend":                                                 "normalizer Prepend",
	"cl100k/normalizer: BertNormalizer":                                          "normalizer BertNormalizer",
	"cl100k/pre-tokenizer: a space in front":                                     "is not one of",
	"cl100k/pre-tokenizer: another behaviour":                                    "is not one of",
	"cl100k/pre-tokenizer: another pattern":                                      "is not one of",
	"cl100k/pre-tokenizer: none":                                                 "pre-tokenizer (none) is not one of",
	"cl100k/decoder: none":                                                       "decoder is",
	"cl100k/model: end_of_word_suffix":                                           `model.end_of_word_suffix is "</w>"`,
	"cl100k/new word: a wrong id":                                                "but loaders number it 424",
	"tiny-phi2/config says prefix space":                                         "add_prefix_space is true",
}

// shown are changes after which transformers shows a special token where special tokens are left out, or normalizes one
// that tokenizer_config.json says not to: texts are not compared there.
var shown = []string{
	"tiny-phi3/flag: normalized True", "tiny-phi3/flag: normalized True in tokenizer.json",
	"tiny-phi3/flag: normalized True in tokenizer_config.json",
}

func TestChangedFiles(t *testing.T) {
	var golden struct {
		Texts   []string
		Changes []change
	}
	data := testmodel.Read(t, "../../testdata/golden/tokenizer-mutations.json")
	if err := json.Unmarshal(data, &golden); err != nil {
		t.Fatal(err)
	}
	bases := make(map[string]result)
	for _, c := range golden.Changes {
		base := bases[c.Base]
		want := result{
			overlay(t, base.ids, c.IDs), overlay(t, base.decoded, c.Decoded), overlay(t, base.skipped, c.Skipped),
		}
		if base.ids == nil {
			bases[c.Base] = want
		}
		t.Run(filepath.Base(c.Base)+"/"+c.Name, func(t *testing.T) { c.check(t, golden.Texts, want) })
	}
}

// overlay returns a list, or base with the elements that an object has by their places.
func overlay[T any](t *testing.T, base []T, data json.RawMessage) []T {
	t.Helper()
	if len(data) == 0 {
		return base
	}
	var list []T
	if base == nil {
		if err := json.Unmarshal(data, &list); err != nil {
			t.Fatal(err)
		}
		return list
	}
	list = slices.Clone(base)
	var others map[string]T
	if err := json.Unmarshal(data, &others); err != nil {
		t.Fatal(err)
	}
	for i, x := range others {
		n, err := strconv.Atoi(i)
		if err != nil {
			t.Fatal(err)
		}
		list[n] = x
	}
	return list
}

func (c change) check(t *testing.T, texts []string, want result) {
	tok, err := Open(c.dir(t))
	name := filepath.Base(c.Base) + "/" + c.Name
	if err != nil {
		var e *formats.Error
		if !errors.As(err, &e) || e.Path == "" {
			t.Errorf("the error names no file: %v", err)
		}
		if what, ok := refused[name]; c.Error == "" && (!ok || !strings.Contains(err.Error(), what)) {
			t.Errorf("refused: %v", err)
		}
		return
	}
	if c.Error != "" {
		return // transformers has no answer to compare with
	}
	if what, ok := refused[name]; ok {
		t.Errorf("not refused, expected an error with %q", what)
	}
	again := throughMetadata(t, tok)
	for i, text := range texts {
		got := tok.Encode(text, EncodeOptions{AddSpecial: true, ParseSpecial: true})
		if !slices.Equal(got, want.ids[i]) {
			t.Errorf("%q: ids %v, expected %v", text, got, want.ids[i])
		}
		if x := again.Encode(text, EncodeOptions{AddSpecial: true, ParseSpecial: true}); !slices.Equal(x, got) {
			t.Errorf("%q: ids %v with what a GGUF file keeps, expected %v", text, x, got)
		}
		if slices.Contains(shown, name) {
			continue
		}
		for special, wantText := range map[bool]string{true: want.decoded[i], false: want.skipped[i]} {
			if back, err := tok.Decode(want.ids[i], special); err != nil || back != wantText {
				t.Errorf("%v, special %t: text %q, %v, expected %q", want.ids[i], special, back, err, wantText)
			}
		}
	}
}

// throughMetadata returns the tokenizer that a GGUF file made of it has.
func throughMetadata(t *testing.T, tok *Tokenizer) *Tokenizer {
	t.Helper()
	m := maps.Collect(tok.v.All())
	v, err := vocab.FromMetadata(func(key string) (any, bool) { x, ok := m[key]; return x, ok })
	if err != nil {
		t.Fatal(err)
	}
	again, err := newTokenizer(v)
	if err != nil {
		t.Fatal(err)
	}
	return again
}

// dir returns a copy of the base's tokenizer with the change.
func (c change) dir(t *testing.T) string {
	t.Helper()
	dir, base := t.TempDir(), filepath.Join("..", "..", filepath.FromSlash(c.Base))
	files, err := os.ReadDir(base)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if ext := filepath.Ext(f.Name()); ext == ".json" || ext == ".model" || ext == ".txt" {
			testmodel.Write(t, filepath.Join(dir, f.Name()), testmodel.Read(t, filepath.Join(base, f.Name())))
		}
	}
	for _, e := range c.Edits {
		e.Apply(t, dir)
	}
	return dir
}
