package main

import "github.com/urfave/cli/v2"

// draftFlags let tokens be guessed, which changes the time that answers take and not the answers.
type draftFlags struct {
	model  string
	lookup bool
}

// flags returns the flags. lookup is whether texts are looked up where the flag is not given.
func (f *draftFlags) flags(lookup bool) []cli.Flag {
	off := ""
	if lookup {
		off = "; --lookup=false turns this off"
	}
	return []cli.Flag{
		&cli.StringFlag{Name: "draft", Aliases: []string{"model-draft", "md", "spec-draft-model"},
			Destination: &f.model,
			Usage:       "a small model of the same vocabulary, `FILE|DIR`, guesses what comes; answers stay the same"},
		&cli.BoolFlag{Name: "lookup", Value: lookup, Destination: &f.lookup,
			Usage: "guess that what occurred in the text occurs again; answers stay the same" + off},
	}
}
