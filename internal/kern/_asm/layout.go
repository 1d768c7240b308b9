package main

// Offsets in kern's Product, A256, A32 and Units, which kern's TestLayouts checks.
const (
	pOut, pW, pA, pScratch, pT, pBlocks                 = 0, 8, 16, 24, 32, 40
	pOutStride, pAStride, pAdd, pPanels, pPanelBytes    = 48, 56, 64, 72, 80
	pHint, pAhead, pTable, pTiled, pFew                 = 88, 96, 104, 112, 120
	a256Sum16, a256Sum32, a256D, a256Bytes              = 256, 288, 304, 320
	a32D, a32S, a32Bytes                                = 32, 36, 40
	unitsRowBytes, unitsN, unitsBlocks, unitsBlockBytes = 0, 8, 16, 24
)

// sums returns the offset of the sums of groups in an A256 record.
func sums(groups int) int {
	if groups == 8 {
		return a256Sum32
	}
	return a256Sum16
}

// layout says of how many units a block consists, as kern.Layouts does. Offsets are those in a panel's block.
type layout struct{ head, quads, tail int }

func (l layout) bytes() int { return l.tailAt(l.tail) }

// at returns the offset of unit i of the 4-byte units.
func (l layout) at(i int) int { return 32*l.head + 64*i }

// tailAt returns the offset of unit i of the trailing 2-byte units.
func (l layout) tailAt(i int) int { return l.at(l.quads) + 32*i }

// layouts are those of the formats that have recipes.
var layouts = map[string]layout{
	"Q4_0": {1, 4, 0}, "Q4_1": {2, 4, 0}, "Q5_0": {1, 5, 0}, "Q5_1": {2, 5, 0}, "Q8_0": {1, 8, 0}, "IQ4_NL": {1, 4, 0},
	"Q2_K": {0, 20, 2}, "Q3_K": {0, 27, 1}, "Q4_K": {2, 35, 0}, "Q5_K": {2, 43, 0}, "Q6_K": {0, 52, 1},
	"IQ4_XS": {2, 33, 0}, "Table32": {0, 35, 0}, "Table16": {0, 37, 0},
}

// hints are the instructions that prefetch, by kern's Hint; without one there are none.
var hints = []struct{ name, x86, arm64 string }{
	{"", "", ""}, {"T0", "PREFETCHT0", "PLDL1KEEP"}, {"NTA", "PREFETCHNTA", "PLDL1STRM"},
}

// iq4Values are kern.IQ4Values.
var iq4Values = [16]int8{-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113}

// iq4Codes are the values plus 128.
var iq4Codes = func() (codes []byte) {
	for _, v := range iq4Values {
		codes = append(codes, byte(int(v)+128))
	}
	return codes
}()
