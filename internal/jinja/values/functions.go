package values

// Globals are the functions of every template.
var Globals map[string]*Builtin

func init() { // it refers to itself by way of methods
	Globals = Table(
		Fn("range", "start stop= step=", makeRange),
		Raw("namespace", func(r *Run, a Arguments) Value {
			n := &Namespace{NewDict()}
			d := r.MakeDict(a)
			for i, k := range d.Keys {
				n.Set(r, r.StringArg(k), d.Values[i])
			}
			return n
		}),
		Raw("dict", func(r *Run, a Arguments) Value { return r.MakeDict(a) }),
		Raw("lipsum", func(r *Run, _ Arguments) Value {
			r.Fail("lipsum is refused: its text is not the same each time")
			return nil
		}),
		Raw("cycler", func(r *Run, a Arguments) Value {
			if len(a.Items) == 0 {
				r.Fail("cycler has no arguments, expected at least one")
			}
			return &cycler{items: a.Items}
		}),
		Fn("joiner", "sep=", func(r *Run, a []Value) Value {
			sep, used := OrElse(a[0], ", "), false
			return Raw("joiner", func(*Run, Arguments) Value {
				if used {
					return sep
				}
				used = true
				return ""
			})
		}),
		Fn("raise_exception", "message", func(r *Run, a []Value) Value {
			r.Fail("the template refuses this conversation: %s", r.Str(a[0]))
			return nil
		}),
		Fn("strftime_now", "format", func(r *Run, a []Value) Value { return r.strftime(r.StringArg(a[0]), r.now()) }),
	)
	Globals["range"].positional = true
	Globals["dict"].attributes = map[string]Value{"fromkeys": Fn("fromkeys", "iterable value=",
		func(r *Run, a []Value) Value { return r.FromKeys(a[0], a[1]) })}
}

// Update sets what a dict or pairs have in another dict.
func (r *Run) Update(d *Dict, v Value) {
	from, ok := v.(*Dict)
	for i, k := range r.Items(v) {
		if ok {
			d.Set(r, k, from.Values[i])
		} else if pair := r.Items(k); len(pair) == 2 {
			d.Set(r, pair[0], pair[1])
		} else {
			r.Fail("an item has %d values, expected a key and a value", len(pair))
		}
	}
}

// MakeDict makes a dict of a dict or of pairs, and of named arguments.
func (r *Run) MakeDict(a Arguments) *Dict {
	d := NewDict()
	if len(a.Items) > 1 {
		r.Fail("found %d dicts, expected one", len(a.Items))
	}
	for _, v := range a.Items {
		r.Update(d, v)
	}
	for i, name := range a.Names {
		d.Set(r, name, a.Named[i])
	}
	return d
}

// cycler gives its items in turn.
type cycler struct {
	items []Value
	at    int
}

// TypeName names the type in an error.
func (c *cycler) TypeName() string { return "cycler" }

func (c *cycler) String() string { return "<cycler>" }

// Attribute returns the current item or a method.
func (c *cycler) Attribute(name string) (Value, bool) {
	switch name {
	case "current":
		return c.items[c.at], true
	case "pos":
		return c.at, true
	case "items":
		return &List{Kind: TupleKind, Items: c.items}, true
	}
	f, ok := cyclerMethods[name]
	return &Method{f, c}, ok
}

var cyclerMethods = Table(
	Fn("next", "self", func(r *Run, a []Value) Value {
		c := a[0].(*cycler)
		v := c.items[c.at]
		c.at = (c.at + 1) % len(c.items)
		return v
	}),
	Fn("reset", "self", func(r *Run, a []Value) Value {
		a[0].(*cycler).at = 0
		return nil
	}),
)

// FromKeys makes a dict of keys that have one value.
func (r *Run) FromKeys(keys, value Value) Value {
	d := NewDict()
	for _, k := range r.Items(keys) {
		d.Set(r, k, OrElse(value, nil))
	}
	return d
}
