package kern

import (
	"fmt"
	"reflect"
	"slices"
	"sync/atomic"
)

// Use is what a product is for. Which form of a format's product is the fastest depends on it.
type Use uint8

// The uses.
const (
	Single  Use = iota // one token: weights come from memory, and reading them takes the time
	Few                // as many as Set.Few says: reading takes most of it
	Several            // several tokens: multiplying takes the time
	Many               // at least LeastMany: unpacking takes little beside it
	NumUses
)

// LeastMany is how many tokens are many, for formats that have kernels for them.
const LeastMany = 16

// String returns what a table of forms calls the use.
func (u Use) String() string {
	return [...]string{"one token", "few tokens", "several tokens", "many tokens"}[u]
}

// Hint is how weights are prefetched. Only products of one token do that.
type Hint int64

// The hints. Assembly knows their numbers.
const (
	NoHint Hint = iota
	T0          // into every cache; PLDL1KEEP on arm64
	NTA         // what will not be used again; PLDL1STRM on arm64
	NumHints
)

// String returns the hint's name, "none" for [NoHint].
func (h Hint) String() string { return [...]string{"none", "t0", "nta"}[h] }

// Form is one way to compute the products of a format. The forms of a format give the same bits; which is the fastest
// depends on the CPU and its memory. A Form is never changed.
type Form struct {
	Set   string // whose kernel it is
	Wide  bool   // one of the set's Wide
	Hint  Hint
	Ahead int // bytes from the weights that are used to those that are prefetched

	kernel func(*Product)
	few    int // see [Product].Few
}

// String names the form, such as "avx512vnni", "avx512vnni wide", "avx512vnni few" and "avx2 nta 4096".
func (f *Form) String() string {
	switch {
	case f.Wide:
		return f.Set + " wide"
	case f.few > 0:
		return f.Set + " few"
	case f.Hint == NoHint:
		return f.Set
	}
	return fmt.Sprintf("%s %s %d", f.Set, f.Hint, f.Ahead)
}

// Panels reports whether a call for so many tokens may have several panels. Float formats always may.
func (f *Form) Panels(tokens int) bool { return tokens <= max(1, f.few) }

// Multiply computes the product p in this form. It sets p.Hint, p.Ahead and p.Few.
func (f *Form) Multiply(p *Product) {
	p.Hint, p.Ahead, p.Few = f.Hint, int64(f.Ahead), int64(f.few)
	f.kernel(p)
}

// prefetches are the ways of prefetching. Distances are in bytes.
var prefetches = []struct {
	hint  Hint
	ahead int
}{
	{T0, 512}, {T0, 1 << 10}, {T0, 2 << 10}, {T0, 4 << 10}, {T0, 8 << 10}, {T0, 16 << 10},
	{NTA, 512}, {NTA, 1 << 10}, {NTA, 2 << 10}, {NTA, 4 << 10}, {NTA, 8 << 10}, {NTA, 16 << 10},
}

// Forms lists the forms of a format for a use that the set in use has, the default first: its own kernel and those of
// the sets below it, each with every way of prefetching.
func Forms(f Format, u Use) []*Form { return formsOf(best, f, u) }

func formsOf(s *Set, f Format, u Use) (all []*Form) {
	seen := map[uintptr]bool{}
	own := codeOf(s.kernel(f, u))
	for _, set := range sets[:s.level()+1] { // a kernel that several sets have is the lowest one's
		k := set.kernel(f, u)
		code := codeOf(k)
		if seen[code] || set == &generic && s != &generic {
			continue
		}
		seen[code] = true
		forms := []*Form{{Set: set.Name, kernel: k}}
		if few := set.Few[f]; u == Few && few > 0 {
			forms = append(forms, &Form{Set: set.Name, kernel: k, few: few})
			if defaultFew() {
				slices.Reverse(forms)
			}
		}
		for _, p := range prefetches {
			if u == Single && set != &generic {
				forms = append(forms, &Form{Set: set.Name, Hint: p.hint, Ahead: p.ahead, kernel: k})
			}
		}
		if wide := set.Wide[f]; u != Single && wide != nil {
			forms = append(forms, &Form{Set: set.Name, Wide: true, kernel: wide})
		}
		if len(all) > 0 && codeOf(all[0].kernel) == own {
			all = append(all, forms...)
		} else {
			all = append(forms, all...)
		}
	}
	if u != Single {
		return all
	}
	hint, ahead := defaultPrefetch(f)
	i := slices.IndexFunc(all, func(form *Form) bool { return form.Hint == hint && form.Ahead == ahead })
	i = max(i, 0) // portable Go prefetches nothing
	return slices.Concat(all[i:i+1], all[:i], all[i+1:])
}

// kernel returns the set's kernel of a format for a use.
func (s *Set) kernel(f Format, u Use) func(*Product) {
	if k := s.Many[f]; u == Many && k != nil {
		return k
	}
	if k := s.Several[f]; u != Single && k != nil {
		return k
	}
	return s.Products[f]
}

func codeOf(kernel func(*Product)) uintptr { return reflect.ValueOf(kernel).Pointer() }

// level is the place of the set in sets: those above it need more of the CPU.
func (s *Set) level() int { return slices.Index(sets, s) }

// chosen are the forms in use.
var chosen [NumFormats][NumUses]atomic.Pointer[Form]

// InUse returns the form in use.
func InUse(f Format, u Use) *Form { return chosen[f][u].Load() }

// Choose makes a form, one of [Forms], the one in use. It may be called while kernels run.
func Choose(f Format, u Use, form *Form) { chosen[f][u].Store(form) }

// chooseDefaults makes the default forms of the set in use those in use.
func chooseDefaults() {
	for f := range NumFormats {
		for u := range NumUses {
			Choose(f, u, Forms(f, u)[0])
		}
	}
}

func init() { chooseDefaults() }

// FewTokens returns how many tokens are few for a format, at most; 0 if few have no way of their own. Then they are
// several.
func FewTokens(f Format) int { return best.Few[f] }

// HasMany reports whether the set in use has kernels of a format for many tokens. Where it has none, they are several.
func HasMany(f Format) bool { return best.Many[f] != nil }

// FormFor returns the form in use for so many tokens.
func FormFor(f Format, tokens int) *Form {
	switch {
	case tokens == 1:
		return InUse(f, Single)
	case tokens <= FewTokens(f):
		return InUse(f, Few)
	case tokens >= LeastMany && HasMany(f):
		return InUse(f, Many)
	}
	return InUse(f, Several)
}

// Multiply computes a product of panels of the format in the form in use.
func Multiply(f Format, p *Product) { FormFor(f, int(p.T)).Multiply(p) }
