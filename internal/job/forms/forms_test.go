package forms

import (
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/phi3conv/phi3conv/internal/kern"
	"github.com/phi3conv/phi3conv/internal/testmodel"
	"github.com/phi3conv/phi3conv/internal/tune"
)

// A model's forms are measured and kept; without a model the report has what was kept.
func TestRun(t *testing.T) {
	defer tune.Set(tune.Settings{})
	defer func() { _ = kern.Select("") }()
	for _, name := range []string{"XDG_CACHE_HOME", "HOME", "LocalAppData"} {
		t.Setenv(name, t.TempDir())
	}
	r, err := Run(t.Context(), testmodel.Phi3(t), Options{Threads: 1, Time: 100 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	if choice() && (!r.Kept || len(r.Measured) == 0 || len(r.Known) != len(r.Measured)) {
		t.Fatalf("%+v", r)
	}
	text := write(t, &r)
	for _, m := range r.Measured {
		if len(m.Forms) < 2 || m.Forms[0].Form != m.Default || !strings.Contains(text, m.Form) {
			t.Errorf("%+v in\n%s", m, text)
		}
		for _, f := range m.Forms {
			if !(f.Rate > 0) {
				t.Errorf("%s: %g a second", f.Form, f.Rate)
			}
		}
	}
	known, err := Run(t.Context(), "", Options{})
	if err != nil || len(known.Known) != len(r.Known) || len(known.Measured) != 0 || known.Kept {
		t.Errorf("%+v, %v", known, err)
	}
	text = write(t, &known)
	for _, c := range known.Known {
		if !strings.Contains(text, c.Format) || !strings.Contains(text, c.Form) {
			t.Errorf("%+v is not in\n%s", c, text)
		}
	}
}

// choice reports whether there is any: portable Go has one form of each product.
func choice() bool { return len(kern.Forms(kern.F32, kern.Single)) > 1 }

func write(t *testing.T, r *Report) string {
	t.Helper()
	var b strings.Builder
	if err := r.WriteText(&b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// Where nothing can be kept, the table is printed all the same, and says why.
func TestNotKept(t *testing.T) {
	defer tune.Set(tune.Settings{})
	defer func() { _ = kern.Select("") }()
	for _, name := range []string{"XDG_CACHE_HOME", "HOME", "LocalAppData"} {
		file := t.TempDir() + "/file"
		if err := os.WriteFile(file, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		t.Setenv(name, file)
	}
	r, err := Run(t.Context(), testmodel.Phi3(t), Options{Threads: 1, Time: 50 * time.Millisecond})
	if err != nil || choice() && (r.Kept || r.Why == "" || !strings.Contains(write(t, &r), "not kept: ")) {
		t.Fatalf("%+v, %v", r, err)
	}
	var back map[string]any
	text, err := json.Marshal(r)
	if err == nil {
		err = json.Unmarshal(text, &back)
	}
	if err != nil || back["kept"] != r.Kept {
		t.Errorf("%s: %v", text, err)
	}
}
