// Package readahead reads files over a network in the order in which their bytes will be needed: every byte once, a few
// requests ahead, in little memory.
package readahead

import (
	"cmp"
	"context"
	"io"
	"slices"
	"sync"
)

// File is a file that is read by requests.
type File struct {
	ctx  context.Context // io.ReaderAt has none
	size int64
	read func(ctx context.Context, b []byte, off int64) error

	mu       sync.Mutex
	page     []byte // what lies around the last bytes that no plan has, such as a header
	pageAt   int64
	chunks   []*chunk // of the plan, in the order of the file
	requests int      // for tests
}

// New makes a file of size bytes. read fills a buffer from an offset; its context is ctx, or one that ends before.
func New(ctx context.Context, size int64, read func(ctx context.Context, b []byte, off int64) error) *File {
	return &File{ctx: ctx, size: size, read: read}
}

// Size returns the file's size in bytes.
func (f *File) Size() int64 { return f.size }

// Close ends nothing: requests end with the context, or the plan.
func (f *File) Close() error { return nil }

// pageBytes is how much is read around bytes that no plan has.
const pageBytes = 256 << 10

// ReadAt reads as [io.ReaderAt] says: from the plan's chunks where they are, else by a request of its own.
func (f *File) ReadAt(b []byte, off int64) (int, error) {
	if off >= f.size {
		return 0, io.EOF
	}
	var end error
	if left := f.size - off; int64(len(b)) > left {
		b, end = b[:left], io.EOF
	}
	for done := 0; done < len(b); {
		n, err := f.readSome(b[done:], off+int64(done))
		if err != nil {
			return done, err
		}
		done += n
	}
	return len(b), end
}

func (f *File) readSome(b []byte, off int64) (int, error) {
	f.mu.Lock()
	i, found := slices.BinarySearchFunc(f.chunks, off, func(c *chunk, off int64) int { return cmp.Compare(c.off, off) })
	if !found {
		i--
	}
	var c *chunk
	if i >= 0 && off < f.chunks[i].end() {
		c = f.chunks[i]
	} else if i+1 < len(f.chunks) {
		b = b[:min(int64(len(b)), f.chunks[i+1].off-off)]
	}
	f.mu.Unlock()
	if c == nil {
		return f.readPage(b, off)
	}
	b = b[:min(int64(len(b)), c.end()-off)]
	return len(b), c.take(b, off)
}

// readPage reads through a buffer, for those who read a header in small pieces.
func (f *File) readPage(b []byte, off int64) (int, error) {
	if len(b) >= pageBytes {
		return len(b), f.request(f.ctx, b, off)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if off < f.pageAt || off >= f.pageAt+int64(len(f.page)) {
		f.page = make([]byte, min(pageBytes, f.size-off))
		f.pageAt = off
		f.requests++
		if err := f.read(f.ctx, f.page, off); err != nil {
			f.page = nil
			return 0, err
		}
	}
	return copy(b, f.page[off-f.pageAt:]), nil
}

func (f *File) request(ctx context.Context, b []byte, off int64) error {
	f.mu.Lock()
	f.requests++
	f.mu.Unlock()
	return f.read(ctx, b, off)
}

// Range is a part of a file that will be read once.
type Range struct {
	R        io.ReaderAt // others than a *File are ignored
	Off, Len int64       // bytes
}

const (
	// Of one request: many a service answers each on a connection of its own, and takes time for the answer as such.
	chunkBytes = 8 << 20
	ahead      = 40 << 20 // bytes that are there, or asked for, and not read yet
	fetchers   = 4        // requests at the same time
)

// Plan is what will be read, in this order.
type Plan struct {
	chunks []*chunk
	files  []*File
	cancel context.CancelFunc
	done   sync.WaitGroup

	mu   sync.Mutex
	cond *sync.Cond
	next int   // the first chunk that nobody fetches
	held int64 // bytes of chunks that are being fetched, or there
	over bool

	spare [][]byte // buffers of whole chunks that were read
}

// buffer returns n bytes, of a chunk that was read if there is one.
func (p *Plan) buffer(n int64) []byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	if last := len(p.spare) - 1; last >= 0 && n == chunkBytes {
		b := p.spare[last]
		p.spare = p.spare[:last]
		return b
	}
	return make([]byte, n)
}

// Start begins to read the ranges, in their order, until Stop. Ranges must not overlap.
func Start(ctx context.Context, ranges []Range) *Plan {
	ctx, cancel := context.WithCancel(ctx)
	p := &Plan{cancel: cancel}
	p.cond = sync.NewCond(&p.mu)
	for _, r := range ranges {
		if f, ok := r.R.(*File); ok && r.Len > 0 {
			p.add(f, r.Off, r.Len)
		}
	}
	for _, f := range p.files {
		mine := slices.DeleteFunc(slices.Clone(p.chunks), func(c *chunk) bool { return c.file != f })
		slices.SortFunc(mine, func(a, b *chunk) int { return cmp.Compare(a.off, b.off) })
		f.mu.Lock()
		f.chunks, f.page = mine, nil
		f.mu.Unlock()
	}
	for range min(fetchers, len(p.chunks)) {
		p.done.Go(func() { p.fetch(ctx) })
	}
	return p
}

// add puts a range at the end, in the last chunk where it follows that, or in new ones.
func (p *Plan) add(f *File, off, n int64) {
	if !slices.Contains(p.files, f) {
		p.files = append(p.files, f)
	}
	for n > 0 {
		var c *chunk
		if len(p.chunks) > 0 {
			c = p.chunks[len(p.chunks)-1]
		}
		if c == nil || c.file != f || c.end() != off || c.size == chunkBytes {
			c = &chunk{plan: p, file: f, off: off, ready: make(chan struct{})}
			p.chunks = append(p.chunks, c)
		}
		k := min(n, chunkBytes-c.size)
		c.size += k
		c.unread = c.size
		off, n = off+k, n-k
	}
}

// Stop ends all requests. What is read afterwards is read by requests of its own.
func (p *Plan) Stop() {
	p.cancel()
	p.mu.Lock()
	p.over = true
	p.cond.Broadcast()
	p.mu.Unlock()
	p.done.Wait()
	for _, f := range p.files {
		f.mu.Lock()
		f.chunks = nil
		f.mu.Unlock()
	}
}

// fetch fetches chunk after chunk.
func (p *Plan) fetch(ctx context.Context) {
	for {
		c := p.take()
		if c == nil {
			return
		}
		p.load(ctx, c)
	}
}

// load reads a chunk that was taken.
func (p *Plan) load(ctx context.Context, c *chunk) {
	data := p.buffer(c.size)
	err := c.file.request(ctx, data, c.off)
	p.mu.Lock()
	defer p.mu.Unlock()
	c.data, c.err = data, err
	close(c.ready)
	p.free(c)
}

// take waits until there is room for the next chunk, and returns it: nil after the last.
func (p *Plan) take() *chunk {
	p.mu.Lock()
	defer p.mu.Unlock()
	for {
		if p.over || p.next == len(p.chunks) {
			return nil
		}
		c := p.chunks[p.next]
		if c.taken { // by a reader
			p.next++
			continue
		}
		if p.held == 0 || p.held+c.size <= ahead {
			p.next++
			c.hold()
			return c
		}
		p.cond.Wait()
	}
}

// free lets go of a chunk that was read. The plan is locked.
func (p *Plan) free(c *chunk) {
	if c.unread == 0 && c.data != nil {
		if c.size == chunkBytes {
			p.spare = append(p.spare, c.data)
		}
		c.data = nil
		p.held -= c.size
		p.cond.Broadcast()
	}
}

// chunk is what one request reads.
type chunk struct {
	plan      *Plan
	file      *File
	off, size int64

	// These are the plan's.
	unread int64
	taken  bool
	ready  chan struct{} // closed when data or err are there
	data   []byte
	err    error
}

// end returns where the chunk ends in its file.
func (c *chunk) end() int64 { return c.off + c.size }

// hold takes the chunk. The plan is locked.
func (c *chunk) hold() {
	c.taken = true
	c.plan.held += c.size
}

// take copies bytes of the chunk. One that nobody fetches yet is fetched here, whether there is room or not: readers
// may be further than there is room for, and would wait for each other.
func (c *chunk) take(b []byte, off int64) error {
	p := c.plan
	p.mu.Lock()
	mine := !c.taken
	if mine {
		c.hold()
	}
	p.mu.Unlock()
	if mine {
		p.load(c.file.ctx, c)
	}
	<-c.ready
	if c.err != nil {
		return c.err
	}
	p.mu.Lock()
	if c.data == nil { // read a second time
		p.mu.Unlock()
		return c.file.request(c.file.ctx, b, off)
	}
	defer p.mu.Unlock()
	copy(b, c.data[off-c.off:])
	c.unread -= int64(len(b))
	p.free(c)
	return nil
}
