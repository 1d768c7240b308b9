//go:build amd64 && !purego

package kern

// productsAMX is for CPUs that have AMX with bytes, for many tokens.
var productsAMX = [NumFormats]func(*Product){
	Q4_0:   productQ4_0AMX,
	Q4_1:   productQ4_1AMX,
	Q5_0:   productQ5_0AMX,
	Q5_1:   productQ5_1AMX,
	Q8_0:   productQ8_0AMX,
	IQ4_NL: productIQ4_NLAMX,
	Q2_K:   productQ2_KAMX,
	Q3_K:   productQ3_KAMX,
	Q4_K:   productQ4_KAMX,
	Q5_K:   productQ5_KAMX,
	Q6_K:   productQ6_KAMX,
	IQ4_XS: productIQ4_XSAMX,

	Table32: productTable32AMX,
	Table16: productTable16AMX,
}

//go:noescape
func productQ4_0AMX(p *Product)

//go:noescape
func productQ4_1AMX(p *Product)

//go:noescape
func productQ5_0AMX(p *Product)

//go:noescape
func productQ5_1AMX(p *Product)

//go:noescape
func productQ8_0AMX(p *Product)

//go:noescape
func productIQ4_NLAMX(p *Product)

//go:noescape
func productQ2_KAMX(p *Product)

//go:noescape
func productQ3_KAMX(p *Product)

//go:noescape
func productQ4_KAMX(p *Product)

//go:noescape
func productQ5_KAMX(p *Product)

//go:noescape
func productQ6_KAMX(p *Product)

//go:noescape
func productIQ4_XSAMX(p *Product)

//go:noescape
func productTable32AMX(p *Product)

//go:noescape
func productTable16AMX(p *Product)
