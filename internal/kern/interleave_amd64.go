//go:build amd64 && !purego

package kern

//go:noescape
func interleave2AVX2(panel, rows *byte, u *Units)

//go:noescape
func interleave4AVX2(panel, rows *byte, u *Units)
