//go:build arm64 && !purego

package kern

// native needs no check: every arm64 CPU has these NEON instructions.
func native() []*Set { return []*Set{&neon} }

var neon = Set{
	Name:             "neon",
	Transpose:        transposeNEON,
	WeightAbs:        weightAbsNEON,
	WeightImportance: weightImportanceNEON,
	WeightSquare:     weightSquareNEON,
	MinMax:           minMaxNEON,
	AbsMax:           absMaxNEON,
	ScaleMin:         scaleMinNEON,
	ScaleMinAbs:      scaleMinAbsNEON,
	ScaleSymmetric:   scaleSymmetricNEON,
	ScaleDescent:     scaleDescentNEON,
	ScaleTable:       scaleTableNEON,
	EncodeRound:      encodeRoundNEON,
	EncodeFloor:      encodeFloorNEON,
	EncodeAway:       encodeAwayNEON,
	EncodeTable:      encodeTableNEON,
	ExpandBF16:       expandBF16,
	Finite:           finite,
}

//go:noescape
func transposeNEON(dst, src *[512]float32, n int)

//go:noescape
func weightAbsNEON(t *Tile)

//go:noescape
func weightImportanceNEON(t *Tile)

//go:noescape
func weightSquareNEON(t *Tile)

//go:noescape
func minMaxNEON(t *Tile)

//go:noescape
func absMaxNEON(t *Tile)

//go:noescape
func scaleMinNEON(t *Tile)

//go:noescape
func scaleMinAbsNEON(t *Tile)

//go:noescape
func scaleSymmetricNEON(t *Tile)

//go:noescape
func scaleDescentNEON(t *Tile)

//go:noescape
func scaleTableNEON(t *Tile)

//go:noescape
func encodeRoundNEON(t *Tile)

//go:noescape
func encodeFloorNEON(t *Tile)

//go:noescape
func encodeAwayNEON(t *Tile)

//go:noescape
func encodeTableNEON(t *Tile)
