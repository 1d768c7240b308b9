//go:build amd64 && !purego

package kern

var (
	peaksAVX2   = [NumMultiplications]Peak{Int8: {peakIntAVX2, 7 * 32}, Float32: {peakFloatAVX2, 12 * 8}}
	peaksAVX512 = [NumMultiplications]Peak{Int8: {peakIntAVX2, 7 * 32}, Float32: {peakFloatAVX512, 12 * 16}}
	peakDot     = Peak{peakDotAVX2, 12 * 32}
	peakVNNI    = Peak{peakIntAVX512, 12 * 64}
	peakBF16    = Peak{peakBF16AVX512, 12 * 32}
	peakTiles   = Peak{peakAMX, 4 * 16 * 16 * 64}
)

//go:noescape
func peakIntAVX2(n int)

//go:noescape
func peakDotAVX2(n int)

//go:noescape
func peakFloatAVX2(n int)

//go:noescape
func peakIntAVX512(n int)

//go:noescape
func peakFloatAVX512(n int)

//go:noescape
func peakBF16AVX512(n int)

//go:noescape
func peakAMX(n int)
