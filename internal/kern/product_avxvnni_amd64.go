//go:build amd64 && !purego

package kern

// productsAVXVNNI are for several tokens, on CPUs that have AVX-VNNI.
var productsAVXVNNI = [NumFormats]func(*Product){
	Q4_0:   productQ4_0AVXVNNI,
	Q4_1:   productQ4_1AVXVNNI,
	Q5_0:   productQ5_0AVXVNNI,
	Q5_1:   productQ5_1AVXVNNI,
	Q8_0:   productQ8_0AVXVNNI,
	IQ4_NL: productIQ4_NLAVXVNNI,
	Q2_K:   productQ2_KAVXVNNI,
	Q3_K:   productQ3_KAVXVNNI,
	Q4_K:   productQ4_KAVXVNNI,
	Q5_K:   productQ5_KAVXVNNI,
	Q6_K:   productQ6_KAVXVNNI,
	IQ4_XS: productIQ4_XSAVXVNNI,

	Table32: productTable32AVXVNNI,
	Table16: productTable16AVXVNNI,
}

//go:noescape
func productQ4_0AVXVNNI(p *Product)

//go:noescape
func productQ4_1AVXVNNI(p *Product)

//go:noescape
func productQ5_0AVXVNNI(p *Product)

//go:noescape
func productQ5_1AVXVNNI(p *Product)

//go:noescape
func productQ8_0AVXVNNI(p *Product)

//go:noescape
func productIQ4_NLAVXVNNI(p *Product)

//go:noescape
func productQ2_KAVXVNNI(p *Product)

//go:noescape
func productQ3_KAVXVNNI(p *Product)

//go:noescape
func productQ4_KAVXVNNI(p *Product)

//go:noescape
func productQ5_KAVXVNNI(p *Product)

//go:noescape
func productQ6_KAVXVNNI(p *Product)

//go:noescape
func productIQ4_XSAVXVNNI(p *Product)

//go:noescape
func productTable32AVXVNNI(p *Product)

//go:noescape
func productTable16AVXVNNI(p *Product)
