package atomicfile

import (
	"io"
	"strings"
)

// Store is a place outside of the file system that files are sent to.
type Store interface {
	// Beginning returns up to n bytes of the object path, nil if there is none. Its error says why one cannot be
	// written, as far as that is known before.
	Beginning(path string, n int) ([]byte, error)
	// Send makes size bytes of r the object. It appears when all of it is there.
	Send(path string, r io.ReaderAt, size int64) error
	// Create starts an object of size bytes, which are written in about their order.
	Create(path string, size int64) (Object, error)
}

// Object is one that is being written. It appears with Commit; Abort drops it unless it has. Commit and Abort end it.
type Object interface {
	io.WriterAt
	Commit() error
	Abort()
}

var stores = map[string]Store{}

// SetStore says where files go whose names begin with a scheme such as s3://. It is not to be called while files are
// written.
func SetStore(scheme string, s Store) { stores[scheme] = s }

// StoreOf returns where a file goes that is none of the file system; nil for others.
func StoreOf(path string) Store {
	scheme, _, ok := strings.Cut(path, "://")
	if !ok {
		return nil
	}
	return stores[scheme+"://"]
}
