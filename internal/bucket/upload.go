package bucket

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"golang.org/x/sync/errgroup"
)

// S3 takes up to 10,000 parts, of 5 MiB at least but the last.
const (
	mostParts = 10000
	uploads   = 2 // parts that are sent at the same time
)

// leastPart is the size of the parts of all but the largest objects. Tests make it smaller.
var leastPart = int64(8 << 20)

// partSize returns the size of the parts of an object.
func partSize(size int64) int64 {
	n := leastPart
	for n*mostParts < size {
		n *= 2
	}
	return n
}

// Upload is an object that is being written. It appears, or takes the place of another one, when all of it is there.
type Upload struct {
	ctx    context.Context // of the requests that WriteAt makes
	cancel context.CancelCauseFunc
	client *Client
	name   Name
	id     string
	sums   bool // the service compares every part with its CRC-32
	size   int64
	part   int64 // size of a part
	sends  chan struct{}
	wg     sync.WaitGroup

	mu    sync.Mutex
	cond  *sync.Cond
	live  map[int64]*part // by number from 0: those that are being written, or sent
	spare [][]byte
	sent  []types.CompletedPart
	done  bool
}

type part struct {
	data    []byte
	missing int64
}

// liveParts is how many parts are in memory, but where an early one comes late.
const liveParts = uploads + 2

// Create starts an object of size bytes, which may be written in any order. Memory is a few parts, if that is about
// their order.
func (c *Client) Create(ctx context.Context, n Name, size int64) (*Upload, error) {
	in := &s3.CreateMultipartUploadInput{Bucket: &n.Bucket, Key: &n.Key, ChecksumAlgorithm: checksum}
	out, err := c.s3.CreateMultipartUpload(ctx, in)
	if s := status(err); s == http.StatusBadRequest || s == http.StatusNotImplemented { // it knows no checksums
		in.ChecksumAlgorithm = ""
		out, err = c.s3.CreateMultipartUpload(ctx, in)
	}
	if err != nil {
		return nil, fmt.Errorf("write %w", explain(n, err))
	}
	u := &Upload{
		client: c, name: n, id: aws.ToString(out.UploadId), sums: out.ChecksumAlgorithm == checksum,
		size: size, part: partSize(size), sends: make(chan struct{}, uploads), live: map[int64]*part{},
	}
	u.ctx, u.cancel = context.WithCancelCause(ctx)
	u.cond = sync.NewCond(&u.mu)
	context.AfterFunc(u.ctx, func() { // wakes who waits
		u.mu.Lock()
		u.cond.Broadcast()
		u.mu.Unlock()
	})
	return u, nil
}

// WriteAt takes bytes of the object. Each must be written once. A part is sent when all of it is there.
func (u *Upload) WriteAt(b []byte, off int64) (int, error) {
	if off < 0 || int64(len(b)) > u.size-off {
		return 0, fmt.Errorf("write %s: %d bytes at %d of %d", u.name, len(b), off, u.size)
	}
	for done := 0; done < len(b); {
		at := off + int64(done)
		i := at / u.part
		n := min(int64(len(b)-done), (i+1)*u.part-at)
		if err := u.write(i, b[done:done+int(n)], at-i*u.part); err != nil {
			return done, err
		}
		done += int(n)
	}
	return len(b), nil
}

func (u *Upload) write(i int64, b []byte, at int64) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	p, err := u.livePart(i)
	if err != nil {
		return err
	}
	copy(p.data[at:], b)
	if p.missing -= int64(len(b)); p.missing == 0 {
		u.wg.Go(func() { u.send(i, p) })
	}
	return nil
}

// livePart returns a part. It waits until there is room for a new one, unless a later one has begun: what that waits
// for may be this one.
func (u *Upload) livePart(i int64) (*part, error) {
	for {
		if u.ctx.Err() != nil {
			return nil, context.Cause(u.ctx)
		}
		if p := u.live[i]; p != nil {
			return p, nil
		}
		last := int64(-1)
		for k := range u.live {
			last = max(last, k)
		}
		if len(u.live) < liveParts || i < last {
			break
		}
		u.cond.Wait()
	}
	n := min(u.part, u.size-i*u.part)
	p := &part{missing: n}
	if k := len(u.spare) - 1; k >= 0 {
		p.data, u.spare = u.spare[k][:n], u.spare[:k]
		clear(p.data)
	} else {
		p.data = make([]byte, n, u.part)
	}
	u.live[i] = p
	return p, nil
}

// send sends a part that is complete.
func (u *Upload) send(i int64, p *part) {
	u.sends <- struct{}{}
	defer func() { <-u.sends }()
	in := &s3.UploadPartInput{
		Bucket: &u.name.Bucket, Key: &u.name.Key, UploadId: &u.id, PartNumber: aws.Int32(int32(i + 1)),
		Body: bytes.NewReader(p.data), ContentLength: aws.Int64(int64(len(p.data))),
	}
	var options []func(*s3.Options)
	if u.sums {
		in.ChecksumCRC32 = crc(p.data)
		options = append(options, s3.WithAPIOptions(hashWhereNeeded))
	}
	out, err := u.client.s3.UploadPart(u.ctx, in, options...)
	if err != nil {
		u.cancel(fmt.Errorf("write %w", explain(u.name, err)))
		return
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.sent = append(u.sent, types.CompletedPart{
		ETag: out.ETag, PartNumber: in.PartNumber, ChecksumCRC32: in.ChecksumCRC32,
	})
	u.spare = append(u.spare, p.data)
	delete(u.live, i)
	u.cond.Broadcast()
}

// Commit waits for all parts and makes them the object.
func (u *Upload) Commit() error {
	u.wg.Wait()
	if u.ctx.Err() != nil {
		return context.Cause(u.ctx)
	}
	if len(u.live) > 0 || int64(len(u.sent)) != (u.size+u.part-1)/u.part {
		return fmt.Errorf("write %s: not all of it was written", u.name)
	}
	slices.SortFunc(u.sent, func(a, b types.CompletedPart) int { return cmp.Compare(*a.PartNumber, *b.PartNumber) })
	_, err := u.client.s3.CompleteMultipartUpload(u.ctx, &s3.CompleteMultipartUploadInput{
		Bucket: &u.name.Bucket, Key: &u.name.Key, UploadId: &u.id,
		MultipartUpload: &types.CompletedMultipartUpload{Parts: u.sent},
	})
	if err != nil {
		return fmt.Errorf("write %w", explain(u.name, err))
	}
	u.done = true
	u.cancel(nil)
	return nil
}

// abortTime is how long the service may take to drop the parts, when the program is to end.
const abortTime = 10 * time.Second

// Abort drops what was sent. After [Upload.Commit] it does nothing.
func (u *Upload) Abort() {
	if u.done {
		return
	}
	u.done = true
	u.cancel(context.Canceled)
	u.wg.Wait()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(u.ctx), abortTime)
	defer cancel()
	_, _ = u.client.s3.AbortMultipartUpload(ctx, &s3.AbortMultipartUploadInput{
		Bucket: &u.name.Bucket, Key: &u.name.Key, UploadId: &u.id,
	}) // what it leaves costs space, and is no object
}

// Send makes size bytes of r an object.
func (c *Client) Send(ctx context.Context, n Name, r io.ReaderAt, size int64) error {
	if size <= leastPart {
		data := make([]byte, size)
		if k, err := r.ReadAt(data, 0); int64(k) < size {
			return err
		}
		_, err := c.s3.PutObject(ctx, &s3.PutObjectInput{
			Bucket: &n.Bucket, Key: &n.Key, Body: bytes.NewReader(data), ContentLength: &size,
		})
		if err != nil {
			return fmt.Errorf("write %w", explain(n, err))
		}
		return nil
	}
	u, err := c.Create(ctx, n, size)
	if err != nil {
		return err
	}
	defer u.Abort()
	var g errgroup.Group
	g.SetLimit(uploads)
	for off := int64(0); off < size; off += u.part {
		g.Go(func() error {
			data := make([]byte, min(u.part, size-off))
			if k, err := r.ReadAt(data, off); k < len(data) && !errors.Is(err, io.EOF) {
				return err
			}
			_, err := u.WriteAt(data, off)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	return u.Commit()
}
