//go:build amd64 && !purego

package kern

import (
	"encoding/binary"
	"fmt"
)

// CPU identifies the model of this machine's CPU by its maker's numbers, such as "AuthenticAMD 25.17.1" (family, model,
// stepping); "" if unknown. Its name is often no more than that of a series.
func CPU() string {
	_, b, c, d := cpuid(0)
	var maker []byte
	for _, v := range []uint32{b, d, c} {
		maker = binary.LittleEndian.AppendUint32(maker, v)
	}
	family, model, stepping := cpuModel()
	return fmt.Sprintf("%s %d.%d.%d", maker, family, model, stepping)
}

func cpuModel() (family, model, stepping uint32) {
	a, _, _, _ := cpuid(1)
	family, model, stepping = a>>8&15, a>>4&15, a&15
	if family == 6 || family == 15 {
		model |= a >> 16 & 15 << 4
	}
	if family == 15 {
		family += a >> 20 & 255
	}
	return family, model, stepping
}

//go:noescape
func cpuid(leaf uint32) (a, b, c, d uint32)

// zen5 is AMD's family of it.
const zen5 = 26

// defaultFew reports whether the way of few tokens is the faster one where nothing was measured. On Zen 5 two tokens of
// Q4_K read weights at 42 GB/s so, and at 29 through Scratch; on Emerald Rapids at 7.7 and at 11.3.
func defaultFew() bool {
	family, _, _ := cpuModel()
	return family == zen5
}

// defaultPrefetch is what is best known for this CPU where nothing was measured.
func defaultPrefetch(f Format) (Hint, int) {
	if family, _, _ := cpuModel(); family == zen5 && f > BF16 {
		return NTA, 8 << 10
	}
	return NoHint, 0
}
