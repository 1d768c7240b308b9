package names

import "testing"

// What Python's unicodedata.lookup finds, and does not.
func TestFind(t *testing.T) {
	for name, want := range map[string]rune{
		"DIGIT ONE": '1', "digit one": '1', "GRINNING FACE": '😀', "NBSP": 0xa0, "LF": '\n', "ALERT": 7, "BEL": 7,
		"BELL": '🔔', "BYTE ORDER MARK": 0xfeff, "ZERO WIDTH JOINER": 0x200d, "VS1": 0xfe00, "vs16": 0xfe0f,
		"VS17": 0xe0100, "VS256": 0xe01ef,
		"LATIN SMALL LETTER GHA": 'ƣ', "CJK UNIFIED IDEOGRAPH-4E00": '一', "CJK UNIFIED IDEOGRAPH-04E00": '一',
		"CJK UNIFIED IDEOGRAPH-20000": 0x20000, "CJK COMPATIBILITY IDEOGRAPH-F900": 0xf900, "HANGUL SYLLABLE A": '아',
		"HANGUL SYLLABLE GGWAELG": 0xaf6d, "NUSHU CHARACTER-1B170": 0x1b170,
	} {
		if c, ok := Find(name); !ok || c != want {
			t.Errorf("%s: %U, %v, expected %U", name, c, ok, want)
		}
	}
	for _, name := range []string{"", "DIGIT", "cjk unified ideograph-4E00", "CJK UNIFIED IDEOGRAPH-4e00",
		"CJK UNIFIED IDEOGRAPH-41", "CJK UNIFIED IDEOGRAPH-0041", "hangul syllable A", "HANGUL SYLLABLE X",
		"TANGUT IDEOGRAPH-17000", "VS0",
		"VS257", "LATIN SMALL LETTER R WITH TILDE", "<control>"} {
		if c, ok := Find(name); ok {
			t.Errorf("%q: %U, expected nothing", name, c)
		}
	}
}

// Every name that a character has leads back to it.
func TestOf(t *testing.T) {
	n := 0
	for c := range rune(0x110000) {
		name := Of(c)
		if name == "" {
			continue
		}
		n++
		if back, ok := Find(name); !ok || back != c {
			t.Errorf("%U: %s leads to %U, %v", c, name, back, ok)
		}
	}
	if n < 130000 {
		t.Errorf("%d characters have names", n)
	}
}
