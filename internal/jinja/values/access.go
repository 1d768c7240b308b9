package values

import (
	"math/big"
	"slices"
	"strings"
)

// Attribute returns object.name: an attribute or a method, or else an item.
func (r *Run) Attribute(object Value, name string) Value {
	if v, ok := r.OwnAttribute(object, name); ok {
		return v
	}
	if d, ok := object.(*Dict); ok {
		if v, ok := d.Get(name); ok {
			return v
		}
	}
	return r.NoAttribute(object, name)
}

// NoAttribute returns the undefined value of an attribute that an object lacks.
func (r *Run) NoAttribute(object Value, name string) Value {
	r.Take(1, 96+maxQuote)
	name = Brief(name)
	if strings.HasPrefix(name, "__") && strings.HasSuffix(name, "__") {
		return &Undefined{"the attribute " + name + " is out of a template's reach", true}
	}
	return &Undefined{Text: TypeName(object) + " has no attribute " + name}
}

// OwnAttribute returns an attribute that is no item.
func (r *Run) OwnAttribute(object Value, name string) (Value, bool) {
	switch o := object.(type) {
	case *Undefined:
		if strings.HasPrefix(name, "__") && strings.HasSuffix(name, "__") && !o.refused {
			return r.NoAttribute(object, name), true
		}
		r.FailUndefined(o)
	case *Namespace:
		return o.dict.Get(name)
	case Custom:
		return o.Attribute(name)
	}
	if v, ok := r.field(object, name); ok {
		return v, true
	}
	f, ok := r.MethodsOf(object)[name]
	if ok && f == nil {
		return &Undefined{TypeName(object) + "." + name + " changes its " + TypeName(object) +
			", which a template cannot do: use + or a namespace()", true}, true
	}
	if ok {
		r.Take(1, 48)
		return &Method{f, object}, true
	}
	return nil, false
}

// field returns an attribute that is no method.
func (r *Run) field(object Value, name string) (Value, bool) {
	switch o := object.(type) {
	case *Builtin:
		v, ok := o.attributes[name]
		return v, ok
	case *Span:
		v, ok := map[string]Value{"start": o.start, "stop": o.stop, "step": o.step}[name]
		return v, ok
	case bool, int, *big.Int, float64:
		return r.numberAttribute(o, name)
	case complex128:
		v, ok := map[string]float64{"real": real(o), "imag": imag(o)}[name]
		return v, ok
	case *List:
		if i := slices.Index([]string{"grouper", "list"}, name); o.Kind == GroupKind && i >= 0 {
			return o.Items[i], true
		}
		return o.dict, o.dict != nil && o.Kind != SetKind && name == "mapping"
	}
	return nil, false
}

// Item returns object[index]: an item, or else an attribute.
func (r *Run) Item(object, index Value) Value {
	r.FailUndefined(object)
	switch o := object.(type) {
	case *Dict:
		if v, ok := o.Lookup(r, index); ok {
			return v
		}
	case *List:
		if v, ok := at(o.Items, index); ok && o.Sequence() {
			return v
		}
	case *Span:
		if i, n, ok := position(index, o.length); ok && i < n {
			return r.spanItem(o, i)
		}
	case Octets:
		if i, n, ok := position(index, len(o)); ok && i < n {
			return int(o[i])
		}
	case string, Markup:
		s, _ := TextOf(object)
		if i, n, ok := position(index, r.Runes(s)); ok && i < n {
			return Like(object, r.Cut(s, i, i+1))
		}
	}
	if name, ok := TextOf(index); ok {
		if v, ok := r.OwnAttribute(object, name); ok {
			return v
		}
		return r.NoAttribute(object, name)
	}
	r.Take(1, 96)
	return &Undefined{Text: TypeName(object) + " has no such item"}
}

// position returns an index from the beginning of n items; it is n where there is no item.
func position(index Value, n int) (int, int, bool) {
	i, _, ok := Number(index)
	if !ok || IsFloat(index) {
		return 0, 0, false
	}
	if i < 0 {
		i += n
	}
	if i < 0 {
		i = n
	}
	return i, n, true
}

func at(items []Value, index Value) (Value, bool) {
	if i, n, ok := position(index, len(items)); ok && i < n {
		return items[i], true
	}
	return nil, false
}

// numberAttribute returns an attribute of a number that is no method.
func (r *Run) numberAttribute(v Value, name string) (Value, bool) {
	whole := !IsFloat(v)
	switch name {
	case "real":
		return r.Arithmetic("+", v, 0), true
	case "imag":
		return r.Arithmetic("*", v, 0), true
	case "numerator":
		if !whole {
			return nil, false
		}
		return r.Ints("+", 0, v), true
	case "denominator":
		return 1, whole
	}
	return nil, false
}
