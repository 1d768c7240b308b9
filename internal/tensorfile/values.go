package tensorfile

import (
	"context"
	"errors"
	"io"

	"github.com/phi3conv/phi3conv/formats"
)

// Values calls f with all of the tensor's values, piece by piece from the first to the last, and with the bytes
// that encode them. Both are valid until f returns. It ends with the first error, or when ctx is cancelled.
func (t *Tensor) Values(ctx context.Context, f func(values []float32, data []byte) error) error {
	if t.Unusable != nil {
		return formats.WrapFile(t.Unusable, t.Path, "tensor "+t.Name)
	}
	for r := t.Reader(); ; {
		if err := ctx.Err(); err != nil {
			return err
		}
		values, data, err := r.Next()
		if errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		if err := f(values, data); err != nil {
			return err
		}
	}
}
