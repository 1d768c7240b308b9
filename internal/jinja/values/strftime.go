package values

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// field is a directive of strftime: a text, or a number with a width that it is filled up to.
type field struct {
	text  string
	width int
	fill  string
}

func number(n, width int, fill string) field { return field{strconv.Itoa(n), width, fill} }

// composed are directives that stand for others.
var composed = map[byte]string{'F': "%Y-%m-%d", 'T': "%H:%M:%S", 'R': "%H:%M", 'D': "%m/%d/%y", 'x': "%m/%d/%y",
	'X': "%H:%M:%S", 'c': "%a %b %e %H:%M:%S %Y", 'r': "%I:%M:%S %p"}

// timeField returns what a letter after % stands for.
func (r *Run) timeField(c byte, now time.Time) (f field, ok bool) {
	hour := (now.Hour()+11)%12 + 1
	week := func(first time.Weekday) int { return (now.YearDay() + 6 - int((now.Weekday()-first+7)%7)) / 7 }
	year, isoWeek := now.ISOWeek()
	numbers := map[byte]field{
		'Y': number(now.Year(), 0, "0"), 'C': number(now.Year()/100, 2, "0"), 'y': number(now.Year()%100, 2, "0"),
		'G': number(year, 0, "0"), 'g': number(year%100, 2, "0"), 'V': number(isoWeek, 2, "0"),
		'm': number(int(now.Month()), 2, "0"), 'd': number(now.Day(), 2, "0"), 'e': number(now.Day(), 2, " "),
		'j': number(now.YearDay(), 3, "0"), 'H': number(now.Hour(), 2, "0"), 'k': number(now.Hour(), 2, " "),
		'I': number(hour, 2, "0"), 'l': number(hour, 2, " "), 'M': number(now.Minute(), 2, "0"),
		'S': number(now.Second(), 2, "0"),
		'U': number(week(time.Sunday), 2, "0"), 'W': number(week(time.Monday), 2, "0"),
		'w': number(int(now.Weekday()), 1, "0"), 'u': number((int(now.Weekday())+6)%7+1, 1, "0"),
		's': number(int(now.Unix()), 1, "0"),
	}
	if f, ok := numbers[c]; ok {
		return f, true
	}
	texts := map[byte]string{'B': "January", 'b': "Jan", 'h': "Jan", 'A': "Monday", 'a': "Mon", 'p': "PM", 'P': "pm"}
	if layout, ok := texts[c]; ok {
		return field{now.Format(layout), 0, " "}, true
	}
	if format, ok := composed[c]; ok {
		return field{r.strftime(format, now), 0, " "}, true
	}
	plain, ok := map[byte]string{'n': "\n", 't': "\t", '%': "%", 'Z': "", 'z': ""}[c]
	return field{plain, 0, " "}, ok
}

// strftime formats a local time as Python does in the C locale, with the flags and widths of the GNU library. What is
// no directive stays as it is.
func (r *Run) strftime(format string, now time.Time) string {
	o := NewOutput(r)
	r.Walk(2 * len(format))
	for format != "" {
		text, rest, found := strings.Cut(format, "%")
		o.Write(text)
		if !found {
			break
		}
		if format = rest; strings.HasPrefix(rest, "f") { // Python's own
			o.Write(fmt.Sprintf("%06d", now.Nanosecond()/1000))
			format = rest[1:]
			continue
		}
		r.Step(8)
		flags := rest[:len(rest)-len(strings.TrimLeft(rest, "-_0^#"))]
		rest = rest[len(flags):]
		digits := rest[:len(rest)-len(strings.TrimLeft(rest, "0123456789"))]
		rest = strings.TrimPrefix(rest[len(digits):], "E")
		rest = strings.TrimPrefix(rest, "O")
		if rest == "" {
			o.Write("%" + format)
			break
		}
		f, ok := r.timeField(rest[0], now)
		if !ok {
			end := len(format) - len(rest) + 1
			o.Write("%" + format[:end])
			format = format[end:]
			continue
		}
		o.Write(r.filled(f, flags, digits, rest[0]))
		format = rest[1:]
	}
	return o.String()
}

// filled applies the flags and the width of a directive.
func (r *Run) filled(f field, flags, digits string, letter byte) string {
	if digits != "" {
		f.width, _ = strconv.Atoi(digits) // a great number gives a great one
	}
	upper := false
	for _, flag := range flags {
		switch flag {
		case '-':
			f.width = 0
		case '_':
			f.fill = " "
		case '0':
			f.fill = "0"
		case '^', '#':
			upper = true
			if flag == '#' && letter == 'p' {
				f.text, upper = strings.ToLower(f.text), false
			}
		}
	}
	if upper {
		f.text = strings.ToUpper(f.text)
	}
	return r.Pad(f.text, f.fill, '>', f.width)
}
