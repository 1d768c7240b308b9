//go:build arm64 && !purego

package kern

//go:noescape
func interleave2NEON(panel, rows *byte, u *Units)

//go:noescape
func interleave4NEON(panel, rows *byte, u *Units)
