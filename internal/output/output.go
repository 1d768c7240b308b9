// Package output decides what a command may write, before it computes anything: no output is a file that the command
// reads, no two are one file, what is there is not lost by accident, and everything can be written.
package output

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/phi3conv/phi3conv/internal/atomicfile"
	"github.com/phi3conv/phi3conv/internal/input"
	"github.com/phi3conv/phi3conv/internal/usage"
)

// Kind says what happens to a file that has an output's name already.
type Kind int

const (
	// File is a file. It replaces one of its own kind, as a job that runs every night does, and a note says so. It does
	// not replace anything else without Force: a report is no reason to lose a model.
	File Kind = iota
	// Directory is a directory that files go to. It is made if it is not there, and what is in it is the
	// command's own concern.
	Directory
)

// Output is a file, or a directory, that a command writes.
type Output struct {
	Name string  // what the user calls it, such as --report
	Path *string // empty for one that is not wanted; "-" becomes the name of standard output
	Kind Kind
	// Formats are those that the command writes, such as [GGUF]; an extension of another format is refused.
	Formats []string
	// Beside are what is added to the path for files of intermediate results.
	Beside []string
	// Split says that a set of files named after the path is written in its place, as gguf.Create does with
	// Options.SplitMaxSize.
	Split bool
	// ReadBack says that the command reads the output when it is complete, so that it can be no pipe.
	ReadBack bool
}

// Files are what a command reads and writes.
type Files struct {
	Inputs  []string // files and directories, "-" for standard input; what is not there is ignored
	Outputs []Output
	Force   bool // replaces files
	// Machine says that the command prints what programs read, such as JSON: no output can be mixed with it.
	Machine bool
}

// Check refuses outputs, see the package. Its errors are a [*usage.Error], or an [*Error] for what cannot be written.
// note is told what will be replaced. Outputs of standard output are told by [Files.Stdout] afterwards.
func (f *Files) Check(note func(format string, args ...any)) error {
	all, err := f.list()
	if err != nil {
		return err
	}
	if err := input.Once(f.Inputs...); err != nil {
		return err
	}
	inputs := expand(f.Inputs)
	for i := range all {
		for _, check := range []func(*file) error{f.checkStream, inputs.check, checkExtension, f.checkOld} {
			if err := check(&all[i]); err != nil {
				return err
			}
		}
	}
	for i := range all {
		if err := all[i].checkPlace(); err != nil {
			return &Error{err}
		}
	}
	if err := checkTwins(all); err != nil {
		return err
	}
	for _, o := range all {
		if o.replaces {
			note("%s: %s is there and will be replaced", o.name, o.path)
		}
	}
	return nil
}

// Error says that an output cannot be written.
type Error struct{ Err error }

func (e *Error) Error() string { return e.Err.Error() }

func (e *Error) Unwrap() error { return e.Err }

// Stdout reports whether an output goes to standard output. What a command prints for people goes elsewhere then.
func (f *Files) Stdout() bool {
	return slices.ContainsFunc(f.Outputs, func(o Output) bool { return isStdout(*o.Path) })
}

// Writer returns where a command prints for people: to out, or to the other one if out has an output.
func (f *Files) Writer(out, other io.Writer) io.Writer {
	if f.Stdout() {
		return other
	}
	return out
}

func isStdout(path string) bool {
	if path == atomicfile.Stdout {
		return true
	}
	info, err := os.Stat(path)
	if err != nil || !atomicfile.IsStdout(info) {
		return false
	}
	null, err := os.Stat(os.DevNull) // where nothing is mixed, also if it is standard output
	return err != nil || !os.SameFile(info, null)
}

// file is one that is written: an output, or what is beside it.
type file struct {
	name, path string
	kind       Kind
	formats    []string
	beside     bool
	stream     bool        // a device, a pipe or standard output
	old        fs.FileInfo // what is there; nil for nothing
	replaces   bool
}

// list lists the files that are written, and checks their names.
func (f *Files) list() ([]file, error) {
	var all []file
	for _, o := range f.Outputs {
		if *o.Path == "" {
			continue
		}
		if *o.Path == "-" {
			*o.Path = atomicfile.Stdout
		}
		stream := atomicfile.IsStream(*o.Path)
		switch {
		case atomicfile.StoreOf(*o.Path) != nil:
			if o.Kind == Directory || o.ReadBack {
				return nil, usage.Errorf("%s is %s, but must be a path: a directory, or a file that is read again",
					o.Name, *o.Path)
			}
		case stream && (o.Kind == Directory || o.Split):
			return nil, usage.Errorf("%s is a device, a pipe or standard output, but several files are written", o.Name)
		case stream && o.ReadBack:
			return nil, usage.Errorf("%s is a device, a pipe or standard output, but what is written is read again",
				o.Name)
		}
		add := func(x file) {
			x.stream = stream
			x.old, _ = os.Stat(x.path)
			all = append(all, x)
		}
		for _, path := range o.paths() {
			add(file{name: o.Name, path: path, kind: o.Kind, formats: o.Formats})
		}
		for _, suffix := range o.Beside {
			if !stream {
				add(file{name: o.Name + "'s file of intermediate results", path: *o.Path + suffix, beside: true})
			}
		}
	}
	return all, nil
}

// paths returns the path, or those of the parts of a set: that of the first one of one part, and those that are there.
func (o *Output) paths() []string {
	if !o.Split {
		return []string{*o.Path}
	}
	dir, base := filepath.Split(strings.TrimSuffix(*o.Path, ".gguf"))
	paths := []string{filepath.Join(dir, base+"-00001-of-00001.gguf")}
	entries, _ := os.ReadDir(filepath.Clean(dir))
	for _, e := range entries {
		parts := splitName.FindStringSubmatch(e.Name())
		if path := filepath.Join(dir, e.Name()); parts != nil && parts[1] == base+"-" && path != paths[0] {
			paths = append(paths, path)
		}
	}
	return paths
}

// checkStream refuses to mix what programs read.
func (f *Files) checkStream(x *file) error {
	if f.Machine && isStdout(x.path) {
		return usage.Errorf("%s and --json would both be standard output", x.name)
	}
	return nil
}

// checkOld decides about what is there.
func (f *Files) checkOld(x *file) error {
	switch {
	case atomicfile.StoreOf(x.path) != nil:
		return f.checkObject(x)
	case x.old == nil, x.beside, x.stream && x.old.Mode().Type()&fs.ModeDevice == 0,
		x.stream && x.old.Mode()&fs.ModeCharDevice != 0, isStdout(x.path):
		return nil
	case x.kind == Directory:
		if !x.old.IsDir() {
			return usage.Errorf("%s %s exists and is not a directory", x.name, x.path)
		}
		return nil
	case x.old.IsDir():
		return usage.Errorf("%s %s exists and is not a regular file but a directory", x.name, x.path)
	case x.old.Mode().IsRegular() && x.old.Size() == 0: // such as mktemp makes
		return nil
	}
	if !f.Force && !sameKind(x) {
		return refuseOther(x)
	}
	x.replaces = true
	return nil
}

// checkObject decides about what a store has.
func (f *Files) checkObject(x *file) error {
	b, err := beginning(x.path)
	switch {
	case err != nil:
		return &Error{fmt.Errorf("%s: %w", x.name, err)}
	case len(b) == 0:
		return nil
	case slices.Contains(f.Inputs, x.path):
		return usage.Errorf("%s %s is an input", x.name, x.path)
	case !f.Force && !isKind(b, x.formats):
		return refuseOther(x)
	}
	x.replaces = true
	return nil
}

// refuseOther refuses to replace a file of another kind.
func refuseOther(x *file) error {
	return usage.Errorf("%s %s exists and is no %s: choose another name, or --force to replace it",
		x.name, x.path, strings.Join(x.formats, " or "))
}

// leastFree is how much space there must be for an output whose size is not known.
const leastFree = 64 << 10

// checkPlace tries whether the file can be made, and leaves nothing.
func (x *file) checkPlace() error {
	if x.kind != Directory {
		if err := atomicfile.Check(x.path); err != nil {
			return noDirectory(x.path, err)
		}
		return Room(x.path, leastFree)
	}
	dir := x.path
	for {
		info, err := os.Stat(dir)
		if err == nil && !info.IsDir() {
			return fmt.Errorf("write %s: %s is not a directory", x.path, dir)
		}
		if err == nil {
			break
		}
		if parent := filepath.Dir(dir); !errors.Is(err, fs.ErrNotExist) || parent == dir {
			return fmt.Errorf("write %s: %w", x.path, err)
		}
		dir = filepath.Dir(dir)
	}
	probe := filepath.Join(dir, "probe")
	if err := atomicfile.Check(probe); err != nil {
		return fmt.Errorf("write %s: %w", x.path, errors.Unwrap(err))
	}
	return Room(probe, leastFree)
}

// noDirectory says so, where that is why a file cannot be made.
func noDirectory(path string, err error) error {
	target, e := atomicfile.Target(path)
	if e != nil {
		return err
	}
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("write %s: the directory %s: %w", path, filepath.Dir(target), errors.Unwrap(err))
	}
	return err
}

// checkTwins refuses two outputs that are one file, under whatever names. Their directories are there.
func checkTwins(all []file) error {
	type place struct {
		dir  string
		info fs.FileInfo // of the directory
		base string
	}
	places := make([]place, len(all))
	for i := range all {
		x := &all[i]
		if x.stream {
			continue
		}
		target, err := atomicfile.Target(x.path)
		if err != nil {
			return &Error{fmt.Errorf("write %s: %w", x.path, err)}
		}
		places[i].dir, places[i].base = filepath.Dir(target), filepath.Base(target)
		places[i].info, _ = os.Stat(places[i].dir)
	}
	for i := range all {
		for j := range i {
			same := all[i].old != nil && all[j].old != nil && os.SameFile(all[i].old, all[j].old) ||
				isStdout(all[i].path) && isStdout(all[j].path) ||
				atomicfile.StoreOf(all[i].path) != nil && all[i].path == all[j].path
			if a, b := &places[i], &places[j]; !same && a.info != nil && b.info != nil && os.SameFile(a.info, b.info) {
				var err error
				if same, err = atomicfile.SameName(a.dir, a.base, b.base); err != nil {
					return &Error{fmt.Errorf("write %s: %w", all[i].path, err)}
				}
			}
			if same && !bothDevices(&all[i], &all[j]) {
				return usage.Errorf("%s and %s are one file, %s", all[j].name, all[i].name, all[i].path)
			}
		}
	}
	return nil
}

// bothDevices reports whether two outputs go to one device such as /dev/null, where nothing is lost by that.
func bothDevices(a, b *file) bool {
	return a.old != nil && b.old != nil && a.old.Mode()&b.old.Mode()&fs.ModeCharDevice != 0 &&
		!isStdout(a.path) && strings.EqualFold(a.path, b.path)
}
