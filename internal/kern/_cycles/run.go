package main

import (
	"fmt"
	"math/rand/v2"

	"github.com/phi3conv/phi3conv/internal/kern"
)

// What a product multiplies: panels of 16 rows with blocks of columns.
const (
	runPanels = 2
	runCols   = 2048
)

// runWeights is how many weights a product has.
const runWeights = runPanels * kern.Rows * runCols

// run computes one product of a format with some tokens, with the kernels of a set.
func run(format, set string, tokens int) error {
	if err := kern.Select(set); err != nil {
		return err
	}
	f, err := formatNamed(format)
	if err != nil {
		return err
	}
	use := kern.Single
	if tokens > 1 {
		use = kern.Several
	}
	layout := kern.Layouts[f]
	blocks := runCols / layout.Cols
	record := kern.A32Bytes
	if layout.Cols == 256 {
		record = kern.A256Bytes
	}
	size := kern.PanelBytes(f, runCols)
	w := make([]byte, runPanels*size)
	r := rand.New(rand.NewPCG(1, 2))
	for i := range w { // some scales are no numbers, which changes no time
		w[i] = byte(r.Uint32())
	}
	a := make([]byte, tokens*record*blocks)
	out := make([]float32, tokens*kern.Rows*runPanels)
	table := [16]uint8{}
	form := kern.Forms(f, use)[0]
	panels := int64(runPanels)
	if tokens > 1 { // one panel a call
		panels = 1
	}
	for at := 0; at < runPanels; at += int(panels) {
		form.Multiply(&kern.Product{Out: &out[at*kern.Rows*tokens], W: &w[at*size], A: &a[0], Scratch: kern.NewScratch(),
			T: int64(tokens), Blocks: int64(blocks), OutStride: 4 * kern.Rows, AStride: int64(tokens * record),
			Panels: panels, PanelBytes: int64(size), Table: &table})
	}
	return nil
}

func formatNamed(name string) (kern.Format, error) {
	for f := range kern.NumFormats {
		if f.String() == name {
			return f, nil
		}
	}
	return 0, fmt.Errorf("no format is called %s", name)
}
