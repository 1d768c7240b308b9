//go:build amd64 && !linux && !purego

package kern

// tilesAllowed reports whether this process may use AMX's tiles. Systems other than Linux are not asked.
func tilesAllowed() bool { return false }
