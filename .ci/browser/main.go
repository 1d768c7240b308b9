// Command browser looks at web pages in Chromium as people do: on phones and screens of several widths, in light and in
// dark, printed. It prints what is cut off, laid on one another, too faint, too small for a finger or without a name,
// and exits with 1 if there is anything. It is a module of its own, so that phi3conv depends on nothing of it.
package main

import (
	"flag"
	"fmt"
	"os"
)

func main() {
	shots := flag.String("shots", "", "write screenshots and PDFs to this directory")
	flag.Usage = func() {
		fmt.Fprintln(os.Stderr, "usage: browser [-shots DIR] FILE|URL…")
		flag.PrintDefaults()
	}
	flag.Parse()
	if flag.NArg() == 0 {
		flag.Usage()
		os.Exit(2)
	}
	found, err := checkAll(flag.Args(), *shots)
	if err != nil {
		fmt.Fprintln(os.Stderr, "browser:", err)
		os.Exit(2)
	}
	if found {
		os.Exit(1)
	}
}

// checkAll prints what is wrong with pages, and reports whether there is anything.
func checkAll(targets []string, shots string) (bool, error) {
	browser, stop, err := start()
	if err != nil {
		return false, err
	}
	defer stop()
	found := false
	for _, target := range targets {
		list, err := check(browser, target, options{shots: shots})
		if err != nil {
			return false, err
		}
		for _, f := range list {
			fmt.Printf("%s: %s\n", target, f)
			found = true
		}
	}
	return found, nil
}
