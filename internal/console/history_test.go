package console

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
)

func TestHistory(t *testing.T) {
	t.Setenv("XDG_STATE_HOME", t.TempDir())
	t.Setenv("LocalAppData", os.Getenv("XDG_STATE_HOME"))
	h, err := OpenHistory()
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range []string{"one", "two\nlines", "two\nlines", strings.Repeat("x", maxAnyEntry+1), "\"ä\x00"} {
		if _, err := h.Write(entry); err != nil {
			t.Fatal(err)
		}
	}
	again, err := OpenHistory()
	want := []string{"one", "two\nlines", "\"ä\x00"}
	if err != nil || !slices.Equal(again.entries, want) || !slices.Equal(h.entries, want) {
		t.Errorf("%q, then %q, %v", h.entries, again.entries, err)
	}
	if last, err := again.GetLine(2); err != nil || last != want[2] || again.Len() != 3 {
		t.Errorf("%q, %v", last, err)
	}
	for _, i := range []int{-1, 3} {
		if _, err := again.GetLine(i); err == nil {
			t.Errorf("entry %d", i)
		}
	}
	info, err := os.Stat(h.path)
	if err != nil || runtime.GOOS != "windows" && info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
}

// A history has a bound, also as a file, and what is no entry is left out.
func TestHistoryBounds(t *testing.T) {
	path := filepath.Join(t.TempDir(), "new", "history")
	h, err := openHistory(path)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 2*maxEntries + 1 {
		if _, err := h.Write(fmt.Sprint(i)); err != nil {
			t.Fatal(err)
		}
	}
	last := func(h *History) string { return h.entries[len(h.entries)-1] }
	for range 2 { // the second time the file is short
		h, err = openHistory(path)
		if err != nil || len(h.entries) != maxEntries || last(h) != fmt.Sprint(2*maxEntries) {
			t.Fatalf("%d entries, %v", len(h.entries), err)
		}
	}
	if info, err := os.Stat(path); err != nil || info.Size() > 10*maxEntries {
		t.Errorf("%d bytes, %v", info.Size(), err)
	}
	if files, err := os.ReadDir(filepath.Dir(path)); err != nil || len(files) != 1 {
		t.Errorf("%v, %v", files, err)
	}
	damaged := strings.Repeat("\x00", maxHistory+10) + "\n\"unfinished\n{}\n\"\"\n\"good\"\n\"cut"
	if err := os.WriteFile(path, []byte(damaged), 0o600); err != nil {
		t.Fatal(err)
	}
	if h, err = openHistory(path); err != nil || !slices.Equal(h.entries, []string{"good"}) {
		t.Errorf("a damaged file: %q, %v", h.entries, err)
	}
	if info, err := os.Stat(path); err != nil || info.Size() > 100 {
		t.Errorf("%d bytes are left, %v", info.Size(), err)
	}
	if _, err := openHistory(filepath.Join(path, "below")); err == nil {
		t.Error("a file as a directory")
	}
}
