package jsonschema

import (
	"encoding/json"
	"fmt"
	"slices"
	"unicode/utf8"
)

// matchesAll reports whether a value matches schemas, as far as those keywords say that are not refused. It goes depth
// references and values deep.
func (c *compiler) matchesAll(v any, set []sub, depth int) bool {
	return !slices.ContainsFunc(set, func(s sub) bool { return !c.matches(v, s, depth) })
}

func (c *compiler) matches(v any, s sub, depth int) bool {
	o, ok := s.schema.(*object)
	if !ok || depth == 0 {
		return s.schema == true
	}
	depth--
	if types, err := declared(o); err != nil || types != nil && !hasType(v, types) {
		return false
	}
	if want, ok := o.values["const"]; ok && !equal(v, want) {
		return false
	}
	if list, ok := o.values["enum"].([]any); ok &&
		!slices.ContainsFunc(list, func(want any) bool { return equal(v, want) }) {
		return false
	}
	if c.check(o, s.path) != nil || !c.matchesParts(v, o, s.path, depth) {
		return false
	}
	switch v := v.(type) {
	case json.Number:
		return matchesNumber(v, o)
	case string:
		return matchesString(v, o)
	case []any:
		return c.matchesArray(v, o, depth)
	case *object:
		return c.matchesObject(v, s, depth)
	}
	return true
}

// matchesParts reports whether a value matches what a schema has beside its own keywords.
func (c *compiler) matchesParts(v any, o *object, path string, depth int) bool {
	more, groups, err := c.parts(o, path, nil)
	if err != nil {
		return false
	}
	count := func(tasks []task) (n int) {
		for _, t := range tasks {
			if c.matches(v, t.sub, depth) {
				n++
			}
		}
		return n
	}
	if count(more) < len(more) {
		return false
	}
	_, one := o.values["oneOf"]
	for i, g := range groups { // that of oneOf is the last
		if n := count(g); n == 0 || n > 1 && one && i == len(groups)-1 {
			return false
		}
	}
	return true
}

func hasType(v any, types []string) bool {
	kind := kindOf(v)
	if n, ok := v.(json.Number); ok && slices.Contains(types, "integer") {
		d, err := decimalOf(n)
		return err == nil && d.places == 0
	}
	return slices.Contains(types, kind)
}

func matchesNumber(n json.Number, o *object) bool {
	var b bounds
	d, err := decimalOf(n)
	if err != nil || b.add(o) != nil {
		return false
	}
	r := d.rat()
	if b.min != nil {
		if cmp := r.Cmp(b.min.rat()); cmp < 0 || cmp == 0 && b.min.exclusive {
			return false
		}
	}
	if b.max != nil {
		if cmp := r.Cmp(b.max.rat()); cmp > 0 || cmp == 0 && b.max.exclusive {
			return false
		}
	}
	for _, m := range b.multipleOf {
		if !r.Quo(r, m.rat()).IsInt() {
			return false
		}
		r = d.rat()
	}
	return true
}

func matchesString(v string, o *object) bool {
	t := texts{most: -1}
	if t.add(o) != nil {
		return false
	}
	n := utf8.RuneCountInString(v)
	if n < t.least || t.most >= 0 && n > t.most {
		return false
	}
	t.least, t.most = 0, -1
	d, err := t.dfa()
	return err == nil && (d == nil || d.accepts(v))
}

func (c *compiler) matchesArray(v []any, o *object, depth int) bool {
	least, errLeast := whole(o, "minItems")
	most, errMost := whole(o, "maxItems")
	if errLeast != nil || errMost != nil || len(v) < least || most >= 0 && len(v) > most {
		return false
	}
	list, _ := o.values["prefixItems"].([]any)
	rest, ok := o.values["items"]
	if old, isList := rest.([]any); isList {
		list = old
		rest, ok = o.values["additionalItems"]
	}
	for i, item := range v {
		switch {
		case i < len(list):
			if !c.matches(item, sub{list[i], ""}, depth) {
				return false
			}
		case ok && !c.matches(item, sub{rest, ""}, depth):
			return false
		}
	}
	return true
}

func (c *compiler) matchesObject(v *object, s sub, depth int) bool {
	m, err := c.members(branch{s})
	if err != nil || len(v.keys) < m.min || m.max >= 0 && len(v.keys) > m.max {
		return false
	}
	for name := range m.required {
		if _, ok := v.values[name]; !ok {
			return false
		}
	}
	for _, name := range v.keys {
		if m.keys != nil && !m.keys.accepts(name) {
			return false
		}
		if !c.matchesAll(v.values[name], m.property(name, true, m.matching(name)), depth) {
			return false
		}
	}
	return true
}

// exclusive refuses members of oneOf that may both match what is written for one of them.
func (c *compiler) exclusive(list []any, path string) error {
	if len(list) > maxBranches/10 {
		return fmt.Errorf("%s has %d schemas, expected at most %d", path, len(list), maxBranches/10)
	}
	var branches [][]branch
	for i, s := range list {
		own, err := c.choices([]sub{{s, fmt.Sprintf("%s/%d", path, i)}}, true)
		if err != nil {
			return err
		}
		branches = append(branches, own)
	}
	for i := range list {
		for k := range list {
			if i != k && !c.neverMatch(branches[i], branches[k], 4) {
				return fmt.Errorf("%s: a value may match both number %d and number %d of its schemas: use anyOf, or "+
					"tell them apart, by their types or by a required property with const", path, min(i, k), max(i, k))
			}
		}
	}
	return nil
}

// neverMatch reports whether what is written for one of the branches a surely matches none of b. It looks depth
// properties deep.
func (c *compiler) neverMatch(a, b []branch, depth int) bool {
	for _, x := range a {
		for _, y := range b {
			if !c.apart(x, y, depth) {
				return false
			}
		}
	}
	return true
}

func (c *compiler) apart(a, b branch, depth int) bool {
	m, errA := c.merge(a)
	n, errB := c.merge(b)
	if errA != nil || errB != nil {
		return false
	}
	if m.values != nil {
		return !slices.ContainsFunc(m.values, func(v any) bool { return c.matchesAll(v, b, maxDepth) })
	}
	declares := slices.ContainsFunc(b, func(s sub) bool { return s.schema.(*object).values["type"] != nil })
	for _, t := range m.types {
		both := !declares || len(common([]string{t}, n.types)) > 0
		switch {
		case !both:
		case n.values != nil && t != "object" && !slices.ContainsFunc(n.values, func(v any) bool {
			return hasType(v, []string{t}) && c.matchesAll(v, a, maxDepth)
		}):
		case (t == "integer" || t == "number") && numbersApart(&m.numbers, &n.numbers):
		case t == "string" && stringsApart(&m.strings, &n.strings):
		case t == "object" && c.objectsApart(a, b, depth):
		default:
			return false
		}
	}
	return true
}

func numbersApart(a, b *bounds) bool {
	below := func(x, y *bound) bool {
		if x == nil || y == nil {
			return false
		}
		cmp := x.rat().Cmp(y.rat())
		return cmp < 0 || cmp == 0 && (x.exclusive || y.exclusive)
	}
	return below(a.max, b.min) || below(b.max, a.min)
}

func stringsApart(a, b *texts) bool {
	x, errX := a.dfa()
	y, errY := b.dfa()
	if errX != nil || errY != nil || x == nil || y == nil {
		return false
	}
	d, err := both(x, y)
	return err == nil && d.empty()
}

// objectsApart reports whether an object that is written for a surely does not match b.
func (c *compiler) objectsApart(a, b branch, depth int) bool {
	m, errA := c.members(a)
	n, errB := c.members(b)
	if errA != nil || errB != nil || depth == 0 {
		return false
	}
	if !m.open && m.patterns == nil { // it has no others
		for name := range n.required {
			if !slices.Contains(m.names, name) {
				return true
			}
		}
	}
	for name := range m.required {
		value := m.property(name, true, m.matching(name))
		other := n.property(name, true, n.matching(name))
		x, errX := c.choices(value, true)
		y, errY := c.choices(other, true)
		if errX == nil && errY == nil && c.neverMatch(x, y, depth-1) {
			return true
		}
	}
	return false
}
