//go:build unix

package remote

import "os"

// rename gives an open file its name.
func rename(f *os.File, path string) error { return os.Rename(f.Name(), path) }
