package progress

import (
	"cmp"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cheggaaa/pb/v3"

	"github.com/phi3conv/phi3conv/internal/terminal"
)

// Options say how a [Display] shows steps.
type Options struct {
	Bars  bool       // bars, for a terminal on which a line can be written again
	Lines bool       // without Bars: lines
	Width func() int // of the terminal, in characters
	Clock Clock      // nil for the time of day
}

// Clock tells the time.
type Clock interface {
	Now() time.Time
	// Tick returns a channel that gets the time every d, until stop is called.
	Tick(d time.Duration) (ticks <-chan time.Time, stop func())
}

const (
	redraw   = 250 * time.Millisecond // between two drawings of a bar
	interval = time.Minute            // between two lines
	// A step of at least long gets an estimate, when it was measured for a time.
	long    = time.Minute
	measure = 3 * time.Second
)

// Display is a [Monitor] that writes lines, and shows steps.
type Display struct {
	w   io.Writer
	opt Options

	mu    sync.Mutex
	shown *step // whose bar is on the terminal, nil for none
}

// New makes a display that writes to w.
func New(w io.Writer, opt Options) *Display {
	if opt.Clock == nil {
		opt.Clock = timeOfDay{}
	}
	if opt.Width == nil {
		opt.Width = func() int { return 80 }
	}
	return &Display{w: w, opt: opt}
}

// For makes the display that suits w: with bars if it is a terminal, but not a dumb one or that of a CI system;
// elsewhere with lines.
func For(w io.Writer) *Display {
	opt := Options{Lines: true}
	if terminal.Is(w) {
		opt.Bars = os.Getenv("TERM") != "dumb" && os.Getenv("CI") == ""
		opt.Width = func() int {
			return cmp.Or(terminal.Width(w), 80)
		}
	}
	return New(w, opt)
}

type timeOfDay struct{}

func (timeOfDay) Now() time.Time { return time.Now() }

func (timeOfDay) Tick(d time.Duration) (<-chan time.Time, func()) {
	t := time.NewTicker(d)
	return t.C, t.Stop
}

// Note writes a line.
func (d *Display) Note(format string, args ...any) { d.line("note: "+format, args...) }

// line writes a line, in place of the bar that is shown.
func (d *Display) line(format string, args ...any) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.wipe()
	_, _ = fmt.Fprintf(d.w, "phi3conv: "+format+"\n", args...)
}

// wipe removes the bar that is shown.
func (d *Display) wipe() {
	if d.shown != nil {
		_, _ = fmt.Fprintf(d.w, "\r%s\r", strings.Repeat(" ", d.shown.width))
		d.shown = nil
	}
}

// Begin begins a step.
func (d *Display) Begin(what string, total int64, unit Unit) Step {
	s := &step{display: d, what: what, total: total, unit: unit, begin: d.opt.Clock.Now()}
	s.line = s.begin.Add(interval)
	if !d.opt.Bars && !d.opt.Lines {
		return s
	}
	every := time.Second
	if d.opt.Bars {
		every = redraw
		s.bar = pb.New64(total).SetTemplateString(template).Set(pb.Static, true)
	}
	ticks, stop := d.opt.Clock.Tick(every)
	s.quit, s.ended = make(chan struct{}), make(chan struct{})
	go func() {
		defer close(s.ended)
		defer stop()
		for {
			select {
			case now := <-ticks:
				s.tick(now)
			case <-s.quit:
				return
			}
		}
	}()
	return s
}

// step is a step that a display shows.
type step struct {
	display *Display
	what    string
	total   int64
	unit    Unit
	begin   time.Time
	done    atomic.Int64

	// The goroutine that shows it:
	quit, ended chan struct{}
	bar         *pb.ProgressBar // nil for lines
	width       int             // of the bar on the terminal
	estimated   bool
	line        time.Time // of the next line
	seen        int64     // what was done
	at          time.Time // when that was seen first
}

func (s *step) Set(done int64) {
	for {
		old := s.done.Load()
		if done <= old || s.done.CompareAndSwap(old, done) {
			return
		}
	}
}

func (s *step) End() {
	if s.quit == nil {
		return
	}
	close(s.quit)
	<-s.ended
	s.quit = nil
	s.display.mu.Lock()
	defer s.display.mu.Unlock()
	if s.display.shown == s {
		s.display.wipe()
	}
}

// tick shows the step as it is now.
func (s *step) tick(now time.Time) {
	if done := min(s.done.Load(), s.total); done > s.seen || s.at.IsZero() {
		s.seen, s.at = done, now
	}
	if whole := s.whole(); !s.estimated && whole > 0 && now.Sub(s.begin) >= measure {
		s.estimated = true
		if whole >= long {
			s.display.line("%s: about %s (measured on the first %s)", s.what, Approximate(whole), s.measured())
		}
	}
	switch {
	case s.bar != nil:
		s.draw(now)
	case !now.Before(s.line):
		s.line = now.Add(interval)
		s.display.line("%s", s.text(now))
	}
}

// whole returns the time that the step takes as far as it can be told, 0 if it cannot.
func (s *step) whole() time.Duration {
	if s.seen == 0 || s.total == 0 {
		return 0
	}
	return time.Duration(float64(s.at.Sub(s.begin)) * float64(s.total) / float64(s.seen))
}

// left returns the time left, negative if it cannot be told. It also becomes less while nothing is reported.
func (s *step) left(now time.Time) time.Duration {
	whole := s.whole()
	if whole == 0 {
		return -1
	}
	return max(0, whole-now.Sub(s.begin))
}
