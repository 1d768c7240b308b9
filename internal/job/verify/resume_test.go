package verify

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/phi3conv/phi3conv/internal/testmodel"
	"github.com/phi3conv/phi3conv/verify"
)

// interrupt begins a verification and cancels it as soon as progress is saved.
func interrupt(t *testing.T, o Options) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	n := &notes{set: func(int64) {
		if _, err := os.Stat(o.Progress); err == nil {
			cancel()
		}
	}}
	o.Monitor = n
	if _, err := Run(ctx, o); !errors.Is(err, context.Canceled) ||
		!strings.Contains(n.text.String(), "the same command continues after ") {
		t.Fatalf("error %v, notes %s", err, n.text.String())
	}
}

// However a verification was interrupted, the same one goes on.
func TestResume(t *testing.T) {
	o := eightWindows(models.q4, models.q8)
	want := content(t, verified(t, o))
	o.Progress = filepath.Join(t.TempDir(), "r.json.partial")
	o.SaveEvery = time.Nanosecond
	for _, c := range []struct {
		name         string
		first, again bool // one at a time
	}{
		{"side by side", false, false},
		{"one at a time", true, true},
		{"begun side by side", false, true},
		{"begun one at a time", true, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := o
			o.OneAtATime = c.first
			interrupt(t, o)
			n := &notes{}
			o.OneAtATime, o.Monitor = c.again, n
			got := content(t, verified(t, o))
			if s := n.text.String(); !strings.Contains(s, "continuing after ") ||
				!strings.Contains(s, " of 8 windows") {
				t.Errorf("notes: %s", s)
			}
			if !bytes.Equal(got, want) {
				t.Error("another report")
			}
			for range 2 { // the second time it is not there
				if err := RemoveProgress(o.Progress); err != nil {
					t.Error(err)
				}
			}
			if _, err := os.Stat(o.Progress); !os.IsNotExist(err) {
				t.Errorf("progress is left: %v", err)
			}
		})
	}
}

// Progress of another verification, or a damaged file of progress, is not used.
func TestStaleProgress(t *testing.T) {
	o := eightWindows(models.q4, models.q8)
	o.Progress = filepath.Join(t.TempDir(), "r.json.partial")
	o.SaveEvery = time.Nanosecond
	interrupt(t, o)
	old := testmodel.Read(t, o.Progress)
	damaged := bytes.Replace(old, []byte(`"token":[`), []byte(`"token":[1`), 1)
	for _, c := range []struct {
		why    string
		data   []byte
		change func(o *Options)
	}{
		{"another quantized model: ", old, func(o *Options) { o.Quants = []string{models.q8, models.q4} }},
		{"it is of 2 models, not 1", old, func(o *Options) { o.Quants = o.Quants[:1] }},
		{"other conventions: ", old, func(o *Options) { o.Windows.Stride = 32 }},
		{"computed in another way: ", old, func(o *Options) { o.Compute.Float32 = true }},
		{"another number of windows of tiny-phi3-eval.txt: 3 and 4", old, func(o *Options) { o.Windows.Max = 3 }},
		{"it is of another part", old, func(o *Options) { o.Shard = &verify.Shard{I: 1, N: 2} }},
		{"not a report of verify: unexpected EOF", old[:len(old)-20], func(*Options) {}},
		{"its positions are not those", damaged, func(*Options) {}},
	} {
		o, n := o, &notes{}
		o.Monitor = n
		c.change(&o)
		testmodel.Write(t, o.Progress, c.data)
		r, err := begin(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		r.models.close()
		if s := n.text.String(); !strings.Contains(s, "the verification starts from the beginning") ||
			!strings.Contains(s, c.why) {
			t.Errorf("notes %s, expected %s", s, c.why)
		}
		for k := range r.positions {
			if len(r.positions[k]) != 0 {
				t.Errorf("%s: %d positions are taken", c.why, len(r.positions[k]))
			}
		}
	}
}
