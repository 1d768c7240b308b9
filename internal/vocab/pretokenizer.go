package vocab

import (
	"fmt"
	"strings"
)

// The patterns with which the family's tokenizers split a text into words.
const (
	gpt2Pattern   = `'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`
	cl100kPattern = `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|` +
		` ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`
	o200kPattern = `[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+` +
		`(?i:'s|'t|'re|'ve|'m|'ll|'d)?|` +
		`[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|` +
		`\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+`
)

// preTokenizers names the known ways to split a text as llama.cpp does. The words
// of the first column are those of describe.
var preTokenizers = []struct{ steps, pre string }{
	{"ByteLevel(words)", "gpt-2"},
	{"Split(" + gpt2Pattern + ") + ByteLevel", "gpt-2"},
	{"Digits(each) + ByteLevel(words)", "smollm"},
	{"Split(" + cl100kPattern + ") + ByteLevel", "dbrx"},  // Phi-4
	{"Split(" + o200kPattern + ") + ByteLevel", "gpt-4o"}, // Phi-4-mini
}

// preTokenizer names the pre-tokenizer of tokenizer.json.
func (s *source) preTokenizer() (string, error) {
	if s.rebuilds() {
		return s.known.Pre, nil
	}
	steps := describe(s.tokenizer.PreTokenizer)
	for _, p := range preTokenizers {
		if p.steps == steps {
			if p.pre == "gpt-2" && s.known.Pre == "phi-2" { // another name for the same
				return s.known.Pre, nil
			}
			return p.pre, nil
		}
	}
	var known strings.Builder
	for _, p := range preTokenizers {
		fmt.Fprintf(&known, "\n  %s: %s", p.pre, p.steps)
	}
	return "", s.errorf("tokenizer.json", "pre-tokenizer %s is not one of:%s", steps, known.String())
}

// describe writes a pre-tokenizer in a form that does not depend on the ways to
// say the same in JSON.
func describe(p *pipeline) string {
	var steps []string
	for _, c := range flatten(p) {
		step := c.Type
		switch c.Type {
		case "Split":
			pattern := ""
			if c.Pattern.Regex != nil {
				pattern = *c.Pattern.Regex
			} else if c.Pattern.String != nil {
				pattern = fmt.Sprintf("string %q", *c.Pattern.String)
			}
			// To isolate what matches and to drop what does not is the same with
			// patterns that match everything.
			how := ""
			if (c.Behavior != "Isolated" || c.Invert) && (c.Behavior != "Removed" || !c.Invert) {
				how = fmt.Sprintf(", behavior %s, invert %t", c.Behavior, c.Invert)
			}
			step = "Split(" + pattern + how + ")"
		case "Digits":
			if c.IndividualDigits {
				step = "Digits(each)"
			}
		case "ByteLevel":
			if c.UseRegex == nil || *c.UseRegex {
				step = "ByteLevel(words)"
			}
			if c.AddPrefixSpace {
				step += " with a space in front"
			}
		}
		steps = append(steps, step)
	}
	if len(steps) == 0 {
		return "(none)"
	}
	return strings.Join(steps, " + ")
}

// preBySize names the pre-tokenizer of a vocab.json of n tokens, which does not say how the text is split: it
// recognizes the vocabularies in use by their size, without or with special tokens.
func (s *source) preBySize(n int) (string, error) {
	if s.known.Pre != "" {
		return s.known.Pre, nil
	}
	for _, k := range []struct {
		least, most int
		pre         string
	}{
		{50256, 50257, "gpt-2"},
		{100256, 100352, "dbrx"},
		{199998, 200064, "gpt-4o"},
	} {
		if n >= k.least && n <= k.most {
			return k.pre, nil
		}
	}
	return "", s.errorf(
		"vocab.json",
		"%d tokens: cannot tell how the text is split (known are 50257, 100256 to 100352 and 199998 to 200064 "+
			"tokens); tokenizer.json is needed",
		n,
	)
}
