package tokenizer

import (
	"strings"
	"testing"
)

// The text is transformers'.
func TestChat(t *testing.T) {
	var g golden
	readJSON(t, "testdata/golden.json", &g)
	tok := open(t, tiny)
	for _, c := range g.Chats {
		got, err := tok.Chat(c.Messages, c.Prompt, c.Template)
		if (err != nil) != c.Error || got != c.Text {
			t.Errorf("%q with %q, prompt %t: %q, %v, expected %q, error %t",
				c.Template, c.Messages, c.Prompt, got, err, c.Text, c.Error)
		}
	}
	_, err := open(t, "testdata/o200k").Chat(nil, true, "")
	if err == nil || err.Error() != "the model has no chat template" {
		t.Error(err)
	}
	for template, want := range map[string]string{
		"a\r\n{{ 1 }}\r\n": "a\n1",
		"{{ ['a', 'b'][::-1] | join(', ') }}{{ 'x*y'.replace('*', '-') }}": "b, ax-y",
		"{{ {'a': [1, 2][0:1]} | tojson(indent=1) }}":                      "{\n \"a\": [\n  1\n ]\n}",
		"{{ '=' * 3 }}{{ 2 ** 3 }}{{ range(3) | list }}{{ '%d' % 5 }}":     "===8[0, 1, 2]5",
	} {
		if got, err := tok.Chat(nil, true, template); got != want || err != nil {
			t.Errorf("%q gives %q, %v, expected %q", template, got, err, want)
		}
	}
	refusing := "{{ raise_exception('no ' ~ messages[0].role) }}"
	_, err = tok.Chat([]Message{{"user", "x"}}, true, refusing)
	if err == nil || !strings.Contains(err.Error(), "no user") {
		t.Error(err)
	}
}

// A template that has no end is refused, and a long conversation is not.
func TestTemplateLimits(t *testing.T) {
	tok := open(t, tiny)
	for _, template := range []string{
		"{% macro a() %}{{ a() }}{% endmacro %}{{ a() }}",
		"{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}",
		"{{ 'x' * 999999999 }}",
	} {
		if got, err := tok.Chat([]Message{{"user", "x"}}, true, template); err == nil {
			t.Errorf("%q gives %.80q", template, got)
		}
	}
	long := []Message{{"user", strings.Repeat("Grüße, \"x\" \n", 700_000)}} // 10 MB
	for _, template := range []string{
		"",
		"{% for m in messages %}{{ '<' + m.role + '>' + m['content'] | trim + '</>' }}{% endfor %}",
		"{{ messages | tojson }}",
		"{% macro t(m) %}{% if '</x>' not in m.content %}<{{ m.role }}>{{ m.content.strip() }}{% endif %}" +
			"{% endmacro %}" +
			"{% for m in messages %}{% set x %}{{ t(m) }}{% endset %}{{ x | replace('ü', 'ue') }}{% endfor %}" +
			"{{ messages[0].content.split('\n') | length }}",
	} {
		if got, err := tok.Chat(long, true, template); err != nil || len(got) < len(long[0].Content) {
			t.Errorf("%q: %d bytes, %v", template, len(got), err)
		}
	}
}
