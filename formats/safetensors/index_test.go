package safetensors

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/phi3conv/phi3conv/formats"
	"github.com/phi3conv/phi3conv/internal/testmodel"
)

func TestOpenDirGolden(t *testing.T) {
	f, err := OpenDir("testdata/sharded")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	want := []struct{ name, file string }{
		{"b.weight", "model-00001-of-00002.safetensors"},
		{"c.weight", "model-00001-of-00002.safetensors"},
		{"a.weight", "model-00002-of-00002.safetensors"},
	}
	if len(f.Tensors) != len(want) || len(f.Shards) != 2 || f.Metadata["format"] != "pt" {
		t.Fatalf("%d tensors, %d files, metadata %v", len(f.Tensors), len(f.Shards), f.Metadata)
	}
	for i, w := range want {
		x := f.Tensors[i]
		if x.Name != w.name || x.Path != filepath.Join("testdata/sharded", w.file) || f.Tensor(w.name) != x {
			t.Errorf("tensor %d: %s in %s", i, x.Name, x.Path)
		}
		if !bytes.Equal(data(t, x), pattern(w.name, 32)) {
			t.Errorf("%s: wrong data", x.Name)
		}
	}
	if a, b := f.Shards[0], f.Shards[1]; a.First != 0 || a.Count != 2 || b.First != 2 || b.Count != 1 || b.Size != 136 {
		t.Errorf("files: %+v", f.Shards)
	}
}

// weights is a file with one byte for each name.
func weights(names ...string) []byte {
	var entries []string
	for i, n := range names {
		entries = append(entries, fmt.Sprintf(`%q:{"dtype":"U8","shape":[1],"data_offsets":[%d,%d]}`, n, i, i+1))
	}
	return file("{"+strings.Join(entries, ",")+"}", len(names))
}

const (
	shard1 = "model-00001-of-00002.safetensors"
	shard2 = "model-00002-of-00002.safetensors"
)

func index(s string) []byte {
	return []byte(`{"metadata":{"total_size":1e99},"weight_map":{` + s + `}}`)
}

var goodIndex = index(`"a":"` + shard1 + `","b":"` + shard1 + `","c":"` + shard2 + `"`)

// directories lists directories that open and that do not.
var directories = []struct {
	name  string
	files map[string][]byte
	is    error
	want  string // "" if it opens
}{
	{"one file", map[string][]byte{singleName: weights("a")}, nil, ""},
	{"index", map[string][]byte{indexName: goodIndex, shard1: weights("a", "b"), shard2: weights("c")}, nil, ""},
	{
		"index of one file",
		map[string][]byte{indexName: index(`"a":"model.safetensors"`), singleName: weights("a")}, nil, "",
	},
	{
		"index in another order",
		map[string][]byte{
			indexName: index(`"c":"` + shard2 + `","a":"` + shard1 + `"`), shard1: weights("a"),
			shard2: weights("c"),
		},
		nil, "",
	},
	{"nothing", nil, ErrNoWeights, "neither model.safetensors.index.json nor model.safetensors is there"},
	{"pickle", map[string][]byte{"pytorch_model.bin": nil}, ErrNoWeights, "is a pickle"},
	{
		"pickles", map[string][]byte{"pytorch_model.bin.index.json": nil, "pytorch_model-00001-of-00002.bin": nil},
		ErrNoWeights, "is a pickle",
	},
	{"no index", map[string][]byte{shard1: weights("a")}, ErrNoWeights, "the index is missing"},
	{
		"index and another file",
		map[string][]byte{
			indexName: goodIndex, shard1: weights("a", "b"), shard2: weights("c"), singleName: weights("a", "b", "c"),
		},
		ErrIndex, "remove one of the two",
	},
	{
		"missing shard", map[string][]byte{indexName: goodIndex, shard1: weights("a", "b")}, ErrIndex,
		shard2 + ": the file is missing; model.safetensors.index.json lists 2 files",
	},
	{
		"missing tensor", map[string][]byte{indexName: goodIndex, shard1: weights("a"), shard2: weights("c")}, ErrIndex,
		shard1 + `: tensor "b" is not in the file`,
	},
	{
		"unlisted tensor",
		map[string][]byte{indexName: goodIndex, shard1: weights("a", "b"), shard2: weights("c", "d")},
		ErrIndex,
		shard2 + `: offset 114: tensor "d": model.safetensors.index.json does not say that it is in this file`,
	},
	{
		"tensor in two files",
		map[string][]byte{indexName: goodIndex, shard1: weights("a", "b"), shard2: weights("a", "c")}, ErrIndex,
		shard2 + `: offset 113: tensor "a"`,
	},
	{
		"broken shard", map[string][]byte{indexName: goodIndex, shard1: weights("a", "b"), shard2: weights("c")[:50]},
		ErrTruncated, shard2 + ": offset 0: header of",
	},
	{"broken index", map[string][]byte{indexName: []byte(`{"weight_map":{"a":"`)}, nil,
		indexName + ": offset 19: JSON: unexpected EOF"},
}

func TestOpenDir(t *testing.T) {
	for _, tt := range directories {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			for name, b := range tt.files {
				if err := os.WriteFile(filepath.Join(dir, name), b, 0o666); err != nil {
					t.Fatal(err)
				}
			}
			f, err := OpenDir(dir)
			if tt.want == "" {
				if err != nil {
					t.Fatal(err)
				}
				if err := f.Close(); err != nil {
					t.Error(err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.HasPrefix(err.Error(), dir) {
				t.Fatalf("error %v, want %q", err, tt.want)
			}
			if tt.is != nil && !errors.Is(err, tt.is) {
				t.Errorf("error %v is not %v", err, tt.is)
			}
		})
	}
	if _, err := OpenDir(filepath.Join(t.TempDir(), "none")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("missing directory: error %v", err)
	}
}

func TestIndexRefused(t *testing.T) {
	at := func(file string) string { return `{"weight_map":{"a":"` + file + `"}}` }
	tests := []struct{ name, index, want string }{
		{"empty", ``, "JSON: unexpected EOF"},
		{"array", `[]`, `found [, must be "{"`},
		{"no weight_map", `{"metadata":{}}`, "weight_map is missing or empty"},
		{"empty weight_map", `{"weight_map":{}}`, "weight_map is missing or empty"},
		{"weight_map is an array", `{"weight_map":[]}`, `found [, must be "{"`},
		{"weight_map twice", `{"weight_map":{},"weight_map":{}}`, `name "weight_map" is there twice`},
		{"tensor twice", `{"weight_map":{"a":"x.safetensors","a":"y.safetensors"}}`, `name "a" is there twice`},
		{"file is a number", `{"weight_map":{"a":1}}`, "found 1, must be a string"},
		{"parent", at(`..`), `file "..", must be the name of a .safetensors file`},
		{"path up", at(`../x.safetensors`), "must be the name"},
		{"subdirectory", at(`x/y.safetensors`), "must be the name"},
		{"absolute", at(`/x.safetensors`), "must be the name"},
		{"backslash", at(`..\\x.safetensors`), "must be the name"},
		{"drive", at(`C:x.safetensors`), "must be the name"},
		{"zero byte", at(`x\u0000.safetensors`), "must be the name"},
		{"no name", at(``), "must be the name"},
		{"pickle", at(`x.bin`), "must be the name of a .safetensors file"},
		{"trailing", at(`x.safetensors`) + "{}", `"{}" after the JSON`},
		{"not UTF-8", "{\"\xff\":{}}", "not valid UTF-8"},
		{"unfinished metadata", `{"metadata":{"a":[1,2`, "JSON: unexpected EOF"},
		{"nested too deep", `{"metadata":` + strings.Repeat("[", 1000), "nested more than 100 deep"},
		{"crossed brackets", `{"metadata":[}`, "JSON: invalid character"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := parseIndex([]byte(tt.index))
			var fe *formats.Error
			if !errors.As(err, &fe) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want %q", err, tt.want)
			}
		})
	}
	spaced := " " + `{"x":[1,{"y":null}],"weight_map":{"a":"b.safetensors"}}` + "\r\n\t "
	if _, err := parseIndex([]byte(spaced)); err != nil {
		t.Error(err)
	}
}

func FuzzIndex(f *testing.F) {
	f.Add(testmodel.Read(f, "testdata/sharded/model.safetensors.index.json"))
	f.Add([]byte(`{"metadata":{"a":[1,{"b":null}]},"weight_map":{"x":"y.safetensors"}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		files, err := parseIndex(b)
		if err != nil {
			var fe *formats.Error
			if !errors.As(err, &fe) {
				t.Fatalf("error of type %T: %v", err, err)
			}
			return
		}
		for name, tensors := range files {
			if filepath.Base(name) != name || !filepath.IsLocal(name) || len(tensors) == 0 {
				t.Errorf("file %q with %d tensors", name, len(tensors))
			}
		}
	})
}
