//go:build arm64 && !purego

package kern

// productsDotProd falls back on the set below it where it has no kernel.
var productsDotProd = [NumFormats]func(*Product){}
