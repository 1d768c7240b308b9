//go:build !unix

package kern

import "testing"

// guardedMemory returns n bytes. Only the unix version guards them.
func guardedMemory(t testing.TB, n int) []byte { return make([]byte, n) }
