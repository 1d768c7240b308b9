package rss

import (
	"runtime"
	"runtime/debug"
	"testing"
)

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
