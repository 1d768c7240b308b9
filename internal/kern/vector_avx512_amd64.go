//go:build amd64 && !purego

package kern

// Quantizing is no faster with vectors twice as long.
var vectorAVX512 = vectorKernels{
	sumSquares:  sumSquaresAVX512,
	normalize:   normalizeAVX512,
	sum:         sumAVX512,
	center:      centerAVX512,
	scaleMax:    scaleMaxAVX512,
	expSum:      expSumAVX512,
	divide:      divideAVX512,
	siluMul:     siluMulAVX512,
	gelu:        geluAVX512,
	gegelu:      gegeluAVX512,
	sigmoid:     sigmoidAVX512,
	rope:        ropeAVX512,
	add:         addAVX512,
	addSum:      addSumAVX512,
	toF16:       toF16AVX512,
	toBF16:      toBF16AVX512,
	expandF16:   expandF16AVX512,
	expandPairs: expandPairsAVX512,
	scaleLanes:  scaleLanesAVX512,
	scaleRows:   scaleRowsAVX512,
	quantize256: quantize256AVX2,
	quantize32:  quantize32AVX2,
}.vector()

//go:noescape
func sumSquaresAVX512(x *float32, n int) (ret float32)

//go:noescape
func normalizeAVX512(dst, x, w *float32, n int, f float32)

//go:noescape
func sumAVX512(x *float32, n int) (ret float32)

//go:noescape
func centerAVX512(dst, x *float32, n int, f float32)

//go:noescape
func scaleMaxAVX512(x *float32, n int, f float32) (ret float32)

//go:noescape
func expSumAVX512(x *float32, n int, f float32) (ret float32)

//go:noescape
func divideAVX512(x *float32, n int, f float32)

//go:noescape
func siluMulAVX512(dst, gate, up *float32, n int)

//go:noescape
func geluAVX512(dst, x *float32, n int)

//go:noescape
func gegeluAVX512(dst, gate, up *float32, n int, f float32)

//go:noescape
func sigmoidAVX512(dst, x *float32, n int)

//go:noescape
func ropeAVX512(x, y, cos, sin *float32, n int)

//go:noescape
func addAVX512(dst, x *float32, n int)

//go:noescape
func addSumAVX512(dst, a, b *float32, n int)

//go:noescape
func toF16AVX512(dst *uint16, x *float32, n int)

//go:noescape
func toBF16AVX512(dst *uint16, x *float32, n int)

//go:noescape
func expandF16AVX512(dst *float32, x *uint16, n int)

//go:noescape
func expandPairsAVX512(dst *float32, x *uint32, n int)

//go:noescape
func scaleLanesAVX512(dst *float32, q *int8, scale *float32, n int)

//go:noescape
func scaleRowsAVX512(dst *float32, q *int8, scale *float32, n int)
