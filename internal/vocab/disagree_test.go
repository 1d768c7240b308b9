package vocab

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestDisagreements(t *testing.T) {
	sizes := map[string]int{"tiny-phi2": 368, "tiny-phi3": 576, "tiny-phi3small": 736, "tiny-phimoe": 576}
	for name, size := range sizes {
		list, err := Disagreements(filepath.Join("..", "..", "testdata", name), size)
		if err != nil || len(list) > 0 {
			t.Errorf("%s: %v, %v", name, list, err)
		}
	}
	replace := func(old, now string) func(string) string {
		return func(text string) string { return strings.Replace(text, old, now, 1) }
	}
	for name, c := range map[string]struct {
		dir, file string
		size      int
		change    func(string) string
		want      []string // of each disagreement, the file and a part of the text
	}{
		"bos": {
			"tiny-phi3", "tokenizer_config.json", 576, replace(`"add_bos_token": false`, `"add_bos_token": true`),
			[]string{"tokenizer_config.json", "add_bos_token is true, but it is false by the post-processor"},
		},
		"prefix": {
			"tiny-phi3", "tokenizer.model", 576, func(text string) string {
				at := strings.LastIndex(text, "\x18\x01\x20\x00") // add_dummy_prefix, remove_extra_whitespaces
				return text[:at+1] + "\x00" + text[at+2:]
			},
			[]string{"tokenizer.model", "add_dummy_prefix is false, but true by tokenizer.json"},
		},
		"another model": {
			"tiny-phi3", "tokenizer.model", 576, func(string) string {
				data, _ := os.ReadFile("testdata/spm/tokenizer.model")
				return string(data)
			},
			[]string{"tokenizer.model", "another vocabulary"},
		},
		"added tokens": {
			"tiny-phi3", "added_tokens.json", 576, func(string) string { return `{"<|user|>": 514, "<|end|>": 519}` },
			[]string{"added_tokens.json", `1 of 2 tokens are others by the files that count: "<|user|>"`},
		},
		"roles": {
			"tiny-phi3", "special_tokens_map.json", 576, func(string) string { return `{"eos_token": "<|end|>"}` },
			[]string{"special_tokens_map.json", `eos_token is "<|end|>", but "<|endoftext|>"`},
		},
		"flags": {
			"tiny-phi3", "tokenizer_config.json", 576, replace(`"rstrip": true`, `"rstrip": false`),
			[]string{"tokenizer.json", `of token "</s>" rstrip is true`},
		},
		"template": {
			"tiny-phi3", "chat_template.jinja", 576, func(string) string { return "x" },
			[]string{"tokenizer_config.json", "chat_template is not that of"},
		},
		"vocab.json": {
			"tiny-phi2", "vocab.json", 368, replace(`"he":`, `"newword":`),
			[]string{"vocab.json", `"newword" has the id`},
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := copyDir(t, filepath.Join("..", "..", "testdata", c.dir))
			path := filepath.Join(dir, c.file)
			old, _ := os.ReadFile(path) // there may be none
			writeFile(t, path, c.change(string(old)))
			list, err := Disagreements(dir, c.size)
			if err != nil || len(list) != 1 {
				t.Fatalf("%d disagreements %v, %v, expected one", len(list), list, err)
			}
			if d := list[0]; d.File != c.want[0] || !strings.Contains(d.What, c.want[1]) {
				t.Errorf("%q, expected %q", d, c.want)
			}
		})
	}
	if _, err := Disagreements(t.TempDir(), 576); err == nil {
		t.Error("no error without a tokenizer")
	}
}
