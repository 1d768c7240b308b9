package plot

import "strings"

// TextSize is the height of all text, in pixels.
const TextSize = 11

// widths are those of printable ASCII characters, from the space on, in thousandths of the size: the greater of Arial's
// and DejaVu Sans's, since which of the two a reader has is not known.
var widths = [...]int{
	318, 401, 460, 838, 636, 950, 780, 275, 390, 390, 500, 838, 318, 361, 318, 337,
	636, 636, 636, 636, 636, 636, 636, 636, 636, 636, 337, 337, 838, 838, 838, 556,
	1015, 684, 686, 722, 770, 667, 611, 778, 752, 295, 500, 667, 557, 863, 748, 787,
	667, 787, 722, 667, 611, 732, 684, 989, 685, 667, 685, 390, 337, 390, 838, 556,
	500, 613, 635, 550, 635, 615, 352, 635, 634, 278, 278, 579, 278, 974, 634, 612,
	635, 635, 411, 521, 392, 634, 592, 818, 592, 592, 525, 636, 337, 636, 838,
}

// TextWidth returns how wide text is at most, in pixels. Beyond ASCII it is a guess: as wide as high.
func TextWidth(s string) float64 {
	sum := 0
	for _, r := range s {
		if i := int(r) - ' '; i >= 0 && i < len(widths) {
			sum += widths[i]
		} else {
			sum += 1000
		}
	}
	return float64(sum) * TextSize / 1000
}

// Clip shortens a text in its middle, so that it is at most so wide.
func Clip(s string, width float64) string {
	if TextWidth(s) <= width {
		return s
	}
	r := []rune(s)
	head, tail := len(r)/2, len(r)/2 // what is left of each end
	for head+tail > 0 && TextWidth(string(r[:head])+"…"+string(r[len(r)-tail:])) > width {
		head, tail = tail-1, head // in turns
	}
	return string(r[:head]) + "…" + string(r[len(r)-tail:])
}

// wrap breaks a text into lines that are at most so wide: at spaces, and within words that are wider.
func wrap(s string, width float64) []string {
	var lines []string
	line := ""
	for _, word := range strings.Fields(s) {
		if line != "" && TextWidth(line+" "+word) <= width {
			line += " " + word
			continue
		}
		if line != "" {
			lines = append(lines, line)
		}
		for r := []rune(word); TextWidth(word) > width; word = string(r) {
			n := 1
			for n < len(r) && TextWidth(string(r[:n+1])) <= width {
				n++
			}
			lines, r = append(lines, string(r[:n])), r[n:]
		}
		line = word
	}
	return append(lines, line)
}
