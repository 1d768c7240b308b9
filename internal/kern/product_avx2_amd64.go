//go:build amd64 && !purego

package kern

// productsAVX2 falls back on the set below it where it has no kernel.
var productsAVX2 = [NumFormats]func(*Product){}
