package tokenizer

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"

	"github.com/phi3conv/phi3conv/internal/jinja"
	"github.com/phi3conv/phi3conv/internal/vocab"
)

// Conversation is what a chat template renders, as transformers' apply_chat_template takes it.
type Conversation struct {
	Messages []json.RawMessage // objects with role, content and whatever else the template reads
	Tools    []json.RawMessage // functions that the model may call, as JSON; nil for none
	Prompt   bool              // ask for the beginning of the next answer
	Template string            // "" is the checkpoint's own
}

// Render renders a conversation, as [Tokenizer.Chat] does. Members of objects keep their order.
func (t *Tokenizer) Render(c Conversation) (string, error) {
	size := 0
	list := func(raw []json.RawMessage) ([]any, error) {
		all := make([]any, len(raw))
		for i, r := range raw {
			size += len(r)
			v, err := decode(r)
			if err != nil {
				return nil, err
			}
			all[i] = v
		}
		return all, nil
	}
	messages, err := list(c.Messages)
	if err != nil {
		return "", fmt.Errorf("messages: %w", err)
	}
	var tools any
	if c.Tools != nil {
		if tools, err = list(c.Tools); err != nil {
			return "", fmt.Errorf("tools: %w", err)
		}
	}
	return t.render(c.Template, messages, tools, c.Prompt, size)
}

// render renders a template with the variables that transformers gives it; size is the length of messages and tools.
func (t *Tokenizer) render(template string, messages []any, tools any, prompt bool, size int) (string, error) {
	if template == "" {
		template = t.v.ChatTemplate
	}
	if template == "" {
		return "", errors.New("the model has no chat template")
	}
	variables := map[string]any{
		"messages":              messages,
		"add_generation_prompt": prompt,
		"tools":                 tools,
		"documents":             nil,
	}
	for name, id := range map[string]int{
		"bos_token": t.v.BOS, "eos_token": t.v.EOS, "unk_token": t.v.Unk,
		"sep_token": t.v.Sep, "pad_token": t.v.Pad, "mask_token": t.v.Mask,
	} {
		if id != vocab.None {
			variables[name] = t.v.Tokens[id]
		}
	}
	parsed, err := jinja.Parse("chat template", template)
	if err != nil {
		return "", err
	}
	return parsed.Render(variables, jinja.LimitsFor(size))
}

// Template returns the checkpoint's chat template, "" if it has none.
func (t *Tokenizer) Template() string { return t.v.ChatTemplate }

// decode makes a template's value of JSON.
func decode(raw json.RawMessage) (any, error) {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	v, err := decodeValue(d, 0)
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return v, err
}

// mostNested bounds values within each other.
const mostNested = 200

func decodeValue(d *json.Decoder, depth int) (any, error) {
	if depth > mostNested {
		return nil, fmt.Errorf("values are nested more than %d deep", mostNested)
	}
	token, err := d.Token()
	if err != nil {
		return nil, err
	}
	switch v := token.(type) {
	case json.Delim:
		if v == '[' {
			list := []any{}
			for d.More() {
				item, err := decodeValue(d, depth+1)
				if err != nil {
					return nil, err
				}
				list = append(list, item)
			}
			_, err := d.Token()
			return list, err
		}
		object := jinja.Object{}
		for d.More() {
			key, err := d.Token()
			if err != nil {
				return nil, err
			}
			value, err := decodeValue(d, depth+1)
			if err != nil {
				return nil, err
			}
			object = append(object, jinja.Member{Key: key.(string), Value: value})
		}
		_, err := d.Token()
		return object, err
	case json.Number:
		if n, err := strconv.Atoi(v.String()); err == nil {
			return n, nil
		}
		return v.Float64()
	}
	return token, nil
}
