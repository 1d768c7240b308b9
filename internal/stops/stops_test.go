package stops

import (
	"math/rand/v2"
	"strings"
	"testing"
)

// feed gives pieces to a Finder and returns the text that comes out.
func feed(stops, pieces []string) (text string, found bool) {
	s := Finder{Stops: stops}
	for _, p := range pieces {
		var part string
		part, found = s.Add(p)
		if text += part; found {
			return text, true
		}
	}
	return text + s.held, false
}

func TestFinder(t *testing.T) {
	for _, c := range []struct {
		name   string
		stops  []string
		pieces []string
		text   string
		found  bool
	}{
		{"none", nil, []string{"a", "b"}, "ab", false},
		{"in a piece", []string{"b"}, []string{"abc"}, "a", true},
		{"across pieces", []string{"User:"}, []string{"a Us", "er", ":b"}, "a ", true},
		{"begun at the end", []string{"User:"}, []string{"a Us", "er"}, "a User", false},
		{"begun twice", []string{"aab"}, []string{"a", "a", "a", "b"}, "a", true},
		{"the one that ends first", []string{"abcd", "bc"}, []string{"abcd"}, "a", true},
		{"the longest of these", []string{"bc", "abc"}, []string{"abc"}, "", true},
		{"in the midst of another", []string{"abcd", "bx"}, []string{"ab", "x"}, "a", true},
		{"a character of two bytes", []string{"é."}, []string{"è", "é", "e"}, "èée", false},
	} {
		if text, found := feed(c.stops, c.pieces); text != c.text || found != c.found {
			t.Errorf("%s: %q, %v; expected %q, %v", c.name, text, found, c.text, c.found)
		}
	}
}

// Where the pieces end makes no difference.
func TestPieces(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	random := func(n int) string {
		b := make([]byte, n)
		for i := range b {
			b[i] = "abc"[r.IntN(3)]
		}
		return string(b)
	}
	ended := 0
	for range 20000 {
		var stops, pieces []string
		for range 1 + r.IntN(3) {
			stops = append(stops, random(1+r.IntN(5)))
		}
		all := random(r.IntN(20))
		for rest := all; rest != ""; {
			n := 1 + r.IntN(min(len(rest), 6))
			pieces, rest = append(pieces, rest[:n]), rest[n:]
		}
		text, found := feed(stops, pieces)
		single, foundSingle := feed(stops, strings.Split(all, ""))
		if text != single || found != foundSingle {
			t.Fatalf("stops %q, pieces %q: %q, %v; byte by byte %q, %v",
				stops, pieces, text, found, single, foundSingle)
		}
		any := false
		for _, s := range stops {
			any = any || strings.Contains(all, s)
			if strings.Contains(text, s) {
				t.Fatalf("stops %q, pieces %q: %q", stops, pieces, text)
			}
		}
		if found != any || !found && text != all {
			t.Fatalf("stops %q, pieces %q: %q, %v", stops, pieces, text, found)
		}
		if found {
			ended++
		}
	}
	if ended < 1000 {
		t.Errorf("only %d texts ended", ended)
	}
}
