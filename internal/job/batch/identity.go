package batch

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/phi3conv/phi3conv/internal/remote"
	"github.com/phi3conv/phi3conv/internal/work"
)

// Find is an [Identify]. Files and directories of this machine are known by all of their contents, and by the names
// within a directory; names that begin with a dot do not count. Others are known by what their server says.
func Find(ctx context.Context, path string) (id Identity, err error) {
	if remote.Is(path) {
		id.Hash, id.Size, err = remote.Identify(ctx, path, remote.Options{UserAgent: "phi3conv batch"})
		return id, err
	}
	info, err := os.Stat(path)
	if err != nil {
		return id, err
	}
	if !info.IsDir() {
		id.Hash, id.Size, err = work.HashFile(ctx, path, func(int64) {})
		return id, err
	}
	sum := sha256.New()
	err = filepath.WalkDir(path, func(name string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if name != path && strings.HasPrefix(e.Name(), ".") {
			if e.IsDir() {
				return filepath.SkipDir
			}
			return nil
		}
		if info, err := os.Stat(name); err != nil || info.IsDir() { // links count as what they lead to
			return err
		}
		hash, size, err := work.HashFile(ctx, name, func(int64) {})
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(path, name)
		_, _ = fmt.Fprintf(sum, "%q %s\n", filepath.ToSlash(rel), hash)
		id.Size += size
		return err
	})
	id.Hash = hex.EncodeToString(sum.Sum(nil))
	return id, err
}
