//go:build purego || (!amd64 && !arm64)

package kern

func native() []*Set { return nil }
