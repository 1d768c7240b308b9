//go:build arm64 && !purego

package kern

// floatsNEON are the products of float formats.
var floatsNEON = [NumFormats]func(*Product){}
