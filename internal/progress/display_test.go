package progress

import (
	"bytes"
	"strings"
	"testing"
	"time"
)

// output is what a display has written.
type output struct{ bytes.Buffer }

// take returns what was written since the last call.
func (o *output) take() string {
	text := o.String()
	o.Reset()
	return text
}

// tick lets so much time go by and shows a step.
func (c *fakeClock) tick(s Step, d time.Duration) {
	c.now = c.now.Add(d)
	s.(*step).tick(c.now)
}

// On a terminal a bar moves every second from the start, also while nothing is reported; the first estimate of a long
// step is a line of its own; and nothing is left of the bar at the end.
func TestBar(t *testing.T) {
	clock, out := newClock(), &output{}
	d := New(out, Options{Bars: true, Clock: clock, Width: func() int { return 80 }})
	s := d.Begin("calibrating", 65536, Tokens)
	last := ""
	move := func() string {
		t.Helper()
		clock.tick(s, time.Second)
		text := out.take()
		if text == "" || text == last {
			t.Errorf("at %s nothing has moved: %q", clock.now.Format("05"), text)
		}
		last = text
		return text
	}
	for range 2 {
		if text := move(); !strings.Contains(text, "0.00%") {
			t.Errorf("%q", text)
		}
	}
	s.Set(20)
	text := move()
	want := "phi3conv: calibrating: about 2 h 45 min (measured on the first 20 tokens)\n"
	if !strings.Contains(text, want) {
		t.Errorf("%q, expected %q in it", text, want)
	}
	if want := "20/65536 tokens 6.7 tokens/s 2 h 45 min left"; !strings.Contains(text, want) {
		t.Errorf("%q, expected %q in it", text, want)
	}
	s.Set(10) // ignored
	for i := range 30 {
		s.Set(int64(30000 + 100*i))
		for _, line := range strings.Split(move(), "\r") {
			if n := len([]rune(line)); n > 79 {
				t.Errorf("%d characters: %q", n, line)
			}
		}
	}
	for range 10 { // nothing is reported, and the time left goes down
		move()
	}
	d.Note("something")
	if text := out.take(); !strings.HasSuffix(text, " \rphi3conv: note: something\n") {
		t.Errorf("%q: the bar is not wiped before a line", text)
	}
	move()
	s.End()
	s.End()
	text = out.take()
	if !strings.HasPrefix(text, "\r ") || strings.TrimSpace(text) != "" || !strings.HasSuffix(text, "\r") {
		t.Errorf("%q at the end", text)
	}
}

// Without a terminal there is an estimate and then a line a minute, without carriage returns.
func TestLines(t *testing.T) {
	clock, out := newClock(), &output{}
	d := New(out, Options{Lines: true, Clock: clock})
	s := d.Begin("converting", 4<<30, Bytes)
	for i := range 180 {
		s.Set(int64(i+1) << 22) // 1024 s in all
		clock.tick(s, time.Second)
	}
	s.End()
	want := `phi3conv: converting: about 17 min (measured on the first 12 MiB)
phi3conv: converting: 5 %, 240 MiB of 4.0 GiB, 4.0 MiB/s, about 16 min left
phi3conv: converting: 11 %, 480 MiB of 4.0 GiB, 4.0 MiB/s, about 15 min left
phi3conv: converting: 17 %, 720 MiB of 4.0 GiB, 4.0 MiB/s, about 14 min left
`
	if got := out.take(); got != want {
		t.Errorf("%s, expected %s", got, want)
	}
	s = d.Begin("hashing", 100, Bytes) // a short step
	for range 50 {
		s.Set(100)
		clock.tick(s, time.Second)
	}
	s.End()
	if got := out.take(); got != "" {
		t.Errorf("a step of less than a minute says %q", got)
	}
	s = d.Begin("waiting", 0, Count)
	for range 60 {
		clock.tick(s, time.Second)
	}
	s.End()
	if got, want := out.take(), "phi3conv: waiting: for 1 min\n"; got != want {
		t.Errorf("%q, expected %q", got, want)
	}
}

// A display that shows no steps shows notes.
func TestNoSteps(t *testing.T) {
	out := &output{}
	d := New(out, Options{})
	s := d.Begin("converting", 10, Count)
	s.Set(5)
	s.End()
	d.Note("%d", 1)
	if got, want := out.take(), "phi3conv: note: 1\n"; got != want {
		t.Errorf("%q, expected %q", got, want)
	}
}

func TestApproximate(t *testing.T) {
	for text, d := range map[string]time.Duration{
		"0 s": 0, "59 s": 59 * time.Second, "1 min": 60 * time.Second, "59 min": 59 * time.Minute,
		"1 h": 62 * time.Minute, "1 h 40 min": 101 * time.Minute, "10 h": 601 * time.Minute, "71 h": 71 * time.Hour,
		"3 days": 73 * time.Hour,
	} {
		if got := Approximate(d); got != text {
			t.Errorf("%s is %q, expected %q", d, got, text)
		}
	}
}

func TestRates(t *testing.T) {
	for want, s := range map[string]*step{
		"4.0/s":          {seen: 40, unit: Count},
		"30/min":         {seen: 5, unit: Count},
		"36 tokens/min":  {seen: 6, unit: Tokens},
		"1.0 MiB/s":      {seen: 10 << 20, unit: Bytes},
		"123k weights/s": {seen: 1_234_000, unit: Weights},
	} {
		s.begin = time.Unix(0, 0)
		s.at = s.begin.Add(10 * time.Second)
		if got := s.rate(); got != want {
			t.Errorf("%q, expected %q", got, want)
		}
	}
}
