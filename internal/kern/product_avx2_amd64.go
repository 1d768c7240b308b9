//go:build amd64 && !purego

package kern

// productsAVX2 falls back on the set below it where it has no kernel.
var productsAVX2 = [NumFormats]func(*Product){
	Q4_0:   productQ4_0AVX2,
	Q4_1:   productQ4_1AVX2,
	Q5_0:   productQ5_0AVX2,
	Q5_1:   productQ5_1AVX2,
	Q8_0:   productQ8_0AVX2,
	IQ4_NL: productIQ4_NLAVX2,
	Q2_K:   productQ2_KAVX2,
	Q3_K:   productQ3_KAVX2,
	Q4_K:   productQ4_KAVX2,
	Q5_K:   productQ5_KAVX2,
	Q6_K:   productQ6_KAVX2,
	IQ4_XS: productIQ4_XSAVX2,

	Table32: productTable32AVX2,
	Table16: productTable16AVX2,
}

//go:noescape
func productQ4_0AVX2(p *Product)

//go:noescape
func productQ4_1AVX2(p *Product)

//go:noescape
func productQ5_0AVX2(p *Product)

//go:noescape
func productQ5_1AVX2(p *Product)

//go:noescape
func productQ8_0AVX2(p *Product)

//go:noescape
func productIQ4_NLAVX2(p *Product)

//go:noescape
func productQ2_KAVX2(p *Product)

//go:noescape
func productQ3_KAVX2(p *Product)

//go:noescape
func productQ4_KAVX2(p *Product)

//go:noescape
func productQ5_KAVX2(p *Product)

//go:noescape
func productQ6_KAVX2(p *Product)

//go:noescape
func productIQ4_XSAVX2(p *Product)

//go:noescape
func productTable32AVX2(p *Product)

//go:noescape
func productTable16AVX2(p *Product)
