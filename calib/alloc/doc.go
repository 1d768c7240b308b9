// Package alloc chooses a type for each of a model's tensors: it estimates what each type costs, measures how far
// the estimates are off, and finds the allocations of least cost at every size.
package alloc
