//go:build amd64 && !purego

package kern

// floatsAVX2 are the products of float formats.
var floatsAVX2 = [NumFormats]func(*Product){
	F32:  floatF32AVX2,
	F16:  floatF16AVX2,
	BF16: floatBF16AVX2,
}

//go:noescape
func floatF32AVX2(p *Product)

//go:noescape
func floatF16AVX2(p *Product)

//go:noescape
func floatBF16AVX2(p *Product)
