package source

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"

	"github.com/phi3conv/phi3conv/internal/work"
)

// SHA256 hashes the weights: every tensor's name, type, shape and bytes, in the order of Tensors.
// The result, in hexadecimal, does not depend on how they are spread over files. progress, if not nil, is called with
// the bytes done.
func (m *Model) SHA256(ctx context.Context, progress func(done int64)) (string, error) {
	h, done := sha256.New(), int64(0)
	var buf []byte
	for i := range m.Tensors {
		t := &m.Tensors[i]
		_, _ = fmt.Fprintf(h, "%s %s %v\n", t.GGUF, t.TypeName(), t.Shape)
		step := max(1, (1<<20)/t.RowBytes())
		for row, rows := 0, t.Rows(); row < rows; row += step {
			if err := ctx.Err(); err != nil {
				return "", err
			}
			buf = work.Resize(buf, min(step, rows-row)*t.RowBytes())
			if err := t.ReadRows(buf, row); err != nil {
				return "", err
			}
			_, _ = h.Write(buf)
			if done += int64(len(buf)); progress != nil {
				progress(done)
			}
		}
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}
