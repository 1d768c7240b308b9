// Package npy writes arrays of float32 as NumPy reads them (numpy.lib.format, version 1.0).
package npy

import (
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"strings"
)

// Writer writes one array.
type Writer struct {
	w   io.Writer
	buf []byte
}

// NewWriter writes the header of an array of the given shape to w. The values follow by [Writer.Write], in row-major
// order.
func NewWriter(w io.Writer, shape ...int) (*Writer, error) {
	var dims strings.Builder
	for i, n := range shape {
		if i > 0 {
			dims.WriteByte(' ')
		}
		fmt.Fprintf(&dims, "%d,", n)
	}
	tuple := dims.String()
	if len(shape) > 1 {
		tuple = strings.TrimSuffix(tuple, ",") // only a tuple of one needs its comma
	}
	// Magic, version, length of the text, and the text, padded with spaces and ended by a line end so that the values
	// begin at a multiple of 64 bytes.
	const before, align = 10, 64
	text := fmt.Sprintf("{'descr': '<f4', 'fortran_order': False, 'shape': (%s), }", tuple)
	size := (before + len(text) + 1 + align - 1) / align * align
	if size-before > math.MaxUint16 {
		return nil, fmt.Errorf("an array of %d dimensions, too many for the header", len(shape))
	}
	header := append([]byte("\x93NUMPY\x01\x00"), byte(size-before), byte((size-before)>>8))
	header = append(header, text...)
	for len(header) < size-1 {
		header = append(header, ' ')
	}
	_, err := w.Write(append(header, '\n'))
	return &Writer{w: w}, err
}

// Write writes the next values.
func (w *Writer) Write(values []float32) error {
	w.buf = w.buf[:0]
	for _, v := range values {
		w.buf = binary.LittleEndian.AppendUint32(w.buf, math.Float32bits(v))
	}
	_, err := w.w.Write(w.buf)
	return err
}
