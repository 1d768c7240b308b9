//go:build amd64 && !purego

package kern

var vectorAVX2 = vectorKernels{
	sumSquares:  sumSquaresAVX2,
	normalize:   normalizeAVX2,
	sum:         sumAVX2,
	center:      centerAVX2,
	scaleMax:    scaleMaxAVX2,
	expSum:      expSumAVX2,
	divide:      divideAVX2,
	siluMul:     siluMulAVX2,
	gelu:        geluAVX2,
	gegelu:      gegeluAVX2,
	sigmoid:     sigmoidAVX2,
	rope:        ropeAVX2,
	add:         addAVX2,
	addSum:      addSumAVX2,
	toF16:       toF16AVX2,
	toBF16:      toBF16AVX2,
	expandF16:   expandF16AVX2,
	expandPairs: expandPairsAVX2,
	scaleLanes:  scaleLanesAVX2,
	scaleRows:   scaleRowsAVX2,
	quantize256: quantize256AVX2,
	quantize32:  quantize32AVX2,
}.vector()

//go:noescape
func sumSquaresAVX2(x *float32, n int) (ret float32)

//go:noescape
func normalizeAVX2(dst, x, w *float32, n int, f float32)

//go:noescape
func sumAVX2(x *float32, n int) (ret float32)

//go:noescape
func centerAVX2(dst, x *float32, n int, f float32)

//go:noescape
func scaleMaxAVX2(x *float32, n int, f float32) (ret float32)

//go:noescape
func expSumAVX2(x *float32, n int, f float32) (ret float32)

//go:noescape
func divideAVX2(x *float32, n int, f float32)

//go:noescape
func siluMulAVX2(dst, gate, up *float32, n int)

//go:noescape
func geluAVX2(dst, x *float32, n int)

//go:noescape
func gegeluAVX2(dst, gate, up *float32, n int, f float32)

//go:noescape
func sigmoidAVX2(dst, x *float32, n int)

//go:noescape
func ropeAVX2(x, y, cos, sin *float32, n int)

//go:noescape
func addAVX2(dst, x *float32, n int)

//go:noescape
func addSumAVX2(dst, a, b *float32, n int)

//go:noescape
func toF16AVX2(dst *uint16, x *float32, n int)

//go:noescape
func toBF16AVX2(dst *uint16, x *float32, n int)

//go:noescape
func expandF16AVX2(dst *float32, x *uint16, n int)

//go:noescape
func expandPairsAVX2(dst *float32, x *uint32, n int)

//go:noescape
func scaleLanesAVX2(dst *float32, q *int8, scale *float32, n int)

//go:noescape
func scaleRowsAVX2(dst *float32, q *int8, scale *float32, n int)

//go:noescape
func quantize256AVX2(dst *byte, x *float32, n, stride int)

//go:noescape
func quantize32AVX2(dst *byte, x *float32, n, stride int)
