// Package grid holds the points that ggml's vector types choose from: four or eight weights have one code together,
// the number of a point whose coordinates are levels of the weights' magnitudes.
package grid

import (
	"encoding/base64"
	"encoding/binary"
)

// Grid is a list of points of Dim coordinates. Coordinates are levels: 0, 1, 2, …
type Grid struct {
	Dim    int
	Levels int
	Points []uint8 // Dim of each point
}

// The grids.
var (
	IQ2XXS = decode(iq2xxs, 8, 3)
	IQ2XS  = decode(iq2xs, 8, 3)
	IQ2S   = decode(iq2s, 8, 3)
	IQ3XXS = decode(iq3xxs, 4, 8)
	IQ3S   = decode(iq3s, 4, 8)
	IQ1S   = decode(iq1s, 8, 3) // level 1 is zero: these points have signs of their own
)

// Point returns point i.
func (g *Grid) Point(i int) []uint8 { return g.Points[i*g.Dim : (i+1)*g.Dim] }

// Len returns the number of points.
func (g *Grid) Len() int { return len(g.Points) / g.Dim }

// decode reads a constant of data.go.
func decode(text string, dim, levels int) *Grid {
	b, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		panic(err)
	}
	bits := 2
	if dim == 4 {
		bits = 3
	}
	g := &Grid{Dim: dim, Levels: levels}
	for ; len(b) > 0; b = b[2:] {
		p := binary.LittleEndian.Uint16(b)
		for i := range dim {
			g.Points = append(g.Points, uint8(p>>(bits*i)&(1<<bits-1)))
		}
	}
	return g
}
