// Package tune finds out which forms of the products (kern.Form) are the fastest on this machine, and remembers it in
// the user's cache directory. Results never depend on it: all forms give the same bits.
//
// Products of one token or few are timed on the matrices of the model that was opened, on its threads and from memory,
// since that is what decoding waits for; those of more tokens on a panel that stays in the cache.
package tune

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/phi3conv/phi3conv/internal/build"
	"github.com/phi3conv/phi3conv/internal/kern"
	"github.com/phi3conv/phi3conv/internal/linear"
	"github.com/phi3conv/phi3conv/internal/machine"
)

// Mode says what opening a model does about forms.
type Mode int32

// The modes.
const (
	Off   Mode = iota // the default forms are used
	Auto              // remembered forms are used; what is not known, or not surely, is measured
	Force             // all are measured
)

// Settings are those of the whole process, as the forms in use are.
type Settings struct {
	Mode Mode
	// Time is what measuring may take while a model is opened. 0 is a quarter of a second, which leaves some of the
	// 0.3 s that opening may be delayed by.
	Time time.Duration
	// Report is called with each measurement if it is not nil. Then the cache need not be writable.
	Report func(Measured)
	// Failed is called if the cache could not be used. It may be nil.
	Failed func(error)
}

// settings are Off at first.
var settings atomic.Pointer[Settings]

// Set changes the settings.
func Set(s Settings) { settings.Store(&s) }

// SetFromEnv sets the mode to what the environment variable PHI3CONV_TUNE says: off, force, or nothing for Auto.
func SetFromEnv() error {
	modes := map[string]Mode{"": Auto, "off": Off, "force": Force}
	v := os.Getenv("PHI3CONV_TUNE")
	m, ok := modes[v]
	if !ok {
		return fmt.Errorf("PHI3CONV_TUNE is %q, expected off, force or nothing", v)
	}
	Set(Settings{Mode: m})
	return nil
}

// Limits of what is measured when a model is opened.
const (
	openTime  = 250 * time.Millisecond
	leastSize = 64 << 20 // bytes of a model: smaller ones are fast enough, and caches would hold them
	leastPart = 0.04     // of the model's bytes: formats with less are not measured
)

// Open chooses the forms for a model that has been opened: matrices that hold panels in memory, and the threads that
// will multiply with them. cold says that these are mapped from a file and perhaps not in memory yet. A failure leaves
// the default forms.
func Open(threads *linear.Threads, matrices []*linear.Matrix, cold bool) {
	set := settings.Load()
	size := int64(0)
	for _, x := range matrices {
		size += x.Bytes()
	}
	if set == nil || set.Mode == Off || set.Mode == Auto && size < leastSize {
		return
	}
	path, err := Path()
	if err == nil || set.Report != nil {
		t := &tuner{Settings: *set, path: path, threads: threads}
		t.end = time.Now().Add(cmp.Or(set.Time, openTime))
		err = errors.Join(err, t.run(tasks(matrices), cold))
	}
	if err != nil && set.Failed != nil {
		set.Failed(err)
	}
}

// task is the forms of a format for a use, to be measured.
type task struct {
	format   kern.Format
	use      kern.Use
	matrices []*linear.Matrix // if the use reads them from memory
}

// fromMemory reports whether the use waits for the model's weights, on all threads.
func (k task) fromMemory() bool { return k.use == kern.Single || k.use == kern.Few }

// tasks lists what is to be known for a model: all uses of the formats of its weights, and the formats of attention and
// of calibration for several tokens. Those of one token come last, since the others take little time.
func tasks(matrices []*linear.Matrix) (all []task) {
	var of [kern.NumFormats][]*linear.Matrix
	var size [kern.NumFormats]int64
	total := int64(0)
	for _, m := range matrices {
		of[m.Format()] = append(of[m.Format()], m)
		size[m.Format()] += m.Bytes()
		total += m.Bytes()
	}
	for f := range kern.NumFormats {
		part := float64(size[f]) / float64(total)
		if part >= leastPart {
			all = append(all, task{f, kern.Single, of[f]})
			if kern.FewTokens(f) > 0 {
				all = append(all, task{f, kern.Few, of[f]})
			}
		}
		if part >= leastPart || f == kern.F32 || f == kern.F16 {
			all = append(all, task{f, kern.Several, nil})
			if kern.HasMany(f) {
				all = append(all, task{f, kern.Many, nil})
			}
		}
	}
	slices.SortStableFunc(all, func(a, b task) int {
		return cmp.Or(-cmp.Compare(a.use, b.use), -cmp.Compare(size[a.format], size[b.format]))
	})
	return all
}

// InUse names the formats of matrices, and the form in use of each for one token.
func InUse(matrices []*linear.Matrix) (all []string) {
	for _, k := range tasks(matrices) {
		if k.use == kern.Single {
			all = append(all, fmt.Sprintf("%s %s", k.format, kern.InUse(k.format, k.use)))
		}
	}
	return all
}

// tuner chooses forms.
type tuner struct {
	Settings
	path    string // of the cache
	threads *linear.Threads
	end     time.Time // of measuring
}

// Known returns the choices that the cache has for this machine and program, the newest first.
func Known() ([]Choice, error) {
	path, err := Path()
	if err != nil {
		return nil, err
	}
	all, err := load(path)
	if err != nil {
		return nil, err
	}
	list := sorted(all)
	return slices.DeleteFunc(list, func(c Choice) bool { return c.CPU != cpu() || c.Version != version() }), nil
}

// Measured is what a measurement found.
type Measured struct {
	Choice
	Forms []FormSpeed `json:"forms"` // the default first
}

// FormSpeed is the speed of a form.
type FormSpeed struct {
	Form string  `json:"form"`
	Rate float64 `json:"rate"` // bytes a second of weights for one token and few, multiply-adds a second for more
}

// run uses what the cache has for the tasks, and measures the others.
func (t *tuner) run(todo []task, cold bool) error {
	known, err := load(t.path) // an error says that the file must not be written
	if err != nil && t.Report == nil {
		return err
	}
	now := time.Now()
	var due []task
	for _, k := range todo {
		c, ok := known[t.key(k)]
		ok = choose(k, c.Form) && ok
		if t.Mode == Force || !ok || c.due(now) {
			due = append(due, k)
		}
	}
	if len(due) == 0 || err != nil && t.Report == nil {
		return err
	}
	if err == nil {
		err = writable(t.path)
	}
	if err != nil && t.Report == nil {
		return err // it would be measured again at every start
	}
	changed := map[key]Choice{}
	for i, k := range due {
		end := time.Now().Add(time.Until(t.end) / time.Duration(len(due)-i))
		if c, ok := t.measure(k, end, cold); ok {
			c = better(k, c, known)
			choose(k, c.Form)
			changed[c.key()] = c
		}
	}
	if err != nil || len(changed) == 0 {
		return err
	}
	return merge(t.path, changed)
}

// better returns a new measurement, or the earlier one if that was the better one.
func better(k task, c Choice, known map[key]Choice) Choice {
	was, ok := known[c.key()]
	if !ok || c.Sure {
		return c
	}
	tries, at := was.Tries+1, c.Time
	if (was.Sure || was.Err < c.Err) && choose(k, was.Form) {
		c = was
	}
	c.Tries, c.Time = tries, at
	return c
}

// choose makes the form of that name the one in use, or, if there is none, the default.
func choose(k task, name string) bool {
	forms := kern.Forms(k.format, k.use)
	i := slices.IndexFunc(forms, func(f *kern.Form) bool { return f.String() == name })
	kern.Choose(k.format, k.use, forms[max(i, 0)])
	return i >= 0
}

// key returns what the cache has for a task.
func (t *tuner) key(k task) key {
	threads := 1
	if k.fromMemory() {
		threads = t.threads.Threads()
	}
	return key{cpu(), version(), kern.Best().Name, threads, k.format.String(), k.use.String()}
}

// measure times the forms of a task until a time. It fails if there was no time for all.
func (t *tuner) measure(k task, end time.Time, cold bool) (Choice, bool) {
	forms := kern.Forms(k.format, k.use)
	if len(forms) == 1 {
		return Choice{}, false
	}
	defer kern.Choose(k.format, k.use, kern.InUse(k.format, k.use))
	var err error
	more := func() bool { return err == nil && time.Now().Before(end) }
	unit := 1.0
	var sample func(i int) float64
	if k.fromMemory() {
		work := newSingle(t.threads, k.matrices, k.use, cold)
		if cold && !work.touch(more) {
			return Choice{}, false
		}
		sample = func(i int) (took float64) {
			took, err = work.sample(k.format, forms[i])
			return took
		}
	} else {
		work := newSeveral(k.format, k.use)
		unit = work.macs()
		sample = func(i int) float64 { return work.sample(forms[i]) }
	}
	o, ok := race(len(forms), sample, more)
	if !ok || err != nil {
		return Choice{}, false
	}
	id := t.key(k)
	c := Choice{
		CPU: id.cpu, Version: id.version, Set: id.set, Threads: id.threads, Format: id.format, Use: id.use,
		Form: forms[o.best].String(), Default: forms[0].String(), Ratio: o.ratio, Err: o.err, Rounds: o.rounds,
		Sure: o.sure(), Tries: 1, Time: time.Now().UTC().Truncate(time.Second),
	}
	if t.Report != nil {
		m := Measured{Choice: c}
		for i, f := range forms {
			m.Forms = append(m.Forms, FormSpeed{f.String(), unit / o.seconds[i]})
		}
		t.Report(m)
	}
	return c, true
}

// cpu names this machine's CPU.
var cpu = sync.OnceValue(func() string { return strings.TrimSpace(machine.CPU() + " " + kern.CPU()) })

// version names the program.
var version = sync.OnceValue(func() string { return build.Read("", "").Version })
