package machine

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

func cores() int { return coresIn("/sys/devices/system/cpu", "/proc/cpuinfo") }

// coresIn counts the different lists of threads that share a core. The directory has none in some
// containers; cpuinfo has the cores of each socket, on x86 only.
func coresIn(sys, cpuinfo string) int {
	cores := map[string]bool{}
	for _, name := range []string{"core_cpus_list", "thread_siblings_list"} { // the second is older
		files, _ := filepath.Glob(filepath.Join(sys, "cpu[0-9]*", "topology", name))
		for _, file := range files {
			if list, err := os.ReadFile(file); err == nil {
				cores[string(list)] = true
			}
		}
		if len(cores) > 0 {
			return len(cores)
		}
	}
	total := 0
	sockets := map[string]bool{}
	for _, cpu := range cpus(cpuinfo) {
		socket, n := cpu["physical id"], cpu["cpu cores"]
		if count, err := strconv.Atoi(n); err == nil && socket != "" && !sockets[socket] {
			sockets[socket] = true
			total += count
		}
	}
	return total
}

// cpus reads /proc/cpuinfo: a line is "key : value", and an empty one ends a CPU.
func cpus(path string) []map[string]string {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil
	}
	var all []map[string]string
	for block := range strings.SplitSeq(strings.TrimSpace(string(text)), "\n\n") {
		cpu := map[string]string{}
		for line := range strings.Lines(block) {
			key, value, _ := strings.Cut(line, ":")
			cpu[strings.TrimSpace(key)] = strings.TrimSpace(value)
		}
		all = append(all, cpu)
	}
	return all
}

func cpu() string { return cpuIn("/proc/cpuinfo") }

// cpuIn returns the first CPU's name. Those of ARM have numbers in place of names.
func cpuIn(cpuinfo string) string {
	for _, cpu := range cpus(cpuinfo) {
		if name := cpu["model name"]; name != "" {
			return name
		}
		if maker, part := cpu["CPU implementer"], cpu["CPU part"]; part != "" {
			if name := armParts[part]; maker == "0x41" && name != "" {
				return name
			}
			return "CPU implementer " + maker + ", part " + part
		}
	}
	return ""
}

// armParts names cores that ARM designed, by their part number (MIDR_EL1).
var armParts = map[string]string{
	"0xd03": "Cortex-A53", "0xd05": "Cortex-A55", "0xd07": "Cortex-A57", "0xd08": "Cortex-A72",
	"0xd0b": "Cortex-A76", "0xd41": "Cortex-A78", "0xd0c": "Neoverse-N1", "0xd49": "Neoverse-N2",
	"0xd8e": "Neoverse-N3", "0xd40": "Neoverse-V1", "0xd4f": "Neoverse-V2", "0xd84": "Neoverse-V3",
}

// freeMemory is MemAvailable of /proc/meminfo, a line such as "MemAvailable:   12345 kB".
func freeMemory() uint64 {
	text, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(text), "MemAvailable:")
	number, _, _ := strings.Cut(strings.TrimLeft(rest, " "), " ")
	n, err := strconv.ParseUint(number, 10, 54)
	if err != nil {
		return 0
	}
	return n << 10
}
