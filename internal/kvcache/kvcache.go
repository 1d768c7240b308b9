package runtime

import (
	"fmt"
	goruntime "runtime"
	"strings"
	"unsafe"

	"github.com/phi3conv/phi3conv/internal/arch"
	"github.com/phi3conv/phi3conv/internal/kern"
	"github.com/phi3conv/phi3conv/internal/mmap"
)

// CacheType is how keys and values of earlier tokens are kept.
type CacheType uint8

const (
	CacheF16 CacheType = iota
	CacheF32
	CacheQ8_0 // int8 with one float16 scale for 32 dimensions of a head
)

var cacheNames = [...]string{CacheF16: "f16", CacheF32: "f32", CacheQ8_0: "q8_0"}

func (t CacheType) String() string { return cacheNames[t] }

// ParseCacheType finds a type by its name: f16, f32 or q8_0.
func ParseCacheType(name string) (CacheType, error) {
	for t, n := range cacheNames {
		if n == name {
			return CacheType(t), nil
		}
	}
	return 0, fmt.Errorf("unknown cache type %q; known: %s", name, strings.Join(cacheNames[:], " "))
}

// chunkLen is the number of positions that the cache grows by.
const chunkLen = 256

// geometry is the layout of a cache chunk: keys and values of chunkLen positions, in
// panels (see kern.Format) for the products of attention. For each layer, for each
// key-value head:
//
//	keys    [chunkLen/16 panels][dim columns][16 positions]
//	values  [vPanels][chunkLen columns = positions][16 dimensions]
//
// With CacheQ8_0 a group is 32 dimensions, and scales are
//
//	keys    [chunkLen/16][groups][16 positions]
//	values  [groups][chunkLen]
type geometry struct {
	typ                CacheType
	layers, heads, dim int
	vPanels, groups    int
	keys, head, scales int // elements: a head's keys, its keys and values, its scales of keys
}

func newGeometry(c *arch.Config, typ CacheType) *geometry {
	g := &geometry{typ: typ, layers: c.Layers, heads: c.KVHeads, dim: c.HeadDim}
	g.vPanels = (g.dim + kern.Rows - 1) / kern.Rows
	g.groups = (g.dim + 31) / 32
	g.keys = chunkLen * g.dim
	g.head = g.keys + chunkLen*kern.Rows*g.vPanels
	g.scales = chunkLen * g.groups
	return g
}

// bytes returns the size of a chunk.
func (g *geometry) bytes() int64 {
	n := int64(g.layers) * int64(g.heads)
	values, scales := n*int64(g.head), n*2*int64(g.scales)
	switch g.typ {
	case CacheF32:
		return 4 * values
	case CacheF16:
		return 2 * values
	}
	return values + 2*scales
}

// kvChunk is the cache of chunkLen positions; the slice of its type is not nil. Its memory
// is the system's, in huge pages: a token writes to every head's part of it, and
// thousands of small pages would have to be made for the first one.
type kvChunk struct {
	f32   []float32
	f16   []uint16
	q8    []int8
	scale []uint16

	mem     []byte // all of them
	cleanup goruntime.Cleanup
}

func (g *geometry) newChunk() (*kvChunk, error) {
	mem, err := mmap.Memory(int(g.bytes()))
	if err != nil {
		return nil, err
	}
	c := &kvChunk{mem: mem}
	n := g.layers * g.heads * g.head
	p := unsafe.Pointer(&mem[0])
	switch g.typ {
	case CacheF32:
		c.f32 = unsafe.Slice((*float32)(p), n)
	case CacheF16:
		c.f16 = unsafe.Slice((*uint16)(p), n)
	case CacheQ8_0:
		c.scale = unsafe.Slice((*uint16)(p), g.layers*g.heads*2*g.scales)
		c.q8 = unsafe.Slice((*int8)(unsafe.Pointer(&mem[2*len(c.scale)])), n)
	}
	c.cleanup = goruntime.AddCleanup(c, func(mem []byte) { _ = mmap.Unmap(mem) }, mem)
	return c, nil
}

// free gives the memory back; nothing may use c then.
func (c *kvChunk) free() {
	c.cleanup.Stop()
	_ = mmap.Unmap(c.mem)
}

func (c *kvChunk) copy(from *kvChunk) {
	copy(c.f32, from.f32)
	copy(c.f16, from.f16)
	copy(c.q8, from.q8)
	copy(c.scale, from.scale)
}

// store puts a key and a value at position i of the chunk. tmp holds dim values.
func (g *geometry) store(c *kvChunk, layer, head, i int, k, v []float32, tmp []uint16) {
	at := (layer*g.heads + head) * g.head
	key := at + i/kern.Rows*kern.Rows*g.dim + i%kern.Rows
	val := at + g.keys + i*kern.Rows
	switch g.typ {
	case CacheF32:
		for d, x := range k[:g.dim] {
			c.f32[key+d*kern.Rows] = x
		}
		for p := 0; p < g.vPanels; p++ {
			copy(c.f32[val+p*chunkLen*kern.Rows:][:kern.Rows], v[p*kern.Rows:g.dim])
		}
	case CacheF16:
		to := kern.Best().ToF16
		to(tmp[:g.dim], k[:g.dim])
		for d, x := range tmp[:g.dim] {
			c.f16[key+d*kern.Rows] = x
		}
		to(tmp[:g.dim], v[:g.dim])
		for p := 0; p < g.vPanels; p++ {
			copy(c.f16[val+p*chunkLen*kern.Rows:][:kern.Rows], tmp[p*kern.Rows:g.dim])
		}
	case CacheQ8_0:
		scales := (layer*g.heads + head) * 2 * g.scales
		for j := range g.groups {
			first, last := 32*j, min(32*j+32, g.dim)
			var q [32]int8
			c.scale[scales+(i/kern.Rows*g.groups+j)*kern.Rows+i%kern.Rows] = quantize8(&q, k[first:last])
			for d := first; d < last; d++ {
				c.q8[key+d*kern.Rows] = q[d-first]
			}
			c.scale[scales+g.scales+j*chunkLen+i] = quantize8(&q, v[first:last])
			for d := first; d < last; d++ {
				c.q8[val+d/kern.Rows*chunkLen*kern.Rows+d%kern.Rows] = q[d-first]
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
