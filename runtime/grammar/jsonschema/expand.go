package jsonschema

import (
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// branch is a set of schemas that must all match, of whose references and combinations one possibility was chosen.
type branch []sub

// refused are the keywords that change what matches and cannot be followed.
var refused = []string{
	"not", "if", "then", "else", "dependentRequired", "dependentSchemas", "dependencies", "contains", "minContains",
	"maxContains", "unevaluatedItems", "$dynamicRef", "$recursiveRef", "extends", "disallow", "divisibleBy",
}

// chain is a list of schemas, of which each led to the next.
type chain struct {
	o    *object
	from *chain
}

func (c *chain) has(o *object) bool {
	for ; c != nil; c = c.from {
		if c.o == o {
			return true
		}
	}
	return false
}

// task is a schema that is still to be expanded.
type task struct {
	sub
	from *chain
}

// expand returns the possibilities of a set of schemas, of which one must match.
func (c *compiler) expand(set []sub) ([]branch, error) {
	return c.choices(set, false)
}

// choices does the same, without care for oneOf where its members are compared.
func (c *compiler) choices(set []sub, comparing bool) ([]branch, error) {
	var tasks []task
	for _, s := range set {
		tasks = append(tasks, task{s, nil})
	}
	var all []branch
	err := c.choose(tasks, nil, &all, comparing)
	return all, err
}

// choose expands tasks, and adds what results with done to all.
func (c *compiler) choose(tasks []task, done branch, all *[]branch, comparing bool) error {
	for len(tasks) > 0 {
		t := tasks[0]
		tasks = tasks[1:]
		if v, ok := t.schema.(bool); ok {
			if !v {
				return nil
			}
			continue
		}
		o, ok := t.schema.(*object)
		if !ok {
			return noSchema(t.sub)
		}
		if t.from.has(o) {
			return fmt.Errorf("%s refers to itself, without a value between", t.path)
		}
		if slices.ContainsFunc(done, func(s sub) bool { return s.schema == t.schema }) {
			continue
		}
		if err := c.check(o, t.path); err != nil {
			return err
		}
		done = append(done[:len(done):len(done)], t.sub)
		from := &chain{o, t.from}
		more, groups, err := c.parts(o, t.path, from)
		if err != nil {
			return err
		}
		tasks = slices.Concat(more, tasks)
		if len(groups) == 0 {
			continue
		}
		if one, ok := o.values["oneOf"].([]any); ok && !comparing {
			if err := c.exclusive(one, t.path+"/oneOf"); err != nil {
				return err
			}
		}
		return c.product(groups, tasks, done, all, comparing)
	}
	if *all = append(*all, done); len(*all) > maxBranches {
		return fmt.Errorf("anyOf, oneOf and allOf have more than %d combinations", maxBranches)
	}
	return nil
}

// product goes on with each choice from groups.
func (c *compiler) product(groups [][]task, tasks []task, done branch, all *[]branch, comparing bool) error {
	if len(groups) == 0 {
		return c.choose(tasks, done, all, comparing)
	}
	for _, t := range groups[0] {
		if err := c.product(groups[1:], append([]task{t}, tasks...), done, all, comparing); err != nil {
			return err
		}
	}
	return nil
}

// parts returns the schemas that a schema demands beside its own keywords, and those of which it demands one.
func (c *compiler) parts(o *object, path string, from *chain) (more []task, groups [][]task, err error) {
	if v, ok := o.values["$ref"]; ok {
		ref, _ := v.(string)
		to, err := c.resolve(ref)
		if err != nil {
			return nil, nil, fmt.Errorf("%s/$ref: %w", path, err)
		}
		more = append(more, task{to, from})
	}
	for _, key := range []string{"allOf", "anyOf", "oneOf"} {
		v, ok := o.values[key]
		if !ok {
			continue
		}
		list, ok := v.([]any)
		if !ok || len(list) == 0 {
			return nil, nil, fmt.Errorf("%s/%s is no list of schemas", path, key)
		}
		var tasks []task
		for i, s := range list {
			tasks = append(tasks, task{sub{s, fmt.Sprintf("%s/%s/%d", path, key, i)}, from})
		}
		if key == "allOf" {
			more = append(more, tasks...)
		} else {
			groups = append(groups, tasks)
		}
	}
	return more, groups, nil
}

// resolve finds what $ref names.
func (c *compiler) resolve(ref string) (sub, error) {
	name, ok := strings.CutPrefix(ref, "#")
	if !ok {
		return sub{}, fmt.Errorf("%q is not within the schema, and nothing is fetched: put it into $defs", ref)
	}
	if name, ok := c.doc.anchors[name]; ok {
		return sub{name, name.path}, nil
	}
	name, err := url.PathUnescape(name)
	if err != nil || name != "" && name[0] != '/' {
		return sub{}, fmt.Errorf("there is no %q in the schema", ref)
	}
	at := c.doc.root
	for part := range strings.SplitSeq(strings.TrimPrefix(name, "/"), "/") {
		if name == "" {
			break
		}
		part = strings.ReplaceAll(strings.ReplaceAll(part, "~1", "/"), "~0", "~")
		var found bool
		switch v := at.(type) {
		case *object:
			at, found = v.values[part]
		case []any:
			if i, err := strconv.Atoi(part); err == nil && i >= 0 && i < len(v) {
				at, found = v[i], true
			}
		}
		if !found {
			return sub{}, fmt.Errorf("there is no %q in the schema", ref)
		}
	}
	return sub{at, ref}, nil
}

// check refuses what cannot be followed.
func (c *compiler) check(o *object, path string) error {
	for _, key := range o.keys {
		v := o.values[key]
		ignored := false
		switch key {
		case "uniqueItems":
			_, least := v.(bool)
			most, err := whole(o, "maxItems")
			ignored = v == false || !least || err == nil && most >= 0 && most <= 1
		case "unevaluatedProperties":
			ignored = v == false || v == true
		case "$id", "id":
			_, names := v.(string)
			ignored = o == c.doc.root || key == "id" || !names
		default:
			ignored = !slices.Contains(refused, key)
		}
		if !ignored {
			return fmt.Errorf("%s: the keyword %s is not supported", path, key)
		}
	}
	if c.opt.Strict {
		return strictObject(o, path)
	}
	return nil
}

// strictRoot refuses what OpenAI refuses of a whole schema.
func (c *compiler) strictRoot(s sub) error {
	o, ok := s.schema.(*object)
	if !ok || o.values["type"] != "object" && o.values["$ref"] == nil || o.values["anyOf"] != nil {
		return fmt.Errorf("#: with strict the schema must be of type object, without anyOf")
	}
	return nil
}

// strictObject refuses what OpenAI refuses of an object.
func strictObject(o *object, path string) error {
	properties, _ := o.values["properties"].(*object)
	if o.values["type"] != "object" && properties == nil {
		return nil
	}
	if o.values["additionalProperties"] != false {
		return fmt.Errorf("%s: with strict additionalProperties must be given, and false", path)
	}
	if properties == nil {
		return nil
	}
	required, _ := o.values["required"].([]any)
	for _, key := range properties.keys {
		if !slices.Contains(required, any(key)) {
			return fmt.Errorf("%s: with strict all properties must be required, and %q is not; "+
				"let its type be a list with \"null\"", path, key)
		}
	}
	return nil
}
