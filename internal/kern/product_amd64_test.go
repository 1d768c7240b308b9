//go:build !purego

package kern

func init() { testFew = fewAVX512 }
