// Package floats holds small functions of floating-point numbers that many packages use.
package floats

import "slices"

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

// Greatest returns the indices of the n greatest values, the greatest first; of equal ones the least index first.
func Greatest(values []float32, n int) []int32 {
	list := make([]int32, 0, n+1)
	for i, v := range values {
		if len(list) == n && (n == 0 || v <= values[list[n-1]]) {
			continue
		}
		at, _ := slices.BinarySearchFunc(list, v, func(i int32, v float32) int {
			if values[i] >= v {
				return -1
			}
			return 1
		})
		list = slices.Insert(list, at, int32(i))
		list = list[:min(len(list), n)]
	}
	return list
}
