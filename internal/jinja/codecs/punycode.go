package codecs

import (
	"bytes"
	"math/big"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// punycodeCodec has RFC 3492's encoding of a text's characters: those of ASCII, and after a - numbers that say which
// others go where.
func punycodeCodec() *Codec {
	return &Codec{name: "punycode", whole: &wholeText{
		encode: func(text []rune, _ string) ([]byte, error) { return encodePunycode(text), nil },
		decode: decodePunycode,
	}}
}

const punycodeDigits = "abcdefghijklmnopqrstuvwxyz0123456789"

// threshold is what a digit at a place has to be below to be a number's last.
func threshold(place, bias int) int { return min(max(36*(place+1)-bias, 1), 26) }

// adapt returns the bias after a number, in a text that has now so many characters.
func adapt(delta *big.Int, first bool, chars int) int {
	d := new(big.Int).Quo(delta, big.NewInt(2))
	if first {
		d.Quo(delta, big.NewInt(700))
	}
	d.Add(d, new(big.Int).Quo(d, big.NewInt(int64(chars))))
	bias := 0
	for ; d.Cmp(big.NewInt(455)) > 0; bias += 36 {
		d.Quo(d, big.NewInt(35))
	}
	return bias + int(36*d.Int64()/(d.Int64()+38))
}

func encodePunycode(text []rune) (b []byte) {
	var others []rune
	for _, c := range text {
		if c < utf8.RuneSelf {
			b = append(b, byte(c))
		} else {
			others = append(others, c)
		}
	}
	done := len(b)
	if done > 0 {
		b = append(b, '-')
	}
	slices.Sort(others)
	delta, last, bias, first := 0, rune(utf8.RuneSelf), 72, true
	for _, c := range slices.Compact(others) {
		delta += int(c-last) * (done + 1)
		last = c + 1
		for _, x := range text {
			if x < c {
				delta++
			}
			if x != c {
				continue
			}
			n := delta
			for place := 0; ; place++ {
				t := threshold(place, bias)
				if n < t {
					b = append(b, punycodeDigits[n])
					break
				}
				b = append(b, punycodeDigits[t+(n-t)%(36-t)])
				n = (n - t) / (36 - t)
			}
			done++
			bias = adapt(big.NewInt(int64(delta)), first, done)
			delta, first = 0, false
		}
		delta++
	}
	return b
}

func decodePunycode(b []byte, handler string) ([]rune, error) {
	if handler != "strict" && handler != "replace" && handler != "ignore" {
		return nil, &Error{0}
	}
	at := bytes.LastIndexByte(b, '-')
	text, err := direct("ascii", utf8.RuneSelf).Decode(b[:max(at, 0)], handler)
	if err != nil {
		return nil, err
	}
	if i := bytes.IndexFunc(b[at+1:], func(c rune) bool { return c >= utf8.RuneSelf }); i >= 0 {
		return nil, &Error{at + 1 + i}
	}
	char, pos, bias := big.NewInt(utf8.RuneSelf), big.NewInt(-1), 72
	for first := true; at+1 < len(b); first = false {
		delta, size := punycodeNumber(b[at+1:], bias)
		if size == 0 && handler == "strict" {
			return nil, &Error{at + 1}
		}
		if size == 0 {
			break
		}
		at += size
		length := big.NewInt(int64(len(text) + 1))
		pos.Add(pos, delta).Add(pos, big.NewInt(1))
		char.Add(char, new(big.Int).Quo(pos, length))
		if char.Cmp(big.NewInt(unicode.MaxRune)) > 0 {
			if handler == "strict" {
				return nil, &Error{at}
			}
			char.SetInt64('?')
		}
		pos.Rem(pos, length)
		text = slices.Insert(text, int(pos.Int64()), rune(char.Int64()))
		bias = adapt(delta, first, len(text))
	}
	return text, nil
}

// punycodeNumber reads a number, and returns how many bytes it has: 0 if it is none.
func punycodeNumber(b []byte, bias int) (n *big.Int, size int) {
	n, weight := new(big.Int), big.NewInt(1)
	for place, c := range b {
		digit := strings.IndexByte(punycodeDigits, byte(unicode.ToLower(rune(c))))
		if digit < 0 {
			return nil, 0
		}
		t := threshold(place, bias)
		if n.Add(n, new(big.Int).Mul(big.NewInt(int64(digit)), weight)); digit < t {
			return n, place + 1
		}
		weight.Mul(weight, big.NewInt(int64(36-t)))
	}
	return nil, 0
}
