// Package kvcache lays keys and values of earlier tokens out for the products of attention.
package kvcache

import (
	"runtime"
	"unsafe"

	"github.com/phi3conv/phi3conv/internal/kern"
	"github.com/phi3conv/phi3conv/internal/mmap"
	"github.com/phi3conv/phi3conv/internal/work"
)

// Type is how keys and values are kept.
type Type uint8

// Types.
const (
	F16 Type = iota
	F32
	Q8_0 // int8 with one float16 scale for 32 dimensions of a head
)

// ChunkLen is the number of positions that the cache grows by.
const ChunkLen = 256

// Layout is that of a chunk: keys and values of ChunkLen positions, in
// panels (see kern.Format) for the products of attention. For each layer, for each
// key-value head:
//
//	keys    [ChunkLen/16 panels][dim columns][16 positions]
//	values  [vPanels][ChunkLen columns = positions][16 dimensions]
//
// With Q8_0 a group is 32 dimensions, and scales are
//
//	keys    [ChunkLen/16][groups][16 positions]
//	values  [groups][ChunkLen]
type Layout struct {
	typ                Type
	layers, heads, dim int
	vPanels, groups    int
	keys, head, scales int // elements: a head's keys, its keys and values, its scales of keys
}

// NewLayout lays out a cache of that many layers with key-value heads of dim dimensions.
func NewLayout(typ Type, layers, heads, dim int) *Layout {
	g := &Layout{typ: typ, layers: layers, heads: heads, dim: dim}
	g.vPanels = (g.dim + kern.Rows - 1) / kern.Rows
	g.groups = (g.dim + 31) / 32
	g.keys = ChunkLen * g.dim
	g.head = g.keys + ChunkLen*kern.Rows*g.vPanels
	g.scales = ChunkLen * g.groups
	return g
}

// Bytes returns the size of a chunk.
func (g *Layout) Bytes() int64 {
	n := int64(g.layers) * int64(g.heads)
	values, scales := n*int64(g.head), n*2*int64(g.scales)
	switch g.typ {
	case F32:
		return 4 * values
	case F16:
		return 2 * values
	}
	return values + 2*scales
}

// Chunk is the cache of ChunkLen positions; the slice of its type is not nil. Its memory
// is the system's, in huge pages: a token writes to every head's part of it, and
// thousands of small pages would have to be made for the first one.
type Chunk struct {
	f32   []float32
	f16   []uint16
	q8    []int8
	scale []uint16

	mem     []byte // all of them
	cleanup runtime.Cleanup
}

// NewChunk makes a chunk of zeros. It goes with the garbage collector if not with Free.
func (g *Layout) NewChunk() (*Chunk, error) {
	mem, err := mmap.Memory(int(g.Bytes()))
	if err != nil {
		return nil, err
	}
	c := &Chunk{mem: mem}
	n := g.layers * g.heads * g.head
	p := unsafe.Pointer(&mem[0])
	switch g.typ {
	case F32:
		c.f32 = unsafe.Slice((*float32)(p), n)
	case F16:
		c.f16 = unsafe.Slice((*uint16)(p), n)
	case Q8_0:
		c.scale = unsafe.Slice((*uint16)(p), g.layers*g.heads*2*g.scales)
		c.q8 = unsafe.Slice((*int8)(unsafe.Pointer(&mem[2*len(c.scale)])), n)
	}
	c.cleanup = runtime.AddCleanup(c, func(mem []byte) { _ = mmap.Unmap(mem) }, mem)
	return c, nil
}

// Free gives the memory back; nothing may use c then.
func (c *Chunk) Free() {
	c.cleanup.Stop()
	_ = mmap.Unmap(c.mem)
}

// Copy makes c a copy of from, which has the same layout.
func (c *Chunk) Copy(from *Chunk) {
	copy(c.f32, from.f32)
	copy(c.f16, from.f16)
	copy(c.q8, from.q8)
	copy(c.scale, from.scale)
}

// PaddedDim returns a head's dimensions, rounded up to panels.
func (g *Layout) PaddedDim() int { return g.vPanels * kern.Rows }

// Scratch is a thread's memory for keys and values on their way into a cache and out of it.
type Scratch struct {
	decoded []float32 // panels of keys or values
	scale   []float32
	half    []uint16
	lanes   [kern.Rows]float32
}

// Store puts a key and a value of a head at position i of the chunk.
func (g *Layout) Store(s *Scratch, c *Chunk, layer, head, i int, k, v []float32) {
	at := (layer*g.heads + head) * g.head
	key := at + i/kern.Rows*kern.Rows*g.dim + i%kern.Rows
	val := at + g.keys + i*kern.Rows
	switch g.typ {
	case F32:
		for d, x := range k[:g.dim] {
			c.f32[key+d*kern.Rows] = x
		}
		for p := 0; p < g.vPanels; p++ {
			copy(c.f32[val+p*ChunkLen*kern.Rows:][:kern.Rows], v[p*kern.Rows:g.dim])
		}
	case F16:
		to := kern.Best().ToF16
		s.half = work.Resize(s.half, g.dim)
		tmp := s.half
		to(tmp[:g.dim], k[:g.dim])
		for d, x := range tmp[:g.dim] {
			c.f16[key+d*kern.Rows] = x
		}
		to(tmp[:g.dim], v[:g.dim])
		for p := 0; p < g.vPanels; p++ {
			copy(c.f16[val+p*ChunkLen*kern.Rows:][:kern.Rows], tmp[p*kern.Rows:g.dim])
		}
	case Q8_0:
		scales := (layer*g.heads + head) * 2 * g.scales
		for j := range g.groups {
			first, last := 32*j, min(32*j+32, g.dim)
			var q [32]int8
			c.scale[scales+(i/kern.Rows*g.groups+j)*kern.Rows+i%kern.Rows] = quantize8(&q, k[first:last])
			for d := first; d < last; d++ {
				c.q8[key+d*kern.Rows] = q[d-first]
			}
			c.scale[scales+g.scales+j*ChunkLen+i] = quantize8(&q, v[first:last])
			for d := first; d < last; d++ {
				c.q8[val+d/kern.Rows*ChunkLen*kern.Rows+d%kern.Rows] = q[d-first]
			}
		}
	}
}

// quantize8 encodes up to 32 values as Q8_0 does and returns the scale as float16.
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

// Keys makes the keys of count positions of a head, from position first of the chunk on, the panels of k, which
// the product of the format that it returns multiplies. They are valid until s is used again.
func (g *Layout) Keys(k *kern.Product, s *Scratch, c *Chunk, layer, head, first, count int) kern.Format {
	if g.typ == Q8_0 {
		return s.panels(k, s.decodeKeys(g, c, layer, head, first, count))
	}
	return g.panels(k, c, (layer*g.heads+head)*g.head+first*g.dim, g.dim*kern.Rows)
}

// Values is Keys for the values, whose panels hold dimensions.
func (g *Layout) Values(k *kern.Product, s *Scratch, c *Chunk, layer, head, first, count int) kern.Format {
	if g.typ == Q8_0 {
		return s.panels(k, s.decodeValues(g, c, layer, head, first, count))
	}
	return g.panels(k, c, (layer*g.heads+head)*g.head+g.keys+first*kern.Rows, ChunkLen*kern.Rows)
}

// panels makes those that begin at element at and are size elements apart the panels of k.
func (g *Layout) panels(k *kern.Product, c *Chunk, at, size int) kern.Format {
	if g.typ == F16 {
		k.W, k.PanelBytes = (*byte)(unsafe.Pointer(&c.f16[at])), int64(2*size)
		return kern.F16
	}
	k.W, k.PanelBytes = (*byte)(unsafe.Pointer(&c.f32[at])), int64(4*size)
	return kern.F32
}

// panels makes decoded ones the panels of k.
func (*Scratch) panels(k *kern.Product, decoded []float32) kern.Format {
	k.W, k.PanelBytes = (*byte)(unsafe.Pointer(&decoded[0])), 4*k.Blocks*kern.Rows
	return kern.F32
}

// decodeKeys decodes the panels of count positions from position i of the chunk on.
func (s *Scratch) decodeKeys(g *Layout, c *Chunk, layer, head, i, count int) []float32 {
	v := &kern.Best().Vector
	s.decoded = work.Resize(s.decoded, count*g.dim)
	at := (layer*g.heads+head)*g.head + i*g.dim
	scales := (layer*g.heads+head)*2*g.scales + i*g.groups
	for p := range count / kern.Rows {
		for j := range g.groups {
			v.ExpandF16(s.lanes[:], c.scale[scales+(p*g.groups+j)*kern.Rows:][:kern.Rows])
			from := (p*g.dim + 32*j) * kern.Rows
			n := min(32, g.dim-32*j) * kern.Rows
			v.ScaleLanes(s.decoded[from:from+n], c.q8[at+from:at+from+n], &s.lanes)
		}
	}
	return s.decoded
}

// decodeValues decodes count positions from position i of the chunk on, panel by panel.
func (s *Scratch) decodeValues(g *Layout, c *Chunk, layer, head, i, count int) []float32 {
	v := &kern.Best().Vector
	s.decoded, s.scale = work.Resize(s.decoded, g.vPanels*count*kern.Rows), work.Resize(s.scale, count)
	at := (layer*g.heads+head)*g.head + g.keys + i*kern.Rows
	scales := (layer*g.heads+head)*2*g.scales + g.scales + i
	for p := range g.vPanels {
		if p%2 == 0 { // a group is two panels
			v.ExpandF16(s.scale, c.scale[scales+p/2*ChunkLen:][:count])
		}
		n := count * kern.Rows
		v.ScaleRows(s.decoded[p*n:(p+1)*n], c.q8[at+p*ChunkLen*kern.Rows:][:n], s.scale)
	}
	return s.decoded
}
