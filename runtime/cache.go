package runtime

import (
	"fmt"
	"strings"

	"github.com/phi3conv/phi3conv/internal/kvcache"
)

// CacheType is how keys and values of earlier tokens are kept. The numbers are those of kvcache.Type.
type CacheType uint8

// Types of caches.
const (
	CacheF16 CacheType = iota
	CacheF32
	CacheQ8_0 // int8, with a float16 scale for each 32 dimensions of a head
)

// The numbers are equal, or this does not compile.
var (
	_ [CacheF32]struct{}  = [kvcache.F32]struct{}{}
	_ [CacheQ8_0]struct{} = [kvcache.Q8_0]struct{}{}
)

var cacheNames = [...]string{CacheF16: "f16", CacheF32: "f32", CacheQ8_0: "q8_0"}

func (t CacheType) String() string { return cacheNames[t] }

// ParseCacheType finds a type by its name: f16, f32 or q8_0.
func ParseCacheType(name string) (CacheType, error) {
	for t, n := range cacheNames {
		if n == name {
			return CacheType(t), nil
		}
	}
	return 0, fmt.Errorf("unknown cache type %q; known: %s", name, strings.Join(cacheNames[:], " "))
}
