package tokenizer

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/ardanlabs/jinja"

	"github.com/phi3conv/phi3conv/internal/vocab"
)

// Message is one turn of a conversation.
type Message struct {
	Role    string `json:"role"` // system, user or assistant
	Content string `json:"content"`
}

// HasTemplate says whether the checkpoint has a chat template.
func (t *Tokenizer) HasTemplate() bool { return t.v.ChatTemplate != "" }

// Chat renders a conversation with a Jinja template, the checkpoint's own if
// template is empty. generationPrompt asks for the beginning of the next answer.
// The result is to be encoded with ParseSpecial and, as a template writes what goes
// around a text itself, without AddSpecial.
//
// Templates see what transformers gives them: messages, add_generation_prompt,
// bos_token and the other special tokens, raise_exception, strftime_now. They
// cannot reach files nor, as in transformers, change lists. Macros that call macros
// are not supported. The time and memory that a template takes are not bounded.
func (t *Tokenizer) Chat(messages []Message, generationPrompt bool, template string) (text string, err error) {
	if template == "" {
		template = t.v.ChatTemplate
	}
	if template == "" {
		return "", errors.New("the model has no chat template")
	}
	defer func() {
		if p := recover(); p != nil {
			text, err = "", fmt.Errorf("chat template: %v", p)
		}
	}()
	template = strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(template)
	template = strings.TrimSuffix(template, "\n") // Jinja's default
	if err := checkTemplate(template); err != nil {
		return "", fmt.Errorf("chat template: %w", err)
	}
	compiled, err := jinja.Compile(template)
	if err != nil {
		return "", fmt.Errorf("chat template: %w", err)
	}
	list := make([]jinja.Value, len(messages))
	for i, m := range messages {
		d := jinja.NewDict()
		d.AsDict().Set("role", jinja.NewString(m.Role))
		d.AsDict().Set("content", jinja.NewString(m.Content))
		list[i] = d
	}
	values := map[string]jinja.Value{
		"messages":              jinja.NewList(list),
		"add_generation_prompt": jinja.NewBool(generationPrompt),
		"tools":                 jinja.None(),
		"documents":             jinja.None(),
	}
	for name, id := range map[string]int{
		"bos_token": t.v.BOS, "eos_token": t.v.EOS, "unk_token": t.v.Unk, "sep_token": t.v.Sep, "pad_token": t.v.Pad, "mask_token": t.v.Mask,
	} {
		if id != vocab.None {
			values[name] = jinja.NewString(t.v.Tokens[id])
		}
	}
	text, err = compiled.RenderValues(values)
	if err != nil {
		return "", fmt.Errorf("chat template: %w", err)
	}
	return text, nil
}

// maxTemplate bounds the depth to which a template can nest; the longest in use
// have 30 KB.
const maxTemplate = 64 << 10 // bytes

// The beginning of tags, with the white space that the library allows, and what
// must follow for a tag to be understood here.
var (
	macroTag = regexp.MustCompile(tagStart + `macro`)
	macroDef = regexp.MustCompile(`^\s+([A-Za-z_]\w*)\s*\(`)
	setTag   = regexp.MustCompile(tagStart + `set`)
	setRoot  = regexp.MustCompile(`^\s+([A-Za-z_]\w*)\.`)
	callTag  = regexp.MustCompile(tagStart + `call`)
	mutator  = regexp.MustCompile(`\.\s*(append|insert|pop|update|extend|remove|clear|setdefault)\b`)
)

const tagStart = `\{%[-+]?[\s\v\pZ\x{85}]*`

// checkTemplate refuses what could make the library recurse without end, which Go
// cannot recover from: macros that reach themselves, and values that hold
// themselves. It looks at words and not at what they mean, so a string that looks
// like a tag does not mislead it. Macros may only be called, and only behind the
// end of the last one. What {% set a.b = ... %} changes must come from namespace()
// and may only be used as a.c.
func checkTemplate(text string) error {
	if len(text) > maxTemplate {
		return fmt.Errorf("has %d bytes, expected at most %d", len(text), maxTemplate)
	}
	if callTag.MatchString(text) {
		return errors.New("{% call %} is not supported")
	}
	if m := mutator.FindString(text); m != "" {
		return fmt.Errorf("%s would change a value, which templates cannot", m)
	}
	lastMacro := strings.LastIndex(text, "endmacro")
	for _, tag := range macroTag.FindAllStringIndex(text, -1) {
		def := macroDef.FindStringSubmatchIndex(text[tag[1]:])
		if def == nil {
			return fmt.Errorf("macro without a name: %q", snippet(text[tag[0]:]))
		}
		name, at := text[tag[1]+def[2]:tag[1]+def[3]], tag[1]+def[2]
		for _, w := range words(text, name) {
			called := strings.HasPrefix(strings.TrimLeft(text[w[1]:], " \t\n"), "(")
			if w[0] != at && (w[0] < lastMacro || !called) {
				return fmt.Errorf("macro %s is used within a macro or not called: %q", name, snippet(text[w[0]:]))
			}
		}
	}
	for _, tag := range setTag.FindAllStringIndex(text, -1) {
		target, _, _ := strings.Cut(text[tag[1]:], "=")
		target, _, _ = strings.Cut(target, "%}")
		if !strings.Contains(target, ".") {
			continue
		}
		root := setRoot.FindStringSubmatch(target)
		if root == nil {
			return fmt.Errorf("cannot set %q", snippet(target))
		}
		name := root[1]
		made := make(map[int]bool) // where namespace() makes it
		making := regexp.MustCompile(tagStart + `set\s+(` + name + `)\s*=\s*namespace\((?:[^()%]|\([^()%]*\))*\)\s*[-+]?%\}`)
		for _, m := range making.FindAllStringSubmatchIndex(text, -1) {
			made[m[2]] = true
		}
		for _, w := range words(text, name) {
			if !made[w[0]] && !strings.HasPrefix(text[w[1]:], ".") {
				return fmt.Errorf("%s has attributes that are set and is used otherwise: %q", name, snippet(text[w[0]:]))
			}
		}
	}
	return nil
}

// words finds a name where it is not part of a longer one.
func words(text, name string) [][]int {
	return regexp.MustCompile(`\b`+name+`\b`).FindAllStringIndex(text, -1)
}

func snippet(text string) string { return strings.ToValidUTF8(text[:min(len(text), 40)], "") }
