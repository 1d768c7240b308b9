//go:build arm64 && !purego

package kern

import "golang.org/x/sys/cpu"

// native checks for what goes beyond the NEON that every arm64 CPU has.
func native() []*Set {
	s := []*Set{&neon}
	if cpu.ARM64.HasASIMDDP {
		dot := neon
		dot.Name, dot.Products = "dotprod", over(neon.Products, productsDotProd)
		dot.Peaks[Int8] = peakDot
		s = append(s, &dot)
		if cpu.ARM64.HasI8MM {
			mm := dot
			mm.Name, mm.Products = "i8mm", over(dot.Products, productsI8MM)
			mm.Peaks[Int8] = peakMatrix
			s = append(s, &mm)
		}
	}
	return s
}

var neon = Set{
	Name:           "neon",
	Transpose:      transposeNEON,
	WeightAbs:      weightAbsNEON,
	WeightSquare:   weightSquareNEON,
	MinMax:         minMaxNEON,
	AbsMax:         absMaxNEON,
	ScaleMin:       scaleMinNEON,
	ScaleMinAbs:    scaleMinAbsNEON,
	ScaleSymmetric: scaleSymmetricNEON,
	ScaleDescent:   scaleDescentNEON,
	ScaleTable:     scaleTableNEON,
	CodeSums:       codeSumsNEON,
	EncodeRound:    encodeRoundNEON,
	EncodeFloor:    encodeFloorNEON,
	EncodeAway:     encodeAwayNEON,
	EncodeTable:    encodeTableNEON,
	Feedback:       feedbackNEON,
	ExpandBF16:     expand,
	Below:          allBelow,
	Read:           readNEON,
	Peaks:          peaksNEON,
	Products:       over(productsGeneric, over(productsNEON, floatsNEON)),
	Interleave2:    interleave2NEON,
	Interleave4:    interleave4NEON,
	Vector:         vectorNEON,
}

// expand and allBelow give the assembly a multiple of 16 values and do the rest in portable Go.

func expand(dst []float32, src []byte) {
	n := len(dst) &^ 15
	src = src[:2*len(dst)]
	if n > 0 {
		expandBF16NEON(&dst[0], &src[0], n)
	}
	expandBF16(dst[n:], src[2*n:])
}

func allBelow(x []float32, limit float32) bool {
	n := len(x) &^ 15
	return (n == 0 || belowNEON(&x[0], n, limit)) && below(x[n:], limit)
}

//go:noescape
func expandBF16NEON(dst *float32, src *byte, n int)

//go:noescape
func belowNEON(x *float32, n int, limit float32) bool

//go:noescape
func transposeNEON(dst, src *[512]float32, n int)

//go:noescape
func weightAbsNEON(t *Tile)

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
func codeSumsNEON(t *Tile)

//go:noescape
func encodeRoundNEON(t *Tile)

//go:noescape
func encodeFloorNEON(t *Tile)

//go:noescape
func encodeAwayNEON(t *Tile)

//go:noescape
func encodeTableNEON(t *Tile)

//go:noescape
func feedbackNEON(t *Feedback)
