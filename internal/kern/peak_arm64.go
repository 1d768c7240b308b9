//go:build arm64 && !purego

package kern

var (
	peaksNEON  = [NumMultiplications]Peak{Int8: {peakIntNEON, 16 * 8}, Float32: {peakFloatNEON, 16 * 4}}
	peakDot    = Peak{peakDotNEON, 16 * 16}
	peakMatrix = Peak{peakMatrixNEON, 16 * 32}
)

//go:noescape
func peakIntNEON(n int)

//go:noescape
func peakDotNEON(n int)

//go:noescape
func peakMatrixNEON(n int)

//go:noescape
func peakFloatNEON(n int)
