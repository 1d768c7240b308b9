//go:build arm64 && !purego

package kern

// productsI8MM need USMMLA, and SDOT for a single token.
var productsI8MM = [NumFormats]func(*Product){
	Q4_0:   productQ4_0I8MM,
	Q4_1:   productQ4_1I8MM,
	Q5_0:   productQ5_0I8MM,
	Q5_1:   productQ5_1I8MM,
	Q8_0:   productQ8_0I8MM,
	IQ4_NL: productIQ4_NLI8MM,
	Q2_K:   productQ2_KI8MM,
	Q3_K:   productQ3_KI8MM,
	Q4_K:   productQ4_KI8MM,
	Q5_K:   productQ5_KI8MM,
	Q6_K:   productQ6_KI8MM,
	IQ4_XS: productIQ4_XSI8MM,

	Table32: productTable32I8MM,
	Table16: productTable16I8MM,
}

//go:noescape
func productQ4_0I8MM(p *Product)

//go:noescape
func productQ4_1I8MM(p *Product)

//go:noescape
func productQ5_0I8MM(p *Product)

//go:noescape
func productQ5_1I8MM(p *Product)

//go:noescape
func productQ8_0I8MM(p *Product)

//go:noescape
func productIQ4_NLI8MM(p *Product)

//go:noescape
func productQ2_KI8MM(p *Product)

//go:noescape
func productQ3_KI8MM(p *Product)

//go:noescape
func productQ4_KI8MM(p *Product)

//go:noescape
func productQ5_KI8MM(p *Product)

//go:noescape
func productQ6_KI8MM(p *Product)

//go:noescape
func productIQ4_XSI8MM(p *Product)

//go:noescape
func productTable32I8MM(p *Product)

//go:noescape
func productTable16I8MM(p *Product)
