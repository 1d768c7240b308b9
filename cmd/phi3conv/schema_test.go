package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/urfave/cli/v2"

	"github.com/phi3conv/phi3conv/internal/testmodel"
)

var schemaDir, _ = filepath.Abs("../../docs/schema/") // before tests change the directory

// documents lists the JSON Schema of what each command prints with --json, of those that print several by a flag or by
// what the document says.
var documents = map[string]string{
	"convert": "convert", "quantize": "convert", "quantize --shard": "quantize-shard", "reproduce": "reproduce",
	"calibrate": "calibrate", "calibrate --show": "calibrate-show",
	"calibrate own-text": "calibrate", "calibrate merge": "calibrate",
	"inspect": "inspect", "inspect --tensor": "inspect-tensor", "inspect --check": "inspect-check",
	"inspect --diff": "inspect-diff", "inspect seal": "inspect-seal", "inspect imatrix": "inspect-imatrix",
	"lint": "lint", "logits": "logits", "seal": "seal", "verify": "verify", "verify merge": "verify", "eval": "eval",
	"tokenize": "tokenize", "detokenize": "detokenize", "run": "run", "bench": "bench",
	"pack": "pack", "unpack": "pack", "push": "pack", "pull": "pack", "tune": "tune", "version": "version",
	"batch plan": "batch-status", "batch status": "batch-status", "batch run": "batch-status",
	"batch report": "batch-report",
}

var compiled = struct {
	sync.Mutex
	schemas map[string]*jsonschema.Schema
}{schemas: map[string]*jsonschema.Schema{}}

// schemaNamed compiles a schema, which must be one itself.
func schemaNamed(t *testing.T, name string) *jsonschema.Schema {
	t.Helper()
	compiled.Lock()
	defer compiled.Unlock()
	s := compiled.schemas[name]
	if s == nil {
		var err error
		if s, err = jsonschema.NewCompiler().Compile(filepath.Join(schemaDir, name+".json")); err != nil {
			t.Fatal(err)
		}
		compiled.schemas[name] = s
	}
	return s
}

// checkDocument checks what a command has printed with --json: one object that its schema describes, the result or an
// error with the exit code.
func checkDocument(t *testing.T, args []string, stdout string, code int) {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(strings.NewReader(stdout))
	object, ok := doc.(map[string]any)
	if err != nil || !ok {
		t.Errorf("%q: %v\n%s", args, err, stdout)
		return
	}
	if !strings.HasPrefix(stdout, "{\n  \"schema\": 1,\n") {
		t.Errorf("%q: schema is not the first key\n%s", args, stdout)
	}
	name := "error"
	if failed, ok := object["error"].(map[string]any); !ok {
		name = documents[documentOf(args, object)]
	} else if fmt.Sprint(failed["exit_code"]) != fmt.Sprint(code) {
		t.Errorf("%q: exit_code %v, expected %d", args, failed["exit_code"], code)
	}
	if name == "" {
		t.Errorf("%q: no schema", args)
		return
	}
	if err := schemaNamed(t, name).Validate(doc); err != nil {
		t.Errorf("%q: %v\n%.2000s", args, err, stdout)
	}
}

// documentOf names the document that a command line prints.
func documentOf(args []string, object map[string]any) string {
	name := args[0]
	if len(args) > 1 && documents[name+" "+args[1]] != "" && !strings.HasPrefix(args[1], "-") {
		name += " " + args[1]
	}
	for _, arg := range args[1:] {
		if documents[args[0]+" "+arg] != "" && strings.HasPrefix(arg, "--") {
			return args[0] + " " + arg
		}
	}
	if format, _ := object["format"].(string); name == "inspect" {
		words := strings.Fields(format)
		if of := name + " " + words[len(words)-1]; documents[of] != "" {
			return of
		}
	}
	return name
}

// printsJSON reports whether a command line asks for JSON.
func printsJSON(args []string) bool {
	known := len(args) > 0 && documents[args[0]] != "" || len(args) > 1 && documents[args[0]+" "+args[1]] != ""
	return known && slices.Contains(args, "--json") &&
		!slices.Contains(args, "--help")
}

// Every command with --json has a schema, every schema is of one, and says of every key what it means.
func TestSchemas(t *testing.T) {
	of := map[string]bool{"error": true, "batch-jobs": true}
	for _, c := range allCommands(commands()) {
		has := slices.ContainsFunc(c.Flags, func(f cli.Flag) bool { return f.Names()[0] == "json" })
		if has != (documents[c.HelpName] != "") {
			t.Errorf("%s: --json %v, schema %q", c.HelpName, has, documents[c.HelpName])
		}
	}
	for _, name := range documents {
		of[name] = true
	}
	paths, err := filepath.Glob(filepath.Join(schemaDir, "*.json"))
	if err != nil || len(paths) != len(of) {
		t.Errorf("%d schemas for %d documents, %v", len(paths), len(of), err)
	}
	for _, path := range paths {
		name := strings.TrimSuffix(filepath.Base(path), ".json")
		if !of[name] {
			t.Errorf("%s is of no command", path)
		}
		schemaNamed(t, name)
		var s map[string]any
		if err := json.Unmarshal(testmodel.Read(t, path), &s); err != nil {
			t.Fatal(err)
		}
		if s["description"] == "" || s["$schema"] != "https://json-schema.org/draft/2020-12/schema" {
			t.Errorf("%s: no description, or of another draft", path)
		}
		checkDescribed(t, name, s)
	}
}

// checkDescribed walks a schema: objects are closed, and what a key holds is described.
func checkDescribed(t *testing.T, at string, s map[string]any) {
	t.Helper()
	props, _ := s["properties"].(map[string]any)
	if props != nil && s["additionalProperties"] != false {
		t.Errorf("%s: an object that is not closed", at)
	}
	for key, v := range props {
		p := v.(map[string]any)
		if p["description"] == nil && p["$ref"] == nil {
			t.Errorf("%s.%s: no description", at, key)
		}
		checkDescribed(t, at+"."+key, p)
	}
	if items, ok := s["items"].(map[string]any); ok {
		checkDescribed(t, at+"[]", items)
	}
	defs, _ := s["$defs"].(map[string]any)
	for key, v := range defs {
		checkDescribed(t, at+"#"+key, v.(map[string]any))
	}
}

// The schema of reports has all that a report can have: several models, layers, speeds, a baseline, limits, texts that
// were used before, and in files every position.
func TestReportSchema(t *testing.T) {
	t.Setenv(asProgram, "1") // for the processes that measure speed
	outputsDir(t)
	for _, line := range []string{
		"quantize DIR calibrated.gguf Q4_0 --method imatrix --stats stats.gguf",
		"verify model.gguf --base DIR --text text -c 64 --chunks 1 --report old.json",
		"verify model.gguf calibrated.gguf --base DIR --text text -c 64 --chunks 1 --report both.json",
		"verify model.gguf --base DIR --text text -c 64 --chunks 1 --report part.json --shard 1/1",
	} {
		if _, stderr, code := phi3conv(t, strings.Fields(line)...); code != exitOK {
			t.Fatalf("%s: %s", line, stderr)
		}
	}
	for _, path := range []string{"old.json", "both.json", "part.json"} {
		doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(testmodel.Read(t, path)))
		if err != nil {
			t.Fatal(err)
		}
		if err := schemaNamed(t, "verify").Validate(doc); err != nil {
			t.Errorf("%s: %v", path, err)
		}
	}
	for line, want := range map[string][]string{
		"verify model.gguf --base DIR --text text -c 64 --chunks 1 --by-layer --by-part --by-layer-chunks 1 " +
			"--speed -r 2 --baseline old.json --max-kld 1 --worst 2 --json": {
			`"layers"`, `"all_layers"`, `"parts"`, `"performance"`, `"baseline"`, `"verdict"`, `"worst"`, `"weights"`},
		"verify calibrated.gguf --base DIR --text text -c 64 --chunks 1 --strict --json": {`"seen"`, `"strict"`},
		"verify model.gguf --seal seal --json":                                           {`"kld_least"`},
	} {
		stdout, stderr, code := phi3conv(t, strings.Fields(line)...)
		if code != exitOK && code != exitFailed {
			t.Fatalf("%s: exit %d, %s", line, code, stderr)
		}
		for _, key := range want {
			if !strings.Contains(stdout, key) {
				t.Errorf("%s: no %s", line, key)
			}
		}
	}
}
