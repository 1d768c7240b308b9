package inspect

import (
	"context"
	"encoding/hex"
	"errors"
	"os"
	"strings"
	"time"

	"github.com/phi3conv/phi3conv/formats/pmap"
	"github.com/phi3conv/phi3conv/internal/progress"
)

// Checked is the result of comparing a .pmap file with its checksums.
type Checked struct {
	Path    string   `json:"path"`
	Bytes   int64    `json:"bytes"`
	SHA256  string   `json:"sha256"` // the root of the file's tree
	Damage  []string `json:"damage"` // a line for each damaged tensor or section
	Seconds float64  `json:"seconds"`
}

// Check reads all of a .pmap file and compares it with its checksums. Damage is a result, not an error. The monitor
// may be nil.
func Check(ctx context.Context, path string, threads int, monitor progress.Monitor) (*Checked, error) {
	f, err := pmap.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // only read from
	root, err := f.Root()
	if err != nil {
		return nil, err
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	r := &Checked{Path: path, Bytes: info.Size(), SHA256: hex.EncodeToString(root[:]), Damage: []string{}}
	start := time.Now()
	step := progress.Quiet(monitor).Begin("checking", r.Bytes, progress.Bytes)
	err = f.Check(ctx, threads, step.Set)
	step.End()
	r.Seconds = time.Since(start).Seconds()
	if err != nil {
		if !errors.Is(err, pmap.ErrDamaged) {
			return nil, err
		}
		r.Damage = strings.Split(err.Error(), "\n")
	}
	return r, nil
}
