package codecs

import (
	"bytes"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/xdg-go/stringprep"
	"golang.org/x/text/unicode/norm"
)

// idnaCodec has the names of hosts of RFC 3490, which IDNA 2008 has replaced elsewhere. Errors are not handled.
func idnaCodec() *Codec {
	strict := func(handler string) error {
		if handler != "strict" {
			return &Error{0}
		}
		return nil
	}
	return &Codec{name: "idna", whole: &wholeText{
		encode: func(text []rune, handler string) ([]byte, error) {
			if err := strict(handler); err != nil || len(text) == 0 {
				return nil, err
			}
			return encodeIDNA(text)
		},
		decode: func(b []byte, handler string) ([]rune, error) {
			if err := strict(handler); err != nil {
				return nil, err
			}
			return decodeIDNA(b)
		},
	}}
}

const (
	acePrefix    = "xn--"
	longestLabel = 63
)

func isASCII(text []rune) bool {
	return !slices.ContainsFunc(text, func(c rune) bool { return c >= utf8.RuneSelf })
}

func encodeIDNA(text []rune) (b []byte, err error) {
	ascii := isASCII(text)
	var labels [][]rune
	for at, i := 0, 0; i <= len(text); i++ {
		if i == len(text) || text[i] == '.' || !ascii && strings.ContainsRune("。．｡", text[i]) {
			labels = append(labels, text[at:i])
			at = i + 1
		}
	}
	at := 0
	for i, label := range labels {
		if i > 0 {
			b = append(b, '.')
		}
		if len(label) > 0 || i < len(labels)-1 {
			name, ok := encodeLabel(label)
			if !ok {
				return nil, &Error{at}
			}
			b = append(b, name...)
		}
		at += len(label) + 1
	}
	return b, nil
}

// encodeLabel is ToASCII of RFC 3490.
func encodeLabel(label []rune) (b []byte, ok bool) {
	if !isASCII(label) {
		if label, ok = nameprep(label); !ok {
			return nil, false
		}
	}
	switch text := string(label); {
	case isASCII(label):
		b = []byte(text)
	case strings.HasPrefix(text, acePrefix) || len(label) > longestLabel:
		return nil, false
	default:
		b = append([]byte(acePrefix), encodePunycode(label)...)
	}
	return b, len(b) > 0 && len(b) <= longestLabel
}

func decodeIDNA(b []byte) (text []rune, err error) {
	if !bytes.Contains(b, []byte(acePrefix)) && isASCII([]rune(string(b))) {
		return []rune(string(b)), nil
	}
	at := 0
	labels := bytes.Split(b, []byte("."))
	for i, label := range labels {
		if i > 0 {
			text = append(text, '.')
		}
		if len(label) > 0 || i < len(labels)-1 {
			chars, ok := decodeLabel(label)
			if !ok {
				return nil, &Error{at}
			}
			text = append(text, chars...)
		}
		at += len(label) + 1
	}
	return text, nil
}

// decodeLabel is ToUnicode of RFC 3490.
func decodeLabel(b []byte) (text []rune, ok bool) {
	if !isASCII([]rune(string(b))) {
		return nil, false // Python cannot prepare bytes
	}
	rest, ok := bytes.CutPrefix(b, []byte(acePrefix))
	if !ok || len(b) > longestLabel {
		return []rune(string(b)), !ok
	}
	text, err := decodePunycode(rest, "strict")
	if err != nil {
		return nil, false
	}
	again, ok := encodeLabel(text)
	return text, ok && strings.EqualFold(string(again), string(b))
}

// corrected has what Unicode 3.2 decomposes into other characters than later ones, and what the table B1 here lacks.
var corrected = stringprep.Mapping{0x1806: nil, 0x2f868: {0x2136a}, 0x2f874: {0x5f33}, 0x2f91f: {0x43ab},
	0x2f95f: {0x7aae}, 0x2f9bf: {0x4d57}}

// The profile of RFC 3491. Characters that Unicode 3.2 does not have (table A1) are let through.
var hostNames = stringprep.Profile{
	Mappings:  []stringprep.Mapping{corrected, stringprep.TableB1, stringprep.TableB2},
	Normalize: true,
	Prohibits: []stringprep.Set{stringprep.TableC1_2, stringprep.TableC2_2, stringprep.TableC3, stringprep.TableC4,
		stringprep.TableC5, stringprep.TableC6, stringprep.TableC7, stringprep.TableC8, stringprep.TableC9},
	CheckBiDi: true,
}

// nameprep prepares a label. Letters are written small as Unicode has it today, but only characters that Unicode 3.2
// has are taken apart: in place of others that could be stand, for a while, characters of empty planes.
func nameprep(label []rune) ([]rune, bool) {
	const elsewhere = 0xd0000
	moved := map[rune]rune{}
	var s strings.Builder
	for _, c := range label {
		if unicode.Is(unicode.Cs, c) {
			return nil, false
		}
		if _, ok := stringprep.TableB2[c]; !ok {
			c = unicode.ToLower(c)
		}
		if c < 0x20000 && stringprep.TableA1.Contains(c) && !norm.NFKC.IsNormalString(string(c)) {
			moved[c^elsewhere] = c
			c ^= elsewhere
		}
		s.WriteRune(c)
	}
	text, err := hostNames.Prepare(s.String())
	label = []rune(text)
	for i, c := range label {
		if from, ok := moved[c]; ok {
			label[i] = from
		}
	}
	return label, err == nil
}
