// Package kvcache keeps keys and values of earlier tokens: their layout in memory, their types, and how a head's part
// becomes the panels that a product of package kern multiplies. Which chunks a sequence has, and which positions a
// query sees, is up to package runtime.
package kvcache

import (
	"runtime"
	"sync/atomic"
	"unsafe"

	"github.com/phi3conv/phi3conv/internal/kern"
	"github.com/phi3conv/phi3conv/internal/mmap"
	"github.com/phi3conv/phi3conv/internal/work"
)

// Type is how keys and values are kept.
type Type uint8

// The types.
const (
	F16 Type = iota
	F32
	Q8_0 // int8, with a float16 scale for each 32 dimensions of a head
)

// ChunkLen is the number of positions that the cache grows by.
const ChunkLen = 256

// Layout is how a chunk holds keys and values of ChunkLen positions: in panels (see [kern.Format]) for the products of
// attention. For each layer, for each key-value head:
//
//	keys    [ChunkLen/16 panels][dim columns][16 positions]
//	values  [dim/16 panels, rounded up][ChunkLen columns = positions][16 dimensions]
//
// With Q8_0 there is a scale for each group of 32 dimensions of a position:
//
//	keys    [ChunkLen/16][groups][16 positions]
//	values  [groups][ChunkLen]
type Layout struct {
	typ                Type
	layers, heads, dim int
	vPanels, groups    int // of a head: panels of values, groups of 32 dimensions
	keys, head, scales int // elements: a head's keys, its keys and values, the scales of its keys

	live *atomic.Int64 // bytes of all chunks that are mapped
}

// NewLayout lays out a cache of layers with so many key-value heads of dim dimensions each.
func NewLayout(typ Type, layers, heads, dim int) *Layout {
	l := &Layout{typ: typ, layers: layers, heads: heads, dim: dim, live: new(atomic.Int64)}
	l.vPanels = (l.dim + kern.Rows - 1) / kern.Rows
	l.groups = (l.dim + 31) / 32
	l.keys = ChunkLen * l.dim
	l.head = l.keys + ChunkLen*kern.Rows*l.vPanels
	l.scales = ChunkLen * l.groups
	return l
}

// Bytes returns the size of a chunk in bytes.
func (l *Layout) Bytes() int64 {
	n := int64(l.layers) * int64(l.heads)
	values, scales := n*int64(l.head), n*2*int64(l.scales)
	switch l.typ {
	case F32:
		return 4 * values
	case F16:
		return 2 * values
	}
	return values + 2*scales
}

// Live returns the bytes that all chunks of the layout take that were not released yet.
func (l *Layout) Live() int64 { return l.live.Load() }

// Chunk is the cache of ChunkLen positions. Several sequences may share one, which nobody changes then. Its memory is
// mapped, in huge pages: a token writes to every head's part of it, so the first one would fault for thousands of small
// pages.
type Chunk struct {
	// The elements, in the slice of the layout's type; the others are nil.
	f32   []float32
	f16   []uint16
	q8    []int8
	scale []uint16 // of q8

	mem     mapping // what these slices are parts of
	holders atomic.Int32
	cleanup runtime.Cleanup
}

// mapping is the memory of a chunk.
type mapping struct {
	mem  []byte
	live *atomic.Int64 // counts its bytes
}

func (m mapping) unmap() {
	_ = mmap.Unmap(m.mem)
	m.live.Add(-int64(len(m.mem)))
}

// NewChunk makes a chunk of zeros. [Chunk.Free] releases it, or the garbage collector does.
func (l *Layout) NewChunk() (*Chunk, error) {
	mem, err := mmap.Memory(int(l.Bytes()))
	if err != nil {
		return nil, err
	}
	l.live.Add(int64(len(mem)))
	c := &Chunk{mem: mapping{mem, l.live}}
	c.holders.Store(1)
	n := l.layers * l.heads * l.head
	p := unsafe.Pointer(&mem[0])
	switch l.typ {
	case F32:
		c.f32 = unsafe.Slice((*float32)(p), n)
	case F16:
		c.f16 = unsafe.Slice((*uint16)(p), n)
	case Q8_0:
		c.scale = unsafe.Slice((*uint16)(p), l.layers*l.heads*2*l.scales)
		c.q8 = unsafe.Slice((*int8)(unsafe.Pointer(&mem[2*len(c.scale)])), n)
	}
	c.cleanup = runtime.AddCleanup(c, mapping.unmap, c.mem)
	return c, nil
}

// Share makes c another holder's too, and returns it.
func (c *Chunk) Share() *Chunk {
	c.holders.Add(1)
	return c
}

// Shared reports whether c has several holders.
func (c *Chunk) Shared() bool { return c.holders.Load() > 1 }

// Free says that a holder does not use c any more. The last one's call releases the memory.
func (c *Chunk) Free() {
	if c.holders.Add(-1) == 0 {
		c.cleanup.Stop()
		c.mem.unmap()
	}
}

// Copy copies the first n positions of a chunk to another.
func (l *Layout) Copy(to, from *Chunk, n int) {
	panels := (n + kern.Rows - 1) / kern.Rows
	for head := range l.layers * l.heads {
		at, scales := l.at(0, head)
		copyPart(to, from, at, panels*kern.Rows*l.dim)
		for p := range l.vPanels {
			copyPart(to, from, at+l.keys+p*ChunkLen*kern.Rows, n*kern.Rows)
		}
		if l.typ == Q8_0 {
			part(to.scale, from.scale, scales, panels*l.groups*kern.Rows)
			for j := range l.groups {
				part(to.scale, from.scale, scales+l.scales+j*ChunkLen, n)
			}
		}
	}
}

// copyPart copies n elements from the first on.
func copyPart(to, from *Chunk, first, n int) {
	part(to.f32, from.f32, first, n)
	part(to.f16, from.f16, first, n)
	part(to.q8, from.q8, first, n)
}

// part copies n elements from the first on, unless there are none.
func part[T any](to, from []T, first, n int) {
	if len(from) > 0 {
		copy(to[first:first+n], from[first:first+n])
	}
}

// PaddedDim returns the number of a head's dimensions, rounded up to whole panels.
func (l *Layout) PaddedDim() int { return l.vPanels * kern.Rows }

// Scratch is a thread's memory for keys and values on their way into a cache and out of it.
type Scratch struct {
	decoded []float32 // panels of keys or values
	scale   []float32
	half    []uint16
	lanes   [kern.Rows]float32
}

// at returns where a head's part of a chunk begins: index of its first element, and of its first scale.
func (l *Layout) at(layer, head int) (element, scale int) {
	n := layer*l.heads + head
	return n * l.head, n * 2 * l.scales
}

// Store puts a key and a value of a head, each of dim values, at position i of the chunk.
func (l *Layout) Store(s *Scratch, c *Chunk, layer, head, i int, k, v []float32) {
	at, scales := l.at(layer, head)
	key := at + i/kern.Rows*kern.Rows*l.dim + i%kern.Rows
	val := at + l.keys + i*kern.Rows
	switch l.typ {
	case F32:
		for d, x := range k[:l.dim] {
			c.f32[key+d*kern.Rows] = x
		}
		for p := 0; p < l.vPanels; p++ {
			copy(c.f32[val+p*ChunkLen*kern.Rows:][:kern.Rows], v[p*kern.Rows:l.dim])
		}
	case F16:
		to := kern.Best().ToF16
		s.half = work.Resize(s.half, l.dim)
		tmp := s.half
		to(tmp[:l.dim], k[:l.dim])
		for d, x := range tmp[:l.dim] {
			c.f16[key+d*kern.Rows] = x
		}
		to(tmp[:l.dim], v[:l.dim])
		for p := 0; p < l.vPanels; p++ {
			copy(c.f16[val+p*ChunkLen*kern.Rows:][:kern.Rows], tmp[p*kern.Rows:l.dim])
		}
	case Q8_0:
		for j := range l.groups {
			first, last := 32*j, min(32*j+32, l.dim)
			var q [32]int8
			c.scale[scales+(i/kern.Rows*l.groups+j)*kern.Rows+i%kern.Rows] = quantize8(&q, k[first:last])
			for d := first; d < last; d++ {
				c.q8[key+d*kern.Rows] = q[d-first]
			}
			c.scale[scales+l.scales+j*ChunkLen+i] = quantize8(&q, v[first:last])
			for d := first; d < last; d++ {
				c.q8[val+d/kern.Rows*ChunkLen*kern.Rows+d%kern.Rows] = q[d-first]
			}
		}
	}
}

// quantize8 sets q to the codes of up to 32 values, x ≈ scale·q, and returns the scale as float16.
func quantize8(q *[32]int8, x []float32) uint16 {
	var largest float32
	for _, v := range x {
		largest = max(largest, v, -v)
	}
	var inv float32
	if largest > 0 {
		inv = 127 / largest
	}
	for i, v := range x {
		r := float32(v * inv)
		if r < 0 {
			q[i] = int8(r - 0.5)
		} else {
			q[i] = int8(r + 0.5)
		}
	}
	scale := [1]float32{largest / 127}
	var half [1]uint16
	kern.Best().ToF16(half[:], scale[:])
	return half[0]
}

// Keys sets the panels of k (W and PanelBytes) to the keys of count positions of a head, from position first of the
// chunk on; both are multiples of 16. It returns the format whose product multiplies them. k.Blocks must be set. The
// panels are valid until s is used again.
func (l *Layout) Keys(k *kern.Product, s *Scratch, c *Chunk, layer, head, first, count int) kern.Format {
	if l.typ == Q8_0 {
		return decodedPanels(k, s.decodeKeys(l, c, layer, head, first, count))
	}
	at, _ := l.at(layer, head)
	return l.panels(k, c, at+first*l.dim, l.dim*kern.Rows)
}

// Values is [Layout.Keys] for the values, whose panels hold dimensions: first and count may be any.
func (l *Layout) Values(k *kern.Product, s *Scratch, c *Chunk, layer, head, first, count int) kern.Format {
	if l.typ == Q8_0 {
		return decodedPanels(k, s.decodeValues(l, c, layer, head, first, count))
	}
	at, _ := l.at(layer, head)
	return l.panels(k, c, at+l.keys+first*kern.Rows, ChunkLen*kern.Rows)
}

// panels sets the panels of k to those from element at of the chunk on, size elements apart.
func (l *Layout) panels(k *kern.Product, c *Chunk, at, size int) kern.Format {
	if l.typ == F16 {
		k.W, k.PanelBytes = (*byte)(unsafe.Pointer(&c.f16[at])), int64(2*size)
		return kern.F16
	}
	k.W, k.PanelBytes = (*byte)(unsafe.Pointer(&c.f32[at])), int64(4*size)
	return kern.F32
}

// decodedPanels sets the panels of k to decoded ones, which follow one another.
func decodedPanels(k *kern.Product, decoded []float32) kern.Format {
	k.W, k.PanelBytes = (*byte)(unsafe.Pointer(&decoded[0])), 4*k.Blocks*kern.Rows
	return kern.F32
}

// decodeKeys decodes the panels of count positions from position i of the chunk on.
func (s *Scratch) decodeKeys(l *Layout, c *Chunk, layer, head, i, count int) []float32 {
	v := &kern.Best().Vector
	s.decoded = work.Resize(s.decoded, count*l.dim)
	at, scales := l.at(layer, head)
	at, scales = at+i*l.dim, scales+i*l.groups
	for p := range count / kern.Rows {
		for j := range l.groups {
			v.ExpandF16(s.lanes[:], c.scale[scales+(p*l.groups+j)*kern.Rows:][:kern.Rows])
			from := (p*l.dim + 32*j) * kern.Rows
			n := min(32, l.dim-32*j) * kern.Rows
			v.ScaleLanes(s.decoded[from:from+n], c.q8[at+from:at+from+n], &s.lanes)
		}
	}
	return s.decoded
}

// decodeValues decodes count positions from position i of the chunk on, panel by panel.
func (s *Scratch) decodeValues(l *Layout, c *Chunk, layer, head, i, count int) []float32 {
	v := &kern.Best().Vector
	s.decoded, s.scale = work.Resize(s.decoded, l.vPanels*count*kern.Rows), work.Resize(s.scale, count)
	at, scales := l.at(layer, head)
	at, scales = at+l.keys+i*kern.Rows, scales+l.scales+i
	for p := range l.vPanels {
		if p%2 == 0 { // a group is two panels
			v.ExpandF16(s.scale, c.scale[scales+p/2*ChunkLen:][:count])
		}
		n := count * kern.Rows
		v.ScaleRows(s.decoded[p*n:(p+1)*n], c.q8[at+p*ChunkLen*kern.Rows:][:n], s.scale)
	}
	return s.decoded
}
