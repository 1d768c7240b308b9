package report

import "testing"

func TestPrintable(t *testing.T) {
	for in, want := range map[string]string{"blk.0": "blk.0", "a\x1b[2J": `"a\x1b[2J"`, "日本": "日本", "a\nb": `"a\nb"`} {
		if got := Printable(in); got != want {
			t.Errorf("Printable(%q) is %s, expected %s", in, got, want)
		}
	}
}

func TestPlural(t *testing.T) {
	for n, want := range map[int]string{0: "0 rows", 1: "1 row", 2: "2 rows"} {
		if got := Plural(n, "row"); got != want {
			t.Errorf("Plural(%d) is %s, expected %s", n, got, want)
		}
	}
}

func TestHarmless(t *testing.T) {
	for in, want := range map[string]string{
		"a\tb\nc é 🙂":         "a\tb\nc é 🙂",
		"\x1b[2J\x07":         `\x1b[2J\x07`,
		"a\rb\x00\x7f\u009bm": `a\x0db\x00\x7f\x9bm`,
	} {
		if got := Harmless(in); got != want {
			t.Errorf("%q: %q, expected %q", in, got, want)
		}
	}
}
