package codecs

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
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
			if n++; name == "idna" { // for names of hosts
				continue
			}
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
			same := slices.Equal(again, b) || name == "raw_unicode_escape" // which escapes no backslash
			if err != nil || !same {
				t.Errorf("%s: % x, % x, %v", name, b, again, err)
			}
		}
	}
	if want := 70 + 40; n != want {
		t.Errorf("%d encodings, expected %d", n, want)
	}
	var e *Error
	if _, err := direct("ascii", 0x80).Encode([]rune("aé"), "strict", nil); !errors.As(err, &e) || e.At != 1 {
		t.Errorf("%v, expected an error at 1", err)
	}
}

// What Python makes of the characters of three planes and of all codes of two bytes, in encodings of several bytes.
func TestPython(t *testing.T) {
	data, err := os.ReadFile("../../../testdata/golden/codecs.json")
	if err != nil {
		t.Fatal(err)
	}
	var list []struct{ Name, Written, Read string }
	if err := json.Unmarshal(data, &list); err != nil {
		t.Fatal(err)
	}
	for _, want := range list {
		t.Run(want.Name, func(t *testing.T) {
			t.Parallel()
			c, err := Find(want.Name)
			if err != nil {
				t.Fatal(err)
			}
			written, read := sha256.New(), sha256.New()
			for char := range rune(0x2a700) {
				if char >= 0x10000 && char < 0x1f000 {
					continue
				}
				b, _ := c.Encode([]rune{char}, "strict", nil)
				written.Write(append(hex.AppendEncode(nil, b), '\n'))
			}
			for n := range 1 << 16 {
				for _, handler := range []string{"strict", "replace"} {
					text, _ := c.Decode([]byte{byte(n >> 8), byte(n)}, handler)
					for _, char := range text {
						b, ok := utf8Codec().encode(char)
						if !ok {
							b, _ = utf8Codec().pass(char)
						}
						read.Write(b)
					}
					read.Write([]byte("\n"))
				}
			}
			if got := hex.EncodeToString(written.Sum(nil)); got != want.Written {
				t.Errorf("encoded: %s, expected %s", got, want.Written)
			}
			if got := hex.EncodeToString(read.Sum(nil)); got != want.Read {
				t.Errorf("decoded: %s, expected %s", got, want.Read)
			}
		})
	}
	if want := 27; len(list) != want {
		t.Errorf("%d encodings, expected %d", len(list), want)
	}
}

// FuzzDecode decodes anything with every encoding.
func FuzzDecode(f *testing.F) {
	f.Add([]byte(`\N{BULLET}\u12`), "unicode_escape", "replace")
	f.Add([]byte("\xff\xfe\x00\xd8a"), "utf-16", "surrogatepass")
	f.Add([]byte("a\xe2\x82"), "utf-8", "surrogateescape")
	f.Add([]byte("\xff"), "utf-8", "surrogatepass")
	f.Add([]byte("\x1b$B+P\x1b(J"), "iso2022_jp_2", "replace")
	f.Add([]byte("+AGE-+"), "utf-7", "surrogateescape")
	f.Add([]byte("a-99999999"), "punycode", "replace")
	f.Add([]byte("xn--bcher-kva"), "idna", "strict")
	f.Add([]byte("\xa4\xd4\xa4\xa1"), "euc_kr", "ignore")
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
