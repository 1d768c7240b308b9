package batch

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/phi3conv/phi3conv/internal/testbucket"
	"github.com/phi3conv/phi3conv/internal/testmodel"
)

// Store, models and published files may be in a bucket.
func TestBucket(t *testing.T) {
	s := testbucket.Start(t)
	s.Put("models/a/config.json", []byte("{}"))
	s.Put("models/a/model.safetensors", []byte("a"))
	at := "s3://" + testbucket.Bucket + "/"
	p := plan(t, strings.NewReplacer("store: out", "store: "+at+"fleet", "path: a", "path: "+at+"models/a",
		`"published`, `"`+at+"published", "shards: 2", "shards: 1").Replace(jobs))
	store, err := OpenStore(t.Context(), p.Spec.Store)
	if err != nil {
		t.Fatal(err)
	}
	f := &fake{runs: map[string]int{}}
	opt := options(store, f, "w")
	opt.Copy = CopyFile
	status, err := Run(t.Context(), p, opt)
	if err != nil || status.Count[Done] != len(p.Steps) {
		t.Fatalf("%v, %v", status, err)
	}
	for _, name := range []string{"a-Q4_K_M-none", "b-3.5bpw-gptq"} {
		if s.Get("published/"+name+".gguf") == nil {
			t.Errorf("%s was not published: %v", name, s.Keys())
		}
	}
	if !slices.ContainsFunc(s.Keys(), func(k string) bool { return strings.HasPrefix(k, "fleet/results/") }) {
		t.Error(s.Keys())
	}
	// What the model is changes the steps.
	before := p.Steps[0].ID
	s.Put("models/a/model.safetensors", []byte("b"))
	again, err := Expand(t.Context(), p.Spec, nil, Find)
	if err != nil || again.Steps[0].ID == before {
		t.Errorf("another model, the same step: %v", err)
	}
}

// The log of a command is kept, and its last line is what a step failed of.
func TestLastLine(t *testing.T) {
	for text, want := range map[string]string{"": "", "\n\n": "", "one": "one", "one\n\ntwo \n\n": "two"} {
		if got := lastLine(testmodel.Write(t, filepath.Join(t.TempDir(), "log"), []byte(text))); got != want {
			t.Errorf("%q: %q, expected %q", text, got, want)
		}
	}
	if got := lastLine(filepath.Join(os.TempDir(), "no such log")); got != "" {
		t.Error(got)
	}
}
