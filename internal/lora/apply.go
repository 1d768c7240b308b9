package lora

import (
	"math"
	"sync"

	"github.com/phi3conv/phi3conv/formats/safetensors"
)

// loaded are the matrices of a layer in memory: b has a row of rank factors for each row of the matrix, and a a row for
// each factor.
type loaded struct {
	once sync.Once
	a, b []float32
	m    []float32
	err  error
}

func (l *Layer) load() {
	read := func(t *safetensors.Tensor) []float32 {
		x := make([]float32, t.Elems())
		if l.loaded.err == nil {
			l.loaded.err = t.ReadFloat32(x, 0)
		}
		return x
	}
	l.loaded.a, l.loaded.b = read(l.a), read(l.b)
	if l.embedding {
		l.loaded.a, l.loaded.b = transposed(l.loaded.b, l.cols), transposed(l.loaded.a, l.rank)
	}
	if l.m != nil {
		l.loaded.m = read(l.m)
	}
}

// transposed transposes a matrix of so many rows.
func transposed(x []float32, rows int) []float32 {
	cols := len(x) / rows
	y := make([]float32, len(x))
	for i := range rows {
		for j := range cols {
			y[j*rows+i] = x[i*cols+j]
		}
	}
	return y
}

// Apply merges the adapter into rows of the matrix, of which first is the first. It may be called from several
// goroutines. Sums are in the order of the rank, in float32.
func (l *Layer) Apply(rows []float32, first int) error {
	l.loaded.once.Do(l.load)
	if l.loaded.err != nil {
		return l.loaded.err
	}
	delta := make([]float32, l.cols)
	for i := range len(rows) / l.cols {
		row := rows[i*l.cols : (i+1)*l.cols]
		clear(delta)
		for k, f := range l.loaded.b[(first+i)*l.rank : (first+i+1)*l.rank] {
			a := l.loaded.a[k*l.cols : (k+1)*l.cols]
			for j, x := range a {
				delta[j] += float32(f * x)
			}
		}
		for j, d := range delta {
			row[j] += float32(d * l.scale)
		}
		if l.loaded.m != nil {
			l.normalize(row, l.loaded.m[first+i])
		}
	}
	return nil
}

// normalize gives a row the length that DoRA has learned.
func (l *Layer) normalize(row []float32, magnitude float32) {
	sum := 0.0
	for _, x := range row {
		sum += float64(x) * float64(x)
	}
	f := magnitude / float32(math.Sqrt(sum))
	for j := range row {
		row[j] *= f
	}
}
