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

// defaultPrefetch is what is best known for this CPU where nothing was measured.
func defaultPrefetch(f Format) (Hint, int) {
	if family, _, _ := cpuModel(); family == zen5 && f > BF16 {
		return NTA, 8 << 10
	}
	return NoHint, 0
}
