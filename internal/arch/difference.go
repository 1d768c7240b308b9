package arch

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
)

// Difference names the first number, by its GGUF key, that makes c another model than want, "" if there is
// none. Whether the output projection is a tensor of its own is not compared.
func (c *Config) Difference(want *Config) string {
	if c.Arch != want.Arch {
		return fmt.Sprintf("general.architecture is %q, expected %q", c.Arch.Name, want.Arch.Name)
	}
	if c.VocabSize != want.VocabSize {
		return fmt.Sprintf("it has %d tokens, expected %d", c.VocabSize, want.VocabSize)
	}
	mine := map[string]any{}
	for _, kv := range c.Metadata() {
		mine[kv.Key] = kv.Value
	}
	for _, kv := range want.Metadata() {
		if v, ok := mine[kv.Key]; !ok {
			return fmt.Sprintf("it has no %s, expected %v", kv.Key, kv.Value)
		} else if !reflect.DeepEqual(v, kv.Value) {
			return fmt.Sprintf("%s is %v, expected %v", kv.Key, v, kv.Value)
		}
		delete(mine, kv.Key)
	}
	if keys := slices.Sorted(maps.Keys(mine)); len(keys) > 0 {
		return fmt.Sprintf("%s is %v, expected none", keys[0], mine[keys[0]])
	}
	factors, wanted := c.FactorTensors(), want.FactorTensors()
	for _, name := range []string{LongFactors, ShortFactors} {
		if !slices.Equal(factors[name], wanted[name]) {
			return "other " + name
		}
	}
	return ""
}
