package tune

import (
	"encoding/json"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/phi3conv/phi3conv/internal/kern"
	"github.com/phi3conv/phi3conv/internal/linear"
)

// machine simulates forms of given speeds on a machine that is disturbed: samples take up to twice as long in a slow
// phase, which all forms meet, and some of them ten times.
func disturbed(seconds []float64, noise float64) func(i int) float64 {
	r := rand.New(rand.NewPCG(7, 8))
	n := 0
	return func(i int) float64 {
		n++
		s := seconds[i] * (1 + noise*math.Abs(r.NormFloat64()))
		if n/50%2 == 1 {
			s *= 2
		}
		if r.IntN(20) == 0 {
			s *= 10
		}
		return s
	}
}

func times(n int) func() bool {
	return func() bool { n--; return n >= 0 }
}

// The fastest form wins, on a machine of the kind where prefetches lose and on one where they win, although the machine
// is disturbed.
func TestRace(t *testing.T) {
	zen4, zen5 := make([]float64, 26), make([]float64, 26)
	for i := range zen4 {
		zen4[i], zen5[i] = 1.1+0.02*float64(i), 0.7+0.01*float64((i+9)%26)
	}
	zen4[0], zen5[0] = 1, 1
	for _, c := range []struct {
		name    string
		seconds []float64
		want    int
	}{{"the default", zen4, 0}, {"a prefetch", zen5, 17}} {
		o, ok := race(26, disturbed(c.seconds, 0.02), times(600))
		if !ok || o.best != c.want || math.Abs(o.ratio-c.seconds[c.want]) > 0.02 || !o.sure() {
			t.Errorf("%s: %+v, expected form %d", c.name, o, c.want)
		}
		for i, s := range o.seconds {
			if s < c.seconds[i] {
				t.Errorf("%s: form %d took %g, less than %g", c.name, i, s, c.seconds[i])
			}
		}
	}
}

// A form that is hardly faster does not replace the default; a machine that is too busy is noticed; and without time
// for a round there is no outcome.
func TestRaceDoubts(t *testing.T) {
	if o, ok := race(3, disturbed([]float64{1, 0.99, 0.99}, 0.001), times(300)); !ok || o.best != 0 || o.ratio != 1 {
		t.Errorf("a gain of 1 %%: %+v", o)
	}
	if o, _ := race(3, disturbed([]float64{1, 0.9, 1.1}, 2), times(30)); o.sure() {
		t.Errorf("a busy machine: %+v", o)
	}
	if o, _ := race(3, disturbed([]float64{1, 0.9, 1.1}, 0), times(9)); o.sure() {
		t.Errorf("three rounds: %+v", o)
	}
	if _, ok := race(3, disturbed([]float64{1, 1, 1}, 0), times(2)); ok {
		t.Error("an outcome of less than a round")
	}
}

// cache makes the user's cache directory a new one and returns the path of the file there.
func cache(t *testing.T) string {
	t.Helper()
	for _, name := range []string{"XDG_CACHE_HOME", "HOME", "LocalAppData"} {
		t.Setenv(name, t.TempDir())
	}
	path, err := Path()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func choice(format, form string) Choice {
	return Choice{
		CPU: cpu(), Version: version(), Set: kern.Best().Name, Threads: 1, Format: format, Use: kern.Several.String(),
		Form: form, Sure: true, Tries: 1, Time: time.Now().UTC().Truncate(time.Second),
	}
}

func keep(t *testing.T, path string, choices ...Choice) {
	t.Helper()
	all := map[key]Choice{}
	for _, c := range choices {
		all[c.key()] = c
	}
	if err := writable(path); err != nil {
		t.Fatal(err)
	}
	if err := merge(path, all); err != nil {
		t.Fatal(err)
	}
}

// Choices come back from the file, those of two processes together; temporary files do not stay.
func TestCache(t *testing.T) {
	path := cache(t)
	if known, err := Known(); err != nil || len(known) != 0 {
		t.Errorf("no file: %v, %v", known, err)
	}
	a, b := choice("F32", "x"), choice("F16", "y")
	other := a
	other.CPU = "another"
	keep(t, path, a, other)
	keep(t, path, b)
	known, err := Known()
	if err != nil || len(known) != 2 || !slices.Contains(known, a) || !slices.Contains(known, b) {
		t.Errorf("%+v, %v, expected two choices", known, err)
	}
	if all, err := load(path); err != nil || all[other.key()] != other {
		t.Errorf("%+v, %v, expected another machine's too", all, err)
	}
	if files, _ := os.ReadDir(filepath.Dir(path)); len(files) != 1 {
		t.Errorf("%d files, expected 1", len(files))
	}
}

// A damaged file counts as empty and is replaced; a later version's is left alone.
func TestCacheDamaged(t *testing.T) {
	path := cache(t)
	keep(t, path, choice("F32", "x"))
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{
		"", "{", "[]", `{"schema":"1"}`, string(good[:len(good)/2]), "\x00\xff", strings.Repeat(" ", maxBytes+1),
	} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if all, err := load(path); err != nil || len(all) != 0 {
			t.Errorf("%.20q: %v, %v, expected nothing", text, all, err)
		}
		keep(t, path, choice("F32", "x"))
		if known, err := Known(); err != nil || len(known) != 1 {
			t.Errorf("after %.20q: %v, %v, expected one choice", text, known, err)
		}
	}
	later, _ := json.Marshal(file{Schema: schema + 1})
	if err := os.WriteFile(path, later, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := merge(path, map[key]Choice{}); err == nil || !strings.Contains(err.Error(), "schema 2") {
		t.Errorf("a later schema: %v", err)
	}
}

func TestDue(t *testing.T) {
	now := time.Now()
	for _, c := range []struct {
		name string
		c    Choice
		want bool
	}{
		{"sure", Choice{Sure: true, Time: now}, false},
		{"old", Choice{Sure: true, Time: now.Add(-maxAge - time.Hour)}, true},
		{"of the future", Choice{Sure: true, Time: now.Add(24 * time.Hour)}, true},
		{"not sure", Choice{Tries: 1, Time: now}, true},
		{"never sure", Choice{Tries: maxTries, Time: now}, false},
	} {
		if c.c.due(now) != c.want {
			t.Errorf("%s: due is %v", c.name, !c.want)
		}
	}
}

// several tasks of formats, which need no model.
func formats(f ...kern.Format) (all []task) {
	for _, f := range f {
		all = append(all, task{format: f, use: kern.Several})
	}
	return all
}

func newTuner(t *testing.T, path string, mode Mode) *tuner {
	threads := linear.NewThreads(1)
	t.Cleanup(threads.Close)
	return &tuner{Settings: Settings{Mode: mode}, path: path, threads: threads, end: time.Now().Add(10 * time.Second)}
}

// What is known is used; what is not is measured and kept, once.
func TestRun(t *testing.T) {
	defer func() { _ = kern.Select("") }()
	path := cache(t)
	forms := kern.Forms(kern.F32, kern.Several)
	last := forms[len(forms)-1]
	keep(t, path, choice("F32", last.String()))
	measured := 0
	count := newTuner(t, path, Auto)
	count.Report = func(Measured) { measured++ }
	for range 2 {
		if err := count.run(formats(kern.F32, kern.F16), false); err != nil {
			t.Fatal(err)
		}
	}
	want := min(1, len(kern.Forms(kern.F16, kern.Several))-1) // there is nothing to choose on some CPUs
	if known, err := Known(); err != nil || len(known) != 1+want || measured < want || measured > 2 {
		t.Errorf("%d choices, %v, %d measurements, expected %d choices", len(known), err, measured, 1+want)
	}
	if got := kern.InUse(kern.F32, kern.Several); got.String() != last.String() {
		t.Errorf("%s is in use, %s is known", got, last)
	}
	keep(t, path, choice("F32", "no such form"))
	if err := newTuner(t, path, Auto).run(formats(kern.F32), false); err != nil {
		t.Error(err)
	}
	known, _ := Known()
	gone := slices.ContainsFunc(known, func(c Choice) bool { return c.Form == "no such form" })
	if gone && len(forms) > 1 {
		t.Error("a form that is gone was not measured again")
	}
}

// Every format can be measured.
func TestFormats(t *testing.T) {
	defer func() { _ = kern.Select("") }()
	for f := range kern.NumFormats {
		for _, use := range []kern.Use{kern.Several, kern.Many} {
			s := newSeveral(f, use)
			for _, form := range kern.Forms(f, use) {
				if took := s.sample(form); !(took > 0) || took > 1 || s.macs() < 1e5 {
					t.Errorf("%s, %s, %s: %g s for %g multiply-adds", f, use, form, took, s.macs())
				}
			}
		}
	}
}

// A measurement that is not sure does not replace one that is, and counts.
func TestTries(t *testing.T) {
	defer func() { _ = kern.Select("") }()
	if len(kern.Forms(kern.F32, kern.Several)) == 1 {
		t.Log("this CPU has nothing to choose from")
		return
	}
	path := cache(t)
	old := choice("F32", kern.Forms(kern.F32, kern.Several)[1].String())
	old.Sure, old.Err = false, 1e-9
	keep(t, path, old)
	tuner := newTuner(t, path, Auto)
	tuner.end = time.Now().Add(time.Millisecond) // for a round or a few
	if err := tuner.run(formats(kern.F32), false); err != nil {
		t.Fatal(err)
	}
	all, err := load(path)
	if c := all[old.key()]; err != nil || !c.Sure && (c.Form != old.Form || c.Tries > 2) {
		t.Errorf("%+v, %v, expected %s after another try", c, err, old.Form)
	}
}

// A cache that cannot be written costs nothing: the defaults are used, and nothing is measured.
func TestUnwritable(t *testing.T) {
	defer func() { _ = kern.Select("") }()
	path := cache(t)
	if err := os.WriteFile(filepath.Dir(path), nil, 0o600); err != nil { // where the directory should be
		t.Fatal(err)
	}
	start := time.Now()
	err := newTuner(t, path, Auto).run(formats(kern.F32, kern.F16), false)
	if err == nil || time.Since(start) > 5*time.Second {
		t.Errorf("%v after %s", err, time.Since(start))
	}
	got, want := kern.InUse(kern.F32, kern.Several), kern.Forms(kern.F32, kern.Several)[0]
	if got.String() != want.String() {
		t.Errorf("%s is in use, expected the default %s", got, want)
	}
}

func TestSetFromEnv(t *testing.T) {
	defer Set(Settings{})
	for v, want := range map[string]Mode{"": Auto, "off": Off, "force": Force} {
		t.Setenv("PHI3CONV_TUNE", v)
		if err := SetFromEnv(); err != nil || settings.Load().Mode != want {
			t.Errorf("%q: %v, %v", v, settings.Load().Mode, err)
		}
	}
	t.Setenv("PHI3CONV_TUNE", "yes")
	if err := SetFromEnv(); err == nil || !strings.Contains(err.Error(), `"yes", expected off, force or nothing`) {
		t.Errorf("yes: %v", err)
	}
}
