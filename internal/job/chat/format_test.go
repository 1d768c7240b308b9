package chat

import "testing"

// An answer that was cut goes on within its format, and the next one begins it anew.
func TestFormatGoesOn(t *testing.T) {
	format := Format{Kind: Grammar, Text: `root ::= "A cow eats " ("stones" | "houses") " and sleeps."`}
	whole, err := open(t, Options{Format: format, Limit: -1}).Answer(t.Context(), "What does a cow eat?", nothing)
	if err != nil || whole.Text != "A cow eats stones and sleeps." {
		t.Fatalf("%q, %v", whole.Text, err)
	}
	c := open(t, Options{Format: format, Limit: 2})
	for range 2 {
		a, err := c.Answer(t.Context(), "What does a cow eat?", nothing)
		for err == nil && c.Cut() {
			a, err = c.Continue(t.Context(), nothing)
		}
		if err != nil || a.Text != whole.Text {
			t.Errorf("in parts: %q, %v", a.Text, err)
		}
		c.Reset()
	}
	// A summary is free of it.
	c = open(t, Options{Format: format, Limit: -1})
	for range 3 {
		if _, err := c.Answer(t.Context(), "What does a cow eat?", nothing); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := c.Summarize(t.Context(), nothing); err != nil || c.exchanges[0].text == whole.Text {
		t.Errorf("summary: %q, %v", c.exchanges[0].text, err)
	}
}
