package pack

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"

	"github.com/opencontainers/go-digest"
	"github.com/phi3conv/phi3conv/internal/atomicfile"
	"github.com/phi3conv/phi3conv/internal/fetch"
	"oras.land/oras-go/v2/registry/remote/auth"
	"oras.land/oras-go/v2/registry/remote/errcode"
)

// errNoParts says that a registry takes blobs in one request alone.
var errNoParts = errors.New("no upload in parts")

// pushBlob sends a blob unless the registry has it.
func (r *Registry) pushBlob(ctx context.Context, b located, done *counter) error {
	there, err := r.repo.Blobs().Exists(ctx, b.Descriptor)
	if err != nil {
		return registryError(r, err)
	}
	if there {
		done.add(b.Size)
		return nil
	}
	if b.Size > r.inOneRequest {
		if err := r.upload(ctx, b, done); !errors.Is(err, errNoParts) {
			return err
		}
	}
	return again(ctx, r, func() (bool, error) {
		body, err := openBody(ctx, b, 0, done)
		if err != nil {
			return false, err
		}
		defer body.close()
		return false, body.result(registryError(r, r.repo.Blobs().Push(ctx, b.Descriptor, io.NopCloser(body))))
	})
}

// body is a blob, or the end of one, on its way to a registry.
type body struct {
	mu     sync.Mutex // the client may read on after it has returned an answer
	closed bool

	located
	rc    io.ReadCloser
	h     hash.Hash // of the blob from its beginning
	n     int64     // bytes hashed and counted as done
	ended bool      // the source has no more
	done  *counter
}

// openBody opens a blob from offset off on. What comes before is read for the hash.
func openBody(ctx context.Context, b located, off int64, done *counter) (*body, error) {
	rc, err := b.store.Fetch(ctx, b.Descriptor)
	if err != nil {
		return nil, err
	}
	r := &body{located: b, rc: rc, h: sha256.New(), n: off, done: done}
	if _, err := fetch.Copy(r.h, io.LimitReader(fetch.ContextReader(ctx, rc), off)); err != nil {
		_ = rc.Close()
		return nil, err
	}
	done.add(off)
	return r, nil
}

func (b *body) Read(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return 0, io.ErrClosedPipe
	}
	if left := b.Size - b.n; int64(len(p)) > left {
		p = p[:left]
	}
	if len(p) == 0 {
		return 0, io.EOF
	}
	n, err := b.rc.Read(p)
	b.ended = b.ended || err == io.EOF
	_, _ = b.h.Write(p[:n]) // has no errors
	b.n += int64(n)
	b.done.add(int64(n))
	return n, err
}

// close ends reading.
func (b *body) close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.closed {
		b.closed = true
		_ = b.rc.Close() // only read from
	}
}

// result turns the outcome of sending into that of the blob: what was sent is compared with the digest.
func (b *body) result(err error) error {
	b.close()
	if b.ended && b.n < b.Size {
		return refusef("%s ends after %d of %d bytes", b.Digest, b.n, b.Size)
	}
	if b.n == b.Size {
		if got := digest.NewDigest(digest.SHA256, b.h); got != b.Digest {
			return refusef("%s has the SHA-256 %s", b.Digest, got.Encoded())
		}
	}
	if err != nil {
		b.done.add(-b.n)
	}
	return err
}

// session is an upload that the registry has begun.
type session struct {
	location *url.URL
	off      int64 // bytes that the registry has
	resumed  bool  // begun by an earlier request
}

// upload sends a blob in one request (PATCH). When that is interrupted, it asks how far the registry got and sends the
// rest. The session's address is kept in a file until the blob is complete, so that another process can
// continue.
func (r *Registry) upload(ctx context.Context, b located, done *counter) error {
	u := &upload{r: r, b: b, done: done, file: r.sessionFile(b.Digest)}
	if data, err := os.ReadFile(u.file); err == nil {
		if location, err := url.Parse(string(data)); err == nil && r.trusts(location) == nil {
			u.s = &session{location: location, off: -1}
		}
	}
	err := again(ctx, r, func() (bool, error) { return u.send(ctx) })
	if err == nil || errors.Is(err, errNoParts) || errors.Is(err, ErrRefused) {
		_ = os.Remove(u.file) // the registry forgets the session by itself
	}
	return err
}

// upload is a blob that is sent in a session.
type upload struct {
	r         *Registry
	b         located
	done      *counter
	file      string   // where the session's address is kept
	s         *session // nil before it is begun
	outOfStep int      // answers that what is sent does not begin where the registry is
}

// send sends what the registry does not have. progress says that it has more than before the last interruption.
func (u *upload) send(ctx context.Context) (progress bool, err error) {
	before := int64(-1)
	if u.s != nil { // interrupted
		before = max(u.s.off, 0)
		u.s, err = u.r.status(ctx, u.s)
		if err != nil && !permanent(err) {
			return false, err
		}
	}
	if u.s == nil {
		if u.s, err = u.r.start(ctx); err != nil {
			return false, err
		}
		keep(u.file, u.s.location)
	}
	progress = before >= 0 && u.s.off > before
	if err = u.r.patch(ctx, u.s, u.b, u.done); err == nil {
		err = u.r.finish(ctx, u.s, u.b.Digest)
	}
	if err == nil || errors.Is(err, ErrRefused) || !permanent(err) {
		return progress, err
	}
	return false, u.refused(err)
}

// refused says what to do about an answer that the registry would give again: an error after which send is called again
// if it is notFinal.
func (u *upload) refused(err error) error {
	var answer *errcode.ErrorResponse
	refused := errors.As(err, &answer)
	if u.s.resumed {
		u.outOfStep++
		if refused && answer.StatusCode == http.StatusRequestedRangeNotSatisfiable && u.outOfStep != fetch.Failures/2 {
			// The registry may still be writing what it got from the interrupted request: ask again.
			return notFinal{err}
		}
		u.s = nil // begin another
		return notFinal{err}
	}
	u.s = nil
	if refused && answer.StatusCode != http.StatusUnauthorized && answer.StatusCode != http.StatusForbidden {
		err = fmt.Errorf("%w: %w", errNoParts, err)
	}
	return err
}

// notFinal is an answer after which another request may succeed.
type notFinal struct{ error }

func (e notFinal) Is(target error) bool { return target == ErrRegistry }

// start begins an upload.
func (r *Registry) start(ctx context.Context) (*session, error) {
	scheme := "https"
	if r.repo.PlainHTTP {
		scheme = "http"
	}
	ref := r.repo.Reference
	u := &url.URL{Scheme: scheme, Host: ref.Host(), Path: "/v2/" + ref.Repository + "/blobs/uploads/"}
	resp, err := r.do(ctx, http.MethodPost, u, nil, http.StatusAccepted)
	if err != nil {
		return nil, err
	}
	s := &session{location: u}
	return s, r.move(s, resp)
}

// status asks how much of an upload the registry has.
func (r *Registry) status(ctx context.Context, s *session) (*session, error) {
	resp, err := r.do(ctx, http.MethodGet, s.location, nil, http.StatusNoContent)
	if err != nil {
		if permanent(err) {
			return nil, err
		}
		return s, err
	}
	next := &session{location: s.location, resumed: true}
	if _, end, ok := strings.Cut(resp.Header.Get("Range"), "-"); ok {
		if n, err := strconv.ParseInt(end, 10, 64); err == nil && n > 0 { // 0-0 is also what an empty upload has
			next.off = n + 1
		}
	}
	return next, r.move(next, resp)
}

// patch sends what the registry does not have.
func (r *Registry) patch(ctx context.Context, s *session, b located, done *counter) error {
	if s.off > b.Size {
		return notFinal{fmt.Errorf("%s: the registry has %d of %d bytes", b.Digest, s.off, b.Size)}
	}
	body, err := openBody(ctx, b, s.off, done)
	if err != nil {
		return err
	}
	defer body.close()
	var resp *http.Response
	if s.off < b.Size {
		resp, err = r.do(ctx, http.MethodPatch, s.location, body, http.StatusAccepted)
	}
	if err := body.result(err); err != nil || resp == nil {
		return err
	}
	return r.move(s, resp)
}

// finish turns an upload into a blob.
func (r *Registry) finish(ctx context.Context, s *session, d digest.Digest) error {
	u := *s.location
	q := u.Query()
	q.Set("digest", d.String())
	u.RawQuery = q.Encode()
	_, err := r.do(ctx, http.MethodPut, &u, nil, http.StatusCreated)
	return err
}

// do sends a request and returns the response, whose body is read, if it has the wanted status.
func (r *Registry) do(ctx context.Context, method string, u *url.URL, b *body, want int) (*http.Response, error) {
	ctx = auth.AppendRepositoryScope(ctx, r.repo.Reference, auth.ActionPull, auth.ActionPush)
	req, err := http.NewRequestWithContext(ctx, method, u.String(), nil)
	if err != nil {
		return nil, err
	}
	if b != nil {
		req.Body = io.NopCloser(b)
		req.ContentLength = b.Size - b.n
		req.Header.Set("Content-Type", "application/octet-stream")
		req.Header.Set("Content-Range", fmt.Sprintf("%d-%d", b.n, b.Size-1))
	}
	resp, err := r.repo.Client.Do(req)
	if err != nil {
		return nil, registryError(r, err)
	}
	defer func() { _ = resp.Body.Close() }() // only read from
	text, err := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	if resp.StatusCode != want {
		answer := &errcode.ErrorResponse{Method: method, URL: resp.Request.URL, StatusCode: resp.StatusCode}
		var detail struct {
			Errors errcode.Errors `json:"errors"`
		}
		if json.Unmarshal(text, &detail) == nil {
			answer.Errors = detail.Errors
		}
		return nil, registryError(r, answer)
	}
	return resp, registryError(r, err)
}

// move goes where the registry wants the next request.
func (r *Registry) move(s *session, resp *http.Response) error {
	u, err := resp.Location()
	if err != nil {
		return registryError(r, err)
	}
	if err := r.trusts(u); err != nil {
		return err
	}
	s.location = u
	return nil
}

// trusts refuses an address that is not the registry's, since credentials and model would go there.
func (r *Registry) trusts(u *url.URL) error {
	host := r.repo.Reference.Host()
	if port := ":443"; u.Scheme == "https" && u.Port() == "" && strings.HasSuffix(host, port) {
		host = strings.TrimSuffix(host, port)
	}
	if !strings.EqualFold(u.Host, host) || u.Scheme != "https" && !r.repo.PlainHTTP {
		return registryError(
			r, fmt.Errorf("the registry wants uploads at %s://%s, which is not itself", u.Scheme, u.Host),
		)
	}
	return nil
}

// sessionFile is where the address of an unfinished upload is kept, in the user's cache directory; "" without one.
func (r *Registry) sessionFile(d digest.Digest) string {
	dir, err := os.UserCacheDir()
	if err != nil {
		return ""
	}
	key := sha256.Sum256([]byte(r.Name() + "@" + d.String()))
	return filepath.Join(dir, "phi3conv", "uploads", hex.EncodeToString(key[:]))
}

// keep writes the address of an upload, so that the next process can continue it.
func keep(file string, location *url.URL) {
	if file == "" || os.MkdirAll(filepath.Dir(file), 0o700) != nil {
		return
	}
	_ = atomicfile.WriteFile(file, []byte(location.String()))
}
