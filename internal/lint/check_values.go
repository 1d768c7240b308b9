package lint

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"slices"
	"strings"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"github.com/phi3conv/phi3conv/internal/arch"
	"github.com/phi3conv/phi3conv/internal/tensorfile"
	"github.com/phi3conv/phi3conv/internal/work"
	"github.com/phi3conv/phi3conv/quant"
	"github.com/phi3conv/phi3conv/verify/tensorstats"
)

// summary is what a pass over a tensor's data found.
type summary struct {
	tensorstats.Stats
	scales scaleCount
}

// readValues fills in m.values.
func (m *model) readValues(ctx context.Context, threads int, progress func(done, total int64)) error {
	if m.file == nil {
		return nil
	}
	var total int64
	var done atomic.Int64
	for i := range m.file.Tensors {
		total += m.file.Tensors[i].Bytes
	}
	m.values = make([]*summary, len(m.file.Tensors))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(threads)
	for i := range m.file.Tensors {
		t := &m.file.Tensors[i]
		s := &summary{scales: newScaleCount(t)}
		m.values[i] = s
		if t.Unusable != nil {
			continue
		}
		g.Go(func() error {
			for r := t.Reader(); ; {
				if err := ctx.Err(); err != nil {
					return err
				}
				x, data, err := r.Next()
				if errors.Is(err, io.EOF) {
					return nil
				} else if err != nil {
					return err
				}
				s.Add(x)
				s.scales.add(data)
				if n := done.Add(int64(len(data))); progress != nil {
					progress(n, total)
				}
			}
		})
	}
	return g.Wait()
}

// scaleCount counts the blocks of a matrix by their scale.
type scaleCount struct {
	blocks int64
	tiny   int64 // scale not 0 but below tinyScale

	at, size int     // offset of the scale; bytes of a block, 0 for types without blocks
	columns  []int64 // blocks with scale 0, by their place in the row
	rows     int64   // whole rows so far
	zeroRows int64   // those of them in which every scale is 0
	inRow    int     // blocks of the current row so far
	zeroRow  int     // those of them with scale 0
}

// tinyScale is 4·2⁻²⁴ as float16 bits: below it scales have at most 2 bits.
const tinyScale = 4

// maxColumns is far above the number of blocks in a row of any model.
const maxColumns = 1 << 16

func newScaleCount(t *tensorfile.Tensor) scaleCount {
	scales := t.Block.ScaleOffsets()
	if len(scales) == 0 || t.IsF64 || t.Unusable != nil {
		return scaleCount{}
	}
	columns := t.Shape[len(t.Shape)-1] / uint64(t.Block.BlockLen())
	if columns > maxColumns {
		return scaleCount{}
	}
	return scaleCount{at: scales[0], size: t.Block.BlockBytes(), columns: make([]int64, columns)}
}

// add takes the next whole blocks.
func (c *scaleCount) add(data []byte) {
	if c.size == 0 {
		return
	}
	for ; len(data) > 0; data = data[c.size:] {
		c.blocks++
		switch d := binary.LittleEndian.Uint16(data[c.at:]) &^ 0x8000; {
		case d == 0:
			c.columns[c.inRow]++
			c.zeroRow++
		case d < tinyScale:
			c.tiny++
		}
		if c.inRow++; c.inRow == len(c.columns) {
			c.rows++
			if c.zeroRow == len(c.columns) {
				c.zeroRows++
			}
			c.inRow, c.zeroRow = 0, 0
		}
	}
}

// zero returns the number of blocks with scale 0 in rows and columns of blocks
// that have other scales too. Rows of zeros are unused tokens, columns of zeros
// pad a model to a greater width.
func (c *scaleCount) zero() int64 {
	var n int64
	for _, zeros := range c.columns {
		if zeros < c.rows {
			n += zeros - c.zeroRows
		}
	}
	return n
}

// each calls f for each tensor whose values were read.
func (m *model) each(f func(t *tensorfile.Tensor, s *summary)) {
	for i, s := range m.values {
		if s.Count > 0 {
			f(&m.file.Tensors[i], s)
		}
	}
}

func notFinite(m *model, report reportFunc) {
	m.each(func(t *tensorfile.Tensor, s *summary) {
		if s.NaN+s.Inf > 0 {
			report(t.Name, "%d NaN and %d infinite of %d values", s.NaN, s.Inf, s.Count)
		}
	})
}

// isBias reports whether a tensor is a bias: those of a model that was trained without are zeros, and two that are
// added to the same sums learn the same.
func isBias(name string) bool { return strings.HasSuffix(name, ".bias") }

func allZero(m *model, report reportFunc) {
	m.each(func(t *tensorfile.Tensor, s *summary) {
		if s.Zero == s.Count && !isBias(t.Name) {
			report(t.Name, "%d values", s.Count)
		}
	})
}

// isConstant reports whether the values are equal and not zero. Short LongRoPE
// factors may all be 1.
func isConstant(t *tensorfile.Tensor, s *summary) bool {
	return s.Count > 1 && s.Finite() == s.Count && s.Min == s.Max && s.Min != 0 && !slices.Contains(factorNames, t.Name)
}

func constant(m *model, report reportFunc) {
	m.each(func(t *tensorfile.Tensor, s *summary) {
		if isConstant(t, s) {
			report(t.Name, "%d values of %g", s.Count, s.Min)
		}
	})
}

func absurd(m *model, report reportFunc) {
	m.each(func(t *tensorfile.Tensor, s *summary) {
		if s.AbsMax() >= quant.Limit {
			report(t.Name, "from %g to %g", s.Min, s.Max)
		}
	})
}

// sameData compares the bytes of tensors whose statistics agree to the last bit.
func sameData(m *model, report reportFunc) {
	type fingerprint struct {
		typ                  string
		elems, cols          int64
		low, high, mean, std float64
	}
	first := make(map[fingerprint]*tensorfile.Tensor)
	m.each(func(t *tensorfile.Tensor, s *summary) {
		if s.Finite() < s.Count || s.Min == s.Max || slices.Contains(factorNames, t.Name) || arch.IsTable(t.Name) ||
			isBias(t.Name) {
			return
		}
		_, cols := t.Place(t.Elems - 1)
		key := fingerprint{t.Type, t.Elems, cols, float64(s.Min), float64(s.Max), s.Mean(), s.Std()}
		other := first[key]
		if other == nil {
			first[key] = t
			return
		}
		same, err := sameBytes(t, other)
		if err != nil {
			m.err = err
		} else if same {
			report(t.Name, "the same %d bytes as %s", t.Bytes, other.Name)
		}
	})
}

func sameBytes(a, b *tensorfile.Tensor) (bool, error) {
	if a.Bytes != b.Bytes {
		return false, nil
	}
	return work.SameBytes(a.Bytes, 1<<20, a.ReadBytes, b.ReadBytes)
}

// Shares of a tensor's blocks from which on its scales are reported.
const (
	zeroShare = 0.001
	tinyShare = 0.01
)

func zeroScales(m *model, report reportFunc) {
	m.each(func(t *tensorfile.Tensor, s *summary) {
		if c := &s.scales; float64(c.zero()) > zeroShare*float64(c.blocks) {
			report(t.Name, "%d of %d blocks of %s", c.zero(), c.blocks, t.Type)
		}
	})
}

func tinyScales(m *model, report reportFunc) {
	m.each(func(t *tensorfile.Tensor, s *summary) {
		if c := &s.scales; float64(c.tiny) > tinyShare*float64(c.blocks) {
			report(t.Name, "%d of %d blocks of %s have a scale below %.1g", c.tiny, c.blocks, t.Type, tinyScale*0x1p-24)
		}
	})
}
