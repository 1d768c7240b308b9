package main

import "fmt"

// The formats whose codes are looked up in Product.Table. Their blocks have d as a float32, a signed byte for each
// group's scale, and codes as IQ4_XS has them.

func init() {
	for _, groups := range []int{8, 16} {
		name := fmt.Sprintf("Table%d", 256/groups)
		codes := 1 + groups/4 // the first unit of codes
		vnniFormats = append(vnniFormats, vnniFormat{name: name, groups: groups, table: true,
			factors: (*vnni).factorsTable,
			codes: func(a *vnni, f *vnniFormat, emit func(col, z int)) {
				for i := range 8 {
					a.codes16(f.at(codes+4*i), lookUp, func(col, z int) { emit(32*i+col, z) })
				}
			},
			scales: func(a *vnni, f *vnniFormat) {
				for i := range groups / 4 {
					a.load(f.at(1+i), 20+i)
					a.xor(0x80808080, 20+i, 20+i)
				}
			},
			scale: inOrder, bias: 128})
		avx2Formats = append(avx2Formats, avx2Format{name: name, cols: 256, parts: 2, run: 64 / groups, group: 64 / groups,
			d: 0, m: 0, factor: -128, codes: avx2LookUp(0, "R11"), constants: [][]byte{{0x0f}}, table: true,
			step: 8, arrays: [][2]int{{64 * codes, 256}}, scales: func(a *avx2, half int) {
				for i := range groups / 4 {
					a.load(a.units(64+64*i, "SI", half), 0)
					a.storeScales(signed, i, 0, half)
					a.storeMins(signed, i, 0, half)
				}
			}})
		neonFormats = append(neonFormats, neonFormat{name: name, planes: 2, span: 16, group: 256 / groups,
			largest: 128, bias: 128, m: -128, streams: []stream{{codes, 4}}, table: true,
			setup: (*neonProduct).setupProductTable, step: (*neonProduct).nibbles,
			scales: func(g *neonProduct) {
				for u := range groups / 4 {
					g.groups(g.unit(1+u), u, true)
				}
			}})
	}
}

// loadTable sets Z28 to the table. AX is the Product.
func (a *vnni) loadTable() {
	a.p("MOVQ %d(AX), R12", pTable)
	a.p("VBROADCASTI32X4 (R12), Z28")
}

// factorsTable sets d and m.
func (a *vnni) factorsTable(f *vnniFormat) {
	a.load(f.at(0), 24)
	suffix, operand := a.dwords(0xc3000000) // -128
	a.p("VMULPS%s %s, Z24, Z25", suffix, operand)
}

// loadTable sets the second and the third constant to the low and the high nibbles of the table's codes.
func (a *avx2) loadTable() {
	mask, low, high := a.constants[0], a.constants[1], a.constants[2]
	a.p("MOVQ %d(AX), R11", pTable)
	a.p("VBROADCASTI128 (R11), Y%d", low)
	if a.vnni {
		return
	}
	a.p("VPSRLW $4, Y%d, Y%d", low, high)
	a.p("VPAND Y%d, Y%d, Y%d", mask, low, low)
	a.p("VPAND Y%d, Y%d, Y%d", mask, high, high)
}

// setupProductTable returns a mask and the table's codes less 128, as signed bytes.
func (g *neonProduct) setupProductTable() []int {
	c := append(g.bytes(15), g.get())
	g.p("MOVD %d(R0), R26", pTable)
	g.loads(c[1:], "R26", 0)
	middle := g.bytes(-128)
	g.op("VEOR", "B16", c[1], c[1], middle[0])
	g.put(middle...)
	return c
}
