//go:build amd64 && !purego

package kern

// productsAVX512 is for CPUs that have VNNI.
var productsAVX512 = [NumFormats]func(*Product){
	Q4_0:   productQ4_0AVX512,
	Q4_1:   productQ4_1AVX512,
	Q5_0:   productQ5_0AVX512,
	Q5_1:   productQ5_1AVX512,
	Q8_0:   productQ8_0AVX512,
	IQ4_NL: productIQ4_NLAVX512,
	Q2_K:   productQ2_KAVX512,
	Q3_K:   productQ3_KAVX512,
	Q4_K:   productQ4_KAVX512,
	Q5_K:   productQ5_KAVX512,
	Q6_K:   productQ6_KAVX512,
	IQ4_XS: productIQ4_XSAVX512,

	Table32: productTable32AVX512,
	Table16: productTable16AVX512,
}

// fewAVX512 are the tokens for which the generator's vnniFormat.fewest has registers.
var fewAVX512 = [NumFormats]int{
	Q4_0: 4, Q4_1: 4, Q5_0: 4, Q5_1: 4, Q8_0: 4, IQ4_NL: 4,
	Q2_K: 4, Q3_K: 3, Q4_K: 4, Q5_K: 4, Q6_K: 4, IQ4_XS: 4, Table32: 4, Table16: 4,
}

// wideAVX512 are for several tokens, see [Form].
var wideAVX512 = [NumFormats]func(*Product){
	Q2_K: productQ2_KWideAVX512,
	Q3_K: productQ3_KWideAVX512,
	Q4_K: productQ4_KWideAVX512,
}

//go:noescape
func productQ4_0AVX512(p *Product)

//go:noescape
func productQ4_1AVX512(p *Product)

//go:noescape
func productQ5_0AVX512(p *Product)

//go:noescape
func productQ5_1AVX512(p *Product)

//go:noescape
func productQ8_0AVX512(p *Product)

//go:noescape
func productIQ4_NLAVX512(p *Product)

//go:noescape
func productQ2_KAVX512(p *Product)

//go:noescape
func productQ3_KAVX512(p *Product)

//go:noescape
func productQ4_KAVX512(p *Product)

//go:noescape
func productQ5_KAVX512(p *Product)

//go:noescape
func productQ6_KAVX512(p *Product)

//go:noescape
func productIQ4_XSAVX512(p *Product)

//go:noescape
func productTable32AVX512(p *Product)

//go:noescape
func productTable16AVX512(p *Product)

//go:noescape
func productQ2_KWideAVX512(p *Product)

//go:noescape
func productQ3_KWideAVX512(p *Product)

//go:noescape
func productQ4_KWideAVX512(p *Product)
