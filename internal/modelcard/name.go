package modelcard

import (
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

// modelName is what a model's name tells.
type modelName struct {
	full         string // without the organization
	organization string
	basename     string
	finetune     string
	version      string
	sizeLabel    string
}

// What a part of a name, split at "-", can be.
type role uint8

const (
	isBasename role = 1 << iota
	isSize
	isFinetune
	isVersion
	isQuant
)

// Parts whose form says what they are, in any case of letters.
var (
	versionPart = regexp.MustCompile(`(?i)^(v|iter)?\p{Nd}+([.]\p{Nd}+)*$`)
	quantPart   = regexp.MustCompile(`(?i)^(i?q\p{Nd}(_[\p{L}\p{N}_])*|b?fp?(16|32))$`)
	sizePart    = regexp.MustCompile(
		`(?i)^((A|\p{Nd}+x)?\p{Nd}+([._]\p{Nd}+)?[KMBT]\p{Nd}?|small|mini|medium|large|x?xl)$`,
	)
	finetunePart = regexp.MustCompile(`(?i)^(chat|instruct|vision|lora)$`)
)

// parseName splits a name in the style of the hub: "ORG/Phi-3-mini-4k-instruct"
// is the basename Phi-3, the size mini and the finetune 4k-instruct of ORG. params
// is the number of weights, or 0: a size far from it ("4k") is a context length.
func parseName(id string, params int64) modelName {
	if strings.Contains(id, " ") {
		return modelName{full: id} // a sentence
	}
	n := modelName{full: id}
	if org, name, ok := strings.Cut(id, "/"); ok {
		n.full = name
		if !strings.HasPrefix(org, ".") { // that of "./name" is a directory
			n.organization = org
		}
	}
	parts := slices.DeleteFunc(strings.Split(n.full, "-"), func(p string) bool { return p == "" })
	roles := rolesOf(parts, params)
	findBasename(parts, roles)
	join := func(keep func(role) bool) string {
		var out []string
		for i, p := range parts {
			if keep(roles[i]) {
				out = append(out, p)
			}
		}
		return strings.Join(out, "-")
	}
	n.basename = join(func(r role) bool { return r&isBasename != 0 })
	n.finetune = join(func(r role) bool { return r == isFinetune })
	n.version = join(func(r role) bool { return r == isVersion })
	var sizes []string
	for i, p := range parts {
		if roles[i] == isSize && !slices.Contains(sizes, p) {
			sizes = append(sizes, p)
		}
	}
	n.sizeLabel = strings.Join(sizes, "-")
	if n.sizeLabel == "" && n.finetune == "" && n.version == "" {
		n.basename = "" // the whole name: says nothing
	}
	return n
}

// rolesOf finds the parts whose form says what they are, and spells them in parts as usual.
func rolesOf(parts []string, params int64) []role {
	roles := make([]role, len(parts))
	for i, p := range parts {
		switch {
		case versionPart.MatchString(p):
			roles[i] = isVersion
		case quantPart.MatchString(p):
			roles[i] = isQuant
			parts[i] = strings.ToUpper(p)
		case i > 0 && sizePart.MatchString(p):
			parts[i], roles[i] = sizeOrContext(p, params)
		case i > 0 && finetunePart.MatchString(p):
			roles[i] = isFinetune
		}
	}
	// A size in words says less than one in numbers.
	numbered := false
	for i, p := range parts {
		numbered = numbered || roles[i] == isSize && strings.ContainsFunc(p, isDigit)
	}
	for i, p := range parts {
		isWord := !strings.ContainsFunc(p, func(r rune) bool { return !unicode.IsLetter(r) })
		if numbered && roles[i] == isSize && isWord {
			roles[i] = 0
		}
	}
	return roles
}

// findBasename marks the basename, which is what stands in front, its versions included unless they come last. What is
// left over is part of the finetune.
func findBasename(parts []string, roles []role) {
	start := true
	for i, p := range parts {
		first := []rune(p)[0]
		if start && (roles[i] == 0 && unicode.IsLetter(first) || roles[i] == isVersion) {
			roles[i] |= isBasename
			continue
		}
		start = false
		if roles[i] == 0 {
			roles[i] = isFinetune
		}
	}
	for i := len(parts) - 1; i >= 0 && roles[i] == isBasename|isVersion; i-- {
		roles[i] = isVersion
	}
}

// sizeOrContext tells what a part like "7b" or "mini" is, and how it is written.
func sizeOrContext(part string, params int64) (string, role) {
	p := []rune(strings.ReplaceAll(part, "_", "."))
	n := len(p)
	if isDigit(p[n-1]) { // "7b1" is 7.1b
		p = slices.Concat(p[:n-2], []rune{'.', p[n-1], p[n-2]})
		n = len(p)
	}
	if n > 1 && isDigit(p[n-2]) && strings.ContainsRune("kmbt", p[n-1]) {
		p[n-1] = unicode.ToUpper(p[n-1])
	}
	if params == 0 {
		return string(p), isSize
	}
	x, err := strconv.ParseFloat(string(p[:n-1]), 64)
	if err != nil && !math.IsInf(x, 0) {
		return string(p), isSize // a word, or a number of experts
	}
	x *= math.Pow(1000, float64(strings.IndexRune(" KMBT", p[n-1])))
	if math.Abs(x-float64(params)) > float64(7*params/8) {
		p[n-1] = unicode.ToLower(p[n-1])
		return string(p), isFinetune
	}
	return string(p), isSize
}

func isDigit(r rune) bool { return unicode.Is(unicode.Nd, r) }

// asIs matches words that a title leaves in lower case: versions and numbers.
var asIs = regexp.MustCompile(`^(v\p{Nd}+(\.\p{Nd}+)*|\p{Nd}.*)$`)

// title writes a name in words, those in lower case with capitals:
// "phi-3.5-mini" becomes "Phi 3.5 Mini".
func title(name string) string {
	words := strings.Fields(strings.ReplaceAll(name, "-", " "))
	for i, w := range words {
		if isLower(w) && !asIs.MatchString(w) {
			words[i] = capitalize(w)
		}
	}
	return strings.Join(words, " ")
}

// isLower tells whether w has letters with a case, all of them lower.
func isLower(w string) bool {
	lower := false
	for _, r := range w {
		if unicode.IsUpper(r) || unicode.IsTitle(r) {
			return false
		}
		lower = lower || unicode.IsLower(r)
	}
	return lower
}

// capitalize writes each letter that follows none with a capital.
func capitalize(w string) string {
	after := false // a letter
	return strings.Map(func(r rune) rune {
		cased := unicode.IsLower(r)
		if cased && !after {
			r = unicode.ToTitle(r)
		}
		after = cased
		return r
	}, w)
}

// roundedCount writes a number of weights with two significant digits at least:
// "3.8B", "135M".
func roundedCount(n int64) string {
	x, unit := float64(n)*1e-3, "K"
	switch {
	case n > 1e12:
		x, unit = float64(n)*1e-12, "T"
	case n > 1e9:
		x, unit = float64(n)*1e-9, "B"
	case n > 1e6:
		x, unit = float64(n)*1e-6, "M"
	}
	digits := len(strings.TrimLeft(strconv.FormatFloat(math.RoundToEven(x), 'f', 0, 64), "0"))
	return strconv.FormatFloat(x, 'f', max(2-digits, 0), 64) + unit
}
