package methods

import (
	"strings"
	"unicode"

	"github.com/phi3conv/phi3conv/internal/jinja/values"
	"golang.org/x/text/cases"
	"golang.org/x/text/language"
)

// Upper follows Unicode as Python does: a letter can become several.
func Upper(s string) string {
	if values.IsASCII(s) {
		return strings.ToUpper(s)
	}
	return cases.Upper(language.Und).String(s)
}

// Lower is as Upper is.
func Lower(s string) string {
	if values.IsASCII(s) {
		return strings.ToLower(s)
	}
	return cases.Lower(language.Und, cases.HandleFinalSigma(true)).String(s)
}

func fold(s string) string { return cases.Fold().String(s) }

// title gives the first letter of a word the form that it has there.
func title(first string) string { return cases.Title(language.Und, cases.NoLower).String(first) }

// Numbers that Unicode has among letters, and digits that are not decimal.
const (
	numerals = "㐅㒃㠪㭍一七万三九二五亖亿什仟仨伍佰億兆兩八六十千卄卅卌叁参參叄四壱壹幺廾廿弌弍弎弐拾捌柒漆玖百肆萬貮貳贰阡陆陌陸零" +
		"\uf96b\uf973\uf978\uf9b2\uf9d1\uf9d3\uf9fd𠀁𠁤𠃢𠄡𠤪𠦃𠦌𠦜𠫪𠫽𠬙𢎐𢦘𣬛𦉭\U0002f890"
	digits = "²³¹፩፪፫፬፭፮፯፰፱᧚⁰⁴⁵⁶⁷⁸⁹₀₁₂₃₄₅₆₇₈₉①②③④⑤⑥⑦⑧⑨⑴⑵⑶⑷⑸⑹⑺⑻⑼⒈⒉⒊⒋⒌⒍⒎⒏⒐⓪⓵⓶⓷⓸⓹⓺⓻⓼⓽⓿❶❷❸❹❺❻❼❽❾➀➁➂➃➄➅➆➇➈➊➋➌➍➎➏➐➑➒" +
		"𐩀𐩁𐩂𐩃𐹠𐹡𐹢𐹣𐹤𐹥𐹦𐹧𐹨𑁒𑁓𑁔𑁕𑁖𑁗𑁘𑁙𑁚🄀🄁🄂🄃🄄🄅🄆🄇🄈🄉🄊"
)

func isDigit(c rune) bool { return unicode.IsDigit(c) || strings.ContainsRune(digits, c) }

func isNumeric(c rune) bool { return unicode.IsNumber(c) || strings.ContainsRune(numerals, c) }

// IsLower says whether a character is a small letter, or looks as one.
func IsLower(c rune) bool { return unicode.IsLower(c) || unicode.Is(unicode.Other_Lowercase, c) }

// IsUpper says whether a character is a capital letter, or looks as one.
func IsUpper(c rune) bool { return unicode.IsUpper(c) || unicode.Is(unicode.Other_Uppercase, c) }

// titleMethod gives each run of letters a capital at its beginning.
func titleMethod(s string) string {
	var b strings.Builder
	for s != "" {
		n := strings.IndexFunc(s, isCased)
		if n < 0 {
			n = len(s)
		}
		b.WriteString(s[:n])
		s = s[n:]
		end := strings.IndexFunc(s, func(c rune) bool { return !isCased(c) })
		if end < 0 {
			end = len(s)
		}
		b.WriteString(capitalize(s[:end]))
		s = s[end:]
	}
	return b.String()
}

func capitalize(s string) string {
	first := values.RuneSize(s)
	return title(s[:first]) + Lower(s[first:])
}

func swapCase(s string) string {
	var b strings.Builder
	for _, c := range s {
		if unicode.IsUpper(c) {
			b.WriteString(Lower(string(c)))
		} else {
			b.WriteString(Upper(string(c)))
		}
	}
	return b.String()
}

// isCased says whether a letter has two cases.
func isCased(c rune) bool { return IsUpper(c) || IsLower(c) || unicode.IsTitle(c) }

// HasCase says whether a text has letters with cases and none of the wrong one.
func HasCase(r *Run, s string, wrong func(rune) bool) bool {
	r.Walk(2 * len(s))
	return strings.IndexFunc(s, isCased) >= 0 &&
		strings.IndexFunc(s, func(c rune) bool { return wrong(c) || unicode.IsTitle(c) }) < 0
}
