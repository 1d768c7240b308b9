package seal

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"slices"

	"github.com/klauspost/compress/zstd"
	"github.com/phi3conv/phi3conv/formats"
	"github.com/phi3conv/phi3conv/internal/atomicfile"
)

// Limits of a POSN section as written.
const (
	blockPositions = 1024
	blockBytes     = 1 << 20 // decompressed; a section may exceed it by one position
)

// Writer writes a seal, position after position. It keeps one section in memory.
type Writer struct {
	h     Header
	texts [][]int32
	out   io.Writer
	file  *atomicfile.File // nil for NewWriter
	zstd  *zstd.Encoder

	count      int // positions so far
	last       place
	block      columns
	raw, bytes []byte // buffers
	err        error  // of an earlier call, which all later ones return
}

// place is which token of which text a position predicts. Positions are in the order of their places.
type place struct{ text, index int }

func (p place) before(q place) bool {
	return p.text < q.text || p.text == q.text && p.index < q.index
}

// columns holds the positions of a section, each field by itself as in the file.
type columns struct {
	n     int // positions
	text  []uint16
	start []uint32  // first token of the window
	index []uint32  // of the token; less the index before it, if that is in the same section and text
	k     []uint16  // number of likely tokens
	full  []uint8   // 1 if the entry is full
	nll   []float32 // -ln p of the token that comes
	tail  []uint16  // code
	drawn []Drawn
	ids   []int32   // of the likely tokens
	codes []uint16  // of the likely tokens, each subtracted from the one before it, the first from maxCode
	rows  [][]uint8 // codes of full entries
	bytes int       // that all this takes, before compression
}

// Create starts a seal at path, as [NewWriter] does. It goes to a temporary file until
// [Writer.Close]. The caller defers [Writer.Abort].
func Create(path string, h Header, texts [][]int32) (*Writer, error) {
	f, err := atomicfile.Create(path)
	if err != nil {
		return nil, err
	}
	f.Rescue = true
	w, err := NewWriter(f, h, texts)
	if err != nil {
		f.Abort()
		return nil, formats.WithPath(err, path)
	}
	w.file = f
	return w, nil
}

// NewWriter starts a seal in w. texts holds the tokens of each text of h.Texts;
// they must stay as they are until [Writer.Close].
func NewWriter(w io.Writer, h Header, texts [][]int32) (*Writer, error) {
	if err := h.check(); err != nil {
		return nil, formats.Errorf(-1, "%v", err)
	}
	if len(texts) != len(h.Texts) {
		return nil, formats.Errorf(-1, "%d texts, the header has %d", len(texts), len(h.Texts))
	}
	h.Texts = slices.Clone(h.Texts)
	var tokens []byte
	for i, text := range texts {
		if len(text) != h.Texts[i].Tokens {
			return nil, formats.Errorf(-1, "text %d has %d tokens, the header says %d", i, len(text), h.Texts[i].Tokens)
		}
		for j, id := range text {
			if id < 0 || int(id) >= h.VocabSize {
				return nil, formats.Errorf(-1, "text %d: token %d is %d, must be 0 to %d", i, j, id, h.VocabSize-1)
			}
			tokens = append(tokens, byte(id), byte(id>>8))
			if h.idBytes() == 3 {
				tokens = append(tokens, byte(id>>16))
			}
		}
	}
	text, err := json.Marshal(&h)
	if err != nil {
		return nil, formats.Errorf(-1, "header: %v", err)
	}
	if len(text) > maxHeaderBytes {
		return nil, formats.Errorf(-1, "header of %d bytes, at most %d are allowed", len(text), maxHeaderBytes)
	}
	enc, err := zstd.NewWriter(
		nil, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.SpeedBetterCompression),
		zstd.WithEncoderCRC(false),
	)
	if err != nil {
		return nil, err
	}
	b := le.AppendUint32([]byte(magic), version)
	b = appendSection(b, headerSection, text)
	b = appendSection(b, tokensSection, tokens)
	if _, err := w.Write(b); err != nil {
		return nil, err
	}
	return &Writer{h: h, texts: texts, out: w, zstd: enc, last: place{0, -1}}, nil
}

// Add writes what the model predicted for the token at index of a text after
// context tokens of a window: logits has one value for each token of the
// vocabulary. Positions come in the order of text and index. Full entries are chosen
// by the position's number: one, at random, in each of h.Full equal parts of the seal.
//
// A logit that is not finite is an error.
func (w *Writer) Add(text, index, context int, logits []float32) error {
	if w.err == nil {
		w.err = w.add(place{text, index}, context, logits)
	}
	return w.err
}

func (w *Writer) add(at place, context int, logits []float32) error {
	fail := func(format string, args ...any) error {
		return formats.Errorf(-1, "text %d, token %d: %s", at.text, at.index, fmt.Sprintf(format, args...))
	}
	switch {
	case w.count == w.h.Positions:
		return fail("the seal has its %d positions already", w.h.Positions)
	case !w.last.before(at):
		return fail("comes after token %d of text %d", w.last.index, w.last.text)
	case at.text >= len(w.texts) || at.index < 0 || at.index >= len(w.texts[at.text]):
		return fail("there is no such token")
	case context < 1 || context > min(at.index, w.h.Conventions.Context-1):
		return fail("%d tokens of context, must be 1 to %d", context, min(at.index, w.h.Conventions.Context-1))
	case len(logits) != w.h.VocabSize:
		return fail("%d logits, the header says %d", len(logits), w.h.VocabSize)
	}
	e := Entry{Text: at.text, Index: at.index, Context: context, Token: w.texts[at.text][at.index]}
	if err := e.fill(logits, w.h.TopK, w.h.MinP, w.count, sampled(w.count, w.h.Positions, w.h.Full)); err != nil {
		return fail("%v", err)
	}
	w.block.add(&e, w.last, w.h.idBytes())
	w.last = at
	w.count++
	if w.block.n == blockPositions || w.block.bytes >= blockBytes {
		return w.flush()
	}
	return nil
}

// add appends a position. before is the place of the one before it in the seal.
func (c *columns) add(e *Entry, before place, idBytes int) {
	index := e.Index
	if c.n > 0 && before.text == e.Text {
		index -= before.index
	}
	c.text = append(c.text, uint16(e.Text))
	c.start = append(c.start, uint32(e.Index-e.Context))
	c.index = append(c.index, uint32(index))
	c.k = append(c.k, uint16(len(e.Top)))
	c.nll = append(c.nll, e.NLL)
	c.tail = append(c.tail, e.Tail)
	c.drawn = append(c.drawn, e.Drawn)
	previous := uint16(maxCode)
	for _, t := range e.Top {
		c.ids = append(c.ids, t.ID)
		c.codes = append(c.codes, previous-t.Code)
		previous = t.Code
	}
	full := uint8(0)
	if e.Full != nil {
		full = 1
		c.rows = append(c.rows, e.Full)
	}
	c.full = append(c.full, full)
	c.n++
	c.bytes += fixedBytes + (1+len(e.Top))*(idBytes+2) + len(e.Full)
}

// flush writes the positions in w.block as a section. Bytes of different distributions go to zstd frames of their own,
// so that each gets a Huffman code of its own.
func (w *Writer) flush() error {
	c := &w.block
	out := w.bytes[:0]
	frame := func(fill func(b []byte) []byte) {
		w.raw = fill(w.raw[:0])
		out = w.zstd.EncodeAll(w.raw, out)
	}
	frame(func(b []byte) []byte {
		b = le.AppendUint32(b, uint32(c.n))
		for _, x := range c.text {
			b = le.AppendUint16(b, x)
		}
		for _, x := range c.start {
			b = le.AppendUint32(b, x)
		}
		for _, x := range c.index {
			b = le.AppendUint32(b, x)
		}
		for _, x := range c.k {
			b = le.AppendUint16(b, x)
		}
		return append(b, c.full...)
	})
	frame(func(b []byte) []byte {
		for _, x := range c.nll {
			b = le.AppendUint32(b, math.Float32bits(x))
		}
		for _, x := range c.tail {
			b = le.AppendUint16(b, x)
		}
		return b
	})
	// planes writes n values of so many bytes: the lowest bytes of all, then the next.
	planes := func(bytes, n int, value func(j int) int32) {
		for i := range bytes {
			frame(func(b []byte) []byte {
				for j := range n {
					b = append(b, byte(value(j)>>(8*i)))
				}
				return b
			})
		}
	}
	planes(w.h.idBytes(), len(c.drawn), func(j int) int32 { return c.drawn[j].ID })
	planes(2, len(c.drawn), func(j int) int32 { return int32(c.drawn[j].Code) })
	planes(w.h.idBytes(), len(c.ids), func(j int) int32 { return c.ids[j] })
	planes(2, len(c.codes), func(j int) int32 { return int32(c.codes[j]) })
	for _, row := range c.rows {
		frame(func(b []byte) []byte { return append(b, row...) })
	}
	w.bytes = out
	*c = columns{text: c.text[:0], start: c.start[:0], index: c.index[:0], k: c.k[:0], full: c.full[:0],
		nll: c.nll[:0], tail: c.tail[:0], drawn: c.drawn[:0], ids: c.ids[:0], codes: c.codes[:0], rows: c.rows[:0]}
	_, err := w.out.Write(appendSection(nil, positionSection, out))
	return err
}

// Close writes what is left and completes the seal, which must have all its
// positions. A file gets its name; the writer of [NewWriter] stays open.
func (w *Writer) Close() error {
	err := w.close()
	if err != nil {
		w.Abort()
		if w.file != nil {
			err = formats.WithPath(err, w.file.Path())
		}
		return err
	}
	w.err = errClosed
	if w.file != nil {
		return w.file.Commit()
	}
	return nil
}

func (w *Writer) close() error {
	if w.err != nil {
		return w.err
	}
	if w.count != w.h.Positions {
		return formats.Errorf(-1, "%d positions, the header says %d", w.count, w.h.Positions)
	}
	if w.block.n > 0 {
		if err := w.flush(); err != nil {
			return err
		}
	}
	_, err := w.out.Write(appendSection(nil, endSection, nil))
	return err
}

// Abort ends the writer and removes the unfinished file. After [Writer.Close] it
// does nothing.
func (w *Writer) Abort() {
	if w.err == nil {
		w.err = errClosed
	}
	if w.file != nil {
		w.file.Abort()
	}
}
