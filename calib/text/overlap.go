package text

// overlapLen is the number of tokens of the pieces that [Overlap] looks for: long enough that
// texts share them by copying only.
const overlapLen = 13

// Overlap returns how much the sequences of the given lengths and a text have in common, 0 to 1: of the
// different pieces of 13 tokens in the one that has fewer, those that occur in the other too.
// What a model is judged by should not be what it was calibrated with.
func Overlap(tokens, lengths, text []int32) float64 {
	type piece [overlapLen]int32
	a, b := map[piece]bool{}, map[piece]bool{}
	add := func(set map[piece]bool, tokens []int32) {
		for i := 0; i+overlapLen <= len(tokens); i++ {
			set[piece(tokens[i:])] = true
		}
	}
	for _, n := range lengths {
		add(a, tokens[:n])
		tokens = tokens[n:]
	}
	add(b, text)
	if len(a) == 0 || len(b) == 0 {
		return 0
	}
	common := 0
	for p := range a {
		if b[p] {
			common++
		}
	}
	return float64(common) / float64(min(len(a), len(b)))
}
