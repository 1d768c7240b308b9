package vocab

import (
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// tiktokenLines are the lines of a file with the 256 bytes and then tokens, by rank.
func tiktokenLines(tokens ...string) []string {
	lines := make([]string, 0, 256+len(tokens))
	for b := range 256 {
		tokens = slices.Insert(tokens, b, string([]byte{byte(b)}))
	}
	for rank, text := range tokens {
		lines = append(lines, fmt.Sprintf("%s %d\n", base64.StdEncoding.EncodeToString([]byte(text)), rank))
	}
	return lines
}

// smallDir is a directory of a Phi-3-small model with these lines and files.
func smallDir(t *testing.T, lines []string, files map[string]string) string {
	dir := writeDir(t, files)
	writeFile(t, filepath.Join(dir, "cl100k_base.tiktoken"), strings.Join(lines, ""))
	if _, ok := files["config.json"]; !ok {
		writeFile(t, filepath.Join(dir, "config.json"), `{"architectures": ["Phi3SmallForCausalLM"]}`)
	}
	return dir
}

func TestTiktoken(t *testing.T) {
	lines := tiktokenLines("bc", "ab", " a", "abc", "\xe6\x97", "\xe6\x97\xa5", "aa", "aaa")
	n := len(lines)
	files := map[string]string{"tokenizer_config.json": `{"bos_token":"<|endoftext|>"}`}
	want, err := Load(smallDir(t, lines, files), n+96)
	if err != nil {
		t.Fatal(err)
	}
	// "bc" comes before "ab", so "abc" is "a" and "bc"; of "aaa" the left pair is merged.
	merges := []string{"b c", "a b", "Ġ a", "a bc", "æ Ĺ", "æĹ ¥", "a a", "aa a"}
	if !slices.Equal(want.Merges, merges) {
		t.Errorf("merges %q, expected %q", want.Merges, merges)
	}
	if want.Model != ByteLevel || want.Pre != "dbrx" || want.Tokens[n-3] != "æĹ¥" || want.Types[n-3] != Normal ||
		want.Tokens[n] != "<|dummy_id_2|>" || want.Types[n] != Control || want.Tokens[n+95] != "<|dummy_id_86|>" {
		t.Errorf("%s, %s, %q %d", want.Model, want.Pre, want.Tokens[n-3:], want.Types[n-3:])
	}
	// What is beside it does not matter, nor the order of the lines, nor how they end.
	rand.New(rand.NewPCG(1, 2)).Shuffle(n, func(i, j int) { lines[i], lines[j] = lines[j], lines[i] })
	for i := range lines {
		lines[i] = strings.TrimSpace(lines[i]) + "\r\n" + strings.Repeat("\n", i%2)
	}
	files["tokenizer.json"] = `{"added_tokens":[{"id":0,"content":"<|endoftext|>"}],"model":{"vocab":{"x":0}}}`
	got, err := Load(smallDir(t, lines, files), n+96)
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("in another order: %v", err)
	}
}

func TestTiktokenErrors(t *testing.T) {
	long := strings.Repeat("YWJj", 86) // "abc"
	for name, c := range map[string]struct {
		line, want string // a line after 256 bytes, "ab" and "cd"
	}{
		"one word":        {"YWI=", `line 259 is "YWI=", expected a token in base64, a space and its rank`},
		"not base64":      {"!! 258", `line 259 is "!! 258", expected`},
		"no padding":      {"YQ 258", `line 259 is "YQ 258", expected`},
		"bits after":      {"YWJ= 258", `line 259 is`},
		"no token":        {" 258", `line 259 is " 258", expected`},
		"tab":             {"YWI=\t258", `line 259 is`},
		"no rank":         {"YWJj ", `line 259 has the rank "", expected 0 to 258, as there are 259 tokens`},
		"rank not number": {"YWJj 0x1", `line 259 has the rank "0x1"`},
		"signed rank":     {"YWJj +1", `line 259 has the rank "+1"`},
		"three words":     {"YWJj 258 1", `line 259 has the rank "258 1"`},
		"rank beyond":     {"YWJj 259", `line 259 has the rank "259", expected 0 to 258`},
		"huge rank":       {"YWJj 99999999999999999999", `line 259 has the rank "99999999999999999999"`},
		"rank twice":      {"YWJj 256", `line 259 has the rank 256 of line 257`},
		"token twice":     {"Y2Q= 258", `line 259 has the token "cd" of line 258`},
		"long token":      {long + " 258", "line 259 has a token of 258 bytes, expected at most 256"},
		"of two":          {"YWJjZA== 258", ""}, // "abcd" is "ab" and "cd"
		"of three":        {"ZWZn 258", `line 259: no two tokens of ranks below 258 are joined to "efg"`},
		"too many": {
			strings.Repeat("\n", 3) + "YWJj 258\nYWJkZQ== 259\nZWY= 260", "261 tokens, expected 259: vocab_size less",
		},
	} {
		lines := append(tiktokenLines("ab", "cd"), c.line)
		_, err := Load(smallDir(t, lines, nil), 259+96)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want) ||
			!strings.Contains(err.Error(), "cl100k_base.tiktoken")) {
			t.Errorf("%s: %v, expected %q", name, err, c.want)
		}
	}
	dir := func(file, text string) string {
		return smallDir(t, tiktokenLines(), map[string]string{file: text})
	}
	for want, dir := range map[string]string{
		"0 tokens, expected 256":     smallDir(t, nil, nil),
		"no token for the byte 0x07": smallDir(t, slices.Replace(tiktokenLines(), 7, 8, "YWI= 7\n"), nil),
		"no tokenizer: expected cl100k_base.tiktoken": writeDir(t, map[string]string{
			"config.json": `{"architectures":["Phi3SmallForCausalLM"]}`,
		}),
		`tokenizer_config.json: token "<pad>" is none of the 96`: dir("tokenizer_config.json", `{"pad_token":"<pad>"}`),
		`tokenizer_config.json: token "a" is none of the 96`: dir(
			"tokenizer_config.json", `{"added_tokens_decoder":{"97":{"content":"a"}}}`,
		),
		`tokenizer_config.json: token "<|user|>" has the id 7, expected 262`: dir(
			"tokenizer_config.json", `{"added_tokens_decoder":{"7":{"content":"<|user|>"}}}`,
		),
		`added_tokens.json: token "<|end|>" has the id 0, expected 266`: dir("added_tokens.json", `{"<|end|>":0}`),
	} {
		if _, err := Load(dir, 352); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, expected %q", err, want)
		}
	}
	if _, err := Load(smallDir(t, tiktokenLines("abc", "ab", "bc"), nil), 355); err == nil ||
		!strings.Contains(err.Error(), `line 257: no two tokens of ranks below 256 are joined to "abc"`) {
		t.Error(err)
	}
}

// Tokens that are never generated are those of the description.
func TestSuppress(t *testing.T) {
	v, err := Load(smallDir(t, tiktokenLines(), nil), 352)
	if err != nil {
		t.Fatal(err)
	}
	for id, text := range v.Tokens {
		used := id < 256 || slices.Contains([]string{
			"<|endoftext|>", "<|system|>", "<|user|>", "<|assistant|>", "<|end|>",
		}, text)
		if slices.Contains(v.Suppress, id) == used {
			t.Errorf("%s: suppressed %t", text, !used)
		}
	}
}

// Phi-3-small's own code passes over the flags of its tokens.
func TestTiktokenFlags(t *testing.T) {
	v, err := Load(smallDir(t, tiktokenLines(), map[string]string{
		"tokenizer_config.json": `{"added_tokens_decoder":{"262":{"content":"<|user|>","rstrip":true}}}`,
	}), 352)
	if err != nil || v.RStrip != nil || v.Plain != nil || v.Normalized != nil || v.Types[262] != Control {
		t.Errorf("%v, %+v", err, v)
	}
}

// What the files leave out is what the model's own code says; what they say stands.
func TestOwnDefaults(t *testing.T) {
	small := tiktokenLines()
	phi2 := map[string]string{
		"config.json": `{"architectures":["PhiForCausalLM"],"bos_token_id":null}`, "merges.txt": "",
		"vocab.json": strings.TrimSuffix(alphabet(256), "}") + `,"<|endoftext|>":256}`,
	}
	with := func(file, text string) map[string]string {
		files := map[string]string{file: text}
		for name, text := range phi2 {
			if name != file {
				files[name] = text
			}
		}
		return files
	}
	for name, c := range map[string]struct {
		dir           string
		bos, eos, unk int
		addBOS        bool
		pre           string
		stops         []int
	}{
		"phi2": {writeDir(t, phi2), 256, 256, 256, false, "phi-2", []int{256}},
		"phi2 with BOS": {
			writeDir(t, with("tokenizer_config.json", `{"add_bos_token":true}`)),
			256, 256, 256, true, "phi-2", []int{256},
		},
		"phi2 that ends at a": {
			writeDir(t, with("generation_config.json", `{"eos_token_id":[65]}`)),
			256, 256, 256, false, "phi-2", []int{65, 256},
		},
		"phi3small": {smallDir(t, small, nil), 257, 257, None, false, "dbrx", []int{266, 257}},
		"phi3small with ids": {smallDir(t, small, map[string]string{
			"config.json": `{"architectures":["Phi3SmallForCausalLM"],"bos_token_id":257,"eos_token_id":257}`,
		}), 257, 257, None, false, "dbrx", []int{257, 266}},
		"phi3small with a list": {smallDir(t, small, map[string]string{
			"generation_config.json": `{"eos_token_id":[257]}`,
		}), 257, 257, None, false, "dbrx", []int{257}},
		"phi3small by its class": {smallDir(t, small, map[string]string{
			"config.json": "{}", "tokenizer_config.json": `{"tokenizer_class":"Phi3SmallTokenizer"}`,
		}), 257, 257, None, false, "dbrx", []int{266, 257}},
	} {
		v, err := Load(c.dir, 352)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if v.BOS != c.bos || v.EOS != c.eos || v.Unk != c.unk || v.AddBOS == nil || *v.AddBOS != c.addBOS ||
			v.Pre != c.pre || !slices.Equal(v.StopIDs, c.stops) {
			t.Errorf("%s: %d %d %d %v %s %d, expected %+v", name, v.BOS, v.EOS, v.Unk, v.AddBOS, v.Pre, v.StopIDs, c)
		}
	}
}

// Whatever is accepted is a vocabulary in which every token but the bytes has the merge that makes it.
func FuzzTiktoken(f *testing.F) {
	const more = "YWI= 256\nYWJj 257\r\n\n//4= 258"
	f.Add([]byte(more), true, 259)
	f.Add([]byte(more+"\nYWI= 259\n"), true, 260)
	f.Add([]byte("YQ== 0\r\n\nYg== 1"), false, 2)
	f.Add([]byte{}, false, 0)
	bytes := strings.Join(tiktokenLines(), "")
	f.Fuzz(func(t *testing.T, data []byte, complete bool, n int) {
		if complete { // mutating 256 lines finds little
			data = append([]byte(bytes), data...)
		}
		v, err := parseTiktoken(data, n)
		if err != nil {
			return
		}
		if len(v.tokens) != n || len(v.merges) != n-256 {
			t.Fatalf("%d tokens and %d merges, expected %d tokens", len(v.tokens), len(v.merges), n)
		}
		made := make(map[string]bool)
		for _, m := range v.merges {
			made[strings.Replace(m, " ", "", 1)] = true
		}
		for id, text := range v.tokens {
			b, ok := AppendBytes(nil, text)
			if !ok || len(b) > 1 != made[text] {
				t.Fatalf("token %d is %q, which a merge makes: %t", id, text, made[text])
			}
		}
	})
}
