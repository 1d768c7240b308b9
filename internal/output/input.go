package output

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/phi3conv/phi3conv/internal/input"
	"github.com/phi3conv/phi3conv/internal/usage"
)

// readFile is a file that a command reads.
type readFile struct {
	of   string // what the user named: the file, a directory that it is in, or another part of a split set
	info os.FileInfo
}

type inputs []readFile

// splitName is that of a part of a split GGUF file.
var splitName = regexp.MustCompile(`^(.*-)[0-9]{5}(-of-[0-9]{5}\.gguf)$`)

// notRead are the extensions of files that no checkpoint has, so that they can be written, and replaced, in its
// directory.
var notRead = []string{".gguf", ".pmap", ".seal", ".npy", ".html", ".xml", ".yaml", ".yml", ".tar", ".dat"}

// expand lists the files that are read: of a directory those in it, and of a split set all parts.
func expand(paths []string) inputs {
	var all inputs
	add := func(of, path string) {
		if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() {
			all = append(all, readFile{of, info})
		}
	}
	for _, path := range paths {
		if path == input.Stdin {
			if info, err := os.Stdin.Stat(); err == nil && info.Mode().IsRegular() {
				all = append(all, readFile{input.Name(path), info})
			}
			continue
		}
		info, err := os.Stat(path)
		if err != nil {
			continue
		}
		if !info.IsDir() {
			add(path, path)
		}
		dir, base := filepath.Split(path)
		if info.IsDir() {
			dir, base = path, ""
		}
		parts := splitName.FindStringSubmatch(base)
		if base != "" && parts == nil {
			continue
		}
		entries, _ := os.ReadDir(filepath.Clean(dir))
		for _, e := range entries {
			name := e.Name()
			part := base != "" && strings.HasPrefix(name, parts[1]) && strings.HasSuffix(name, parts[2])
			read := base == "" && !slices.Contains(notRead, strings.ToLower(filepath.Ext(name)))
			if part || read {
				add(path, filepath.Join(dir, name))
			}
		}
	}
	return all
}

// NotInput refuses a file that is one of those that are read, under whatever name, or a directory.
func NotInput(inputs []string, path string) error {
	x := file{name: "output", path: path}
	x.old, _ = os.Stat(path)
	if x.old != nil && x.old.IsDir() {
		return usage.Errorf("output %s exists and is not a regular file but a directory", path)
	}
	return expand(inputs).check(&x)
}

// check refuses an output that is one of the inputs, under whatever name.
func (all inputs) check(x *file) error {
	if x.old == nil || !x.old.Mode().IsRegular() {
		return nil
	}
	for _, in := range all {
		if os.SameFile(x.old, in.info) {
			return usage.Errorf("%s %s is a file of the input %s", x.name, x.path, in.of)
		}
	}
	return nil
}
