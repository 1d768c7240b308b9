package machine

import (
	"os"
	"path/filepath"
	"testing"
)

// Two sockets of two cores with two threads each, as x86 lists them; ARM's list has no cores.
func TestCores(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
		return path
	}
	x86 := write("x86", "processor\t: 0\nmodel name\t: A CPU @ 2 GHz\nphysical id\t: 0\ncpu cores\t: 2\n\n"+
		"processor\t: 1\nmodel name\t: A CPU @ 2 GHz\nphysical id\t: 0\ncpu cores\t: 2\n\n"+
		"processor\t: 2\nmodel name\t: A CPU @ 2 GHz\nphysical id\t: 1\ncpu cores\t: 2\n\n")
	arm := write("arm", "processor\t: 0\nCPU implementer\t: 0x41\nCPU part\t: 0xd0c\n\n")
	other := write("other", "processor\t: 0\nCPU implementer\t: 0xc0\nCPU part\t: 0xac3\n\n")
	none := filepath.Join(dir, "none")
	if n := coresIn(none, x86); n != 4 {
		t.Errorf("%d cores of cpuinfo, expected 4", n)
	}
	if n := coresIn(none, arm) + coresIn(none, none); n != 0 {
		t.Errorf("%d cores, expected 0 for unknown", n)
	}
	for cpu, threads := range map[string]string{"cpu0": "0,2", "cpu1": "1,3", "cpu2": "0,2", "cpu3": "1,3"} {
		write("sys/"+cpu+"/topology/core_cpus_list", threads+"\n")
	}
	if n := coresIn(filepath.Join(dir, "sys"), x86); n != 2 {
		t.Errorf("%d cores of the topology, expected 2", n)
	}
	for path, want := range map[string]string{
		x86: "A CPU @ 2 GHz", arm: "Neoverse-N1", other: "CPU implementer 0xc0, part 0xac3", none: "",
	} {
		if got := cpuIn(path); got != want {
			t.Errorf("%s: %q, expected %q", path, got, want)
		}
	}
}
