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
