//go:build amd64 && !purego

package kern

import "golang.org/x/sys/cpu"

func native() []*Set {
	x := &cpu.X86
	if !x.HasAVX2 || !x.HasFMA || !x.HasF16C {
		return nil
	}
	s := []*Set{&avx2}
	if x.HasAVXVNNI {
		vnni := avx2
		vnni.Name, vnni.Several, vnni.Peaks[Int8] = "avxvnni", productsAVXVNNI, peakDot
		s = append(s, &vnni)
	}
	if x.HasAVX512F && x.HasAVX512DQ && x.HasAVX512BW && x.HasAVX512VL {
		s = append(s, &avx512)
		if x.HasAVX512VNNI {
			vnni := avx512
			vnni.Name = "avx512vnni"
			vnni.Products, vnni.Wide, vnni.Few = over(vnni.Products, productsAVX512), wideAVX512, fewAVX512
			vnni.Peaks[Int8] = peakVNNI
			if x.HasAVX512BF16 {
				vnni.ProductBF16, vnni.Peaks[BFloat16] = productBF16AVX512, peakBF16
			}
			s = append(s, &vnni)
			if x.HasAMXTile && x.HasAMXInt8 && tilesAllowed() {
				amx := vnni
				amx.Name, amx.Many, amx.Peaks[Int8] = "amx", productsAMX, peakTiles
				amx.Wide = [NumFormats]func(*Product){} // avx512vnni has them
				s = append(s, &amx)
			}
		}
	}
	return s
}

var avx2 = Set{
	Name:           "avx2",
	Transpose:      transposeAVX2,
	WeightAbs:      weightAbsAVX2,
	WeightSquare:   weightSquareAVX2,
	MinMax:         minMaxAVX2,
	AbsMax:         absMaxAVX2,
	ScaleMin:       scaleMinAVX2,
	ScaleMinAbs:    scaleMinAbsAVX2,
	ScaleSymmetric: scaleSymmetricAVX2,
	ScaleDescent:   scaleDescentAVX2,
	ScaleTable:     scaleTableAVX2,
	CodeSums:       codeSumsAVX2,
	EncodeRound:    encodeRoundAVX2,
	EncodeFloor:    encodeFloorAVX2,
	EncodeAway:     encodeAwayAVX2,
	EncodeTable:    encodeTableAVX2,
	Feedback:       feedbackAVX2,
	ExpandBF16:     expand,
	Below:          allBelow,
	Read:           readAVX2,
	Peaks:          peaksAVX2,
	Products:       over(productsGeneric, over(productsAVX2, floatsAVX2)),
	Interleave2:    interleave2AVX2,
	Interleave4:    interleave4AVX2,
	Vector:         vectorAVX2,
}

var avx512 = Set{
	Name:           "avx512",
	Transpose:      transposeAVX2,
	WeightAbs:      weightAbsAVX512,
	WeightSquare:   weightSquareAVX512,
	MinMax:         minMaxAVX512,
	AbsMax:         absMaxAVX512,
	ScaleMin:       scaleMinAVX512,
	ScaleMinAbs:    scaleMinAbsAVX512,
	ScaleSymmetric: scaleSymmetricAVX512,
	ScaleDescent:   scaleDescentAVX512,
	ScaleTable:     scaleTableAVX512,
	CodeSums:       codeSumsAVX512,
	EncodeRound:    encodeRoundAVX512,
	EncodeFloor:    encodeFloorAVX512,
	EncodeAway:     encodeAwayAVX512,
	EncodeTable:    encodeTableAVX512,
	Feedback:       feedbackAVX512,
	ExpandBF16:     expand,
	Below:          allBelow,
	Read:           readAVX2,
	Peaks:          peaksAVX512,
	Products:       over(productsGeneric, over(over(productsAVX2, floatsAVX2), floatsAVX512)),
	Interleave2:    interleave2AVX2,
	Interleave4:    interleave4AVX2,
	Vector:         vectorAVX512,
}

// expand and allBelow give the assembly a multiple of 16 values and do the rest in portable Go.

func expand(dst []float32, src []byte) {
	n := len(dst) &^ 15
	src = src[:2*len(dst)]
	if n > 0 {
		expandBF16AVX2(&dst[0], &src[0], n)
	}
	expandBF16(dst[n:], src[2*n:])
}

func allBelow(x []float32, limit float32) bool {
	n := len(x) &^ 15
	return (n == 0 || belowAVX2(&x[0], n, limit)) && below(x[n:], limit)
}

//go:noescape
func expandBF16AVX2(dst *float32, src *byte, n int)

//go:noescape
func belowAVX2(x *float32, n int, limit float32) bool

//go:noescape
func transposeAVX2(dst, src *[512]float32, n int)

//go:noescape
func weightAbsAVX2(t *Tile)

//go:noescape
func weightSquareAVX2(t *Tile)

//go:noescape
func minMaxAVX2(t *Tile)

//go:noescape
func absMaxAVX2(t *Tile)

//go:noescape
func scaleMinAVX2(t *Tile)

//go:noescape
func scaleMinAbsAVX2(t *Tile)

//go:noescape
func scaleSymmetricAVX2(t *Tile)

//go:noescape
func scaleDescentAVX2(t *Tile)

//go:noescape
func scaleTableAVX2(t *Tile)

//go:noescape
func codeSumsAVX2(t *Tile)

//go:noescape
func encodeRoundAVX2(t *Tile)

//go:noescape
func encodeFloorAVX2(t *Tile)

//go:noescape
func encodeAwayAVX2(t *Tile)

//go:noescape
func encodeTableAVX2(t *Tile)

//go:noescape
func feedbackAVX2(t *Feedback)

//go:noescape
func weightAbsAVX512(t *Tile)

//go:noescape
func weightSquareAVX512(t *Tile)

//go:noescape
func minMaxAVX512(t *Tile)

//go:noescape
func absMaxAVX512(t *Tile)

//go:noescape
func scaleMinAVX512(t *Tile)

//go:noescape
func scaleMinAbsAVX512(t *Tile)

//go:noescape
func scaleSymmetricAVX512(t *Tile)

//go:noescape
func scaleDescentAVX512(t *Tile)

//go:noescape
func scaleTableAVX512(t *Tile)

//go:noescape
func codeSumsAVX512(t *Tile)

//go:noescape
func encodeRoundAVX512(t *Tile)

//go:noescape
func encodeFloorAVX512(t *Tile)

//go:noescape
func encodeAwayAVX512(t *Tile)

//go:noescape
func encodeTableAVX512(t *Tile)

//go:noescape
func feedbackAVX512(t *Feedback)
