// Command xtext prints the East Asian encodings of golang.org/x/text: lines of a name, a code and its character, all
// but the name in hexadecimal. template_codecs.py compares them with Python's.
package main

import (
	"bufio"
	"fmt"
	"os"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/japanese"
	"golang.org/x/text/encoding/korean"
	"golang.org/x/text/encoding/simplifiedchinese"
	"golang.org/x/text/encoding/traditionalchinese"
)

func main() {
	w := bufio.NewWriter(os.Stdout)
	for name, e := range map[string]encoding.Encoding{"ShiftJIS": japanese.ShiftJIS, "EUCJP": japanese.EUCJP,
		"EUCKR": korean.EUCKR, "GBK": simplifiedchinese.GBK, "GB18030": simplifiedchinese.GB18030,
		"Big5": traditionalchinese.Big5} {
		for code := range 1 << 16 {
			switch lead := byte(code >> 8); {
			case lead == 0:
				printCode(w, name, e, []byte{byte(code)})
			case lead >= 0x80:
				printCode(w, name, e, []byte{lead, byte(code)})
				if e == japanese.EUCJP {
					printCode(w, name, e, []byte{0x8f, lead, byte(code)})
				}
			}
		}
	}
	if err := w.Flush(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// printCode prints a code that stands for one character.
func printCode(w *bufio.Writer, name string, e encoding.Encoding, code []byte) {
	text, err := e.NewDecoder().Bytes(code)
	if chars := []rune(string(text)); err == nil && len(chars) == 1 && chars[0] != '\ufffd' {
		_, _ = fmt.Fprintf(w, "%s %x %x\n", name, code, chars[0])
	}
}
