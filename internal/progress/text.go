package progress

import (
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/cheggaaa/pb/v3"
	"github.com/dustin/go-humanize"
)

const template = `{{string . "what"}} {{percent .}} {{bar . "[" "=" ">" " " "]"}} {{string . "rest"}}`

// draw draws the bar.
func (s *step) draw(now time.Time) {
	d := s.display
	d.mu.Lock()
	defer d.mu.Unlock()
	width := d.opt.Width() - 1 // a full line would make the terminal begin another one
	text := s.bar.SetCurrent(s.seen).SetWidth(width).Set("what", s.what).Set("rest", s.rest(now)).String()
	if s.total == 0 {
		text = pb.StripString(s.what+" "+Approximate(now.Sub(s.begin)), width)
	}
	n := pb.CellCount(text)
	_, _ = fmt.Fprintf(d.w, "\r%s%s", text, strings.Repeat(" ", max(0, s.width-n)))
	s.width, d.shown = n, s
}

// rest is what stands after the bar.
func (s *step) rest(now time.Time) string {
	words := []string{s.counts("/")}
	if rate := s.rate(); rate != "" {
		words = append(words, rate)
	}
	if left := s.left(now); left >= 0 {
		words = append(words, Approximate(left)+" left")
	} else {
		words = append(words, Approximate(now.Sub(s.begin)))
	}
	return strings.Join(words, " ")
}

// text is what a line says.
func (s *step) text(now time.Time) string {
	if s.total == 0 {
		return fmt.Sprintf("%s: for %s", s.what, Approximate(now.Sub(s.begin)))
	}
	text := fmt.Sprintf("%s: %d %%, %s", s.what, 100*s.seen/s.total, s.counts(" of "))
	if rate := s.rate(); rate != "" {
		text += ", " + rate
	}
	if left := s.left(now); left >= 0 {
		text += ", about " + Approximate(left) + " left"
	}
	return text
}

// counts says how much is done of all.
func (s *step) counts(of string) string {
	return number(s.seen, s.unit) + of + s.unit.quantity(s.total)
}

// measured says how much is done.
func (s *step) measured() string {
	if s.unit == Count {
		return s.counts(" of ")
	}
	return s.unit.quantity(s.seen)
}

// rate is what is done in a time, "" if nothing is.
func (s *step) rate() string {
	seconds := s.at.Sub(s.begin).Seconds()
	if s.seen == 0 || seconds <= 0 {
		return ""
	}
	rate, per := float64(s.seen)/seconds, "s"
	for _, longer := range []string{"min", "h"} {
		if rate < 1 {
			rate, per = 60*rate, longer
		}
	}
	amount := fmt.Sprintf("%.1f", rate)
	if rate >= 10 || s.unit == Bytes {
		amount = number(int64(math.Round(rate)), s.unit)
	}
	return amount + s.unit.noun() + "/" + per
}

// number writes a number of units without their name, except for bytes.
func number(n int64, u Unit) string {
	switch {
	case u == Bytes:
		return humanize.IBytes(uint64(n))
	case n < 100_000:
		return fmt.Sprint(n)
	}
	value, prefix := humanize.ComputeSI(float64(n))
	return fmt.Sprintf("%.3g%s", value, prefix)
}

// quantity writes a number of units.
func (u Unit) quantity(n int64) string { return number(n, u) + u.noun() }

func (u Unit) noun() string {
	return [...]string{Tokens: " tokens", Weights: " weights", Bytes: "", Count: ""}[u]
}

// Approximate writes a time with the digits that an estimate has: 45 s, 12 min, 1 h 40 min, 12 h, 3 days.
func Approximate(d time.Duration) string {
	minutes := int(math.Round(d.Minutes()))
	hours := int(math.Round(d.Hours()))
	switch {
	case d < 59500*time.Millisecond:
		return fmt.Sprintf("%d s", int(math.Round(d.Seconds())))
	case minutes < 60:
		return fmt.Sprintf("%d min", minutes)
	case minutes < 600:
		if minutes = (minutes + 2) / 5 * 5; minutes%60 == 0 {
			return fmt.Sprintf("%d h", minutes/60)
		}
		return fmt.Sprintf("%d h %d min", minutes/60, minutes%60)
	case hours < 72:
		return fmt.Sprintf("%d h", hours)
	}
	return fmt.Sprintf("%d days", int(math.Round(d.Hours()/24)))
}
