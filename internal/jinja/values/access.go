package values

import (
	"slices"
	"strings"
)

// Attribute returns object.name: an attribute or a method, or else an item.
func (r *Run) Attribute(object Value, name string) Value {
	if v, ok := r.ownAttribute(object, name); ok {
		return v
	}
	if d, ok := object.(*Dict); ok {
		if v, ok := d.Get(name); ok {
			return v
		}
	}
	return r.noAttribute(object, name)
}

func (r *Run) noAttribute(object Value, name string) Value {
	r.Take(1, 96+maxQuote)
	name = brief(name)
	if strings.HasPrefix(name, "__") && strings.HasSuffix(name, "__") {
		return &Undefined{"the attribute " + name + " is out of a template's reach", true}
	}
	return &Undefined{Text: TypeName(object) + " has no attribute " + name}
}

// methodsOf returns the methods of a value's type. A nil entry is a method that changes its receiver, which is refused.
func methodsOf(object Value) map[string]*Builtin {
	switch object := object.(type) {
	case string, markup:
		return stringMethods
	case *Dict:
		return dictMethods
	case *List:
		if object.Kind == listKind {
			return listMethods
		} else if object.isTuple() {
			return tupleMethods
		}
	}
	return nil
}

// ownAttribute returns an attribute that is no item.
func (r *Run) ownAttribute(object Value, name string) (Value, bool) {
	switch o := object.(type) {
	case *Undefined:
		r.FailUndefined(o)
	case *Namespace:
		return o.dict.Get(name)
	case custom:
		return o.Attribute(name)
	case *List:
		if i := slices.Index([]string{"grouper", "list"}, name); o.Kind == groupKind && i >= 0 {
			return o.Items[i], true
		}
	}
	f, ok := methodsOf(object)[name]
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

// Item returns object[index]: an item, or else an attribute.
func (r *Run) Item(object, index Value) Value {
	r.FailUndefined(object)
	switch o := object.(type) {
	case *Dict:
		if v, ok := o.lookup(r, index); ok {
			return v
		}
	case *List:
		if v, ok := at(o.Items, index); ok && o.sequence() {
			return v
		}
	case *span:
		if i, n, ok := position(index, o.length()); ok && i < n {
			return o.start + i*o.step
		}
	case string, markup:
		s, _ := textOf(object)
		if i, n, ok := position(index, r.runes(s)); ok && i < n {
			return r.cut(s, i, i+1)
		}
	}
	if name, ok := textOf(index); ok {
		if v, ok := r.ownAttribute(object, name); ok {
			return v
		}
		return r.noAttribute(object, name)
	}
	r.Take(1, 96)
	return &Undefined{Text: TypeName(object) + " has no such item"}
}

// position returns an index from the beginning of n items; it is n where there is no item.
func position(index Value, n int) (int, int, bool) {
	i, _, ok := Number(index)
	if !ok || isFloat(index) {
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
