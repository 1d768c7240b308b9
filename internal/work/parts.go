package work

import "fmt"

// Part is part I of N of something that was divided, from 1.
type Part struct {
	I int `json:"i"`
	N int `json:"n"`
}

// CheckParts says what keeps parts, which are in order, from being the whole, and which of them stands out: "" if there
// is one of each.
func CheckParts(parts []Part) (at int, wrong string) {
	for i, p := range parts {
		switch first := parts[0]; {
		case p.N != first.N:
			return i, fmt.Sprintf("a part of %d and one of %d", first.N, p.N)
		case i > 0 && p.I == parts[i-1].I:
			return i, fmt.Sprintf("part %d of %d is there twice", p.I, p.N)
		case p.I != i+1:
			return i, fmt.Sprintf("part %d of %d is missing", i+1, p.N)
		}
	}
	if n := len(parts); n > 0 && n < parts[0].N {
		return n - 1, fmt.Sprintf("part %d of %d is missing", n+1, parts[0].N)
	}
	return 0, ""
}
