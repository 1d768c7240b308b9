//go:build arm64 && !purego

package kern

var vectorNEON = vectorKernels{
	sumSquares:  sumSquaresNEON,
	normalize:   normalizeNEON,
	sum:         sumNEON,
	center:      centerNEON,
	scaleMax:    scaleMaxNEON,
	expSum:      expSumNEON,
	divide:      divideNEON,
	siluMul:     siluMulNEON,
	gelu:        geluNEON,
	gegelu:      gegeluNEON,
	sigmoid:     sigmoidNEON,
	rope:        ropeNEON,
	add:         addNEON,
	addSum:      addSumNEON,
	toF16:       toF16NEON,
	toBF16:      toBF16NEON,
	expandF16:   expandF16NEON,
	expandPairs: expandPairsNEON,
	scaleLanes:  scaleLanesNEON,
	scaleRows:   scaleRowsNEON,
	quantize256: quantize256NEON,
	quantize32:  quantize32NEON,
}.vector()

//go:noescape
func sumSquaresNEON(x *float32, n int) (ret float32)

//go:noescape
func normalizeNEON(dst, x, w *float32, n int, f float32)

//go:noescape
func sumNEON(x *float32, n int) (ret float32)

//go:noescape
func centerNEON(dst, x *float32, n int, f float32)

//go:noescape
func scaleMaxNEON(x *float32, n int, f float32) (ret float32)

//go:noescape
func expSumNEON(x *float32, n int, f float32) (ret float32)

//go:noescape
func divideNEON(x *float32, n int, f float32)

//go:noescape
func siluMulNEON(dst, gate, up *float32, n int)

//go:noescape
func geluNEON(dst, x *float32, n int)

//go:noescape
func gegeluNEON(dst, gate, up *float32, n int, f float32)

//go:noescape
func sigmoidNEON(dst, x *float32, n int)

//go:noescape
func ropeNEON(x, y, cos, sin *float32, n int)

//go:noescape
func addNEON(dst, x *float32, n int)

//go:noescape
func addSumNEON(dst, a, b *float32, n int)

//go:noescape
func toF16NEON(dst *uint16, x *float32, n int)

//go:noescape
func toBF16NEON(dst *uint16, x *float32, n int)

//go:noescape
func expandF16NEON(dst *float32, x *uint16, n int)

//go:noescape
func expandPairsNEON(dst *float32, x *uint32, n int)

//go:noescape
func scaleLanesNEON(dst *float32, q *int8, scale *float32, n int)

//go:noescape
func scaleRowsNEON(dst *float32, q *int8, scale *float32, n int)

//go:noescape
func quantize256NEON(dst *byte, x *float32, n, stride int)

//go:noescape
func quantize32NEON(dst *byte, x *float32, n, stride int)
