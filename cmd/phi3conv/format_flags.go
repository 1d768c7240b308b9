package main

import (
	"github.com/phi3conv/phi3conv/internal/input"
	"github.com/phi3conv/phi3conv/internal/job/chat"
	"github.com/urfave/cli/v2"
)

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

// answerFormat reads what the flags say, of which at most one is given.
func answerFormat(c *cli.Context) (f chat.Format, err error) {
	given := ""
	for _, kind := range []chat.FormatKind{chat.Grammar, chat.JSONSchema} {
		for _, name := range []string{string(kind), string(kind) + "-file"} {
			switch {
			case !c.IsSet(name):
				continue
			case given != "":
				return f, usagef("--%s and --%s exclude each other", given, name)
			}
			given, f.Kind = name, kind
		}
	}
	if given == string(f.Kind) {
		f.Text = c.String(given)
		return f, nil
	}
	f.File = c.String(given)
	if f.File == input.Stdin && !c.IsSet("prompt") && !c.IsSet("file") {
		return f, usagef("--%s %s needs --prompt or --file: standard input has the conversation", given, f.File)
	}
	if err = input.Once(c.String("file"), f.File); err != nil {
		return f, err
	}
	f.Text, err = readText(c.Context, c.App.Reader, f.File)
	return f, err
}
