package cmdline

import (
	"strings"
	"unicode/utf8"

	"github.com/urfave/cli/v2"
)

// HelpWidth is the width of the lines of --help, in characters.
const HelpWidth = 100

// Wrap breaks a paragraph of a command's description into lines.
func Wrap(paragraph string) string {
	var b strings.Builder
	column := 0
	for word := range strings.FieldsSeq(paragraph) {
		n := utf8.RuneCountInString(word)
		switch {
		case column == 0:
		case helpIndent+column+1+n > HelpWidth:
			b.WriteByte('\n')
			column = 0
		default:
			b.WriteByte(' ')
			column++
		}
		b.WriteString(word)
		column += n
	}
	return b.String()
}

// Columns of a list of flags in --help.
const (
	helpColumn = 34 // where the descriptions of flags begin
	helpIndent = 3  // the cli package's, before the first line of a flag
	helpHang   = 6  // the cli package's, before its other lines
)

// libraryFlagHelp writes "names<TAB>description (default: …)" in one line of any length.
var libraryFlagHelp = cli.FlagStringer

// flagTexts returns a flag's names and its description. A switch that is off unless it is given has no default to tell.
func flagTexts(f cli.Flag) (names, text string) {
	names, text, _ = strings.Cut(libraryFlagHelp(f), "\t")
	text = strings.TrimSuffix(text, " (default: false)")
	if before, value, ok := strings.Cut(text, `(default: "`); ok {
		text = before + "(default: " + strings.TrimSuffix(value, `")`) + ")"
	}
	if list, ok := f.(cli.DocGenerationSliceFlag); ok && list.IsSliceFlag() {
		names, _, _ = strings.Cut(names, " [ ") // the library repeats the names
		text += "; repeatable"
	}
	return names, text
}

// flagHelp writes a flag's names and its description, which is wrapped. Names that are too long for their column have a
// line of their own.
func flagHelp(f cli.Flag) string {
	names, text := flagTexts(f)
	var b strings.Builder
	b.WriteString(names)
	column := helpIndent + utf8.RuneCountInString(names)
	newLine := func() {
		b.WriteString("\n" + strings.Repeat(" ", helpColumn-helpHang))
		column = helpColumn
	}
	if column+2 > helpColumn {
		newLine()
	} else {
		b.WriteString(strings.Repeat(" ", helpColumn-column))
		column = helpColumn
	}
	for _, word := range strings.Fields(text) {
		n := utf8.RuneCountInString(word)
		switch {
		case column == helpColumn:
		case column+1+n > HelpWidth:
			newLine()
		default:
			b.WriteByte(' ')
			column++
		}
		b.WriteString(word)
		column += n
	}
	return b.String()
}
