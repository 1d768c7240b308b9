//go:build arm64 && !purego

package kern

// productsNEON do without SDOT.
var productsNEON = [NumFormats]func(*Product){
	Q4_0:   productQ4_0NEON,
	Q4_1:   productQ4_1NEON,
	Q5_0:   productQ5_0NEON,
	Q5_1:   productQ5_1NEON,
	Q8_0:   productQ8_0NEON,
	IQ4_NL: productIQ4_NLNEON,
	Q2_K:   productQ2_KNEON,
	Q3_K:   productQ3_KNEON,
	Q4_K:   productQ4_KNEON,
	Q5_K:   productQ5_KNEON,
	Q6_K:   productQ6_KNEON,
	IQ4_XS: productIQ4_XSNEON,

	Table32: productTable32NEON,
	Table16: productTable16NEON,
}

//go:noescape
func productQ4_0NEON(p *Product)

//go:noescape
func productQ4_1NEON(p *Product)

//go:noescape
func productQ5_0NEON(p *Product)

//go:noescape
func productQ5_1NEON(p *Product)

//go:noescape
func productQ8_0NEON(p *Product)

//go:noescape
func productIQ4_NLNEON(p *Product)

//go:noescape
func productQ2_KNEON(p *Product)

//go:noescape
func productQ3_KNEON(p *Product)

//go:noescape
func productQ4_KNEON(p *Product)

//go:noescape
func productQ5_KNEON(p *Product)

//go:noescape
func productQ6_KNEON(p *Product)

//go:noescape
func productIQ4_XSNEON(p *Product)

//go:noescape
func productTable32NEON(p *Product)

//go:noescape
func productTable16NEON(p *Product)
