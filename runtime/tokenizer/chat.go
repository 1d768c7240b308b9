package tokenizer

import (
	"errors"
	"fmt"
	"regexp"
	"runtime/metrics"
	"strings"
	"time"

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
// are not supported, nor is what makes a long value of a short one: products, range,
// replace and join with more than a few characters. A template that takes more than
// [renderTime] or [renderMemory] is given up. A goroutine cannot be stopped, so what
// such a template has begun goes on until it ends by itself or with the program.
func (t *Tokenizer) Chat(messages []Message, generationPrompt bool, template string) (string, error) {
	if template == "" {
		template = t.v.ChatTemplate
	}
	if template == "" {
		return "", errors.New("the model has no chat template")
	}
	template = strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(template)
	template = strings.TrimSuffix(template, "\n") // Jinja's default
	list, memory := make([]jinja.Value, len(messages)), uint64(renderMemory)
	for i, m := range messages {
		memory += 16 * uint64(len(m.Content))
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
	text, err := render(template, values, renderTime, memory)
	if err != nil {
		return "", fmt.Errorf("chat template: %w", err)
	}
	return text, nil
}

// What a template may take, beside 16 bytes of memory for each byte of the messages;
// those in use take less than a millisecond and some kilobytes. In this memory no value
// can nest so deep that printing it overflows the stack.
const (
	renderTime   = 5 * time.Second
	renderMemory = 64 << 20 // bytes
)

// render runs a template, and looks at the time and the program's memory every
// millisecond.
func render(template string, values map[string]jinja.Value, limit time.Duration, memory uint64) (string, error) {
	type result struct {
		text string
		err  error
	}
	done := make(chan result, 1)
	go func() {
		var r result
		defer func() {
			if p := recover(); p != nil {
				r = result{err: fmt.Errorf("%v", p)}
			}
			done <- r
		}()
		if r.err = checkTemplate(template); r.err != nil {
			return
		}
		var t *jinja.Template
		if t, r.err = jinja.Compile(template); r.err == nil {
			r.text, r.err = t.RenderValues(values)
		}
	}()
	start, before := time.Now(), heapBytes()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case r := <-done:
			return r.text, r.err
		case <-tick.C:
			if time.Since(start) > limit {
				return "", fmt.Errorf("takes more than %v", limit)
			}
			if heapBytes() > before+memory {
				return "", fmt.Errorf("takes more than %d MiB of memory", memory>>20)
			}
		}
	}
}

// heapBytes returns the size of all values in memory.
func heapBytes() uint64 {
	s := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	metrics.Read(s)
	return s[0].Value.Uint64()
}

// maxTemplate bounds the depth to which a template can nest; the longest in use
// have 30 KB.
const maxTemplate = 64 << 10 // bytes

// Tags and tokens as the library cuts them: characters that it does not know
// separate tokens and mean nothing.
const (
	literal = `'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"`
	content = `-?((?:` + literal + `|[^'"])*?)-?`
)

var (
	tagPattern   = regexp.MustCompile(`(?s)\{#.*?#\}|\{\{` + content + `\}\}|\{%` + content + `%\}`)
	tokenPattern = regexp.MustCompile(`(?s)` + literal + `|\d+(?:\.\d+(?:[eE][-+]?\d*)?)?|[A-Za-z_]\w*|[-+*/%<>=!,.:()\[\]{}|~]`)

	// Tags that the library cuts without regard to string literals.
	looseTag = regexp.MustCompile(`^[^A-Za-z]*(?:macro|set[^=]*['"])`)
)

// templateCode returns what a template does, a line for each tag: "$" for one that
// prints or "%", and its tokens with a space before each. String literals are ” or, if
// they have more than 16 bytes, "".
func templateCode(template string) string {
	var b strings.Builder
	for _, m := range tagPattern.FindAllStringSubmatch(template, -1) {
		code := m[1] + m[2]
		switch m[0][1] {
		case '{':
			b.WriteByte('$')
		case '%':
			b.WriteByte('%')
			if looseTag.MatchString(code) { // what is in the literals may be code
				code = strings.NewReplacer("'", " ", `"`, " ").Replace(code)
			}
		default: // a comment
			continue
		}
		for _, token := range tokenPattern.FindAllString(code, -1) {
			if token[0] == '\'' || token[0] == '"' {
				if len(token) > 16+2 {
					token = `""`
				} else {
					token = "''"
				}
			}
			b.WriteByte(' ')
			b.WriteString(token)
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// Patterns of a templateCode.
var (
	// What is harmless though the names in it are not allowed otherwise.
	harmless = regexp.MustCompile(`\b(?:join|replace) \( ''(?: , '')* \)|\bindent = \d\d? ([,)])|\[ : : - 1 \]`)
	// What changes a value, or makes a long one of a short one at once.
	notAllowed = regexp.MustCompile(`\b(?:append|insert|pop|update|extend|remove|clear|setdefault)\b|\*|\b(?:range|replace|join|format|indent|separators)\b`)

	callTag   = regexp.MustCompile(`(?m)^% call`)
	macroTag  = regexp.MustCompile(`(?m)^% macro(?: (\w+) \()?`)
	setTag    = regexp.MustCompile(`(?m)^% set.*$`)
	setTarget = regexp.MustCompile(`^% set (\w+)(?: (\.) \w+)?(?: =|$)`)
	makeNew   = regexp.MustCompile(`(?m)\A = namespace \((?:[^()\n]|\([^()\n]*\))*\)$`)
)

// checkTemplate refuses what could end the program: what makes the library recurse
// without end, which Go cannot recover from (macros that reach themselves, and values
// that hold themselves), and what takes all memory at once. Macros may only be called,
// and only behind the end of the last one. What {% set a.b = ... %} changes must come
// from namespace() and may only be used as a.c.
func checkTemplate(text string) error {
	if len(text) > maxTemplate {
		return fmt.Errorf("has %d bytes, expected at most %d", len(text), maxTemplate)
	}
	code := harmless.ReplaceAllString(templateCode(text), "_$1")
	if callTag.MatchString(code) {
		return errors.New("{% call %} is not supported")
	}
	if at := notAllowed.FindStringIndex(code); at != nil {
		return fmt.Errorf("%q is not supported: it changes a value, or can make a long one of a short one", snippet(code[at[0]:]))
	}
	if hasStep(code) {
		return errors.New("slices with a step are not supported")
	}
	for _, w := range words(code, "namespace") { // the function, and nothing else of that name
		if !strings.HasSuffix(code[:w[0]], "= ") || !strings.HasPrefix(code[w[1]:], " (") {
			return fmt.Errorf("namespace is not called for a value to be set: %q", snippet(code[w[0]:]))
		}
	}
	lastMacro := strings.LastIndex(code, "endmacro")
	for _, def := range macroTag.FindAllStringSubmatchIndex(code, -1) {
		if def[2] < 0 {
			return fmt.Errorf("macro without a name: %q", snippet(code[def[0]:]))
		}
		name := code[def[2]:def[3]]
		for _, w := range words(code, name) {
			called := strings.HasPrefix(code[w[1]:], " (")
			if w[0] != def[2] && (w[0] < lastMacro || !called) {
				return fmt.Errorf("macro %s is used within a macro or not called: %q", name, snippet(code[w[0]:]))
			}
		}
	}
	for _, set := range setTag.FindAllString(code, -1) {
		target := setTarget.FindStringSubmatch(set)
		if target == nil {
			return fmt.Errorf("cannot set %q", snippet(set))
		}
		name := target[1]
		if target[2] == "" {
			continue
		}
		for _, w := range words(code, name) {
			made := strings.HasSuffix(code[:w[0]], "% set ") && makeNew.MatchString(code[w[1]:])
			if !made && !strings.HasPrefix(code[w[1]:], " .") {
				return fmt.Errorf("%s has attributes that are set and is used otherwise: %q", name, snippet(code[w[0]:]))
			}
		}
	}
	return nil
}

// words finds a name in a templateCode.
func words(code, name string) [][]int {
	return regexp.MustCompile(`\b`+name+`\b`).FindAllStringIndex(code, -1)
}

// hasStep says whether a subscript has two colons.
func hasStep(code string) bool {
	var open []byte // brackets, and behind each the colons in it
	for i := range len(code) {
		switch c := code[i]; c {
		case '(', '[', '{':
			open = append(open, c)
		case ')', ']', '}':
			for len(open) > 0 && open[len(open)-1] == ':' {
				open = open[:len(open)-1]
			}
			open = open[:max(0, len(open)-1)]
		case ':':
			if n := len(open); n > 1 && open[n-1] == ':' && open[n-2] == '[' {
				return true
			}
			open = append(open, c)
		case '\n':
			open = open[:0]
		}
	}
	return false
}

// snippet returns the beginning of the first line.
func snippet(code string) string {
	line, _, _ := strings.Cut(code, "\n")
	return line[:min(len(line), 40)]
}
