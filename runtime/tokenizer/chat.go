package tokenizer

import "github.com/phi3conv/phi3conv/internal/jinja"

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
// The text is that of transformers. Templates see what it gives them: messages,
// add_generation_prompt, bos_token and the other special tokens, raise_exception,
// strftime_now. They can change nothing but their own variables and reach no files.
// A template is a program: one that takes more than some million steps or 48 MiB, and 16
// bytes for each byte of the messages, is refused. That is counted, so it is refused everywhere.
func (t *Tokenizer) Chat(messages []Message, generationPrompt bool, template string) (string, error) {
	list, size := make([]any, len(messages)), 0
	for i, m := range messages {
		list[i] = jinja.Object{{Key: "role", Value: m.Role}, {Key: "content", Value: m.Content}}
		size += len(m.Role) + len(m.Content)
	}
	return t.render(template, list, nil, generationPrompt, size)
}
