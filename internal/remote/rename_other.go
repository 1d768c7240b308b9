//go:build !unix

package remote

import "os"

// rename gives a file, which must be closed for that, its name.
func rename(f *os.File, path string) error {
	if err := f.Close(); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}
