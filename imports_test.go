package phi3conv_test

import (
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/phi3conv/phi3conv/"

// level orders the packages: each imports only packages of lower levels. A
// package is matched by its longest prefix here.
var level = map[string]int{
	"cmd":                        100,
	"docs":                       100, // programs that make pages
	".":                          95,
	"internal/job":               90,
	"internal/job/bench":         85, // what other jobs use
	"internal/job/diff":          85,
	"internal/serve":             82,
	"internal/release":           82, // a program for releases
	"internal/stops":             10,
	"internal/job/model":         84,
	"internal/failure":           82, // how a command ended
	"internal/remote":            81,
	"internal/lint":              80,
	"internal/pack":              80,
	"calib":                      78,
	"calib/alloc":                76,
	"calib/solve":                74,
	"calib/stats":                72,
	"calib/text":                 70,
	"verify/eval":                70,
	"internal/convert":           62,
	"runtime":                    65,
	"runtime/engine":             66,
	"runtime/tokenizer":          60,
	"runtime/grammar":            62,
	"runtime/grammar/jsonschema": 63,
	"internal/linear":            63,
	"internal/rope":              35,
	"internal/source":            60,
	"internal/lora":              45,
	"internal/tensorfile":        61,
	"verify/htmlreport":          50,
	"verify":                     45,
	"verify/tensorstats":         40,
	"formats/pmap":               42,
	"formats/gguf":               40,
	"formats/safetensors":        40,
	"formats/seal":               35,
	"internal/arch":              30,
	"internal/modelcard":         30,
	"internal/vocab":             32,
	"quant":                      30,
	"quant/policy":               32,
	"internal/plot":              20,
	"internal/report":            20,
	"internal/sample":            20,
	"formats":                    10, // the error type
	"internal/atomicfile":        10,
	"internal/objects":           22,
	"internal/claim":             24,
	"internal/bucket":            20,
	"internal/fetch":             11,
	"internal/readahead":         10,
	"internal/build":             10,
	"internal/console":           25,
	"internal/cmdline":           20,
	"internal/jinja":             13,
	"internal/jinja/values":      10,
	"internal/kern":              10,
	"internal/machine":           12,
	"internal/output":            14,
	"internal/progress":          10,
	"internal/kvcache":           20,
	"internal/tune":              64,
	"internal/mmap":              10,
	"internal/npy":               10,
	"internal/grid":              10,
	"internal/pool":              15,
	"internal/rss":               10,
	"internal/terminal":          5,
	"internal/input":             11,
	"internal/usage":             10,
	"internal/work":              15,
	"internal/floats":            5,
	"testdata":                   0,
	"internal/testmodel":         200, // only tests import it

	"internal/testbucket":  200, // only tests import it
	"internal/job/inspect": 82,

	"internal/jinja/filters": 12,
	"internal/jinja/methods": 11,
	"internal/jinja/codecs":  6,
	"internal/jinja/names":   5,
	"internal/jinja/libm":    5,
	"internal/jinja/html":    5,
}

// only says which packages may import a library, by the prefix of its path.
var only = map[string][]string{
	"github.com/urfave/cli":         {"cmd/phi3conv", "internal/cmdline"},
	"github.com/cheggaaa/pb":        {"internal/progress"},
	"github.com/reeflective":        {"internal/console"},
	"golang.org/x/term":             {"internal/console", "internal/terminal"},
	"oras.land/oras-go":             {"internal/pack"},
	"github.com/aws":                {"internal/bucket"},
	"gonum.org/v1/gonum":            {"internal/sample"},
	"github.com/klauspost/compress": {"formats/seal"},
	"google.golang.org/protobuf":    {"internal/vocab"},
}

func levelOf(dir string) int {
	for prefix := dir; prefix != "." || dir == "."; prefix = filepath.ToSlash(filepath.Dir(prefix)) {
		if l, ok := level[prefix]; ok {
			return l
		}
	}
	return -1
}

// Imports point one way, and only those packages know a library that docs/architecture.md names.
func TestImports(t *testing.T) {
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (strings.HasPrefix(d.Name(), "_") || (strings.HasPrefix(d.Name(), ".") && path != ".")) {
			return filepath.SkipDir
		}
		if !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		dir := filepath.ToSlash(filepath.Dir(path))
		from := levelOf(dir)
		if from < 0 {
			t.Errorf("%s has no level here", dir)
		}
		for _, spec := range file.Imports {
			name, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			if imported, ok := strings.CutPrefix(name, module); ok {
				if to := levelOf(imported); to >= from && !strings.HasPrefix(imported, dir+"/") {
					t.Errorf("%s (level %d) imports %s (level %d)", path, from, imported, to)
				}
			}
			if name == "C" {
				t.Errorf("%s uses cgo", path)
			}
			for library, importers := range only {
				if strings.HasPrefix(name, library) && !slices.Contains(importers, dir) {
					t.Errorf("%s imports %s, which only %s does", path, name, strings.Join(importers, ", "))
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
