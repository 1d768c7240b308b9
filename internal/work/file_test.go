package work

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
)

// A file continues the run of its key, in spite of a damaged record, and no other; a user's own file is left alone.
func TestFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "work")
	key, other := [32]byte{1}, [32]byte{2}
	open := func(key [32]byte, steps int) *File {
		f, err := OpenFile(path, "a test's file\n", "a test", key, steps, 0)
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	f := open(key, 3)
	values := make([]float32, ioBytes/4+3) // more than is written at a time
	for i := range values {
		values[i] = float32(i)
	}
	if err := f.WriteFloats(values, DataAt); err != nil || f.Done != 0 {
		t.Fatalf("%d steps done, %v", f.Done, err)
	}
	for done := 1; done <= 2; done++ {
		if err := f.Save(done); err != nil {
			t.Fatal(err)
		}
	}
	_ = f.Close()
	f = open(key, 3)
	got := make([]float32, len(values))
	if err := f.ReadFloats(got, DataAt); err != nil || !slices.Equal(got, values) || f.Done != 2 {
		t.Errorf("%d steps done, expected 2, or other values: %v", f.Done, err)
	}
	if _, err := f.WriteAt([]byte{7}, recordAt+36); err != nil { // the CRC-32 of the record of step 2
		t.Fatal(err)
	}
	_ = f.Close()
	if f = open(key, 3); f.Done != 1 {
		t.Errorf("%d steps done with the second record damaged, expected 1", f.Done)
	}
	_ = f.Close()
	if f = open(other, 3); f.Done != 0 {
		t.Errorf("%d steps done of another run", f.Done)
	}
	if err := f.Remove(); err != nil {
		t.Error(err)
	}
	if err := os.WriteFile(path, []byte("a user's own file"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := OpenFile(path, "a test's file\n", "a test", key, 3, 0)
	if err == nil || !strings.Contains(err.Error(), path+": offset 0: not a work file of a test") {
		t.Errorf("%v", err)
	}
	if data, _ := os.ReadFile(path); string(data) != "a user's own file" {
		t.Error("a user's file was changed")
	}
}

// Each task is done once.
func TestEach(t *testing.T) {
	for _, threads := range []int{0, 1, 3, 100} {
		var done [50]atomic.Int32
		Each(threads, len(done), func(task int) { done[task].Add(1) })
		EachWith(threads, len(done), func() *int { return new(int) }, func(own *int, task int) {
			*own++ // nobody else's
			done[task].Add(1)
		})
		for i := range done {
			if n := done[i].Load(); n != 2 {
				t.Errorf("%d threads: task %d was done %d times, expected 2", threads, i, n)
			}
		}
	}
}
