package machine

import (
	"path/filepath"
	"runtime"
	"testing"
)

func TestMachine(t *testing.T) {
	if n := Cores(); n < 1 || n > runtime.NumCPU() {
		t.Errorf("%d cores for %d threads", n, runtime.NumCPU())
	}
	if CPU() == "" {
		t.Error("the CPU has no name")
	}
	if n := FreeMemory(); n < 1<<20 || n > 1<<50 {
		t.Errorf("%d bytes of memory", n)
	}
	if n, err := FreeDisk(t.TempDir()); n > 1<<60 || err != nil {
		t.Errorf("%d bytes of disk, error %v", n, err)
	}
	if n, err := FreeDisk(filepath.Join(t.TempDir(), "none")); err == nil {
		t.Errorf("%d bytes in a directory that does not exist", n)
	}
}

func TestReadBandwidth(t *testing.T) {
	if b := ReadBandwidth(2); b < 1e8 || b > 1e13 {
		t.Errorf("%v bytes a second", b)
	}
}
