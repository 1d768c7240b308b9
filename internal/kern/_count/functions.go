package main

import (
	"cmp"
	"debug/elf"
	"slices"
)

// A function of a program.
type function struct {
	address uint64
	name    string
}

// functions returns a program's functions in the order of their addresses.
func functions(exe string) ([]function, error) {
	f, err := elf.Open(exe)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	symbols, err := f.Symbols()
	if err != nil {
		return nil, err
	}
	var all []function
	for _, s := range symbols {
		if t := elf.ST_TYPE(s.Info); t == elf.STT_FUNC || t == elf.STT_GNU_IFUNC {
			all = append(all, function{s.Value, s.Name})
		}
	}
	slices.SortStableFunc(all, func(a, b function) int { return cmp.Compare(a.address, b.address) })
	return all, nil
}

// at returns the name of the function that an address lies in.
func (c *counter) at(address uint64) string {
	i, found := slices.BinarySearchFunc(c.functions, address, func(f function, a uint64) int {
		return cmp.Compare(f.address, a)
	})
	if !found {
		i--
	}
	if i < 0 {
		return "unknown"
	}
	return c.functions[i].name
}
