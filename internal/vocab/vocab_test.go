package vocab

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/phi3conv/phi3conv/formats"
)

// wanted is a value of want.json or testdata/golden/vocab-tiny.json.
func wanted(t *testing.T, kind string, value any) any {
	t.Helper()
	list := func() []any { return value.([]any) }
	switch kind {
	case "STRING":
		return value
	case "BOOL":
		return value
	case "UINT32":
		return uint32(value.(float64))
	case "ARRAY STRING":
		return convert(list(), func(x any) string { return x.(string) })
	case "ARRAY INT32":
		return convert(list(), func(x any) int32 { return int32(x.(float64)) })
	case "ARRAY FLOAT32":
		return convert(list(), func(x any) float32 { return float32(x.(float64)) })
	}
	t.Fatalf("unknown type %q", kind)
	return nil
}

func convert[T any](in []any, f func(any) T) []T {
	out := make([]T, len(in))
	for i, x := range in {
		out[i] = f(x)
	}
	return out
}

// additions are the keys that this package writes and the converter may not.
var additions = []string{
	"tokenizer.ggml.eot_token_id", "tokenizer.ggml.eom_token_id", "tokenizer.ggml.eos_token_ids",
	"tokenizer.ggml.add_space_prefix",
	"phi3conv.rstrip_token_ids", "phi3conv.lstrip_token_ids", "phi3conv.normalized_token_ids",
	"phi3conv.plain_token_ids", "phi3conv.space_prefix", "phi3conv.single_word_token_ids", "phi3conv.whole_words",
}

// compare checks that v has the keys of the golden file with the same types and
// values, and no others than additions.
func compare(t *testing.T, v *Vocab, golden map[string]any) {
	t.Helper()
	got := make(map[string]any)
	for k, x := range v.All() {
		if _, ok := got[k]; ok {
			t.Errorf("%s comes twice", k)
		}
		got[k] = x
		if _, ok := golden[k]; !ok && !slices.Contains(additions, k) {
			t.Errorf("%s = %v, which the converter does not write", k, x)
		}
	}
	for k, want := range golden {
		x, ok := got[k]
		if !ok {
			t.Errorf("%s is missing, want %v", k, want)
			continue
		}
		if k == keyTemplates {
			x = slices.Sorted(slices.Values(x.([]string)))
		}
		if !reflect.DeepEqual(x, want) {
			t.Errorf("%s = %#v, want %#v", k, x, want)
		}
	}
	back, err := FromMetadata(func(key string) (any, bool) { x, ok := got[key]; return x, ok })
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(back, v) {
		t.Errorf("read back:\n%+v\nwant\n%+v", back, v)
	}
}

// precedence are keys of which the converter believes tokenizer_config.json, and transformers tokenizer.json.
var precedence = map[string]map[string]any{
	"spm":         {"tokenizer.ggml.add_bos_token": false},
	"byte-legacy": {"tokenizer.ggml.add_eos_token": false},
}

func TestLoadWritesTheConvertersKeys(t *testing.T) {
	for name, size := range map[string]int{
		"byte-flags": 272, "byte-template": 272, "byte-legacy": 272, "byte-object": 272, "spm": 320,
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join("testdata", name)
			var file map[string]struct {
				Type  string
				Value any
			}
			readTestJSON(t, filepath.Join(dir, "want.json"), &file)
			golden := make(map[string]any)
			for k, x := range file {
				golden[k] = wanted(t, x.Type, x.Value)
			}
			maps.Copy(golden, precedence[name])
			v, err := Load(dir, size)
			if err != nil {
				t.Fatal(err)
			}
			compare(t, v, golden)
		})
	}
}

func TestLoadTinyModel(t *testing.T) {
	var file struct {
		Metadata map[string]struct {
			Type  []string
			Value any
		}
		Tokens []string
		Scores []float32
		Types  []int32 `json:"token_type"`
	}
	readTestJSON(t, "../../testdata/golden/vocab-tiny.json", &file)
	golden := map[string]any{keyTokens: file.Tokens, keyScores: file.Scores, keyTypes: file.Types}
	for k, x := range file.Metadata {
		if strings.HasPrefix(k, "tokenizer.") {
			golden[k] = wanted(t, strings.Join(x.Type, " "), x.Value)
		}
	}
	v, err := Load("../../testdata/tiny-phi3", len(file.Tokens))
	if err != nil {
		t.Fatal(err)
	}
	compare(t, v, golden)
	if v.EOS != 512 || v.EOT != 519 || v.EOM != 513 || !slices.Equal(v.StopIDs, []int{512, 513, 519}) {
		t.Errorf("eos %d, eot %d, eom %d, stop ids %v", v.EOS, v.EOT, v.EOM, v.StopIDs)
	}
	if want := []int{2, 513, 514, 515, 516, 517, 518, 519, 520, 521, 522}; !slices.Equal(v.RStrip, want) ||
		v.LStrip != nil {
		t.Errorf("rstrip %v, lstrip %v, want %v and none", v.RStrip, v.LStrip, want)
	}
}

// A tokenizer.json alone gives what tokenizer.model gives.
func TestSentencePieceFromJSON(t *testing.T) {
	for dir, size := range map[string]int{"testdata/spm": 320, "../../testdata/tiny-phi3": 576} {
		want, err := Load(dir, size)
		if err != nil {
			t.Fatal(err)
		}
		alone := copyDir(t, dir)
		if err := os.Remove(filepath.Join(alone, "tokenizer.model")); err != nil {
			t.Fatal(err)
		}
		got, err := Load(alone, size)
		if err != nil {
			t.Fatal(err)
		}
		spaces := 0
		for id := range want.Tokens {
			a, b := math.Float32bits(got.Scores[id]), math.Float32bits(want.Scores[id])
			if got.Tokens[id] != want.Tokens[id] || a != b || got.Types[id] != want.Types[id] {
				t.Errorf("%s: token %d is %q, score %g (%#x), type %d, want %q, %g (%#x), %d",
					dir, id, got.Tokens[id], got.Scores[id], a, got.Types[id],
					want.Tokens[id], want.Scores[id], b, want.Types[id])
			}
			if isSpaces(want.Tokens[id]) {
				spaces++
			}
		}
		if dir == "testdata/spm" && spaces < 3 {
			t.Errorf("%s has %d tokens of spaces only, too few for this test", dir, spaces)
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s: the rest differs", dir)
		}
	}
}

// alphabet is the vocabulary of a byte-level BPE of n tokens, as JSON; merges
// make the last of them.
func alphabet(n int, merges ...string) string {
	ids := make(map[string]int)
	for _, r := range ByteRunes {
		ids[r] = len(ids)
	}
	for _, m := range merges {
		ids[strings.ReplaceAll(m, " ", "")] = len(ids)
	}
	for i := 0; len(ids) < n; i++ {
		ids[fmt.Sprint("filler ", i)] = len(ids)
	}
	out, _ := json.Marshal(ids)
	return string(out)
}

func TestLoadVocabJSONAndMerges(t *testing.T) {
	dir := writeDir(t, map[string]string{
		"vocab.json":        alphabet(258, "t h", "th e"),
		"merges.txt":        "#version: 0.2\nt h\n\nth e\n",
		"added_tokens.json": `{"<|endoftext|>": 258, "<k>": 259}`,
		"tokenizer_config.json": `{"tokenizer_class": "CodeGenTokenizer", "eos_token": "<|endoftext|>", ` +
			`"bos_token": {"content": "<|endoftext|>"}}`,
		"generation_config.json": `{"eos_token_id": 258}`,
	})
	v, err := Load(dir, 264)
	if err != nil {
		t.Fatal(err)
	}
	if v.Model != ByteLevel || v.Pre != "phi-2" || !slices.Equal(v.Merges, []string{"t h", "th e"}) || v.Scores != nil {
		t.Errorf("model %q, pre %q, merges %q, %d scores", v.Model, v.Pre, v.Merges, len(v.Scores))
	}
	want := []string{"the", "<|endoftext|>", "<k>", "[PAD260]", "[PAD261]", "[PAD262]"}
	types := []TokenType{Normal, Control, UserDefined, Unused, Unused, Unused}
	if !slices.Equal(v.Tokens[257:263], want) || !slices.Equal(v.Types[257:263], types) {
		t.Errorf("tokens %q of types %v, want %q of types %v", v.Tokens[257:263], v.Types[257:263], want, types)
	}
	if v.EOS != 258 || v.BOS != 258 || v.Pad != None {
		t.Errorf("eos %d, bos %d, pad %d", v.EOS, v.BOS, v.Pad)
	}
}

func TestPreTokenizer(t *testing.T) {
	split := func(pattern, behavior string, invert bool) string {
		p, _ := json.Marshal(map[string]any{"type": "Sequence", "pretokenizers": []any{
			map[string]any{
				"type": "Split", "pattern": map[string]string{"Regex": pattern}, "behavior": behavior, "invert": invert,
			},
			map[string]any{"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false},
		}})
		return string(p)
	}
	for name, c := range map[string]struct{ json, class, want string }{
		"gpt2":            {`{"type":"ByteLevel","use_regex":true}`, "GPT2Tokenizer", "gpt-2"},
		"gpt2 by default": {`{"type":"ByteLevel"}`, "GPT2Tokenizer", "gpt-2"},
		"gpt2 pattern":    {split(gpt2Pattern, "Isolated", false), "GPT2Tokenizer", "gpt-2"},
		"codegen":         {`{"type":"ByteLevel"}`, "CodeGenTokenizerFast", "phi-2"},
		"digits": {
			`{"type":"Sequence","pretokenizers":[{"type":"Digits","individual_digits":true},{"type":"ByteLevel"}]}`, "",
			"smollm",
		},
		"phi-4":           {split(cl100kPattern, "Removed", true), "GPT2Tokenizer", "dbrx"},
		"phi-4, isolated": {split(cl100kPattern, "Isolated", false), "TokenizersBackend", "dbrx"},
		"phi-4-mini":      {split(o200kPattern, "Removed", true), "GPT2Tokenizer", "gpt-4o"},
		"other pattern":   {split(`\w+`, "Isolated", false), "", ""},
		"matches removed": {split(cl100kPattern, "Removed", false), "", ""},
		"runs of digits": {
			`{"type":"Sequence","pretokenizers":[{"type":"Digits"},{"type":"ByteLevel"}]}`, "", "",
		},
		"space in front":   {`{"type":"ByteLevel","add_prefix_space":true}`, "", ""},
		"no pre-tokenizer": {`null`, "", ""},
		"WhitespaceSplit":  {`{"type":"WhitespaceSplit"}`, "", ""},
		"ByteLevel inside more": {
			`{"type":"Sequence","pretokenizers":[{"type":"Sequence","pretokenizers":[{"type":"ByteLevel"}]}]}`, "",
			"gpt-2",
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := &source{dir: "dir", tokenizer: new(tokenizerJSON), config: &tokenizerConfig{Class: c.class}}
			if err := json.Unmarshal([]byte(c.json), &s.tokenizer.PreTokenizer); err != nil {
				t.Fatal(err)
			}
			s.known = s.knownTokenizer()
			got, err := s.preTokenizer()
			if got != c.want || (err == nil) != (c.want != "") {
				t.Fatalf("got %q, %v; want %q", got, err, c.want)
			}
			if err != nil && (!strings.Contains(err.Error(), describe(s.tokenizer.PreTokenizer)) ||
				!strings.Contains(err.Error(), "gpt-4o")) {
				t.Errorf("the error names neither the pre-tokenizer nor the known ones: %v", err)
			}
		})
	}
}

func TestPreBySize(t *testing.T) {
	for n, want := range map[int]string{
		50257: "gpt-2", 100256: "dbrx", 100352: "dbrx", 199998: "gpt-4o", 200029: "gpt-4o", 32000: "", 1: "",
	} {
		got, err := (&source{}).preBySize(n)
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%d tokens: %q, %v; want %q", n, got, err, want)
		}
	}
}

func TestStops(t *testing.T) {
	tokens := []string{"a", "<|endoftext|>", "<|assistant|>", "<|end|>", "<|im_end|>", "b"}
	for name, c := range map[string]struct {
		eos      int
		stops    []int
		eot, eom int
	}{
		"eos alone":              {1, []int{1}, None, None},
		"phi-3":                  {1, []int{1, 2, 3}, 3, 2},
		"phi-4":                  {4, []int{1, 4}, None, None},
		"phi-4 as first shipped": {1, []int{1, 4}, 4, None},
		"two others":             {1, []int{1, 0, 5}, 0, 5},
		"more than there are":    {1, []int{2, 0, 5}, 2, 0},
		"no eos":                 {None, []int{3}, 3, None},
	} {
		v := newVocab(0)
		v.Tokens, v.EOS, v.StopIDs = tokens, c.eos, c.stops
		v.nameStops()
		if v.EOT != c.eot || v.EOM != c.eom {
			t.Errorf("%s: eot %d, eom %d, want %d, %d", name, v.EOT, v.EOM, c.eot, c.eom)
		}
	}
}

func TestTemplatePrecedence(t *testing.T) {
	files := map[string]string{
		"chat_template.json":                  `{"chat_template": "of json"}`,
		"chat_template.jinja":                 "of jinja\n",
		"additional_chat_templates/rag.jinja": "rag",
		"additional_chat_templates/notes.txt": "no template",
		"tokenizer_config.json":               `{"chat_template": "of config"}`,
	}
	for _, c := range []struct {
		remove, want string
		named        []Template
	}{
		{"", "of jinja\n", []Template{{"rag", "rag"}}},
		{"chat_template.jinja", "", []Template{{"rag", "rag"}}},
		{"additional_chat_templates/rag.jinja", "of config", nil},
		{"tokenizer_config.json", "of json", nil},
		{"chat_template.json", "", nil},
	} {
		delete(files, c.remove)
		s, err := open(writeDir(t, files))
		if err != nil {
			t.Fatal(err)
		}
		v := new(Vocab)
		if err := s.loadTemplates(v); err != nil {
			t.Fatal(err)
		}
		if v.ChatTemplate != c.want || !reflect.DeepEqual(v.Templates, c.named) {
			t.Errorf("without %s: %q and %v, want %q and %v", c.remove, v.ChatTemplate, v.Templates, c.want, c.named)
		}
	}
}

func TestAddSpacePrefix(t *testing.T) {
	for name, c := range map[string]struct {
		json string
		want string
	}{
		"phi-3": {
			`{"normalizer": {"type":"Sequence","normalizers":[{"type":"Prepend","prepend":"▁"},` +
				`{"type":"Replace","pattern":{"String":" "},"content":"▁"}]}}`,
			"true",
		},
		"replace only": {`{"normalizer": {"type":"Replace","pattern":{"String":" "},"content":"▁"}}`, "false"},
		"metaspace": {
			`{"pre_tokenizer": {"type":"Metaspace","replacement":"▁","prepend_scheme":"first","split":false}}`, "first",
		},
		"metaspace on": {
			`{"pre_tokenizer": {"type":"Metaspace","replacement":"▁","prepend_scheme":"always","split":false}}`,
			"always",
		},
		"words": {
			`{"pre_tokenizer": {"type":"Metaspace","replacement":"▁","prepend_scheme":"first"}}`, "error",
		},
		"metaspace off": {
			`{"pre_tokenizer": {"type":"Metaspace","replacement":"▁","prepend_scheme":"never","split":false}}`, "false",
		},
		"other prefix":   {`{"normalizer": {"type":"Prepend","prepend":"x"}}`, "error"},
		"NFKC":           {`{"normalizer": {"type":"NFKC"}}`, "error"},
		"nothing at all": {`{}`, "error"},
	} {
		s := &source{dir: "dir"}
		if err := json.Unmarshal([]byte(c.json), &s.tokenizer); err != nil {
			t.Fatal(err)
		}
		prefix, where, err := s.prefixFromJSON()
		got := "error"
		if err == nil {
			got = cmp.Or(where, strconv.FormatBool(prefix))
		}
		if got != c.want {
			t.Errorf("%s: %s (%v), want %s", name, got, err, c.want)
		}
	}
}

// Each case replaces a file of a good directory and names what the error says.
// many lists an element n times.
func many(element string, n int) string {
	return strings.TrimSuffix(strings.Repeat(element+",", n), ",")
}

// manyByID lists n added tokens by their ids.
func manyByID(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `"%d":{},`, i)
	}
	return strings.TrimSuffix(b.String(), ",")
}

func TestTooManyTemplateFiles(t *testing.T) {
	dir := copyDir(t, filepath.Join("testdata", "spm"))
	writeFile(t, filepath.Join(dir, "tokenizer_config.json"), `{"added_tokens_decoder": {}}`)
	writeFile(t, filepath.Join(dir, "chat_template.jinja"), "x")
	folder := filepath.Join(dir, "additional_chat_templates")
	if err := os.Mkdir(folder, 0o777); err != nil {
		t.Fatal(err)
	}
	for i := range maxTemplates + 1 {
		writeFile(t, filepath.Join(folder, fmt.Sprintf("t%d.jinja", i)), "x")
	}
	if _, err := Load(dir, 320); err == nil || !strings.Contains(err.Error(), "more than 64 chat templates") {
		t.Errorf("got %v", err)
	}
}

// loadErrors are directories of testdata with one file changed, and what the error says.
var loadErrors = map[string]struct {
	dir, file, content string
	size               int
	want               []string
}{
	"no vocab_size":        {"spm", "", "", 0, []string{"vocab_size is 0"}},
	"huge vocab_size":      {"spm", "", "", 1 << 40, []string{"vocab_size is 1099511627776"}},
	"vocab_size too small": {"spm", "", "", 300, []string{"tokenizer.model", "more pieces than the 300"}},
	"added id too large":   {"spm", "", "", 311, []string{"tokenizer.json", `"<|end|>" has the id 311`}},
	"model is text": {
		"spm", "tokenizer.model", "hello", 320, []string{"tokenizer.model", "not a SentencePiece model"},
	},
	"model is empty": {"spm", "tokenizer.model", "", 320, []string{"tokenizer.model", "no pieces"}},
	"no JSON": {
		"spm", "tokenizer.json", `{"model":`, 320, []string{"tokenizer.json", "offset 9", "not JSON"},
	},
	"not UTF-8": {
		"spm", "tokenizer_config.json", "{\"bos_token\": \"\xff\"}", 320,
		[]string{"tokenizer_config.json", "offset 15", "0xFF"},
	},
	"wrong type": {
		"spm", "tokenizer_config.json", `{"tokenizer_class": 5}`, 320,
		[]string{"tokenizer_config.json", "tokenizer_class", "number"},
	},
	"switch is a string": {
		"spm", "tokenizer_config.json", `{"add_bos_token": "yes"}`, 320, []string{"add_bos_token", "string"},
	},
	"token is a number": {
		"spm", "tokenizer_config.json", `{"bos_token": 1}`, 320,
		[]string{"tokenizer_config.json", "special token is 1"},
	},
	"template is a number": {
		"spm", "tokenizer_config.json", `{"chat_template": 1}`, 320, []string{"chat_template is neither"},
	},
	"id is no number": {
		"spm", "tokenizer_config.json", `{"added_tokens_decoder": {"x": {"content": "y"}}}`, 320,
		[]string{`"x"`, "expected an id"},
	},
	"id is huge": {
		"spm", "tokenizer_config.json", `{"added_tokens_decoder": {"1099511627776": {"content": "y"}}}`, 320,
		[]string{`"y" has the id 1099511627776`},
	},
	"id is negative": {
		"spm", "tokenizer_config.json", `{"added_tokens_decoder": {"-1": {"content": "y"}}}`, 320,
		[]string{`"y" has the id -1`},
	},
	"duplicate text": {
		"spm", "tokenizer_config.json",
		`{"added_tokens_decoder": {"312": {"content": "<|x|>"}, "313": {"content": "<|x|>"}}}`, 320,
		[]string{`"<|x|>" has the id 313, but loaders number it 312`},
	},
	"added_tokens.json list": {
		"spm", "added_tokens.json", `["a"]`, 320, []string{"added_tokens.json", "expected an object"},
	},
	"added id is a string": {
		"spm", "added_tokens.json", `{"a": "5"}`, 320, []string{"added_tokens.json", `"a" has the id 5`},
	},
	"added id 2^40": {
		"spm", "added_tokens.json", `{"a": 1099511627776}`, 320, []string{"added_tokens.json", "1099511627776"},
	},
	"added id 2^80": {
		"spm", "added_tokens.json", `{"a": 1208925819614629174706176}`, 320,
		[]string{"added_tokens.json", "1208925819614629174706176"},
	},
	"added id 1.5": {
		"spm", "added_tokens.json", `{"a": 1.5}`, 320, []string{"added_tokens.json", "1.5"},
	},
	"added ids equal": {
		"spm", "added_tokens.json", `{"a": 315, "b": 315}`, 320, []string{`"a" and "b" both have the id 315`},
	},
	"added texts equal": {
		"spm", "added_tokens.json", `{"a": 315, "a": 316}`, 320, []string{`"a" is listed twice`},
	},
	"stop id too large": {
		"spm", "generation_config.json", `{"eos_token_id": [1, 320]}`, 320,
		[]string{"generation_config.json", "eos_token_id is 320"},
	},
	"stop id is a string": {
		"spm", "generation_config.json", `{"eos_token_id": "1"}`, 320,
		[]string{"generation_config.json", `token id is "1"`},
	},
	"pad id too large": {
		"byte-legacy", "config.json", `{"pad_token_id": 272}`, 272, []string{"config.json", "pad_token_id is 272"},
	},
	"no id": {
		"byte-object", "tokenizer.json",
		`{"model":{"vocab":{"a":0}},"pre_tokenizer":{"type":"ByteLevel"},"added_tokens":[{"content":"x"}]}`, 272,
		[]string{"tokenizer.json", `"x" has no id`},
	},
	"id that loaders ignore": {
		"byte-object", "tokenizer.json",
		`{"model":{"vocab":{"a":0}},"pre_tokenizer":{"type":"ByteLevel"},"added_tokens":[{"content":"x","id":7}]}`,
		272, []string{"tokenizer.json", `"x" has the id 7, but loaders number it 1`},
	},
	"id 2^40": {
		"byte-legacy", "tokenizer.json", `{"model":{"vocab":{"a":1099511627776}}}`, 272,
		[]string{"tokenizer.json", "model.vocab", "1099511627776"},
	},
	"no vocabulary": {
		"byte-legacy", "tokenizer.json", `{"model":{"type":"BPE"}}`, 272,
		[]string{"tokenizer.json", "no model.vocab"},
	},
	"vocabulary is empty": {
		"byte-legacy", "tokenizer.json", `{"model":{"vocab":{}}}`, 272, []string{"tokenizer.json", "no tokens"},
	},
	"vocabulary too large": {
		"byte-legacy", "", "", 259, []string{"tokenizer.json", "has the id 259, but vocab_size is 259"},
	},
	"Unigram": {
		"byte-legacy", "tokenizer.json", `{"model":{"type":"Unigram","vocab":[["a",0]]}}`, 272,
		[]string{"tokenizer.json", `"Unigram"`},
	},
	"merge of one token": {
		"byte-object", "tokenizer.json",
		`{"model":{"vocab":{"a":0},"merges":["a"]},"pre_tokenizer":{"type":"ByteLevel"}}`, 272,
		[]string{`merge 0 is "a"`},
	},
	"merge of three tokens": {
		"byte-object", "tokenizer.json",
		`{"model":{"vocab":{"a":0},"merges":[["a","b","c"]]},"pre_tokenizer":{"type":"ByteLevel"}}`, 272,
		[]string{"merge 0 is not a list of two tokens"},
	},
	"merge of numbers": {
		"byte-object", "tokenizer.json",
		`{"model":{"vocab":{"a":0},"merges":[1]},"pre_tokenizer":{"type":"ByteLevel"}}`, 272,
		[]string{"merge 0 is 1, expected"},
	},
	"merge of one in a list": {
		"byte-object", "tokenizer.json",
		`{"model":{"vocab":{"a":0},"merges":[["a"]]},"pre_tokenizer":{"type":"ByteLevel"}}`, 272,
		[]string{"merge 0 is not a list of two tokens"},
	},
	"merges in an object": {
		"byte-object", "tokenizer.json",
		`{"model":{"vocab":{"a":0},"merges":{}},"pre_tokenizer":{"type":"ByteLevel"}}`, 272,
		[]string{"model.merges is not a list"},
	},
	"content is a number": {
		"spm", "tokenizer.json", `{"model":{},"added_tokens":[{"id":1,"content":5}]}`, 320,
		[]string{`tokenizer.json: "added_tokens.content" is a JSON number`},
	},
	"type is a number": {
		"spm", "tokenizer.json", `{"model":{},"normalizer":{"type":5}}`, 320,
		[]string{`tokenizer.json: "normalizer.type" is a JSON number`},
	},
	"too many merges": {
		"byte-object", "tokenizer.json",
		`{"model":{"vocab":{"a":0},"merges":[` + many(`"a b"`, maxTokens+1) +
			`]},"pre_tokenizer":{"type":"ByteLevel"}}`,
		272, []string{"more than 1048576 merges"},
	},
	"too many processors": {
		"spm", "tokenizer.json",
		`{"model":{},"post_processor":{"type":"Sequence","processors":[` + many("{}", 100000) + `]}}`, 320,
		[]string{"tokenizer.json", "has 300034 bytes, at most 262144"},
	},
	"too many added tokens": {
		"spm", "tokenizer.json", `{"model":{},"added_tokens":[` + many("{}", maxAdded+2) + `]}`, 320,
		[]string{"tokenizer.json", "65538 added tokens, at most 65536"},
	},
	"too many by id": {
		"spm", "tokenizer_config.json", `{"added_tokens_decoder":{` + manyByID(maxAdded+1) + `}}`, 320,
		[]string{"tokenizer_config.json", "more than 65536 added tokens"},
	},
	"too many special tokens": {
		"spm", "tokenizer_config.json", `{"additional_special_tokens":[` + many(`""`, maxAdded+1) + `]}`, 320,
		[]string{"tokenizer_config.json", "65537 special tokens, at most 65536"},
	},
	"too many stop ids": {
		"spm", "generation_config.json", `{"eos_token_id":[` + many("1", 257) + `]}`, 320,
		[]string{"generation_config.json", "257 ids", "eos_token_id", "at most 256"},
	},
	"too many templates": {
		"spm", "tokenizer_config.json", `{"chat_template":[` + many("{}", 65) + `]}`, 320,
		[]string{"tokenizer_config.json", "65 chat templates, at most 64"},
	},
	"file too large": {
		"spm", "tokenizer_config.json", strings.Repeat(" ", maxFile+1), 320,
		[]string{"tokenizer_config.json", "larger than 64 MiB"},
	},
	"merge of unknown tokens": {
		"byte-object", "tokenizer.json",
		`{"model":{"vocab":{"a":0,"b":1},"merges":["a b"]},"pre_tokenizer":{"type":"ByteLevel"}}`, 272,
		[]string{`"ab" is not in the vocabulary`},
	},
	"no merges": {
		"byte-object", "tokenizer.json", `{"model":{"vocab":{"a":0}},"pre_tokenizer":{"type":"ByteLevel"}}`, 272,
		[]string{"merges.txt", "not found"},
	},
}

func TestLoadErrors(t *testing.T) {
	for name, c := range loadErrors {
		t.Run(name, func(t *testing.T) {
			dir := copyDir(t, filepath.Join("testdata", c.dir))
			if c.file != "" {
				writeFile(t, filepath.Join(dir, c.file), c.content)
			}
			v, err := Load(dir, c.size)
			if err == nil {
				t.Fatalf("loaded %d tokens, want an error with %q", len(v.Tokens), c.want)
			}
			var e *formats.Error
			if !errors.As(err, &e) || e.Path == "" {
				t.Errorf("%T without a path: %v", err, err)
			}
			for _, want := range c.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error %q, want %q in it", err, want)
				}
			}
		})
	}
}

func TestLoadErrorsWithoutTokenizer(t *testing.T) {
	for name, c := range map[string]struct {
		files map[string]string
		want  string
	}{
		"empty directory": {nil, "no tokenizer"},
		"no merges":       {map[string]string{"vocab.json": alphabet(50257)}, "merges.txt: not found"},
		"unknown size":    {map[string]string{"vocab.json": alphabet(300)}, "300 tokens: cannot tell"},
		"merges.txt of three words": {map[string]string{
			"vocab.json": alphabet(50257), "merges.txt": "#version\nt h e\n",
		},
			"merges.txt: line 2 has 3 words"},
		"out of order": {
			map[string]string{"tokenizer.json": spmJSON(`{"<unk>":0,"a":1,"b":2,"ab":3,"ba":4}`, `["b a","a b"]`)},
			`"ab" out of the order of ids`,
		},
		"merges left out": {map[string]string{
			"tokenizer.json": spmJSON(`{"<unk>":0,"abc":1,"ab":2,"bc":3,"a":4,"b":5,"c":6}`, `["ab c","a b","b c"]`),
		},
			`"abc" is made by 1 merges of the 2`},
		"long token": {
			map[string]string{"tokenizer.json": spmJSON(`{"<unk>":0,"`+strings.Repeat("a", 300)+`":1}`, `[]`)},
			"has 300 bytes",
		},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Load(writeDir(t, c.files), 50300)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want %q in it", err, c.want)
			}
		})
	}
}

// spmJSON is a tokenizer.json in the layout of Phi-3's.
func spmJSON(vocab, merges string) string {
	return `{"normalizer":{"type":"Sequence","normalizers":[{"type":"Prepend","prepend":"▁"},` +
		`{"type":"Replace","pattern":{"String":" "},"content":"▁"}]},
		"decoder":{"type":"Sequence","decoders":[{"type":"Replace","pattern":{"String":"▁"},"content":" "},
		{"type":"ByteFallback"},{"type":"Fuse"},{"type":"Strip","content":" ","start":1,"stop":0}]},
		"model":{"type":"BPE","unk_token":"<unk>","byte_fallback":true,"fuse_unk":true,
		"vocab":` + vocab + `,"merges":` + merges + `}}`
}

func TestParseModel(t *testing.T) {
	data, err := os.ReadFile("testdata/spm/tokenizer.model")
	if err != nil {
		t.Fatal(err)
	}
	m, err := parseModel(data, 310)
	if err != nil || len(m.pieces) != 310 || !m.addDummyPrefix {
		t.Fatalf("%d pieces, prefix %t, %v", len(m.pieces), m.addDummyPrefix, err)
	}
	for n := range data {
		// Cut between two fields a message is whole, so a model may lose what
		// comes last: its normalizer. It must not lose pieces or its type.
		m, err := parseModel(data[:n], 310)
		if err == nil && len(m.pieces) != 310 {
			t.Fatalf("no error with %d of %d bytes: %d pieces", n, len(data), len(m.pieces))
		}
	}
	piece := func(b string) string { return "\x0a" + string(rune(len(b))) + b }
	const bpe = "\x12\x02\x18\x02" // trainer_spec{model_type: BPE}
	for name, c := range map[string]struct{ data, want string }{
		"unigram":       {piece("\x0a\x01a"), "of type 1, expected 2 (BPE)"},
		"no text":       {piece("\x18\x01") + bpe, "piece without text"},
		"not UTF-8":     {piece("\x0a\x01\xff") + bpe, "not UTF-8"},
		"twice":         {piece("\x0a\x01a") + piece("\x0a\x01a") + bpe, `pieces 0 and 1 are both "a"`},
		"type 7":        {piece("\x0a\x01a\x18\x07") + bpe, "has type 7"},
		"score NaN":     {piece("\x0a\x01a\x15\x00\x00\xc0\x7f") + bpe, "score NaN"},
		"text a number": {piece("\x08\x01") + bpe, "wire type 0, expected bytes"},
		"piece number":  {"\x08\x01" + bpe, "wire type 0, expected a message"},
		"score varint":  {piece("\x0a\x01a\x10\x01") + bpe, "expected a float"},
		"type as text":  {piece("\x0a\x01a\x1a\x01x") + bpe, "expected a varint"},
	} {
		_, err := parseModel([]byte(c.data), 10)
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "offset") &&
			name != "unigram" {
			t.Errorf("%s: error %v, want an offset and %q", name, err, c.want)
		}
	}
	m, err = parseModel([]byte(piece("\x0a\x01a\x18\x04")+bpe+"\x1a\x02\x18\x00"), 10)
	if err != nil || m.pieces[0].typ != Normal || m.addDummyPrefix {
		t.Errorf("user-defined piece, no dummy prefix: %+v, %v", m, err)
	}
}

func TestFromMetadata(t *testing.T) {
	good := func() map[string]any {
		return map[string]any{
			keyModel: "gpt2", keyTokens: []string{"a", "b", "ab"}, keyMerges: []string{"a b"},
			"tokenizer.ggml.eos_token_id": int32(2), "tokenizer.ggml.eot_token_id": uint64(1),
		}
	}
	load := func(m map[string]any) (*Vocab, error) {
		return FromMetadata(func(key string) (any, bool) { v, ok := m[key]; return v, ok })
	}
	v, err := load(good())
	if err != nil {
		t.Fatal(err)
	}
	if v.EOS != 2 || v.EOT != 1 || v.BOS != None || !slices.Equal(v.StopIDs, []int{2, 1}) ||
		!slices.Equal(v.Types, []TokenType{Normal, Normal, Normal}) {
		t.Errorf("got %+v", v)
	}
	for name, c := range map[string]struct {
		key   string
		value any
		want  string
	}{
		"no model":           {keyModel, nil, "tokenizer.ggml.model is \"\""},
		"other model":        {keyModel, "bert", `is "bert"`},
		"model a number":     {keyModel, uint32(1), "type uint32, expected string"},
		"no tokens":          {keyTokens, nil, "no tokens"},
		"tokens of bytes":    {keyTokens, []uint8{1}, "type []uint8, expected []string"},
		"tokens equal":       {keyTokens, []string{"a", "b", "a"}, `tokens 0 and 2 are both "a"`},
		"too few types":      {keyTypes, []int32{1}, "1 token types for 3 tokens"},
		"type 0":             {keyTypes, []int32{1, 0, 1}, "token 1 has type 0"},
		"types of floats":    {keyTypes, []float32{1}, "type []float32"},
		"llama, no scores":   {keyModel, "llama", "0 scores for 3 tokens"},
		"id too large":       {"tokenizer.ggml.bos_token_id", uint32(3), "bos_token_id is 3, but there are 3 tokens"},
		"id of 64 bits":      {"tokenizer.ggml.bos_token_id", uint64(1 << 40), "bos_token_id is"},
		"id a string":        {"tokenizer.ggml.bos_token_id", "1", "type string"},
		"stop id too large":  {"tokenizer.ggml.eos_token_ids", []int32{1, 5}, "lists 5"},
		"strip id too large": {"phi3conv.rstrip_token_ids", []uint32{5}, "lists 5"},
		"plain id too large": {"phi3conv.plain_token_ids", []int32{3}, "lists 3"},
		"other space prefix": {keySpacePrefix, "last", `is "last", expected "always" or "first"`},
		"merge of one":       {keyMerges, []string{"ab"}, `merge 0 is "ab"`},
		"switch a number":    {"tokenizer.ggml.add_bos_token", uint32(1), "expected bool"},
	} {
		m := good()
		m[c.key] = c.value
		if c.value == nil {
			delete(m, c.key)
		}
		if _, err := load(m); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want %q in it", name, err, c.want)
		}
	}
}

func TestDecodeBytes(t *testing.T) {
	for in, want := range map[string]string{
		"": "", "abc": "abc", "Ġfoo": " foo", "Ċ": "\n", "æĹ¥": "日", "日本": "日本", "é": "é", "a b": "a b",
	} {
		if got := decodeBytes(in); got != want {
			t.Errorf("%q becomes %q, want %q", in, got, want)
		}
	}
	if len(runeBytes) != 256 || ByteRunes[' '] != "Ġ" || ByteRunes[0] != "Ā" || ByteRunes[0xAD] != "Ń" {
		t.Errorf("alphabet of %d letters: space %q, zero %q, soft hyphen %q",
			len(runeBytes), ByteRunes[' '], ByteRunes[0], ByteRunes[0xAD])
	}
}

func FuzzSentencePieceModel(f *testing.F) {
	data, err := os.ReadFile("testdata/spm/tokenizer.model")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add([]byte("\x0a\x05\x0a\x01a\x18\x01\x12\x02\x18\x02"))
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := parseModel(data, 512)
		if err == nil && (len(m.pieces) == 0 || len(m.pieces) > 512) {
			t.Errorf("%d pieces", len(m.pieces))
		}
	})
}

func FuzzTokenizerJSON(f *testing.F) {
	// Small seeds: the fuzzer spends its time on shrinking large ones.
	const byteLevel = `"pre_tokenizer":{"type":"ByteLevel"},"decoder":{"type":"ByteLevel"},` +
		`"model":{"type":"BPE","vocab":{"a":0,"b":1,"Ġ":2,"ab":3},"merges":`
	f.Add(`{"added_tokens":[{"id":4,"content":"<|x|>","special":true},`+
		`{"id":5,"content":"Ġy","rstrip":true,"normalized":false}],`+byteLevel+`["a b"]}}`,
		`{"tokenizer_class":"GPT2Tokenizer","eos_token":"<|x|>","pad_token":{"content":"<pad>"},`+
			`"added_tokens_decoder":{"5":{"content":"Ġy","lstrip":true}}}`)
	f.Add(`{"added_tokens":[{"id":4,"content":"<s>"},{"id":5,"content":"</s>"}],`+
		`"post_processor":{"type":"TemplateProcessing",`+
		`"single":[{"SpecialToken":{"id":"<s>"}},{"Sequence":{"id":"A"}},{"SpecialToken":{"id":"</s>"}}],`+
		`"special_tokens":{"<s>":{"ids":[4]},"</s>":{"ids":[5]}},`+
		`"pair":[{"Sequence":{"id":"A"}},{"SpecialToken":{"id":"</s>"}},{"Sequence":{"id":"B"}}]},`+
		byteLevel+`[["a","b"]]}}`,
		`{"bos_token":"<s>","eos_token":"b","add_eos_token":false,`+
			`"chat_template":[{"name":"default","template":"t"},{"name":"r g","template":"u"}]}`)
	f.Add(
		spmJSON(`{"<unk>":0,"<0x00>":1,"▁▁":2,"ab":3,"a":4,"b":5,"▁":6}`, `["a b","▁ ▁"]`),
		`{"tokenizer_class":"LlamaTokenizer","added_tokens_decoder":{"7":{"content":"x"}}}`,
	)
	f.Fuzz(func(t *testing.T, tokenizer, config string) {
		s := &source{dir: "no such directory"}
		if json.Unmarshal([]byte(tokenizer), &s.tokenizer) != nil || json.Unmarshal([]byte(config), &s.config) != nil {
			return
		}
		v, err := s.load(16)
		if err != nil {
			return
		}
		m := make(map[string]any)
		for k, x := range v.All() {
			m[k] = x
		}
		back, err := FromMetadata(func(key string) (any, bool) { x, ok := m[key]; return x, ok })
		if err != nil {
			t.Fatalf("cannot be read back: %v", err)
		}
		if len(v.StopIDs) == 0 { // a file that lists no end gets those that its tokens' texts say, which become Control
			back.StopIDs, back.Types = v.StopIDs, v.Types
		}
		if !slices.Equal(back.Tokens, v.Tokens) || !slices.Equal(back.Types, v.Types) ||
			!slices.Equal(back.Merges, v.Merges) || !slices.Equal(back.StopIDs, v.StopIDs) {
			t.Errorf("read back:\n%+v\nwant\n%+v", back, v)
		}
	})
}

func readTestJSON(t *testing.T, path string, v any) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, v); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
}

func writeFile(t *testing.T, path, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

func writeDir(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		writeFile(t, filepath.Join(dir, name), content)
	}
	return dir
}

// copyDir copies a directory's tokenizer, not its tensors.
func copyDir(t *testing.T, dir string) string {
	t.Helper()
	files := make(map[string]string)
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if e.IsDir() || filepath.Ext(e.Name()) == ".safetensors" {
			continue
		}
		data, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		files[e.Name()] = string(data)
	}
	return writeDir(t, files)
}
