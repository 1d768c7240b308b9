//go:build !amd64 || purego

package kern

// CPU identifies the model of this machine's CPU beyond its name; "" if unknown.
func CPU() string { return "" }

// defaultPrefetch is what is best known for this CPU where nothing was measured.
func defaultPrefetch(Format) (Hint, int) { return NoHint, 0 }

// defaultFew: no kernels of other CPUs have a way for few tokens that can be chosen.
func defaultFew() bool { return false }
