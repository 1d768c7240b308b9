package main

import (
	"io"
	"strconv"
	"strings"

	"github.com/phi3conv/phi3conv/internal/cmdline"
	"github.com/phi3conv/phi3conv/internal/input"
	"github.com/phi3conv/phi3conv/internal/report"
	"github.com/phi3conv/phi3conv/runtime/tokenizer"
	"github.com/urfave/cli/v2"
)

func tokenizeCommand() *cli.Command {
	return &cli.Command{
		Name:      "tokenize",
		Usage:     "show the tokens of a text",
		ArgsUsage: "MODEL",
		Description: `MODEL is a checkpoint directory, a GGUF or a .pmap file; a vocabulary alone is enough.
The text comes from --prompt, --file, or else from standard input; bytes that are not UTF-8 are
read as U+FFFD. Prints a token on each line, as the vocabulary writes it. Examples:

   phi3conv tokenize phi-3-mini.gguf -p 'Hello world'
   phi3conv tokenize Phi-3-mini-4k-instruct --ids < prompt.txt`,
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "prompt", Aliases: []string{"p"}, Usage: "tokenize `TEXT`"},
			&cli.StringFlag{Name: "file", Aliases: []string{"f"}, Value: input.Stdin,
				Usage: "tokenize what is in `FILE`", DefaultText: "- for standard input"},
			&cli.BoolFlag{Name: "ids", Usage: "print the ids alone, as a list"},
			&cli.BoolFlag{Name: "json", Usage: "print JSON"},
			&cli.BoolFlag{Name: "no-bos", Usage: "put no BOS or EOS around the text, even where the model wants them"},
			&cli.BoolFlag{Name: "no-parse-special", Usage: "treat control tokens such as <|user|> in the text as text"},
		},
		Action: func(c *cli.Context) error {
			if err := cmdline.One(c.Command, c.Args().Slice(), "MODEL"); err != nil {
				return err
			}
			switch {
			case c.IsSet("prompt") && c.IsSet("file"):
				return usagef("--prompt and --file exclude each other")
			case c.Bool("ids") && c.Bool("json"):
				return usagef("--ids and --json exclude each other")
			}
			t, err := tokenizer.Open(c.Args().First())
			if err != nil {
				return err
			}
			text := c.String("prompt")
			if !c.IsSet("prompt") {
				if text, err = readText(c.Context, c.App.Reader, c.String("file")); err != nil {
					return err
				}
			}
			ids := t.Encode(text, tokenizer.EncodeOptions{
				AddSpecial:   !c.Bool("no-bos"),
				ParseSpecial: !c.Bool("no-parse-special"),
			})
			return printTokens(c, t, ids)
		},
	}
}

type tokensJSON struct {
	IDs    []int32  `json:"ids"`
	Tokens []string `json:"tokens"` // as the vocabulary writes them
}

func printTokens(c *cli.Context, t *tokenizer.Tokenizer, ids []int32) error {
	w := c.App.Writer
	if c.Bool("json") {
		out := tokensJSON{ids, make([]string, len(ids))}
		for i, id := range ids {
			out.Tokens[i] = t.Token(id)
		}
		return report.WriteDocument(w, 1, out)
	}
	if c.Bool("ids") {
		p := &report.Printer{W: w}
		p.Printf("%s\n", listIDs(ids))
		return p.Err
	}
	lines := report.NewColumns(w)
	for _, id := range ids {
		lines.Row(int(id), strconv.Quote(t.Token(id)))
	}
	return lines.Flush()
}

// listIDs writes ids as "[1, 2, 3]".
func listIDs(ids []int32) string {
	words := make([]string, len(ids))
	for i, id := range ids {
		words[i] = strconv.Itoa(int(id))
	}
	return "[" + strings.Join(words, ", ") + "]"
}

func detokenizeCommand() *cli.Command {
	return &cli.Command{
		Name:      "detokenize",
		Usage:     "show the text of tokens",
		ArgsUsage: "MODEL [ID...]",
		Description: `MODEL is a checkpoint directory, a GGUF or a .pmap file; a vocabulary alone is enough.
The ids come from the arguments, from --file, or else from standard input. Brackets and commas
between them are allowed, so the output of tokenize --ids can be used. Prints the text and
nothing after it. Example:

   phi3conv detokenize phi-3-mini.gguf 15043 3186`,
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "file", Aliases: []string{"f"}, Value: input.Stdin,
				Usage: "read the ids from `FILE`", DefaultText: "- for standard input"},
			&cli.BoolFlag{Name: "special", Usage: "show control tokens too"},
			&cli.BoolFlag{Name: "json", Usage: "print JSON"},
		},
		Action: func(c *cli.Context) error {
			switch {
			case c.NArg() == 0:
				return usagef("detokenize takes a MODEL, got no arguments")
			case c.NArg() > 1 && c.IsSet("file"):
				return usagef("--file and ids as arguments exclude each other")
			}
			t, err := tokenizer.Open(c.Args().First())
			if err != nil {
				return err
			}
			list := strings.Join(c.Args().Tail(), " ")
			if c.NArg() == 1 {
				if list, err = readText(c.Context, c.App.Reader, c.String("file")); err != nil {
					return err
				}
			}
			ids, err := parseIDs(list)
			if err != nil {
				return err
			}
			text, err := t.Decode(ids, c.Bool("special"))
			if err != nil {
				return err
			}
			if c.Bool("json") {
				return report.WriteDocument(c.App.Writer, 1, struct {
					Text string `json:"text"`
				}{text})
			}
			_, err = io.WriteString(c.App.Writer, text)
			return err
		},
	}
}

// parseIDs reads ids between which there may be white space, commas and brackets.
func parseIDs(list string) ([]int32, error) {
	var ids []int32
	for _, word := range strings.FieldsFunc(list, func(r rune) bool { return strings.ContainsRune(" \t\r\n,[]", r) }) {
		id, err := strconv.ParseInt(word, 10, 32)
		if err != nil {
			return nil, usagef("id %d is %.40q, expected an integer", len(ids)+1, word)
		}
		ids = append(ids, int32(id))
	}
	return ids, nil
}
