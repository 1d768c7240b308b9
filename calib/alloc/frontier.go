package alloc

import (
	"math"

	"github.com/phi3conv/phi3conv/quant"
)

// Frontier is the best allocations of types to tensors at every size: those of the least cost among all that are not
// larger. They are found by dynamic programming over sizes in a common unit. That is exact unless the unit would be too
// small: then the sizes of linear layers are rounded up to multiples of a larger one.
type Frontier struct {
	tensors []TensorCost
	linear  []frontierItem // tensors of the table
	others  []frontierItem // the embedding, the output matrix: every combination is tried
	unit    int64          // bytes
	floor   int64          // the least size of the linear layers
	// least[b] is the least cost of linear layers with floor + b·unit bytes, and choice[i][b] which option of
	// layer i it has if layers up to i have b.
	least  []float64
	choice [][]uint8
}

// frontierItem is a tensor's candidates that are worth having: each is larger and costs less than the one before.
type frontierItem struct {
	tensor  int
	options []Candidate
}

// Allocation is a type for each tensor.
type Allocation struct {
	Types []quant.Target
	Bytes int64
	Cost  float64 // the sum of the tensors' costs
}

// frontierCells bounds the table.
const frontierCells = 1 << 27

// NewFrontier solves the allocation. Each tensor needs a candidate, and at most 255.
func NewFrontier(tensors []TensorCost) *Frontier { return newFrontier(tensors, frontierCells) }

func newFrontier(tensors []TensorCost, most int64) *Frontier {
	f := &Frontier{tensors: tensors}
	width, layers := int64(0), int64(1)
	for i := range tensors {
		item := frontierItem{i, worthwhile(tensors[i].Candidates)}
		if !tensors[i].Linear {
			f.others = append(f.others, item)
			continue
		}
		layers++
		first, last := item.options[0].Bytes, item.options[len(item.options)-1].Bytes
		for _, o := range item.options {
			f.unit = gcd(o.Bytes-first, f.unit)
		}
		f.floor, width = f.floor+first, width+last-first
		f.linear = append(f.linear, item)
	}
	f.unit = max(f.unit, 1, (width*layers+most-1)/most)
	cells := 1
	for _, item := range f.linear {
		last := len(item.options) - 1
		cells += f.steps(&item, last)
	}
	f.least = make([]float64, cells)
	for i := range f.linear {
		item := &f.linear[i]
		next, choice := make([]float64, cells), make([]uint8, cells)
		for b := range next {
			next[b] = math.Inf(1)
			for k := range item.options {
				step := f.steps(item, k)
				if step > b {
					break
				}
				if c := f.least[b-step] + item.options[k].Cost; c < next[b] {
					next[b], choice[b] = c, uint8(k)
				}
			}
		}
		f.least, f.choice = next, append(f.choice, choice)
	}
	return f
}

// steps returns how many units an option takes beyond the smallest one.
func (f *Frontier) steps(item *frontierItem, k int) int {
	return int((item.options[k].Bytes - item.options[0].Bytes + f.unit - 1) / f.unit)
}

// worthwhile drops candidates for which another one is no larger and costs no more, and sorts the rest by size.
func worthwhile(all []Candidate) []Candidate {
	var kept []Candidate
	for {
		best := -1
		for i, c := range all {
			if len(kept) > 0 && c.Cost >= kept[len(kept)-1].Cost {
				continue
			}
			if best < 0 || c.Bytes < all[best].Bytes || c.Bytes == all[best].Bytes && c.Cost < all[best].Cost {
				best = i
			}
		}
		if best < 0 {
			return kept
		}
		kept = append(kept, all[best])
	}
}

func gcd(a, b int64) int64 {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

// combinations calls f with the options of the other tensors, every combination, its size and its cost.
func (f *Frontier) combinations(use func(options []int, bytes int64, cost float64)) {
	options := make([]int, len(f.others))
	for {
		bytes, cost := int64(0), 0.0
		for i, k := range options {
			bytes += f.others[i].options[k].Bytes
			cost += f.others[i].options[k].Cost
		}
		use(options, bytes, cost)
		i := 0
		for ; i < len(options); i++ {
			if options[i]++; options[i] < len(f.others[i].options) {
				break
			}
			options[i] = 0
		}
		if i == len(options) {
			return
		}
	}
}

// AtSize returns the allocation of least cost with at most so many bytes, nil if there is none.
func (f *Frontier) AtSize(bytes int64) *Allocation {
	var best *Allocation
	f.combinations(func(options []int, size int64, cost float64) {
		room := bytes - size - f.floor
		if room < 0 {
			return
		}
		b := int(min(room/f.unit, int64(len(f.least)-1)))
		if c := f.least[b] + cost; best == nil || c <= best.Cost {
			if a := f.allocation(options, b, c); best == nil || a.Cost < best.Cost || a.Bytes < best.Bytes {
				best = a
			}
		}
	})
	return best
}

// AtCost returns the smallest allocation with at most that cost, nil if there is none.
func (f *Frontier) AtCost(limit float64) *Allocation {
	var best *Allocation
	f.combinations(func(options []int, _ int64, cost float64) {
		low, high := 0, len(f.least)-1
		if f.least[high]+cost > limit {
			return
		}
		for low < high {
			if mid := (low + high) / 2; f.least[mid]+cost <= limit {
				high = mid
			} else {
				low = mid + 1
			}
		}
		a := f.allocation(options, low, f.least[low]+cost)
		if best == nil || a.Bytes < best.Bytes || a.Bytes == best.Bytes && a.Cost < best.Cost {
			best = a
		}
	})
	return best
}

// allocation follows the choices back from b.
func (f *Frontier) allocation(options []int, b int, cost float64) *Allocation {
	a := &Allocation{Types: make([]quant.Target, len(f.tensors)), Cost: cost}
	take := func(item *frontierItem, k int) {
		o := &item.options[k]
		a.Types[item.tensor] = quant.Target{Tensor: f.tensors[item.tensor].Tensor, Type: o.Type}
		a.Bytes += o.Bytes
	}
	for i := range f.others {
		take(&f.others[i], options[i])
	}
	for i := len(f.linear) - 1; i >= 0; i-- {
		k := int(f.choice[i][b])
		take(&f.linear[i], k)
		b -= f.steps(&f.linear[i], k)
	}
	return a
}

// Smallest returns the smallest allocation.
func (f *Frontier) Smallest() *Allocation { return f.AtCost(math.Inf(1)) }

// Curve returns at most n allocations, at sizes spread evenly from the smallest one to the largest worth having.
func (f *Frontier) Curve(n int) []Allocation {
	low, high := f.Smallest(), f.AtSize(math.MaxInt64/2)
	var all []Allocation
	for i := range n {
		size := low.Bytes + (high.Bytes-low.Bytes)*int64(i)/int64(n-1)
		if a := f.AtSize(size); len(all) == 0 || a.Bytes > all[len(all)-1].Bytes {
			all = append(all, *a)
		}
	}
	return all
}

// TypesFor returns the types whose blocks divide rows of cols values, of those given.
func TypesFor(cols int, types []quant.Type) []quant.Type {
	var fit []quant.Type
	for _, t := range types {
		if cols%t.BlockLen() == 0 {
			fit = append(fit, t)
		}
	}
	return fit
}
