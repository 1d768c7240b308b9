package main

import "testing"

func TestHarmless(t *testing.T) {
	for in, want := range map[string]string{
		"a\tb\nc é 🙂":         "a\tb\nc é 🙂",
		"\x1b[2J\x07":         `\x1b[2J\x07`,
		"a\rb\x00\x7f\u009bm": `a\x0db\x00\x7f\x9bm`,
	} {
		if got := harmless(in); got != want {
			t.Errorf("%q: %q, expected %q", in, got, want)
		}
	}
}
