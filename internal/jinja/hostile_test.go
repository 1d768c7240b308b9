package jinja

import (
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"
)

func repeated(s string, n int) string { return strings.Repeat(s, n) }

// nested loops over nothing but numbers.
func loops(depth, n int, body string) string {
	return repeated(fmt.Sprintf("{%% for i in range(%d) %%}", n), depth) + body + repeated("{% endfor %}", depth)
}

// grow changes a namespace again and again.
func grow(times int, values, change string) string {
	return fmt.Sprintf("{%% set n = namespace(%s) %%}{%% for i in range(%d) %%}%s{%% endfor %%}", values, times, change)
}

// over does something with a value again and again.
func over(times int, value, body string) string {
	return fmt.Sprintf("{%% set x = %s %%}{%% for i in range(%d) %%}%s{%% endfor %%}", value, times, body)
}

// sets sets many variables.
func sets(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "{%%set a%d=1%%}", i)
	}
	return b.String()
}

const pairs = "{% set n.x = [n.x, n.x] %}{% set n.y = [n.y, n.y] %}"

// hostile templates have no end, ask for all memory, or reach for what they should not.
var hostile = map[string]string{
	"powers of floats":          over(100000, "1.5", "{% set y = (x + i) ** 0.3 %}"),
	"powers of negative floats": over(100000, "-1.5", "{% set y = (x - i) ** 0.3 %}"),
	"powers of complex numbers": over(100000, "(-2) ** 0.5", "{% set y = (x + i) ** (x - i) %}"),
	"angles of complex numbers": over(100000, "(-1e300) ** 0.5", "{% set y = (-1e300 - i) ** (1.7e307 + 0.5) %}"),
	"constants of much text":    repeated("{{ 'x' * 100000 }}", 3000),
	"a long constant":           "{% if false %}{{ 'x' * 100000000 }}{% endif %}",
	"constants that take long":  repeated("{{ 2 ** 100000 % 7 ** 30000 }}", 2000),
	"constants of constants":    "{{ " + repeated("[", 90) + "'x' * 50000" + repeated("]", 90) + " | pprint }}",
	"constants of a long chain": "{{ x" + repeated(" + 1", 16000) + " }}",
	"constants that fail":       repeated("{{ 1 / 0 }}", 5900) + loops(10, 100, "x"),
	"constants of filters":      repeated("{{ ('a ' * 10000) | title | wordcount }}", 1500),
	"literals of many escapes":  "{{ '" + repeated("\\u00e9", 10000) + "' * 1000000 }}",
	"names of many characters":  repeated("{{ '\\N{LATIN SMALL LETTER E WITH ACUTE}' }}", 1400) + loops(10, 100, "x"),
	"encode with names":         over(1000, "'é' * 20000", "{% set y = x.encode('ascii', 'namereplace') %}"),
	"encode with escapes":       over(1000, "'é' * 20000", "{% set y = x.encode('ascii', 'backslashreplace') %}"),
	"encode to UTF-32":          over(1000, "'x' * 40000", "{% set y = x.encode('utf-32').decode('utf-32') %}"),
	"decode escapes": over(1000, "'\\\\N{BULLET}'.encode() * 5000",
		"{% set y = x.decode('unicode_escape') %}"),
	"decode an escape of no end": over(1000, "('\\\\N{' ~ 'x' * 50000).encode()",
		"{% set y = x.decode('unicode_escape', 'ignore') %}"),
	"decode what is no text": over(1000, "'é'.encode('latin-1') * 40000",
		"{% set y = x.decode('utf-8', 'backslashreplace') %}"),
	"code pages":            over(1000, "'x' * 40000", "{% set y = x.encode('cp037').decode('cp437') %}"),
	"doubling by encodings": grow(100, "x='é'", "{% set n.x = n.x.encode('utf-16').decode('latin-1') %}"),
	"bytes in hexadecimal": over(1000, "'x'.encode() * 40000",
		"{% set y = x.hex('-').encode().fromhex('00' * 40000) %}"),
	"lines of bytes":          over(1000, "'\n'.encode() * 40000", "{% set y = x.splitlines() %}"),
	"bytes translated":        over(1000, "'x'.encode() * 400000", "{% set y = x.translate(x.maketrans(x, x)) %}"),
	"bytes formatted":         over(1000, "'%s'.encode() * 1", "{% set y = x % ('x'.encode() * 400000) %}"),
	"ranges of long integers": over(100000, "2 ** 100000", "{% for y in range(x, x + 100) %}{% endfor %}"),
	"a slice of a long range": over(100000, "range(2 ** 100000, 2 ** 100000 + 9)", "{% set y = x[1:] %}"),
	"sets of many keys":       over(1000, "{}.fromkeys(range(50000))", "{% set y = x.keys() - [1] %}"),
	"sets of sets":            grow(100000, "x={1: 2}.keys() - []", "{% set n.x = n.x.union([i]) %}"),
	"sets that intersect": over(1000, "{}.fromkeys(range(50000)).keys() - []",
		"{% set y = x.intersection(x) %}"),
	"many digits after a point": over(1000, "1.5", "{{ '%.1000000f' % x }}"),
	"more digits after a point": "{{ '%.1000000000f' % 1.5 }}",
	"digits of an integer":      "{{ '%.1000000000d' % 5 }}",
	"halves of characters":      over(1000, "'\\ud800' * 20000", "{% set y = x < x ~ 'a' %}"),
	"halves in JSON":            over(1000, "'\\ud800' * 20000", "{% set y = x | tojson(ensure_ascii=true) %}"),
	"halves that are moved":     "{% set x = '\\ud800' %}{{ '%c' % 786432 }}{{ '%c' % 788480 }}" + loops(10, 100, "x"),
	"text in punycode":          over(1000, "'é日a' * 10000", "{% set y = x.encode('punycode') %}"),
	"numbers in punycode":       over(1000, "('9' * 40000).encode()", "{% set y = x.decode('punycode', 'ignore') %}"),
	"names of hosts":            over(1000, "'é日ﷺ.' * 10000", "{% set y = x.encode('idna') %}"),
	"base 64 of text":           over(1000, "'é日a' * 10000", "{% set y = x.encode('utf-7').decode('utf-7') %}"),
	"sets of characters":        over(1000, "'é日a' * 10000", "{% set y = x.encode('iso2022_jp_2') %}"),
	"escaping that is computed": over(100000, "'<' * 10000",
		"{% autoescape x %}{% set y %}{{ x }}{% endset %}{% endautoescape %}"),
	"macro calls itself": "{% macro a() %}{{ a() }}{% endmacro %}{{ a() }}",
	"macros call each other": "{% macro a() %}{{ b() }}{% endmacro %}" +
		"{% macro b() %}{{ a() }}{% endmacro %}{{ a() }}",
	"macro as its argument": "{% macro a(f) %}{{ f(f) }}{% endmacro %}{{ a(a) }}",
	"macro calls itself twice": "{% macro a(n) %}{% if n %}{{ a(n - 1) }}" +
		"{{ a(n - 1) }}{% endif %}{% endmacro %}{{ a(100) }}",
	"caller calls its macro": "{% macro w() %}{{ caller() }}{% endmacro %}" +
		"{% macro a() %}{% call w() %}{{ a() }}{% endcall %}{% endmacro %}{{ a() }}",
	"loop calls itself":     "{% for x in [[1]] recursive %}{{ loop([[x]]) }}{% endfor %}",
	"loops in loops":        loops(10, 100, "x"),
	"silent loops in loops": loops(10, 100000, ""),
	"long loop over a filter": "{% for i in range(100000) %}" +
		"{% set x = range(100000) | map('string') | list %}{% endfor %}",
	"range of a billion":     "{% for i in range(1000000000) %}{% endfor %}",
	"ranges in a list":       "{% for i in range(1000) %}{% set x = range(100000) | list %}{% endfor %}",
	"string times a billion": "{{ 'x' * 1000000000 }}",
	"string times many":      "{{ 'xxxxxxxxxxxxxxxx' * 4611686018427387904 }}",
	"list times a billion":   "{{ [1, 2] * 1000000000 }}",
	"empty list times many": "{{ [] * 4611686018427387904 }}" +
		"{{ '' * 4611686018427387904 }}{{ raise_exception('') }}",
	"products of strings":          "{% set x = 'x' * 1000 %}{% set x = x * 1000 %}{% set x = x * 1000 %}{{ x }}",
	"tower of powers":              "{{ 9 ** (9 ** (9 ** 9)) }}",
	"tower of float powers":        "{{ 9.0 ** 9 ** 9 ** 9 }}",
	"powers of long integers":      "{% set x = 2 ** 30000 %}{% set x = x ** 3000 %}{{ x }}",
	"products of long integers":    grow(100000, "x=2 ** 100000", "{% set n.x = n.x * n.x %}"),
	"quotients of long integers":   over(100000, "2 ** 400000", "{% set y = x // 7 ** 50000 %}"),
	"fractions of long integers":   over(100000, "2 ** 20000", "{% set y = x / (x - 1) %}"),
	"sums of long integers":        over(100000, "2 ** 800000", "{% set y = x + i %}"),
	"long integers compared":       over(100000, "2 ** 800000", "{% if x == x + 1 or x < x %}{% endif %}"),
	"long integers compared alone": over(100000, "[2 ** 800000, 2 ** 800000 + 1]", "{{ x[0] == x[1] }}"),
	"long integers and floats":     over(100000, "2 ** 800000", "{% if x == 1.5 or x > i or x %}{% endif %}"),
	"long integers as keys":        over(100000, "2 ** 800000", "{% set y = {x: 1} %}"),
	"long integer in hexadecimal":  "{% set x = 2 ** 200000 %}{% for i in range(1000) %}{{ '%x' % x }}{% endfor %}",
	"long integer read":            "{% set x = ('f' * 10000000) | int(base=16) %}{{ x }}{{ raise_exception('') }}",
	"long integer read again":      over(100000, "'f' * 10000", "{% set y = x | int(base=16) %}"),
	"long integer rounded":         over(100000, "2 ** 20000", "{% set y = x | round(-3000) %}"),
	"long integer written":         "{{ 10 ** 5000 }}",
	"bits of a long integer":       over(100000, "2 ** 800000", "{{ x.bit_count() }}"),
	"integer of many bytes":        "{{ (1).to_bytes(1000000000) }}",
	"blocks call themselves":       "{% block a %}{{ self.a() }}{% endblock %}",
	"generators of generators":     grow(100000, "x=[1]", "{% set n.x = n.x | map('string') %}") + "{{ n.x | list }}",
	"doubling by map":              grow(100, "x=[1]", "{% set n.x = (n.x + n.x) | map('string') | list %}"),
	"pprint, deep":                 grow(90000, "x=[1]", "{% set n.x = [n.x] %}") + "{{ n.x | pprint }}",
	"pprint, rather deep": grow(600, "x=['x' * 100]", "{% set n.x = [n.x] %}") +
		"{% for i in range(10000) %}{{ n.x | pprint }}{% endfor %}",
	"pprint of itself":               grow(100, "x=[1]", "{% set n.x = [n.x, n.x] %}") + "{{ n.x | pprint }}",
	"pprint of a long string":        over(1000, "'a b ' * 2000", "{{ x | pprint }}"),
	"pprint of a long word":          over(1000, "'a' * 10000 ~ ' b'", "{{ x | pprint }}"),
	"wordwrap":                       over(1000, "'a-b c--d ' * 3000", "{% set y = x | wordwrap(2) %}"),
	"wordwrap of dashes":             over(1000, "'-' * 30000", "{% set y = x | wordwrap(2) %}"),
	"wordwrap of letters and dashes": over(1000, "'a-' * 15000", "{% set y = x | wordwrap(1) %}"),
	"wordwrap of a word":             over(1000, "'a' * 30000", "{% set y = x | wordwrap(1, wrapstring='xxxxxxxx') %}"),
	"urlize of links":                over(1000, "'www.a.com ' * 3000", "{% set y = x | urlize %}"),
	"urlize of a long link":          over(1000, "'http://' ~ 'a.' * 15000 ~ 'com/'", "{% set y = x | urlize %}"),
	"urlize of an address":           over(1000, "'a@' ~ 'a.' * 15000", "{% set y = x | urlize %}"),
	"urlize of brackets":             over(1000, "'a' ~ '(' * 10000 ~ ')' * 10000", "{% set y = x | urlize %}"),
	"urlize of dots":                 over(1000, "'.' * 30000", "{% set y = x | urlize %}"),
	"urlize of letters":              over(1000, "'ab' * 15000", "{% set y = x | urlize %}"),
	"urlize with schemes":            "{{ ('ab:b ' * 10000) | urlize(extra_schemes=['ab:', 'bb:'] * 1000) }}",
	"urlize with a long rel":         "{{ ('www.a.com ' * 10000) | urlize(rel='x' * 10000) }}",
	"urlencode":                      over(1000, "'é' * 10000", "{% set y = x | urlencode %}"),
	"striptags":                      over(1000, "'<a>&amp;' * 3000", "{% set y = x | striptags %}"),
	"striptags of ends":              over(1000, "'<' * 30000", "{% set y = x | striptags %}"),
	"striptags of comments":          over(1000, "'<!--' * 8000", "{% set y = x | striptags %}"),
	"striptags of references":        over(1000, "'&#99999999;&#x' * 3000", "{% set y = x | striptags %}"),
	"doubling by escapes":            grow(100, "x='&' | e", "{% set n.x = n.x.replace('&', n.x ~ '') %}"),
	"encode":                         over(1000, "'é' * 20000", "{% set y = x.encode().decode() %}"),
	"methods of bytes":               over(1000, "('é' * 20000).encode()", "{% set y = x.upper() %}"),
	"bytes in a list":                over(1000, "('é' * 5000).encode()", "{% set y = x | list %}"),
	"translate":                      over(1000, "'a' * 1000000", "{% set y = x.translate({97: 'aa'}) %}"),
	"doubling by translate":          grow(100, "x='a'", "{% set n.x = n.x.translate({97: 'aa'}) %}"),
	"maketrans":                      over(1000, "'a' * 1000", "{% set y = x.maketrans(x, x) %}"),
	"doubling by format_map":         grow(100, "x='a'", "{% set n.x = '{a}{a}'.format_map({'a': n.x}) %}"),
	"width of strftime":              "{{ strftime_now('%1000000000Y') }}",
	"grouped zeros":                  "{{ '{:01000000000,}'.format(1) }}",
	"loop over itself": "{% for x in range(100000) %}{% for y in loop %}{{ loop.length }}{{ y[1].length }}" +
		"{% endfor %}" +
		"{% for z in range(100000) %}{% endfor %}{% endfor %}" + loops(2, 100000, ""),
	"power in a loop":                grow(100000, "x=2", "{% set n.x = n.x ** 2 %}"),
	"doubling string":                "{% set x = 'x' %}" + repeated("{% set x = x ~ x %}", 64),
	"doubling sum":                   grow(100, "x='x'", "{% set n.x = n.x + n.x %}") + "{{ n.x }}",
	"doubling list":                  grow(100, "x=[1]", "{% set n.x = n.x + n.x %}") + "{{ n.x }}",
	"doubling by a set block":        "{% set x = 'x' %}" + repeated("{% set x %}{{ x }}{{ x }}{% endset %}", 64),
	"doubling by replace":            grow(100, "x='aa'", "{% set n.x = n.x | replace('a', 'aa') %}"),
	"doubling by replace of nothing": grow(100, "x='aa'", "{% set n.x = n.x.replace('', 'aa') %}"),
	"doubling by join":               grow(100, "x='aa'", "{% set n.x = n.x | join(n.x) %}"),
	"doubling by method join":        grow(100, "x='aa'", "{% set n.x = n.x.join(['a', 'b', 'c']) %}"),
	"doubling by format":             grow(100, "x='a'", "{% set n.x = '%s%s' % (n.x, n.x) %}"),
	"doubling by str.format":         grow(100, "x='a'", "{% set n.x = '{0}{0}'.format(n.x) %}"),
	"doubling by escape":             "{{ ('&' * 20000000) | e }}",
	"doubling by tojson":             grow(100, "x='\"'", "{% set n.x = n.x | tojson %}"),
	"doubling by repr":               grow(100, `x="\"'"`, `{% set n.x = [n.x] ~ '' %}`),
	"doubling by indent":             grow(100, "x='a\\nb'", "{% set n.x = n.x | indent(n.x) %}"),
	"doubling by upper":              grow(100, "x='ŉ'", "{% set n.x = (n.x ~ n.x).upper() %}"),
	"list of itself, printed":        grow(100, "x=[1]", "{% set n.x = [n.x, n.x] %}") + "{{ n.x }}",
	"list of itself, as JSON":        grow(100, "x=[1]", "{% set n.x = [n.x, n.x] %}") + "{{ n.x | tojson }}",
	"list of itself, indented": grow(100, "x=[1]", "{% set n.x = [n.x, n.x] %}"+
		"") + "{{ n.x | tojson(indent=9) }}",
	"lists of themselves, compared": grow(100, "x=[1], y=[1]", pairs) + "{{ n.x == n.y }}",
	"lists of themselves, ordered":  grow(100, "x=[1], y=[1]", pairs) + "{{ n.x < n.y }}",
	"tuple of itself as a key":      grow(100, "x=(1,)", "{% set n.x = (n.x, n.x) %}") + "{{ {n.x: 1} }}",
	"deep list, printed":            grow(90000, "x=[1]", "{% set n.x = [n.x] %}") + "{{ n.x }}",
	"deep tuple as a key":           grow(90000, "x=(1,)", "{% set n.x = (n.x,) %}") + "{{ {n.x: 1} }}",
	"deep lists, compared": grow(90000, "x=[1], y=[1]", "{% set n.x = [n.x] %}"+
		"{% set n.y = [n.y] %}") + "{{ n.x == n.y }}",
	"namespace holds itself":         "{% set n = namespace() %}{% set n.a = n %}{{ n }}",
	"namespace holds itself in list": "{% set n = namespace() %}{% set n.a = [n, {'n': n}] %}{{ n.a }}",
	"namespace as JSON":              "{% set n = namespace() %}{% set n.a = n %}{{ {'n': n} | tojson }}",
	"list holds itself":              "{% set l = [] %}{{ l.append(l) }}{{ l }}",
	"dict holds itself":              "{% set d = {} %}{{ d.update({'d': d}) }}{{ d }}",
	"quadratic concatenation":        grow(100000, "x=''", "{% set n.x = n.x ~ 'xxxxxxxxxxxxxxxx' %}"),
	"quadratic list":                 grow(100000, "x=[]", "{% set n.x = n.x + [i] %}"),
	"quadratic search":               over(100000, "'ab' * 1000000", "{% if 'ba' * 1000 ~ 'c' in x %}{% endif %}"),
	"quadratic count":                over(100000, "'ab' * 1000000", "{% set y = x.count('b') %}"),
	"quadratic length":               over(100000, "'é' * 1000000", "{% set y = x | length %}"),
	"quadratic index":                over(100000, "'é' * 1000000", "{% set y = x[-1] %}"),
	"quadratic comparison": over(100000, "'ab' * 1000000 %}"+
		"{% set y = x ~ ''", "{% if x == y %}{% endif %}"),
	"quadratic membership": "{% set x = range(100000) | list %}{% for i in x %}" +
		"{% if -1 in x %}{% endif %}{% endfor %}",
	"quadratic strip": over(100000, "' ' * 1000000", "{% set y = x.strip() %}"),
	"strip of many characters": "{% set x = 'é' * 1000000 %}{{ x.strip('a' * 1000000 ~ 'é') }}" +
		"{{ x.strip('a' * 1000000 ~ 'é') }}",
	"startswith of many": over(100000, "'a' * 1000000", "{% if x.startswith((x, x, x, 'b')) %}"+
		"{% endif %}"),
	"growing dict":                 grow(100000, "d={}", "{% set n.d = dict(n.d, **{i ~ '': i}) %}"),
	"width of printf":              "{{ '%1000000000d' % 1 }}",
	"width of printf, overflowing": "{{ '%99999999999999999999d' % 1 }}",
	"width from a value":           "{{ '%*d' % (1000000000, 1) }}",
	"precision of printf":          "{{ '%.1000000000f' % 1 }}",
	"precision of an integer":      "{{ '%.1000000000d' % 1 }}",
	"width of str.format":          "{{ '{:1000000000}'.format(1) }}",
	"width of str.format, nested":  "{{ '{:{}}'.format(1, 1000000000) }}",
	"precision of str.format":      "{{ '{:.1000000000f}'.format(1.5) }}",
	"fields in fields":             "{{ '" + repeated("{:", 5000) + repeated("}", 5000) + "'.format(1) }}",
	"center":                       "{{ 'x' | center(1000000000) }}",
	"method center":                "{{ 'x'.center(1000000000, '🙂') }}",
	"ljust":                        "{{ 'x'.ljust(4611686018427387904) }}",
	"rjust":                        "{{ 'x'.rjust(1000000000) }}",
	"zfill":                        "{{ 'x'.zfill(1000000000) }}",
	"expandtabs":                   "{{ '\\t\\t'.expandtabs(1000000000) }}",
	"indent":                       "{{ 'x\\ny' | indent(1000000000) }}",
	"indent of tojson":             "{{ [1] | tojson(indent=1000000000) }}",
	"batch":                        "{{ [1] | batch(1000000000, 0) | list }}",
	"slice":                        "{{ [1] | slice(1000000000) | list }}",
	"slice of many": "{% for i in range(100000) %}" +
		"{% set x = range(100000)[::1] | list %}{% endfor %}",
	"sort": "{% for i in range(100000) %}" +
		"{% set x = range(100000) | reverse | sort %}{% endfor %}",
	"sort of long strings": over(100000, "['a' * 100000] * 10000", "{% set y = x | sort %}"),
	"groupby": "{% for i in range(100000) %}" +
		"{% set x = range(10000) | groupby('x') %}{% endfor %}",
	"unique": "{% for i in range(100000) %}" +
		"{% set x = range(10000) | unique | list %}{% endfor %}",
	"characters": over(1000, "'a' * 1000000", "{% set y = x | list %}"),
	"split":      over(1000, "'a,' * 1000000", "{% set y = x.split(',') %}"),
	"splitlines": over(1000, "'a\\n' * 1000000", "{% set y = x.splitlines() %}"),
	"sum of lists": "{{ [[1] * 1000] * 100000 | sum(start=[]) }}" +
		"{{ ([[1] * 1000] * 100000) | sum(start=[]) }}",
	"strftime": "{{ strftime_now('%c' * 10000000) }}",
	"many arguments": "{% macro m() %}{{ varargs }}{% endmacro %}" +
		"{% for i in range(100000) %}{{ m(*range(100000)) }}{% endfor %}",
	"cycler":         over(100000, "1", "{% set d = cycler(*range(100000)) %}"),
	"many variables": sets(3000) + loops(2, 100000, "{{ a0 }}{{ a1 }}{{ none_of_them }}"),
	"many named arguments": "{% macro m(a, b, c, d, e) %}{{ kwargs }}{% endmacro %}{% set n = namespace(d={}) %}" +
		"{% for i in range(2000) %}{% set n.d = dict(n.d, **{'a' ~ i: i}) %}{{ m(**n.d) }}{% endfor %}",
	"huge exception":     "{{ raise_exception('x' * 45000000) }}",
	"huge attribute":     "{{ {}['x' * 45000000].y }}",
	"huge filter":        "{{ [1] | map('x' * 45000000) | list }}",
	"huge name":          "{{ '{xxx}'.replace('x', 'x' * 14000000).format() }}",
	"huge argument":      "{{ range(**{'x' * 45000000: 1}) }}",
	"include":            "{% include 'config.json' %}",
	"import":             "{% import 'os' as os %}",
	"extends":            "{% extends 'x' %}",
	"out of the sandbox": "{{ ''.__class__.__mro__[1].__subclasses__() }}",
	"open brackets":      "{{" + repeated("(", 30000),
	"brackets":           "{{" + repeated("(", 30000) + "1" + repeated(")", 30000) + "}}",
	"lists":              "{{" + repeated("[", 30000) + repeated("]", 30000) + "}}",
	"dicts":              "{{" + repeated("{1:", 30000) + "1" + repeated("}", 30000) + "}}",
	"signs":              "{{" + repeated("-", 100000) + "1}}",
	"nots":               "{{" + repeated("not ", 30000) + "1}}",
	"ifs":                repeated("{%if 1%}", 6000) + repeated("{%endif%}", 6000),
	"conditions":         "{{" + repeated("1 if 1 else ", 10000) + "1}}",
	"long sum":           "{{1" + repeated("+1", 30000) + "}}",
	"many filters":       "{{1" + repeated("|e", 30000) + "}}",
	"many attributes":    "{{x" + repeated(".a", 30000) + "}}",
	"many calls":         "{{x" + repeated("()", 30000) + "}}",
	"targets":            "{% set " + repeated("(", 30000) + " %}",
	"huge text":          repeated("x", MaxSource+1),
	"huge code":          repeated("{{1}}", MaxSource/5-5) + "{{ x.y }}",
	"huge list":          "{{[" + repeated("1,", MaxSource/2-10) + "]}}{{ x.y }}",
	"comments":           repeated("{#", 30000),
	"raw":                "{% raw %}" + repeated("{%", 30000),
	"escapes":            "{{'" + repeated(`\x`, 30000) + "'}}",
}

// measured measures a rendering: the processor's time, which other programs change least.
func measured(template string, variables map[string]any, limits Limits) (took time.Duration, bytes uint64, err error) {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	start := processorTime()
	parsed, err := Parse("hostile", template)
	if err == nil {
		_, err = parsed.Render(variables, limits)
	}
	took = processorTime() - start
	runtime.ReadMemStats(&after)
	return took, after.TotalAlloc - before.TotalAlloc, err
}

// Hostile templates are refused within a second and 64 MiB, all that is ever allocated, and leave no
// goroutine.
func TestHostile(t *testing.T) {
	goroutines := runtime.NumGoroutine()
	variables := map[string]any{"messages": []any{map[string]any{"role": "user", "content": "x"}}}
	limits := LimitsFor(1)
	if testing.Short() {
		limits = Limits{Steps: limits.Steps / 20, Bytes: limits.Bytes / 20}
	}
	for name, template := range hostile {
		took, bytes, err := measured(template, variables, limits)
		for try := 0; try < 4 && took > time.Second; try++ { // the machine may be busy
			took, bytes, err = measured(template, variables, limits)
		}
		var e *Error
		if !errors.As(err, &e) {
			t.Errorf("%s: %v, expected an *Error", name, err)
		}
		if (took > time.Second || bytes > 64<<20) && !testing.Short() {
			t.Errorf("%s: %v, %d MiB; %v", name, took, bytes>>20, err)
		}
		if testing.Verbose() {
			t.Logf("%-30s %8v %4d MiB %v", name, took.Round(time.Millisecond), bytes>>20, err)
		}
	}
	if n := runtime.NumGoroutine(); n > goroutines {
		t.Errorf("%d goroutines, expected %d", n, goroutines)
	}
}
