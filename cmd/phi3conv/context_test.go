package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"strings"
	"testing"
)

// Only files that hold a command, or the program, know the cli package's context, and what they do with it is no
// concern of other files.
func TestContexts(t *testing.T) {
	paths, err := filepath.Glob("*.go")
	if err != nil || len(paths) == 0 {
		t.Fatalf("%d files, %v", len(paths), err)
	}
	files := map[string]*ast.File{}
	takes := map[string]string{} // functions that take a context, and their files
	for _, path := range paths {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		files[path] = f
		for _, d := range f.Decls {
			f, ok := d.(*ast.FuncDecl)
			if ok && mentions(f.Type, "cli.Context") {
				takes[f.Name.Name] = path
			}
		}
	}
	if len(takes) < 10 {
		t.Errorf("only %d functions take a context", len(takes))
	}
	for path, f := range files {
		holds := false
		ast.Inspect(f, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.CompositeLit:
				holds = holds || is(n.Type, "cli.Command") || is(n.Type, "cli.App")
			case *ast.Ident:
				if from := takes[n.Name]; from != "" && from != path {
					t.Errorf("%s uses %s of %s, which takes *cli.Context", path, n.Name, from)
				}
			}
			return true
		})
		if !holds && mentions(f, "cli.Context") {
			t.Errorf("%s holds no command and uses *cli.Context", path)
		}
	}
}

// is reports whether the expression is package.Name.
func is(x ast.Node, name string) bool {
	s, ok := x.(*ast.SelectorExpr)
	if !ok {
		return false
	}
	id, ok := s.X.(*ast.Ident)
	return ok && id.Name+"."+s.Sel.Name == name
}

// mentions reports whether package.Name is in the syntax.
func mentions(root ast.Node, name string) (found bool) {
	ast.Inspect(root, func(n ast.Node) bool {
		found = found || is(n, name)
		return true
	})
	return found
}
