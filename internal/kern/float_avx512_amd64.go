//go:build amd64 && !purego

package kern

// floatsAVX512 are the products of float formats.
var floatsAVX512 = [NumFormats]func(*Product){
	F32:  floatF32AVX512,
	F16:  floatF16AVX512,
	BF16: floatBF16AVX512,
}

//go:noescape
func floatF32AVX512(p *Product)

//go:noescape
func floatF16AVX512(p *Product)

//go:noescape
func floatBF16AVX512(p *Product)

// productBF16AVX512 is [Set.ProductBF16], by VDPBF16PS.
//
//go:noescape
func productBF16AVX512(p *Product)
