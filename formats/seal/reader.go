package seal

import (
	"bufio"
	"io"
	"math"
	"os"
	"slices"

	"github.com/klauspost/compress/zstd"
	"github.com/phi3conv/phi3conv/formats"
)

// fixedBytes is what a position takes in a section besides likely tokens, drawn token and
// full row: text 2, start 4, index 4, k 2, full 1, NLL 4, tail 2.
const fixedBytes = 19

// Reader reads a seal from its start to its end. It keeps the tokens of the texts and
// one section in memory.
type Reader struct {
	Header *Header
	Texts  [][]int32 // the tokens of each text

	src  source
	file *os.File // nil for NewReader
	path string
	zstd *zstd.Decoder
	err  error // of an earlier call, which all later ones return

	count, full int // positions so far, and how many of them are full
	last        place
	entry       Entry
	sorted      []int32 // ids of entry.Top

	// The section that is being read.
	payload, raw []byte // as in the file, and decompressed
	off          int64  // of its payload
	n, i         int    // positions in it, and how many were returned
	meta         []byte // for each position fixedBytes, and id and code of the drawn token, in columns
	ids, codes   []byte // of the likely tokens: the lowest bytes of all, then the next
	likely       int    // likely tokens of all positions
	used         int    // likely tokens that were returned
	rows         []byte // full rows that were not returned yet
}

// Open opens a file and reads it up to the positions. The caller closes the Reader.
func Open(path string) (*Reader, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	r, err := NewReader(bufio.NewReaderSize(f, 1<<16))
	if err != nil {
		_ = f.Close()
		return nil, formats.WithPath(err, path)
	}
	r.file, r.path = f, path
	return r, nil
}

// NewReader reads a seal from r up to the positions. What is wrong with the
// file is a *formats.Error.
func NewReader(r io.Reader) (*Reader, error) {
	s := source{r: r}
	if err := s.start(); err != nil {
		return nil, err
	}
	text, off, err := s.section(headerSection, nil, 2, maxHeaderBytes)
	if err != nil {
		return nil, err
	}
	h, err := parseHeader(text, off)
	if err != nil {
		return nil, err
	}
	width := h.idBytes()
	size := h.tokens() * width
	payload, off, err := s.section(tokensSection, nil, size, size)
	if err != nil {
		return nil, err
	}
	texts := make([][]int32, len(h.Texts))
	at := 0
	for i, t := range h.Texts {
		texts[i] = make([]int32, t.Tokens)
		for j := range texts[i] {
			id := int32(le.Uint16(payload[at:]))
			if width == 3 {
				id |= int32(payload[at+2]) << 16
			}
			if int(id) >= h.VocabSize {
				return nil, formats.Errorf(off+int64(at), "token %d of text %d is %d, the vocabulary has %d",
					j, i, id, h.VocabSize)
			}
			texts[i][j] = id
			at += width
		}
	}
	dec, err := zstd.NewReader(
		nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxMemory(maxBlock),
	)
	if err != nil {
		return nil, err
	}
	return &Reader{Header: h, Texts: texts, src: s, zstd: dec, last: place{0, -1}}, nil
}

// Close closes the file.
func (r *Reader) Close() error {
	if r.err == nil {
		r.err = errClosed
		r.zstd.Close()
	}
	if r.file == nil {
		return nil
	}
	return r.file.Close()
}

// Next returns the next position. After the last it checks that the file is
// complete, and returns [io.EOF]. The entry is valid until the next call.
func (r *Reader) Next() (*Entry, error) {
	if r.err != nil {
		return nil, r.err
	}
	err := r.next()
	if err != nil {
		r.zstd.Close()
		r.err = formats.WithPath(err, r.path)
		return nil, r.err
	}
	return &r.entry, nil
}

func (r *Reader) next() error {
	if r.count == r.Header.Positions {
		if r.i < r.n {
			return r.errorf("%d positions too many", r.n-r.i)
		}
		if r.full != r.Header.Full {
			return formats.Errorf(r.src.off, "%d positions have the whole vocabulary, the header says %d",
				r.full, r.Header.Full)
		}
		if _, _, err := r.src.section(endSection, nil, 0, 0); err != nil {
			return err
		}
		if err := r.src.end(); err != nil {
			return err
		}
		return io.EOF
	}
	if r.i == r.n {
		if err := r.section(); err != nil {
			return err
		}
	}
	return r.position()
}

// errorf makes an error about the section that is being read.
func (r *Reader) errorf(format string, args ...any) error {
	return formats.Errorf(r.off, "section "+positionSection+": "+format, args...)
}

// section reads the next section of positions.
func (r *Reader) section() (err error) {
	r.payload, r.off, err = r.src.section(positionSection, r.payload, 1, maxBlock)
	if err != nil {
		return err
	}
	r.raw, err = r.zstd.DecodeAll(r.payload, r.raw[:0])
	if err != nil {
		return formats.Wrapf(err, r.off, "section %s: zstd", positionSection)
	}
	b := r.raw
	if len(b) < 4 {
		return r.errorf("%d bytes, its number of positions alone takes 4", len(b))
	}
	n := le.Uint32(b)
	b = b[4:]
	width := r.Header.idBytes()
	fixed := fixedBytes + width + 2
	if n == 0 || uint64(n) > uint64(len(b)/fixed) {
		return r.errorf("%d positions in %d bytes", n, len(b))
	}
	r.n, r.i, r.likely, r.used = int(n), 0, 0, 0
	r.meta, b = b[:r.n*fixed], b[r.n*fixed:]
	full := 0
	for i := range r.n {
		k, f := r.k(i), r.isFull(i)
		if k < MinTopK || k > r.Header.TopK {
			return r.errorf("position %d has %d likely tokens, must be %d to %d", i, k, MinTopK, r.Header.TopK)
		}
		if f > 1 {
			return r.errorf("position %d is full: %d, must be 0 or 1", i, f)
		}
		r.likely += k
		full += int(f) * r.Header.VocabSize
	}
	if want := r.likely*(width+2) + full; len(b) != want {
		return r.errorf("%d bytes after the fixed fields, must be %d", len(b), want)
	}
	r.ids, b = b[:r.likely*width], b[r.likely*width:]
	r.codes, r.rows = b[:r.likely*2], b[r.likely*2:]
	return nil
}

// Fields of position i of the section: columns one after the other.
func (r *Reader) text(i int) int     { return int(le.Uint16(r.meta[2*i:])) }
func (r *Reader) start(i int) uint32 { return le.Uint32(r.meta[2*r.n+4*i:]) }
func (r *Reader) index(i int) uint32 { return le.Uint32(r.meta[6*r.n+4*i:]) }
func (r *Reader) k(i int) int        { return int(le.Uint16(r.meta[10*r.n+2*i:])) }
func (r *Reader) isFull(i int) uint8 { return r.meta[12*r.n+i] }
func (r *Reader) nll(i int) float32  { return math.Float32frombits(le.Uint32(r.meta[13*r.n+4*i:])) }
func (r *Reader) tail(i int) uint16  { return le.Uint16(r.meta[17*r.n+2*i:]) }

// drawn returns the drawn token, of which each byte is a column: those of the id, then those of the code.
func (r *Reader) drawn(i int) (d Drawn) {
	column := func(k int) int32 { return int32(r.meta[(fixedBytes+k)*r.n+i]) }
	w := r.Header.idBytes()
	for k := range w {
		d.ID |= column(k) << (8 * k)
	}
	d.Code = uint16(column(w) | column(w+1)<<8)
	return d
}

// position decodes the next position of the section.
func (r *Reader) position() error {
	i, h, e := r.i, r.Header, &r.entry
	text, index := r.text(i), int64(r.index(i))
	if i > 0 && text == r.last.text {
		index += int64(r.last.index)
	}
	if text >= len(r.Texts) || index >= int64(len(r.Texts[text])) {
		return r.errorf("position %d is token %d of text %d, which there is not", i, index, text)
	}
	at := place{text, int(index)}
	if !r.last.before(at) {
		return r.errorf("position %d is token %d of text %d, after token %d of text %d",
			i, at.index, at.text, r.last.index, r.last.text)
	}
	context := index - int64(r.start(i))
	if context < 1 || context >= int64(h.Conventions.Context) {
		return r.errorf("position %d has %d tokens of context, must be 1 to %d", i, context, h.Conventions.Context-1)
	}
	*e = Entry{
		Text: text, Index: at.index, Context: int(context), Token: r.Texts[text][at.index], NLL: r.nll(i),
		Top: e.Top[:0], Tail: r.tail(i), Drawn: r.drawn(i),
	}
	if !(e.NLL >= 0) || math.IsInf(float64(e.NLL), 0) {
		return r.errorf("position %d: -ln p of its token is %v, must be 0 or more", i, e.NLL)
	}
	if err := r.top(); err != nil {
		return err
	}
	if !e.possible(h.VocabSize) {
		return r.errorf("position %d: no probabilities with these codes have the sum 1", i)
	}
	if len(e.Top) == h.VocabSize {
		e.Drawn = None
	}
	if err := r.checkDrawn(); err != nil {
		return err
	}
	r.used += len(e.Top)
	if r.isFull(i) == 1 {
		e.Full, r.rows = r.rows[:h.VocabSize], r.rows[h.VocabSize:]
		r.full++
	}
	r.last = at
	r.count++
	r.i++
	return nil
}

// top decodes the likely tokens of the position, and leaves their ids in r.sorted.
func (r *Reader) top() error {
	e, vocab := &r.entry, r.Header.VocabSize
	r.sorted = r.sorted[:0]
	code := maxCode
	for j := r.used; j < r.used+r.k(r.i); j++ {
		id := int32(r.ids[j]) | int32(r.ids[r.likely+j])<<8
		if r.Header.idBytes() == 3 {
			id |= int32(r.ids[2*r.likely+j]) << 16
		}
		if int(id) >= vocab {
			return r.errorf("position %d: likely token %d, the vocabulary has %d", r.i, id, vocab)
		}
		code -= int(r.codes[j]) | int(r.codes[r.likely+j])<<8
		if code < 0 {
			return r.errorf("position %d: likely token %d has the code %d, must be 0 or more", r.i, id, code)
		}
		e.Top = append(e.Top, Likely{id, uint16(code)})
		r.sorted = append(r.sorted, id)
	}
	slices.Sort(r.sorted)
	for j, id := range r.sorted[1:] {
		if id == r.sorted[j] {
			return r.errorf("position %d: likely token %d is there twice", r.i, id)
		}
	}
	return nil
}

// checkDrawn checks the token drawn from the tail, if there is one: r.sorted holds those that are not in it.
func (r *Reader) checkDrawn() error {
	e := &r.entry
	if e.Drawn == None {
		return nil
	}
	if _, in := slices.BinarySearch(r.sorted, e.Drawn.ID); in || int(e.Drawn.ID) >= r.Header.VocabSize {
		return r.errorf("position %d: the drawn token %d is not in the tail", r.i, e.Drawn.ID)
	}
	if e.Drawn.Code < e.Tail {
		return r.errorf("position %d: the drawn token has the code %d, must be at least the tail's, %d",
			r.i, e.Drawn.Code, e.Tail)
	}
	return nil
}
