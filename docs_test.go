package phi3conv_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// The package table of docs/architecture.md has every package of the module, and no other.
func TestPackageTable(t *testing.T) {
	var listed []string
	for _, row := range regexp.MustCompile("(?m)^\\| (`?[a-z0-9/]+`?(?:, `?[a-z0-9/]+`?)*) \\|").FindAllStringSubmatch(
		section(t, "docs/architecture.md", "## Packages"), -1) {
		for name := range strings.SplitSeq(row[1], ", ") {
			if name = strings.Trim(name, "`"); name != "package" {
				listed = append(listed, name)
			}
		}
	}
	packages := declarations(t)
	for dir := range packages {
		if dir != "." && !slices.Contains(listed, dir) {
			t.Errorf("docs/architecture.md does not list the package %s", dir)
		}
	}
	for _, name := range listed {
		if packages[name] == nil {
			t.Errorf("docs/architecture.md lists %s, which is no package", name)
		}
	}
}

// The README lists every package that other modules can import.
func TestLibraries(t *testing.T) {
	text := section(t, "README.md", "## Libraries")
	for dir := range declarations(t) {
		if public(module+dir) && dir != "." && !strings.Contains(text, "("+dir+")") {
			t.Errorf("the README does not list the package %s", dir)
		}
	}
}

// The walks through the code in docs/architecture.md name functions that exist, and at most eight each.
func TestWalks(t *testing.T) {
	declared := declarations(t)
	text := section(t, "docs/architecture.md", "## Three walks")
	step := regexp.MustCompile("(?m)^[0-9]+\\. `([a-z0-9/]+)\\.([A-Za-z0-9.]+)`")
	walks := strings.Split(text, "\n### ")[1:]
	if len(walks) != 3 {
		t.Errorf("%d walks, expected 3", len(walks))
	}
	for _, walk := range walks {
		title, _, _ := strings.Cut(walk, "\n")
		steps := step.FindAllStringSubmatch(walk, -1)
		if len(steps) < 4 || len(steps) > 8 {
			t.Errorf("%s: %d functions, expected 4 to 8", title, len(steps))
		}
		for _, s := range steps {
			if !declared[s[1]][s[2]] {
				t.Errorf("%s: there is no function %s.%s", title, s[1], s[2])
			}
		}
	}
}

// Every relative link of a Markdown file leads to a file that exists and, after a "#", to a heading in it.
func TestLinks(t *testing.T) {
	code := regexp.MustCompile("(?s)```.*?```|`[^`\n]*`")
	link := regexp.MustCompile(`\]\(([^)\s]+)\)`)
	for _, path := range markdownFiles(t) {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, match := range link.FindAllStringSubmatch(code.ReplaceAllString(string(data), ""), -1) {
			target, anchor, hasAnchor := strings.Cut(match[1], "#")
			if strings.Contains(target, "://") {
				continue
			}
			file := path
			if target != "" {
				file = filepath.Join(filepath.Dir(path), target)
			}
			if _, err := os.Stat(file); err != nil {
				t.Errorf("%s links to %s: %v", path, match[1], err)
			} else if hasAnchor && !slices.Contains(anchors(t, file), anchor) {
				t.Errorf("%s links to %s: no heading there has this anchor", path, match[1])
			}
		}
	}
}

// markdownFiles returns the paths of the module's Markdown files.
func markdownFiles(t *testing.T) (paths []string) {
	t.Helper()
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Name() == ".git" && d.IsDir() {
			return filepath.SkipDir
		}
		if strings.HasSuffix(path, ".md") {
			paths = append(paths, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return paths
}

// anchors returns the anchors that GitHub gives the headings of a Markdown file.
func anchors(t *testing.T, path string) (list []string) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	dropped := regexp.MustCompile(`[^\p{L}\p{N}_\- ]`)
	for _, match := range regexp.MustCompile("(?m)^#+ +(.*)$").FindAllStringSubmatch(string(data), -1) {
		heading := dropped.ReplaceAllString(strings.ToLower(match[1]), "")
		list = append(list, strings.ReplaceAll(heading, " ", "-"))
	}
	return list
}

// section returns the part of a Markdown file below a heading, up to the next one of the same level.
func section(t *testing.T, path, heading string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	_, text, ok := strings.Cut("\n"+string(data), "\n"+heading+"\n")
	if !ok {
		t.Fatalf("%s has no %q", path, heading)
	}
	text, _, _ = strings.Cut(text, "\n## ")
	return text
}

// declarations returns the functions and methods ("Type.Method") of each package by its directory.
func declarations(t *testing.T) map[string]map[string]bool {
	t.Helper()
	found := map[string]map[string]bool{}
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && path != "." && strings.ContainsAny(d.Name()[:1], "._") {
			return filepath.SkipDir
		}
		if !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		dir := filepath.ToSlash(filepath.Dir(path))
		if found[dir] == nil {
			found[dir] = map[string]bool{}
		}
		for _, decl := range file.Decls {
			if f, ok := decl.(*ast.FuncDecl); ok {
				found[dir][receiver(f)+f.Name.Name] = true
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// receiver returns the name of a method's type and a point, "" for a function.
func receiver(f *ast.FuncDecl) string {
	if f.Recv == nil {
		return ""
	}
	expr := f.Recv.List[0].Type
	if star, ok := expr.(*ast.StarExpr); ok {
		expr = star.X
	}
	switch x := expr.(type) {
	case *ast.IndexExpr: // a generic type
		expr = x.X
	case *ast.IndexListExpr:
		expr = x.X
	}
	if id, ok := expr.(*ast.Ident); ok {
		return id.Name + "."
	}
	return ""
}
