package console

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
)

// Bounds of a history: entries that are kept, and the bytes of a file of which those at the end are read.
const (
	maxEntries  = 1000
	maxHistory  = 4 << 20
	maxAnyEntry = 64 << 10 // longer ones are not kept
)

// History is what a user has written, the oldest first. It is kept in a file, a JSON string a line, that only the user
// can read.
type History struct {
	path    string
	entries []string
}

// historyPath returns the place of the history: in XDG_STATE_HOME, which is ~/.local/state unless it is set, or on
// Windows in LocalAppData.
func historyPath() (string, error) {
	dir := os.Getenv("XDG_STATE_HOME")
	if !filepath.IsAbs(dir) { // as the specification says
		if runtime.GOOS == "windows" {
			cache, err := os.UserCacheDir()
			if err != nil {
				return "", err
			}
			dir = cache
		} else {
			home, err := os.UserHomeDir()
			if err != nil {
				return "", err
			}
			dir = filepath.Join(home, ".local", "state")
		}
	}
	return filepath.Join(dir, "phi3conv", "history"), nil
}

// OpenHistory opens the user's history.
func OpenHistory() (*History, error) {
	path, err := historyPath()
	if err != nil {
		return nil, err
	}
	return openHistory(path)
}

// openHistory reads a history, or begins one. What is no entry is left out. A file with many more entries than are kept
// is written again with the last ones.
func openHistory(path string) (*History, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, err
	}
	h := &History{path: path}
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return h, nil
	}
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // only read from
	all, err := h.read(f)
	if err == nil && all > 2*maxEntries {
		err = h.rewrite()
	}
	return h, err
}

// read sets the entries to the last ones of a file, and returns how many there are, or many for a very long file.
func (h *History) read(f *os.File) (all int, err error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	if info.Size() > maxHistory {
		if _, err = f.Seek(-maxHistory, io.SeekEnd); err != nil {
			return 0, err
		}
		all = 2 * maxEntries
	}
	lines := bufio.NewScanner(io.LimitReader(f, maxHistory))
	lines.Buffer(nil, maxHistory+1)
	for lines.Scan() {
		var entry string
		if json.Unmarshal(lines.Bytes(), &entry) == nil && entry != "" {
			h.entries = append(h.entries, entry)
			all++
		}
	}
	h.entries = slices.Clone(h.entries[max(0, len(h.entries)-maxEntries):])
	return all, lines.Err()
}

func (h *History) rewrite() error {
	var text bytes.Buffer
	for _, entry := range h.entries {
		text.Write(encodeEntry(entry))
	}
	f, err := os.CreateTemp(filepath.Dir(h.path), "history-*") // readable by the user alone
	if err != nil {
		return err
	}
	_, err = f.Write(text.Bytes())
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(f.Name(), h.path)
	}
	if err != nil {
		_ = os.Remove(f.Name())
	}
	return err
}

func encodeEntry(entry string) []byte {
	data, _ := json.Marshal(entry) // a string always has a form
	return append(data, '\n')
}

// Write adds an entry and returns how many there are.
func (h *History) Write(entry string) (int, error) {
	if n := len(h.entries); len(entry) > maxAnyEntry || n > 0 && h.entries[n-1] == entry {
		return n, nil
	}
	h.entries = append(h.entries, entry)
	f, err := os.OpenFile(h.path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return len(h.entries), err
	}
	_, err = f.Write(encodeEntry(entry)) // at once, so that those of several programs do not mix
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	return len(h.entries), err
}

// GetLine returns an entry.
func (h *History) GetLine(i int) (string, error) {
	if i < 0 || i >= len(h.entries) {
		return "", fmt.Errorf("no entry %d in a history of %d", i, len(h.entries))
	}
	return h.entries[i], nil
}

// Len returns the number of entries.
func (h *History) Len() int { return len(h.entries) }

// Dump returns all entries.
func (h *History) Dump() any { return slices.Clone(h.entries) }
