package codecs

import (
	"errors"
	"slices"
	"testing"
)

// Every encoding gives back what it has encoded, and what it cannot encode is an error with its place. What Python
// makes of encodings is among the constructs of package jinja's tests.
func TestRoundTrip(t *testing.T) {
	all := []rune("a\n\\é€я中😀\x80ÿ")
	n := 0
	for _, set := range []map[string]*Codec{codecs(), pages()} {
		for name, c := range set {
			n++
			if _, err := Find(name); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			b, err := c.Encode(all, "ignore", nil)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			text, err := c.Decode(b, "strict")
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
			again, err := c.Encode(text, "strict", nil)
			if err != nil || !slices.Equal(again, b) && name != "raw_unicode_escape" { // which escapes no backslash
				t.Errorf("%s: % x, % x, %v", name, b, again, err)
			}
		}
	}
	if want := 70 + 13; n != want {
		t.Errorf("%d encodings, expected %d", n, want)
	}
	var e *Error
	if _, err := direct("ascii", 0x80).Encode([]rune("aé"), "strict", nil); !errors.As(err, &e) || e.At != 1 {
		t.Errorf("%v, expected an error at 1", err)
	}
}

// FuzzDecode decodes anything with every encoding.
func FuzzDecode(f *testing.F) {
	f.Add([]byte(`\N{BULLET}\u12`), "unicode_escape", "replace")
	f.Add([]byte("\xff\xfe\x00\xd8a"), "utf-16", "surrogatepass")
	f.Add([]byte("a\xe2\x82"), "utf-8", "surrogateescape")
	f.Add([]byte("\xff"), "utf-8", "surrogatepass")
	f.Fuzz(func(t *testing.T, b []byte, name, handler string) {
		c, err := Find(name)
		if err != nil {
			return
		}
		text, err := c.Decode(slices.Clip(b), handler) // nothing is read beyond the end
		if err != nil {
			return
		}
		if len(text) > 4*len(b) {
			t.Errorf("%d characters of %d bytes", len(text), len(b))
		}
		for _, r := range text {
			if r < 0 || r > 0x10ffff {
				t.Errorf("the character %x", r)
			}
		}
	})
}
