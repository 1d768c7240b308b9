package kern

import "encoding/binary"

// PanelBytes returns the size of a panel of rows of cols columns, a whole number
// of the format's blocks. An odd number of BF16 columns counts as one more.
func PanelBytes(f Format, cols int) int {
	l := Layouts[f]
	return Rows * ((cols + l.Cols - 1) / l.Cols) * l.BlockBytes()
}

// Interleave lays up to 16 rows, which follow one another in src, side by side in
// the panel dst. Missing rows become zero, as does the second column of a BF16
// row's last unit where the number of columns is odd. The length of dst is the
// panel's size, that of src rows times the size of a row.
func Interleave(f Format, dst, src []byte, rows int) {
	Best().interleave(f, dst, src, rows)
}

func (s *Set) interleave(f Format, dst, src []byte, rows int) {
	u := newUnits(f, len(src), len(dst), rows)
	if rows < Rows {
		clear(dst)
	}
	u.eachRun(f, func(panelAt, rowAt, size int) {
		panel, row := dst[panelAt:], src[rowAt:]
		switch {
		case size == 2 && rows == Rows && s.Interleave2 != nil:
			s.Interleave2(&panel[0], &row[0], &u)
		case size == 4 && rows == Rows && s.Interleave4 != nil:
			s.Interleave4(&panel[0], &row[0], &u)
		case size == 2:
			interleave2(panel, row, &u)
		default:
			interleave4(panel, row, &u)
		}
	})
	if f == BF16 && u.RowBytes%4 != 0 {
		last := dst[len(dst)-4*Rows:]
		clear(last)
		for r := range rows {
			copy(last[4*r:4*r+2], src[(r+1)*u.RowBytes-2:])
		}
	}
}

// Deinterleave is the inverse of [Interleave]: it writes the first rows of the
// panel src to dst, one after the other.
func Deinterleave(f Format, dst, src []byte, rows int) {
	u := newUnits(f, len(dst), len(src), rows)
	u.eachRun(f, func(panelAt, rowAt, size int) {
		for b := range u.Blocks {
			for i := range u.N {
				at := b*u.BlockBytes + i*size
				panel, row := src[panelAt+Rows*at:], dst[rowAt+at:]
				for r := range rows {
					copy(row[r*u.RowBytes:][:size], panel[r*size:])
				}
			}
		}
	})
	if f == BF16 && u.RowBytes%4 != 0 {
		last := src[len(src)-4*Rows:]
		for r := range rows {
			copy(dst[(r+1)*u.RowBytes-2:(r+1)*u.RowBytes], last[4*r:])
		}
	}
}

// Units are what a kernel copies from rows to a panel: a run of N units in each of
// Blocks blocks. Unit i of the run of block b of row r begins at
//
//	r·RowBytes + b·BlockBytes + i·size      in the rows,
//	16·b·BlockBytes + (16·i + r)·size       in the panel,
//
// counted from row 0's first unit. Assembly reads this struct by the offsets
// beside the fields.
type Units struct {
	RowBytes   int // 0: bytes from a row to the next
	N          int // 8: at least 1
	Blocks     int // 16: at least 1
	BlockBytes int // 24: bytes of a block of one row
}

// newUnits panics if rows that take rowsBytes do not make a panel of panelBytes.
func newUnits(f Format, rowsBytes, panelBytes, rows int) Units {
	u := Units{RowBytes: rowsBytes / rows}
	l := Layouts[f]
	cols := u.RowBytes / l.BlockBytes() * l.Cols
	if f == BF16 {
		cols = u.RowBytes / 2
	}
	if rows > Rows || panelBytes != PanelBytes(f, cols) {
		panic("kern: a panel does not fit its rows")
	}
	return u
}

// eachRun calls use for each run of units that the format's blocks consist of,
// with the offsets of its first unit in the panel and in row 0, and u set to it.
// Blocks of a single unit lie side by side and count as one block.
func (u *Units) eachRun(f Format, use func(panelAt, rowAt, size int)) {
	l := Layouts[f]
	u.BlockBytes = l.BlockBytes()
	u.Blocks = u.RowBytes / u.BlockBytes
	if u.Blocks == 0 {
		return
	}
	if l.Head+l.Quads+l.Tail == 1 {
		l.Head, l.Quads, u.Blocks = l.Head*u.Blocks, l.Quads*u.Blocks, 1
	}
	at := 0
	for i, n := range [...]int{l.Head, l.Quads, l.Tail} {
		if size := [...]int{2, 4, 2}[i]; n > 0 {
			u.N = n
			use(Rows*at, at, size)
			at += size * n
		}
	}
}

// interleave2 copies units of 2 bytes of as many rows as src holds.
func interleave2(dst, src []byte, u *Units) {
	for b := range u.Blocks {
		for i := range u.N {
			at := b*u.BlockBytes + 2*i
			for p := dst[Rows*at:]; at < len(src); at += u.RowBytes {
				binary.LittleEndian.PutUint16(p, binary.LittleEndian.Uint16(src[at:]))
				p = p[2:]
			}
		}
	}
}

// interleave4 copies units of 4 bytes of as many rows as src holds.
func interleave4(dst, src []byte, u *Units) {
	for b := range u.Blocks {
		for i := range u.N {
			at := b*u.BlockBytes + 4*i
			for p := dst[Rows*at:]; at < len(src); at += u.RowBytes {
				binary.LittleEndian.PutUint32(p, binary.LittleEndian.Uint32(src[at:]))
				p = p[4:]
			}
		}
	}
}
