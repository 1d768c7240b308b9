// Package floats holds small functions of floating-point numbers that many packages use.
package floats

// Float is any floating-point type.
type Float interface{ ~float32 | ~float64 }

// Finite reports whether x is neither infinite nor NaN.
func Finite[T Float](x T) bool {
	x = T(x)        // rounded: x may be a product, which must not be fused with the difference
	return x-x == 0 // Inf - Inf and NaN - NaN are NaN
}

// InverseOrZero returns 1/x, or 0 where that is not finite.
func InverseOrZero[T Float](x T) T {
	if inv := 1 / x; Finite(inv) {
		return inv
	}
	return 0
}
