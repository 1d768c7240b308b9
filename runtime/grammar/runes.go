package grammar

import (
	"slices"
	"unicode/utf8"
)

// union returns ranges of characters in order, none of which touch.
func union(ranges []rune) []rune {
	type span struct{ first, last rune }
	var all []span
	for i := 0; i+1 < len(ranges); i += 2 {
		all = append(all, span{ranges[i], ranges[i+1]})
	}
	slices.SortFunc(all, func(a, b span) int { return int(a.first - b.first) })
	var out []rune
	for _, s := range all {
		if n := len(out); n > 0 && s.first <= out[n-1]+1 {
			out[n-1] = max(out[n-1], s.last)
		} else {
			out = append(out, s.first, s.last)
		}
	}
	return out
}

// others returns the characters that are not in ranges, which are those of union.
func others(ranges []rune) []rune {
	var out []rune
	next := rune(0)
	for i := 0; i+1 < len(ranges); i += 2 {
		if next < ranges[i] {
			out = append(out, next, ranges[i]-1)
		}
		next = ranges[i+1] + 1
	}
	if next <= utf8.MaxRune {
		out = append(out, next, utf8.MaxRune)
	}
	return out
}
