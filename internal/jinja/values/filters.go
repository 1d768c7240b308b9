package values

// Filters are Jinja's, with transformers' own tojson.
var Filters map[string]*Builtin

func init() { // they refer to each other by way of map
	Filters = table(append(textFilters(), append(numberFilters(), listFilters()...)...)...)
	Filters["d"], Filters["count"] = Filters["default"], Filters["length"]
	Filters["e"], Filters["forceescape"] = Filters["escape"], Filters["escape"]
}

// UnknownFilter says that there is no filter of a name.
func UnknownFilter(name string) string {
	return "there is no filter " + name + ": use another, or write a macro"
}

// Filter applies a filter to its first argument.
func (r *Run) Filter(name string, a Arguments) Value {
	f := Filters[name]
	if f == nil {
		r.Fail("%s", UnknownFilter(brief(name)))
	}
	return r.Apply(f, a)
}
