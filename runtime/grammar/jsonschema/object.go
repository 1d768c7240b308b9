package jsonschema

import (
	"errors"
	"fmt"
	"slices"

	"github.com/phi3conv/phi3conv/runtime/grammar"
)

// members are what the schemas of a branch say about the members of an object.
type members struct {
	of       branch
	names    []string // of the properties, in order
	required map[string]bool
	patterns []keyPattern
	open     bool // others are allowed, if additionalProperties allows them
	keys     *dfa // what names must be, nil for anything
	min, max int  // max is -1 for any number
}

// keyPattern is one of patternProperties.
type keyPattern struct {
	owner int // index of the schema
	keys  *dfa
	value sub
}

// mostPatterns bounds patternProperties: a name may match any set of them.
const mostPatterns = 5

// members collects what is said about members.
func (c *compiler) members(b branch) (*members, error) {
	m := &members{of: b, required: map[string]bool{}, max: -1}
	add := func(name string) {
		if !slices.Contains(m.names, name) {
			m.names = append(m.names, name)
		}
	}
	closed := false
	for i, s := range b {
		o := s.schema.(*object)
		if v, ok := o.values["properties"]; ok {
			properties, ok := v.(*object)
			if !ok {
				return nil, errors.New("properties is no object")
			}
			closed = true
			for _, name := range properties.keys {
				add(name)
			}
		}
		if v, ok := o.values["patternProperties"]; ok {
			closed = true
			if err := m.addPatterns(i, v, s.path); err != nil {
				return nil, err
			}
		}
		if v, ok := o.values["propertyNames"]; ok {
			if err := c.addNames(m, sub{v, s.path + "/propertyNames"}); err != nil {
				return nil, err
			}
		}
		if v, ok := o.values["additionalProperties"]; ok && v != false {
			m.open = true
		}
		if err := narrow(o, "minProperties", "maxProperties", &m.min, &m.max); err != nil {
			return nil, err
		}
	}
	for _, s := range b {
		o := s.schema.(*object)
		v, ok := o.values["required"]
		if !ok {
			continue
		}
		list, ok := v.([]any)
		if !ok {
			return nil, errors.New("required is no list")
		}
		for _, v := range list {
			name, ok := v.(string)
			if !ok {
				return nil, errors.New("required is no list of strings")
			}
			closed = true
			m.required[name] = true
			add(name)
		}
	}
	m.open = m.open || !closed
	return m, nil
}

func (m *members) addPatterns(owner int, v any, path string) error {
	list, ok := v.(*object)
	if !ok {
		return errors.New("patternProperties is no object")
	}
	for _, p := range list.keys {
		d, err := pattern(p)
		if err != nil {
			return err
		}
		at := path + "/patternProperties/" + escape(p)
		m.patterns = append(m.patterns, keyPattern{owner, d, sub{list.values[p], at}})
	}
	if len(m.patterns) > mostPatterns {
		return fmt.Errorf("patternProperties has %d patterns, expected at most %d", len(m.patterns), mostPatterns)
	}
	return nil
}

// addNames takes propertyNames, of which the keywords about strings are read.
func (c *compiler) addNames(m *members, s sub) error {
	branches, err := c.expand([]sub{s})
	if err != nil {
		return err
	}
	if len(branches) != 1 {
		return errors.New("propertyNames with anyOf, oneOf or false is not supported")
	}
	if len(branches[0]) == 0 {
		return nil
	}
	own, err := c.merge(branches[0])
	if err != nil {
		return err
	}
	var d *dfa
	if own.values != nil {
		var names []string
		for _, v := range own.values {
			if name, ok := v.(string); ok {
				names = append(names, name)
			}
		}
		d = words(names)
	} else if d, err = own.strings.dfa(); err != nil || d == nil {
		return err
	}
	if m.keys != nil {
		d, err = both(m.keys, d)
	}
	m.keys = d
	return err
}

// accepts reports whether d accepts a string.
func (d *dfa) accepts(s string) bool {
	at := 0
	for _, r := range s {
		i := slices.IndexFunc(d.states[at].edges, func(e dfaEdge) bool { return e.first <= r && r <= e.last })
		if i < 0 {
			return false
		}
		at = d.states[at].edges[i].to
	}
	return d.states[at].accept
}

// property returns the schemas for a member whose name matches exactly the patterns in matching, and may be listed in
// properties.
func (m *members) property(name string, listed bool, matching []bool) []sub {
	var set []sub
	for i, s := range m.of {
		o := s.schema.(*object)
		covered := false
		if properties, ok := o.values["properties"].(*object); ok && listed {
			if v, ok := properties.values[name]; ok {
				set, covered = append(set, sub{v, s.path + "/properties/" + escape(name)}), true
			}
		}
		for k, p := range m.patterns {
			if p.owner == i && matching[k] {
				set, covered = append(set, p.value), true
			}
		}
		if v, ok := o.values["additionalProperties"]; ok && !covered {
			set = append(set, sub{v, s.path + "/additionalProperties"})
		}
	}
	return set
}

// matching says which patterns a name matches.
func (m *members) matching(name string) []bool {
	matching := make([]bool, len(m.patterns))
	for k, p := range m.patterns {
		matching[k] = p.keys.accepts(name)
	}
	return matching
}

// listed is the member of a name, and the rest of it after its name.
func (c *compiler) listed(m *members, name string) (grammar.Expr, error) {
	if m.keys != nil && !m.keys.accepts(name) {
		return grammar.Alt(), nil
	}
	value, err := c.rule(m.property(name, true, m.matching(name)))
	return grammar.Seq(grammar.Text(text(name)), colon, value), err
}

// others is a member of none of the names, grouped by the patterns that its name matches. It is nothing if there is
// none.
func (c *compiler) others(m *members) (grammar.Expr, error) {
	if m.open && m.names == nil && m.patterns == nil && m.keys == nil {
		value, err := c.rule(m.property("", false, nil))
		return grammar.Seq(grammar.Rule("string"), colon, value), err
	}
	keys := words(m.names).not()
	var err error
	if m.keys != nil {
		if keys, err = both(keys, m.keys); err != nil {
			return grammar.Expr{}, err
		}
	}
	var all []grammar.Expr
	for set := range 1 << len(m.patterns) {
		if set == 0 && !m.open {
			continue
		}
		matching := make([]bool, len(m.patterns))
		d := keys
		for k, p := range m.patterns {
			matching[k] = set>>k&1 != 0
			part := p.keys
			if !matching[k] {
				part = part.not()
			}
			if d, err = both(d, part); err != nil {
				return grammar.Expr{}, err
			}
		}
		if d.empty() {
			continue
		}
		value, err := c.rule(m.property("", false, matching))
		if err != nil {
			return value, err
		}
		quote := grammar.Text(`"`)
		all = append(all, grammar.Seq(quote, d.expr(), quote, colon, value))
	}
	return grammar.Alt(all...), nil
}

// writing is how far an object has been written.
type writing struct {
	next   int // property
	listed int // properties that came, as far as min counts
	all    int // members that came, as far as max counts; at least whether there was one
	others bool
}

// object is an object that all schemas of a branch match.
func (c *compiler) object(b branch) (grammar.Expr, error) {
	m, err := c.members(b)
	if err != nil {
		return grammar.Expr{}, err
	}
	var properties []grammar.Expr
	for _, name := range m.names {
		e, err := c.listed(m, name)
		if err != nil {
			return e, err
		}
		properties = append(properties, e)
	}
	other, err := c.others(m)
	if err != nil {
		return other, err
	}
	// Two other members may have one name, so that only one of them surely counts.
	if m.min > len(m.names)+1 {
		return grammar.Expr{}, fmt.Errorf("minProperties is %d, which needs as many names in properties", m.min)
	}
	machine := &grammar.Machine{}
	number := map[writing]int{{}: 0}
	for all := []writing{{}}; len(machine.States) < len(all); {
		w := all[len(machine.States)]
		var s grammar.MachineState
		to := func(e grammar.Expr, next writing) {
			n, ok := number[next]
			if !ok {
				n = len(all)
				number[next] = n
				all = append(all, next)
			}
			s.Edges = append(s.Edges, grammar.MachineEdge{On: e, To: n})
		}
		member := func(e grammar.Expr, next writing) {
			if m.max >= 0 && w.all == m.max {
				return
			}
			if w.all > 0 {
				e = grammar.Seq(comma, e)
			}
			next.all = min(w.all+1, max(m.max, 1))
			to(e, next)
		}
		if w.next < len(properties) {
			next := writing{w.next + 1, min(w.listed+1, m.min), w.all, w.others}
			member(properties[w.next], next)
			if !m.required[m.names[w.next]] {
				next.listed = w.listed
				to(grammar.Seq(), next)
			}
		} else {
			member(other, writing{w.next, w.listed, 0, true})
			count := w.listed
			if w.others {
				count++
			}
			s.Accept = count >= m.min
		}
		machine.States = append(machine.States, s)
		if len(all) > maxStates {
			return grammar.Expr{}, fmt.Errorf("minProperties and maxProperties of %d properties take too many states",
				len(properties))
		}
	}
	space := grammar.Rule("space")
	return grammar.Seq(grammar.Text("{"), space, grammar.Of(machine), space, grammar.Text("}")), nil
}
