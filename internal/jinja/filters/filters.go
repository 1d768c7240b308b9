// Package filters has Jinja's filters, with transformers' own tojson, and its tests.
package filters

import (
	"slices"

	"github.com/phi3conv/phi3conv/internal/jinja/values"
)

// What filters need most of package values.
type (
	Value     = values.Value
	Run       = values.Run
	Builtin   = values.Builtin
	Arguments = values.Arguments
	List      = values.List
	Dict      = values.Dict
	Undefined = values.Undefined
	Output    = values.Output
)

var fn = values.Fn

// Filters are Jinja's, with transformers' own tojson.
var Filters map[string]*Builtin

func init() { // they refer to each other by way of map
	Filters = values.Table(slices.Concat(textFilters(), htmlFilters(), numberFilters(), listFilters())...)
	Filters["d"], Filters["count"] = Filters["default"], Filters["length"]
	Filters["e"] = Filters["escape"]
}

// UnknownFilter says that there is no filter of a name.
func UnknownFilter(name string) string {
	return "there is no filter " + name + ": use another, or write a macro"
}

// Foldable says whether Jinja computes a filter of constants when it compiles a template: not where a filter sees the
// variables of the rendering.
func Foldable(name string) bool {
	return Filters[name] != nil &&
		!slices.Contains([]string{"random", "map", "select", "reject", "selectattr", "rejectattr"}, name)
}

// Apply applies a filter to its first argument.
func Apply(r *Run, name string, a Arguments) Value {
	f := Filters[name]
	if f == nil {
		r.Fail("%s", UnknownFilter(values.Brief(name)))
	}
	return r.Apply(f, a)
}
