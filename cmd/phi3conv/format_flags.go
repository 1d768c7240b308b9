package main

import "github.com/urfave/cli/v2"

// formatFlags say what answers must look like; names are llama.cpp's.
func formatFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "grammar", Usage: "keep answers to a grammar, `TEXT` in GBNF"},
		&cli.StringFlag{Name: "grammar-file", Usage: "keep answers to the grammar in `FILE`; - for standard input"},
		&cli.StringFlag{Name: "json-schema", Aliases: []string{"j"},
			Usage: "answer in JSON that matches `SCHEMA`; {} for any object"},
		&cli.StringFlag{Name: "json-schema-file", Aliases: []string{"jf"},
			Usage: "answer in JSON that matches the schema in `FILE`; - for standard input"},
	}
}
