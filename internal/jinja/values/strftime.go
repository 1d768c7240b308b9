package values

import (
	"fmt"
	"strings"
	"time"
)

// times are the directives of strftime, as formats of package time.
var times = map[byte]string{'Y': "2006", 'm': "01", 'd': "02", 'H': "15", 'M': "04", 'S': "05", 'B': "January",
	'b': "Jan", 'h': "Jan", 'A': "Monday", 'a': "Mon", 'y': "06", 'p': "PM", 'I': "03", 'e': "_2", 'j': "002",
	'F': "2006-01-02", 'T': "15:04:05", 'R': "15:04", 'D': "01/02/06",
	'c': "Mon Jan _2 15:04:05 2006", 'x': "01/02/06", 'X': "15:04:05",
	'f': "000000", 'r': "03:04:05 PM", 'z': "", 'Z': ""}

// strftime formats a local time as Python does in the C locale.
func (r *Run) strftime(format string, now time.Time) string {
	o := NewOutput(r)
	r.walk(2 * len(format))
	for i := 0; i < len(format); i++ {
		if format[i] != '%' || i+1 == len(format) {
			o.Write(format[i : i+1])
			continue
		}
		i++
		bare := format[i] == '-' && i+1 < len(format)
		if bare {
			i++
		}
		layout, ok := times[format[i]]
		text := now.Format(layout)
		switch {
		case format[i] == '%':
			text = "%"
		case format[i] == 'f':
			text = fmt.Sprintf("%06d", now.Nanosecond()/1000)
		case format[i] == 'n':
			text = "\n"
		case !ok:
			r.Fail("strftime_now has %%%c, expected a directive such as %%Y, %%m, %%d, %%B, %%H or %%M", format[i])
		case bare:
			if text = strings.TrimLeft(text, "0 "); text == "" {
				text = "0"
			}
		}
		o.Write(text)
	}
	return o.String()
}
