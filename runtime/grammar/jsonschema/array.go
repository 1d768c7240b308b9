package jsonschema

import (
	"errors"
	"fmt"

	"github.com/phi3conv/phi3conv/runtime/grammar"
)

// items are what the schemas of a branch say about the items of an array.
type items struct {
	of       branch
	lists    [][]any // prefixItems, or items of older drafts
	rest     []any   // of the items after those; nil if nothing is said
	first    int     // items of the longest list
	min, max int     // max is -1 for any number
}

// items collects what is said about items.
func (b branch) items() (*items, error) {
	m := &items{of: b, lists: make([][]any, len(b)), rest: make([]any, len(b)), max: -1}
	given := false
	for i, s := range b {
		o := s.schema.(*object)
		if err := narrow(o, "minItems", "maxItems", &m.min, &m.max); err != nil {
			return nil, err
		}
		m.rest[i] = o.values["items"]
		if v, ok := o.values["prefixItems"]; ok {
			if m.lists[i], ok = v.([]any); !ok {
				return nil, errors.New("prefixItems is no list")
			}
		} else if list, ok := m.rest[i].([]any); ok {
			m.lists[i], m.rest[i] = list, o.values["additionalItems"]
		}
		m.first = max(m.first, len(m.lists[i]))
		given = given || m.rest[i] != nil
	}
	if m.first > 0 && !given && (m.max < 0 || m.max > m.first) {
		m.max = max(m.first, m.min) // as with properties: what is not described does not come
	}
	if m.max >= 0 {
		m.first = min(m.first, m.max)
	}
	return m, nil
}

// at returns the schemas of an item.
func (m *items) at(n int) []sub {
	var set []sub
	for i, s := range m.of {
		switch {
		case n < len(m.lists[i]):
			set = append(set, sub{m.lists[i][n], fmt.Sprintf("%s/prefixItems/%d", s.path, n)})
		case m.rest[i] != nil:
			set = append(set, sub{m.rest[i], s.path + "/items"})
		}
	}
	return set
}

// array is an array that all schemas of a branch match.
func (c *compiler) array(b branch) (grammar.Expr, error) {
	m, err := b.items()
	if err != nil {
		return grammar.Expr{}, err
	}
	if m.max >= 0 && m.min > m.max {
		return grammar.Alt(), nil
	}
	other, err := c.rule(m.at(1 << 30))
	if err != nil {
		return other, err
	}
	space := grammar.Rule("space")
	if m.max == 0 {
		return grammar.Seq(grammar.Text("["), space, grammar.Text("]")), nil
	}
	n := max(m.first, 1) // items that are written out, the others repeat
	left := -1
	if m.max >= 0 {
		left = m.max - n
	}
	tail := grammar.Repeat(grammar.Seq(comma, other), max(m.min-n, 0), left)
	for n--; n >= 0; n-- {
		e := other
		if n < m.first {
			if e, err = c.rule(m.at(n)); err != nil {
				return e, err
			}
		}
		if n > 0 {
			e = grammar.Seq(comma, e)
		}
		if tail = grammar.Seq(e, tail); n >= m.min {
			tail = grammar.Opt(tail)
		}
	}
	return grammar.Seq(grammar.Text("["), space, tail, space, grammar.Text("]")), nil
}
