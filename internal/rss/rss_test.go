package rss

import (
	"runtime"
	"runtime/debug"
	"testing"
)

func TestAnonymous(t *testing.T) {
	before := Anonymous()
	if runtime.GOOS != "linux" {
		if before != 0 {
			t.Errorf("%d bytes, expected 0 for unknown", before)
		}
		return
	}
	b := make([]byte, 64<<20)
	for i := 0; i < len(b); i += 4096 {
		b[i] = 1
	}
	if after := Anonymous(); before < 1<<17 || after < before+60<<20 {
		t.Errorf("%d bytes before and %d after writing 64 MiB", before, after)
	}
	runtime.KeepAlive(b)
}

func TestPeak(t *testing.T) {
	grow := func() {
		b := make([]byte, 64<<20)
		for i := 0; i < len(b); i += 4096 {
			b[i] = 1
		}
		runtime.KeepAlive(b)
	}
	if p := Peak(); p < 1<<20 || p > 1<<40 {
		t.Fatalf("a peak of %d bytes", p)
	}
	grow()
	high := Peak()
	if high < 64<<20 {
		t.Errorf("%d bytes after writing 64 MiB", high)
	}
	debug.FreeOSMemory()
	if Reset() && Peak() >= high {
		t.Errorf("%d bytes after memory was given back, %d before", Peak(), high)
	}
}
