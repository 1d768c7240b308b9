//go:build arm64 && !purego

package kern

// productsDotProd need SDOT.
var productsDotProd = [NumFormats]func(*Product){
	Q4_0:   productQ4_0DotProd,
	Q4_1:   productQ4_1DotProd,
	Q5_0:   productQ5_0DotProd,
	Q5_1:   productQ5_1DotProd,
	Q8_0:   productQ8_0DotProd,
	IQ4_NL: productIQ4_NLDotProd,
	Q2_K:   productQ2_KDotProd,
	Q3_K:   productQ3_KDotProd,
	Q4_K:   productQ4_KDotProd,
	Q5_K:   productQ5_KDotProd,
	Q6_K:   productQ6_KDotProd,
	IQ4_XS: productIQ4_XSDotProd,

	Table32: productTable32DotProd,
	Table16: productTable16DotProd,
}

//go:noescape
func productQ4_0DotProd(p *Product)

//go:noescape
func productQ4_1DotProd(p *Product)

//go:noescape
func productQ5_0DotProd(p *Product)

//go:noescape
func productQ5_1DotProd(p *Product)

//go:noescape
func productQ8_0DotProd(p *Product)

//go:noescape
func productIQ4_NLDotProd(p *Product)

//go:noescape
func productQ2_KDotProd(p *Product)

//go:noescape
func productQ3_KDotProd(p *Product)

//go:noescape
func productQ4_KDotProd(p *Product)

//go:noescape
func productQ5_KDotProd(p *Product)

//go:noescape
func productQ6_KDotProd(p *Product)

//go:noescape
func productIQ4_XSDotProd(p *Product)

//go:noescape
func productTable32DotProd(p *Product)

//go:noescape
func productTable16DotProd(p *Product)
