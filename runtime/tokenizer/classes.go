package tokenizer

import (
	"sync"
	"unicode"
	"unicode/utf8"
)

// classes holds the class of every character. It is filled when it is needed
// first; the part for planes that have none is never touched.
var classes = sync.OnceValue(func() *[unicode.MaxRune + 1]class {
	table := new([unicode.MaxRune + 1]class)
	fillClasses(table[:])
	return table
})

var asciiClasses = func() (table [utf8.RuneSelf]class) {
	fillClasses(table[:])
	return table
}()

// fillClasses sets the classes of the first characters.
func fillClasses(table []class) {
	r := 0
	for _, e := range classRanges {
		end, c := min(int(e>>4), len(table)), class(e&15)
		if c != other {
			for i := r; i < end; i++ {
				table[i] = c
			}
		}
		if r = end; r == len(table) {
			return
		}
	}
}
