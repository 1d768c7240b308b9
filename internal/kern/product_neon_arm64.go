//go:build arm64 && !purego

package kern

// productsNEON falls back on the set below it where it has no kernel.
var productsNEON = [NumFormats]func(*Product){}
