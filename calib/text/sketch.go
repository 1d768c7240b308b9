package text

import (
	"crypto/sha256"
	"encoding/binary"
	"slices"

	"github.com/phi3conv/phi3conv/formats/gguf"
)

// Keys of a quantized file's metadata that tell which text it was calibrated with: SHA-256 of the files, hexadecimal,
// and a [Sketch].
const (
	KeyTexts  = "phi3conv.quantize.texts_sha256"
	KeySketch = "phi3conv.quantize.texts_sketch"
)

// Sizes of a [Sketch].
const (
	GramLen       = 32   // tokens of a piece
	SketchSize    = 1024 // hashes at most: 8 KiB
	leastDistinct = 8    // tokens in a piece: rows of dashes or blanks are in many texts
)

// Sketch is a sample of the different pieces of [GramLen] tokens of a text, so that the text can be recognized without
// being there: the least [SketchSize] of the pieces' hashes, ascending. A hash is the first eight bytes, big endian, of
// the SHA-256 of the tokens as 32-bit integers, little endian. Pieces of fewer than eight different tokens do not
// count. As hashes are as good as random, the pieces of another text with hashes up to the greatest of the sketch are a
// sample of that text, and those of them that are in the sketch are what the texts share (Broder 1997, bottom-k).
type Sketch []uint64

// NewSketch makes the sketch of sequences of the given lengths, nil if none has a piece.
func NewSketch(tokens, lengths []int32) Sketch {
	all := grams(tokens, lengths)
	return all[:min(len(all), SketchSize)]
}

// SketchOf returns the sketch in a file's metadata, nil for none.
func SketchOf(md *gguf.Metadata) Sketch {
	v, _ := md.Get(KeySketch)
	s, _ := v.([]uint64)
	return s
}

// grams returns the hashes of the different pieces, ascending.
func grams(tokens, lengths []int32) []uint64 {
	var all []uint64
	var b [4 * GramLen]byte
	for _, n := range lengths {
		for i := 0; i+GramLen <= int(n); i++ {
			piece := tokens[i : i+GramLen]
			if !varied(piece) {
				continue
			}
			for k, t := range piece {
				binary.LittleEndian.PutUint32(b[4*k:], uint32(t))
			}
			sum := sha256.Sum256(b[:])
			all = append(all, binary.BigEndian.Uint64(sum[:]))
		}
		tokens = tokens[n:]
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// varied reports whether a piece has enough different tokens.
func varied(piece []int32) bool {
	var seen [leastDistinct]int32
	n := 0
	for _, t := range piece {
		if slices.Contains(seen[:n], t) {
			continue
		}
		seen[n] = t
		if n++; n == leastDistinct {
			return true
		}
	}
	return false
}

// Overlap estimates how much the sequences of the given lengths have in common with the text of the sketch, 0 to 1: of
// the different pieces in the one that has fewer, those that occur in the other too. hits is how many of the sketch
// were found, on which the estimate stands.
func (s Sketch) Overlap(tokens, lengths []int32) (share float64, hits int) {
	sample := grams(tokens, lengths)
	if len(s) >= SketchSize { // otherwise the sketch has all pieces
		greatest := slices.Max(s)
		at, found := slices.BinarySearch(sample, greatest)
		if found {
			at++
		}
		sample = sample[:at]
	}
	for _, h := range s {
		if _, found := slices.BinarySearch(sample, h); found {
			hits++
		}
	}
	if hits == 0 {
		return 0, 0
	}
	return min(1, float64(hits)/float64(min(len(s), len(sample)))), hits
}
