package phi3conv_test

import (
	"bytes"
	"fmt"
	"go/importer"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// What an importable package exports must not mention a type of a package that cannot be imported: a program
// could neither name nor make a value of it.
func TestPublicAPI(t *testing.T) {
	exports := exportFiles(t)
	imports := importer.ForCompiler(token.NewFileSet(), "gc", func(path string) (io.ReadCloser, error) {
		return os.Open(exports[path])
	})
	for path := range exports {
		if !strings.HasPrefix(path, module) || !public(path) {
			continue
		}
		pkg, err := imports.Import(path)
		if err != nil {
			t.Fatal(err)
		}
		w := apiWalk{pkg: pkg, seen: map[types.Type]bool{}, found: func(where, what string) {
			t.Errorf("%s.%s mentions %s", strings.TrimPrefix(path, module), where, what)
		}}
		for _, name := range pkg.Scope().Names() {
			if obj := pkg.Scope().Lookup(name); obj.Exported() {
				w.visit(name, obj.Type())
			}
		}
	}
}

// exportFiles returns the export data of the module's packages, and of all that they import, by import path.
func exportFiles(t *testing.T) map[string]string {
	cmd := exec.Command("go", "list", "-export", "-deps", "-f", "{{.ImportPath}} {{.Export}}", "./...")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, &stderr)
	}
	files := map[string]string{}
	for line := range strings.Lines(string(out)) {
		path, file, _ := strings.Cut(strings.TrimSpace(line), " ")
		files[path] = file
	}
	return files
}

// public reports whether other modules can import a package of this one, and find anything in it.
func public(path string) bool {
	for element := range strings.SplitSeq(strings.TrimPrefix(path, module), "/") {
		switch element {
		case "internal", "cmd", "docs", "testdata":
			return false
		}
	}
	return true
}

// apiWalk visits every type that a package's exported identifiers mention.
type apiWalk struct {
	pkg   *types.Package
	seen  map[types.Type]bool
	found func(where, what string)
}

func (w *apiWalk) visit(where string, t types.Type) {
	if w.seen[t] {
		return
	}
	w.seen[t] = true
	switch t := t.(type) {
	case *types.Alias:
		w.visit(where, types.Unalias(t))
	case *types.Named:
		w.visitNamed(where, t)
	case *types.Struct:
		for f := range t.Fields() {
			if f.Exported() || f.Embedded() {
				w.visit(where+"."+f.Name(), f.Type())
			}
		}
	case *types.Interface:
		for m := range t.Methods() {
			w.visit(where+"."+m.Name(), m.Type())
		}
	case *types.Signature:
		for v := range t.Params().Variables() {
			w.visit(where, v.Type())
		}
		for v := range t.Results().Variables() {
			w.visit(where, v.Type())
		}
	case *types.Map:
		w.visit(where, t.Key())
		w.visit(where, t.Elem())
	case interface{ Elem() types.Type }: // pointer, slice, array, channel
		w.visit(where, t.Elem())
	}
}

func (w *apiWalk) visitNamed(where string, t *types.Named) {
	for a := range t.TypeArgs().Types() {
		w.visit(where, a)
	}
	pkg := t.Obj().Pkg()
	if pkg == nil || !strings.HasPrefix(pkg.Path()+"/", module) {
		return
	}
	if !public(pkg.Path()) {
		w.found(where, fmt.Sprintf("%s.%s", strings.TrimPrefix(pkg.Path(), module), t.Obj().Name()))
		return
	}
	if pkg != w.pkg {
		return // that package is looked at itself
	}
	w.visit(where, t.Underlying())
	for m := range t.Methods() {
		if m.Exported() {
			w.visit(t.Obj().Name()+"."+m.Name(), m.Type())
		}
	}
}
