//go:build arm64 && !purego

package kern

// floatsNEON are the products of float formats.
var floatsNEON = [NumFormats]func(*Product){
	F32:  floatF32NEON,
	F16:  floatF16NEON,
	BF16: floatBF16NEON,
}

//go:noescape
func floatF32NEON(p *Product)

//go:noescape
func floatF16NEON(p *Product)

//go:noescape
func floatBF16NEON(p *Product)
