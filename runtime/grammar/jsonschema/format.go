package jsonschema

import "strings"

const (
	label    = `[A-Za-z0-9](-?[A-Za-z0-9]){0,30}`
	hostname = label + `(\.` + label + `){0,3}`
	octet    = `(25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])`
	date     = `[12][0-9]{3}-((0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01])|(0[469]|11)-(0[1-9]|[12][0-9]|30)|` +
		`02-(0[1-9]|1[0-9]|2[0-8]))`
	clock = `([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\.[0-9]{1,9})?(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])`
)

// formats are patterns of the formats that strings may be asked for. Each is a part of what its standard allows, and
// right whatever a validator makes of the rest: no 29th of February, no quoted e-mail addresses.
var formats = map[string]string{
	"date":      date,
	"time":      clock,
	"date-time": date + "T" + clock,
	"duration": `P([0-9]{1,4}W|([0-9]{1,4}Y([0-9]{1,4}M([0-9]{1,4}D)?)?|[0-9]{1,4}M([0-9]{1,4}D)?|[0-9]{1,4}D)(T` +
		hours + `)?|T` + hours + `)`,
	"email":    `[A-Za-z0-9_+-]{1,30}(\.[A-Za-z0-9_+-]{1,10}){0,2}@` + label + `(\.` + label + `){1,3}`,
	"hostname": hostname,
	"ipv4":     octet + `(\.` + octet + `){3}`,
	"ipv6":     ipv6(),
	"uuid":     `[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}`,
	"uri": `[a-z][a-z0-9+.-]{1,10}://` + hostname + `(:[1-9][0-9]{0,3})?(/[A-Za-z0-9._~-]*)*` +
		`(\?[A-Za-z0-9._~=&-]*)?`,
	"json-pointer": `(/([^~/]|~[01])*)*`,
}

const hours = `([0-9]{1,4}H([0-9]{1,4}M([0-9]{1,4}S)?)?|[0-9]{1,4}M([0-9]{1,4}S)?|[0-9]{1,4}S)`

// ipv6 is eight groups, or fewer with one gap.
func ipv6() string {
	const group = `[0-9a-f]{1,4}`
	all := []string{`(` + group + `:){7}` + group, `::`}
	for before := range 7 {
		for after := range 7 - before {
			if before+after == 0 {
				continue
			}
			s := strings.TrimSuffix(strings.Repeat(group+`:`, before), `:`) + `::`
			all = append(all, s+strings.TrimSuffix(strings.Repeat(group+`:`, after), `:`))
		}
	}
	return strings.Join(all, `|`)
}
