package remote

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"path/filepath"
)

// Identify returns a hash of the files that a name leads to now, and their size, and fetches none: of their names, and
// of the hashes that the server has.
func Identify(ctx context.Context, name string, opt Options) (hash string, size int64, err error) {
	p, err := open(ctx, name, opt)
	if err != nil {
		return "", 0, err
	}
	sum := sha256.New()
	for _, f := range p.files {
		if p.file != "" && f.Name != filepath.ToSlash(p.file) {
			continue
		}
		_, _ = fmt.Fprintf(sum, "%q %d %s\n", f.Name, f.Size, f.Hash)
		size += f.Size
	}
	return hex.EncodeToString(sum.Sum(nil)), size, nil
}
