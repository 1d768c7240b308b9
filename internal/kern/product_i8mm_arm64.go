//go:build arm64 && !purego

package kern

// productsI8MM falls back on the set below it where it has no kernel.
var productsI8MM = [NumFormats]func(*Product){}
