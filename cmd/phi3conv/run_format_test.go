package main

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/phi3conv/phi3conv/internal/testmodel"
	"github.com/santhosh-tekuri/jsonschema/v6"
)

// person is a schema with few instances.
const person = `{"type":"object","properties":{"name":{"enum":["Anna","Ben"]},"age":{"type":"integer","minimum":0,` +
	`"maximum":120}},"required":["name","age"],"additionalProperties":false}`

// Answers match the schema, however unlikely the model finds that, and however it is given.
func TestRunSchema(t *testing.T) {
	model := testmodel.Phi3(t)
	file := testmodel.Write(t, filepath.Join(t.TempDir(), "person.json"), []byte(person))
	for schema, list := range map[string][][]string{
		person: {
			{"-j", person, "--temp", "0"}, {"--json-schema", person, "--temp", "3", "--seed", "5"},
			{"-jf", file, "--temp", "3", "--seed", "6", "--lookup"},
			{"--json-schema-file", file, "--raw", "--temp", "1", "--seed", "7", "--draft", model},
		},
		`{"type":"object"}`:                {{"-j", " { } ", "--temp", "2", "--seed", "8"}},
		`{"type":"integer","maximum":200}`: {{"-j", `{"type":"integer","maximum":200,"minimum":-9}`, "--seed", "9"}},
	} {
		compiler := jsonschema.NewCompiler()
		doc, err := jsonschema.UnmarshalJSON(strings.NewReader(schema))
		if err != nil {
			t.Fatal(err)
		}
		if err := compiler.AddResource("a.json", doc); err != nil {
			t.Fatal(err)
		}
		want, err := compiler.Compile("a.json")
		if err != nil {
			t.Fatal(err)
		}
		for _, args := range list {
			args = append([]string{"run", model, "-p", "What does a cow eat?"}, args...)
			stdout, stderr, code := phi3conv(t, args...)
			got, err := jsonschema.UnmarshalJSON(strings.NewReader(stdout))
			if err == nil {
				err = want.Validate(got)
			}
			if code != exitOK || err != nil {
				t.Errorf("%q: exit %d, %q, %v\n%s", args, code, stdout, err, stderr)
			}
		}
	}
}

func TestRunGrammar(t *testing.T) {
	model, dir := testmodel.Phi3(t), t.TempDir()
	cow := `root ::= "A cow eats " ("stones" | "houses") "."` + "\n"
	file := testmodel.Write(t, filepath.Join(dir, "cow.gbnf"), []byte(cow))
	bad := testmodel.Write(t, filepath.Join(dir, "bad.gbnf"), []byte("root ::= a\na ::= b\n"))
	token := testmodel.Write(t, filepath.Join(dir, "token.gbnf"), []byte("root ::= <|nope|>\n"))
	for _, c := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"--grammar", cow}, exitOK, "A cow eats stones.\n"},
		{[]string{"--grammar-file", file}, exitOK, "A cow eats stones.\n"},
		{[]string{"--grammar", cow, "-n", "3"}, exitOK, "cut after 3 tokens"},
		{[]string{"--grammar", "root ::=\n  \"a"}, exitBadInput, "--grammar: grammar, line 2: a text without its"},
		{[]string{"--grammar-file", bad}, exitBadInput, bad + ": grammar, line 2: there is no rule b"},
		{[]string{"--grammar-file", token}, exitBadInput, token + ": the grammar has the token <|nope|>"},
		{[]string{"--grammar-file", "absent.gbnf"}, exitBadInput, "absent.gbnf"},
		{[]string{"-j", `{"properties":{"a":{"not":{}}}}`}, exitBadInput, "-j: #/properties/a: the keyword not"},
		{[]string{"-j", `{"type"`}, exitBadInput, "-j: the schema is no JSON"},
		{[]string{"-jf", file}, exitBadInput, file + ": the schema is no JSON"},
		{[]string{"--grammar", cow, "--grammar-file", file}, exitUsage, "--grammar and --grammar-file exclude"},
		{[]string{"--grammar-file", file, "-j", "{}"}, exitUsage, "--grammar-file and -j exclude each other"},
		{[]string{"--json-schema", "{}", "-jf", file}, exitUsage, "--json-schema and -jf exclude each other"},
		{[]string{"--grammar", ""}, exitUsage, "--grammar needs a value"},
		{[]string{"-f", "-", "-jf", "-"}, exitUsage, "can be read only once"},
	} {
		args := append([]string{"run", model, "--temp", "0"}, c.args...)
		if c.args[0] != "-f" {
			args = append(args, "-p", "What does a cow eat?")
		}
		stdout, stderr, code := phi3conv(t, args...)
		if code != c.code || !strings.Contains(stdout+stderr, c.want) {
			t.Errorf("%q: exit %d, expected %d and %q\n%s%s", c.args, code, c.code, c.want, stdout, stderr)
		}
	}
	_, stderr, code := phi3conv(t, "run", model, "--grammar-file", "-")
	if code != exitUsage || !strings.Contains(stderr, "--grammar-file - needs --prompt or --file") {
		t.Errorf("a conversation from the same standard input: exit %d, %s", code, stderr)
	}
}
