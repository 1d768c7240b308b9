package inspect

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/dustin/go-humanize"

	"github.com/phi3conv/phi3conv/formats/pmap"
	"github.com/phi3conv/phi3conv/internal/progress"
	"github.com/phi3conv/phi3conv/internal/report"
)

// Checked is the result of comparing a .pmap file with its checksums.
type Checked struct {
	Path    string   `json:"path"`
	Bytes   int64    `json:"bytes"`
	SHA256  string   `json:"sha256"` // the root of the file's tree
	Damage  []string `json:"damage"` // a line for each damaged tensor or section
	Seconds float64  `json:"seconds"`
}

// WriteText says what is damaged, or that nothing is.
func (r *Checked) WriteText(w io.Writer) error {
	if len(r.Damage) > 0 {
		_, err := fmt.Fprintf(w, "%s\n", strings.Join(r.Damage, "\n"))
		return err
	}
	_, err := fmt.Fprintf(w, "%s: whole; SHA-256 %s; %s, %s/s\n", r.Path, r.SHA256,
		report.ByteSize(r.Bytes), humanize.IBytes(uint64(float64(r.Bytes)/r.Seconds)))
	return err
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
