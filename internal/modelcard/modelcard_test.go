package modelcard

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"testing"

	"github.com/phi3conv/phi3conv/formats"
)

func TestParseName(t *testing.T) {
	var cases []struct {
		ID           string
		Params       int64
		Title        string
		Organization string
		Basename     string
		Finetune     string
		Version      string
		SizeLabel    string `json:"size_label"`
	}
	readTestJSON(t, "testdata/names.json", &cases)
	for _, c := range cases {
		n := parseName(c.ID, c.Params)
		want := modelName{n.full, c.Organization, c.Basename, c.Finetune, c.Version, c.SizeLabel}
		if n != want || title(n.full) != c.Title {
			t.Errorf("%q with %d weights: %+v, title %q\nwant %+v, title %q",
				c.ID, c.Params, n, title(n.full), want, c.Title)
		}
	}
}

func TestRoundedCount(t *testing.T) {
	var cases map[string]string
	readTestJSON(t, "testdata/sizes.json", &cases)
	for count, want := range cases {
		n, err := strconv.ParseInt(count, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		if got := roundedCount(n); got != want {
			t.Errorf("%d: %q, want %q", n, got, want)
		}
	}
}

func TestLoadWritesTheConvertersKeys(t *testing.T) {
	var cases []struct {
		Name   string
		Params int64
		Files  map[string]string
		Keys   map[string]struct {
			Type  string
			Value any
		}
	}
	readTestJSON(t, "testdata/cards.json", &cases)
	for _, c := range cases {
		t.Run(c.Name, func(t *testing.T) {
			want := make(map[string]any)
			for k, v := range c.Keys {
				switch v.Type {
				case "UINT32":
					want[k] = uint32(v.Value.(float64))
				case "INT32":
					want[k] = int32(v.Value.(float64))
				case "FLOAT32":
					want[k] = float32(v.Value.(float64))
				case "ARRAY":
					var list []string
					for _, e := range v.Value.([]any) {
						list = append(list, e.(string))
					}
					want[k] = list
				default:
					want[k] = v.Value
				}
			}
			card, err := Load(writeDir(t, c.Name, c.Files), Size{Params: c.Params})
			if err != nil {
				t.Fatal(err)
			}
			checkKeys(t, card, want)
		})
	}
}

func TestLoadTinyModel(t *testing.T) {
	var file struct {
		Metadata map[string]struct{ Value any }
	}
	readTestJSON(t, "../../testdata/golden/vocab-tiny.json", &file)
	want := make(map[string]any)
	for k, v := range file.Metadata {
		if strings.HasPrefix(k, "general.") {
			want[k] = v.Value
		}
	}
	// not of the card
	for _, k := range []string{"general.architecture", "general.file_type", "general.quantization_version"} {
		delete(want, k)
	}
	card, err := Load("../../testdata/tiny-phi3", Size{Params: 2_656_512})
	if err != nil {
		t.Fatal(err)
	}
	checkKeys(t, card, want)
}

func checkKeys(t *testing.T, card *Card, want map[string]any) {
	t.Helper()
	got := make(map[string]any)
	for k, v := range card.All() {
		if _, ok := got[k]; ok {
			t.Errorf("%s comes twice", k)
		}
		got[k] = v
	}
	for k, v := range want {
		if !reflect.DeepEqual(got[k], v) {
			t.Errorf("%s = %#v, want %#v", k, got[k], v)
		}
	}
	for k, v := range got {
		if _, ok := want[k]; !ok {
			t.Errorf("%s = %#v, want no such key", k, v)
		}
	}
}

// Models of experts are named by their number and the size of a model of one: this is what llama.cpp's converter calls
// a PhiMoE of 7,091,264 weights, 1,193,024 of them without 15 of its 16 experts.
func TestExperts(t *testing.T) {
	dir := writeDir(t, "x", nil)
	card, err := Load(dir, Size{Params: 7_091_264, Experts: 16, OneExpert: 1_193_024})
	if err != nil || card.SizeLabel != "16x1.2M" {
		t.Errorf("%q, %v", card.SizeLabel, err)
	}
}

// Without a name the converter writes none; a file should have one.
func TestEmptyNameIsNoName(t *testing.T) {
	card, err := Load(
		writeDir(
			t, "phi-3-mini",
			map[string]string{"config.json": `{"_name_or_path": ""}`, "README.md": "---\nname:\n---\n"},
		),
		Size{},
	)
	if err != nil || card.Name != "Phi 3 Mini" {
		t.Errorf("name %q, %v", card.Name, err)
	}
}

// Numbers, dates and booleans of YAML are texts here.
func TestScalarsAreTexts(t *testing.T) {
	readme := "---\nversion: 1.0\nauthor: 007\ntags: [1, true, 2024-01-01, no]\nlicense: ~\n---\n"
	card, err := Load(writeDir(t, "x", map[string]string{"README.md": readme}), Size{})
	if err != nil {
		t.Fatal(err)
	}
	if card.Version != "1.0" || card.Author != "007" || card.License != "" ||
		!reflect.DeepEqual(card.Tags, []string{"1", "true", "2024-01-01", "no"}) {
		t.Errorf("got %+v", card)
	}
}

func TestLoadOfCurrentDirectory(t *testing.T) {
	t.Chdir(writeDir(t, "Phi-3-mini-4k-instruct", nil))
	card, err := Load(".", Size{Params: 3_821_079_552})
	if err != nil || card.Name != "Phi 3 Mini 4k Instruct" || card.Basename != "Phi-3" || card.SizeLabel != "mini" {
		t.Errorf("got %+v, %v", card, err)
	}
}

func TestLoadErrors(t *testing.T) {
	for name, c := range map[string]struct{ file, content, want string }{
		"front matter is no YAML": {"README.md", "---\ntags: [a\n---\n", "front matter: yaml:"},
		"name is a list":          {"README.md", "---\nname: [a]\n---\n", "name is a list"},
		"tag is a mapping":        {"README.md", "---\ntags:\n- a\n- {b: c}\n---\n", "tags[1] is a list or a mapping"},
		"data set name is a list": {"README.md", "---\ndatasets:\n- {name: [a]}\n---\n", "datasets[0].name"},
		"README is not UTF-8":     {"README.md", "---\nname: \xff\n---\n", "not UTF-8"},
		"config is no JSON":       {"config.json", "{", "not the JSON expected"},
		"config name is a number": {"config.json", `{"_name_or_path": 3}`, "_name_or_path"},
		"top_k is a fraction": {
			"generation_config.json", `{"top_k": 1.5}`, "top_k is 1.5, expected a value of type int32",
		},
		"top_p is a string": {
			"generation_config.json", `{"top_p": "x"}`, `top_p is "x", expected a value of type float32`,
		},
		"temperature too large": {"generation_config.json", `{"temperature": 1e50}`, "temperature is 1e50"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Load(writeDir(t, "x", map[string]string{c.file: c.content}), Size{})
			var e *formats.Error
			if !errors.As(err, &e) || filepath.Base(e.Path) != c.file || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want %s and %q in it", err, c.file, c.want)
			}
		})
	}
}

func FuzzModelCard(f *testing.F) {
	f.Add(
		"---\nlanguage:\n- en\nlicense: [a, b]\nbase_model: org/phi-3-mini\ndatasets:\n- {name: x}\n---\n", int64(1000),
	)
	f.Add("---\na: &a [*a]\ntags: *a\n---\n", int64(0))
	f.Add("---\nname: x-7b1-A3B-8x7_5B-mini-v1.0\nmodel_type:\t1\n---\n", int64(7e9))
	f.Fuzz(func(t *testing.T, readme string, params int64) {
		c := new(Card)
		if err := c.addFrontMatter(readme, params); err != nil {
			return
		}
		c.addName(c.Name+"/"+readme[:min(len(readme), 20)], params)
		for k, v := range c.All() {
			if v == "" || !strings.HasPrefix(k, "general.") {
				t.Errorf("%s = %q", k, v)
			}
		}
	})
}

func readTestJSON(t *testing.T, path string, v any) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, v); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
}

func writeDir(t *testing.T, name string, files map[string]string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for file, content := range files {
		if err := os.WriteFile(filepath.Join(dir, file), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// The name of a cache's directory is the model's, never a commit or the hash of a file.
func TestDirectoryName(t *testing.T) {
	const commit = "0123456789abcdef0123456789abcdef01234567"
	for dir, want := range map[string]string{
		"models--microsoft--Phi-3-mini-4k-instruct/snapshots/" + commit: "Phi 3 Mini 4k Instruct",
		"models--phi--phi-4/snapshots/main":                             "Phi 4",
		"my-phi/" + commit:                                              "My Phi",
		"my-phi/snapshots/" + commit:                                    "My Phi",
		"my-phi/sha256-" + commit + commit[:24]:                         "My Phi",
		"my-phi/snapshots":                                              "My Phi",
		"deadbeef":                                                      "Deadbeef",
	} {
		c, err := Load(writeDir(t, dir, map[string]string{"config.json": `{"_name_or_path":"` + commit + `"}`}), Size{})
		if err != nil || c.Name != want {
			t.Errorf("%s: %q, expected %q; %v", dir, c.Name, want, err)
		}
	}
}
