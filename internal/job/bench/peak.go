package bench

import "github.com/phi3conv/phi3conv/internal/rss"

// peak is the greatest resident memory of a model in bytes, 0 where the system's figure includes other memory: only
// Linux can reset it.
type peak struct {
	bytes  int64
	others bool // the system's figure includes other memory
}

// begin begins a model.
func (p *peak) begin() {
	p.bytes = 0
	if rss.Reset() {
		p.others = false
	}
}

// end ends a model: what is counted from here on is another's.
func (p *peak) end() { p.others = true }

func (p *peak) read() int64 {
	if !p.others {
		p.bytes = max(p.bytes, rss.Peak())
	}
	return p.bytes
}

// without calls f and does not count the memory that it takes.
func (p *peak) without(f func()) {
	p.read()
	f()
	p.others = !rss.Reset()
}
