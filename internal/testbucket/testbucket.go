// Package testbucket is a service with S3's protocol for tests: one bucket, in memory, that can fail.
package testbucket

import (
	"crypto/md5"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/xml"
	"fmt"
	"hash/crc32"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// Bucket is the name of the bucket that there is.
const Bucket = "models"

// Service is the service.
type Service struct {
	mu      sync.Mutex
	objects map[string][]byte
	uploads map[string]map[int][]byte
	summed  map[string]bool // uploads whose parts have checksums
	begun   int
	sent    int64

	// Fail, if not nil, returns the code of an error that a request gets, or "".
	Fail func(r *http.Request) string
	// Damage, if not nil, changes a body on its way to the service.
	Damage func(r *http.Request, body []byte)
	// Checksums is what the service does where an upload is to have checksums: it compares them, or they are
	// "ignored", or "refused".
	Checksums string
}

// Start starts a service, with credentials for it in the environment of the test.
func Start(t *testing.T) *Service {
	t.Helper()
	s := &Service{
		objects: map[string][]byte{}, uploads: map[string]map[int][]byte{}, summed: map[string]bool{},
	}
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	for key, value := range map[string]string{
		"AWS_ENDPOINT_URL": server.URL, "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "secret",
		"AWS_REGION": "us-east-1", "AWS_MAX_ATTEMPTS": "1", "AWS_PROFILE": "",
		"AWS_CONFIG_FILE": t.TempDir() + "/none", "AWS_SHARED_CREDENTIALS_FILE": t.TempDir() + "/none",
	} {
		t.Setenv(key, value)
	}
	return s
}

// Put makes an object.
func (s *Service) Put(key string, data []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.objects[key] = data
}

// Get returns an object, nil if there is none.
func (s *Service) Get(key string) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.objects[key]
}

// Keys lists the objects.
func (s *Service) Keys() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Sorted(maps.Keys(s.objects))
}

// Uploads returns how many uploads in parts were begun, and how many are neither complete nor dropped.
func (s *Service) Uploads() (begun, open int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.begun, len(s.uploads)
}

// Sent returns how many bytes of objects were sent.
func (s *Service) Sent() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sent
}

func (s *Service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	bucket, key, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	body, err := io.ReadAll(r.Body)
	if s.Fail != nil {
		if code := s.Fail(r); code != "" {
			fail(w, code)
			return
		}
	}
	if s.Damage != nil {
		s.Damage(r, body)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	query := r.URL.Query()
	switch {
	case err != nil:
	case !sameSHA256(r, body):
		fail(w, "XAmzContentSHA256Mismatch")
	case bucket != Bucket:
		fail(w, "NoSuchBucket")
	case key == "" && r.Method == http.MethodHead:
	case key == "":
		s.list(w, query.Get("prefix"))
	case query.Has("uploads") && r.Method == http.MethodPost:
		s.begin(w, r)
	case query.Has("uploadId"):
		s.upload(w, r, key, query.Get("uploadId"), body)
	case r.Method == http.MethodPut && r.Header.Get("If-None-Match") == "*" && s.objects[key] != nil:
		fail(w, "PreconditionFailed")
	case r.Method == http.MethodDelete:
		delete(s.objects, key)
		w.WriteHeader(http.StatusNoContent)
	case r.Method == http.MethodPut:
		s.objects[key] = body
		w.Header().Set("ETag", etag(body))
	default:
		s.object(w, r, key)
	}
}

// sameSHA256 compares a body with its hash, if that is signed.
func sameSHA256(r *http.Request, body []byte) bool {
	want := r.Header.Get("X-Amz-Content-Sha256")
	sum := sha256.Sum256(body)
	return want == "UNSIGNED-PAYLOAD" || want == hex.EncodeToString(sum[:])
}

// begin begins an upload in parts.
func (s *Service) begin(w http.ResponseWriter, r *http.Request) {
	sums := r.Header.Get("X-Amz-Checksum-Algorithm") == "CRC32"
	if sums && s.Checksums == "refused" {
		fail(w, "NotImplemented")
		return
	}
	s.begun++
	id := strconv.Itoa(s.begun)
	s.uploads[id] = map[int][]byte{}
	if s.summed[id] = sums && s.Checksums == ""; s.summed[id] {
		w.Header().Set("X-Amz-Checksum-Algorithm", "CRC32")
	}
	answer(w, struct {
		XMLName  xml.Name `xml:"InitiateMultipartUploadResult"`
		UploadId string
	}{UploadId: id})
}

// crc returns a part's checksum as headers have it.
func crc(data []byte) string {
	return base64.StdEncoding.EncodeToString(binary.BigEndian.AppendUint32(nil, crc32.ChecksumIEEE(data)))
}

// upload does what is asked for an upload in parts.
func (s *Service) upload(w http.ResponseWriter, r *http.Request, key, id string, body []byte) {
	parts := s.uploads[id]
	switch {
	case parts == nil:
		fail(w, "NoSuchUpload")
	case r.Method == http.MethodPut:
		if s.summed[id] && r.Header.Get("X-Amz-Checksum-Crc32") != crc(body) {
			fail(w, "BadDigest")
			return
		}
		n, _ := strconv.Atoi(r.URL.Query().Get("partNumber"))
		parts[n] = body
		w.Header().Set("ETag", etag(body))
	case r.Method == http.MethodDelete:
		delete(s.uploads, id)
		w.WriteHeader(http.StatusNoContent)
	case !s.namesParts(body, id):
		fail(w, "InvalidPart")
	default:
		var all []byte
		for _, n := range slices.Sorted(maps.Keys(parts)) {
			all = append(all, parts[n]...)
		}
		s.objects[key] = all
		delete(s.uploads, id)
		answer(w, struct {
			XMLName xml.Name `xml:"CompleteMultipartUploadResult"`
			ETag    string
		}{ETag: etag(all)})
	}
}

// namesParts reports whether a request names all parts, and their checksums where they have some.
func (s *Service) namesParts(body []byte, id string) bool {
	var list struct {
		Part []struct {
			PartNumber    int
			ETag          string
			ChecksumCRC32 string
		}
	}
	if err := xml.Unmarshal(body, &list); err != nil || len(list.Part) != len(s.uploads[id]) {
		return false
	}
	for _, p := range list.Part {
		data := s.uploads[id][p.PartNumber]
		if p.ETag != etag(data) || s.summed[id] && p.ChecksumCRC32 != crc(data) {
			return false
		}
	}
	return true
}

// object sends an object or a range of it.
func (s *Service) object(w http.ResponseWriter, r *http.Request, key string) {
	data, ok := s.objects[key]
	if !ok {
		fail(w, "NoSuchKey")
		return
	}
	w.Header().Set("ETag", etag(data))
	if match := r.Header.Get("If-Match"); match != "" && match != etag(data) {
		fail(w, "PreconditionFailed")
		return
	}
	var first, last int
	if n, _ := fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-%d", &first, &last); n == 2 {
		last = min(last, len(data)-1)
		w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", first, last, len(data)))
		data = data[first : last+1]
		w.Header().Set("Content-Length", strconv.Itoa(len(data)))
		w.WriteHeader(http.StatusPartialContent)
	} else {
		w.Header().Set("Content-Length", strconv.Itoa(len(data)))
	}
	if r.Method == http.MethodGet {
		n, _ := w.Write(data)
		s.sent += int64(n)
	}
}

func (s *Service) list(w http.ResponseWriter, prefix string) {
	type object struct {
		Key, ETag string
		Size      int
	}
	result := struct {
		XMLName  xml.Name `xml:"ListBucketResult"`
		Contents []object
	}{}
	for _, key := range slices.Sorted(maps.Keys(s.objects)) {
		if strings.HasPrefix(key, prefix) {
			result.Contents = append(result.Contents, object{key, etag(s.objects[key]), len(s.objects[key])})
		}
	}
	answer(w, result)
}

func answer(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/xml")
	_ = xml.NewEncoder(w).Encode(v)
}

// codes are the statuses of errors.
var codes = map[string]int{
	"NoSuchBucket": 404, "NoSuchKey": 404, "NoSuchUpload": 404, "PreconditionFailed": 412, "AccessDenied": 403,
	"InvalidAccessKeyId": 403, "SignatureDoesNotMatch": 403, "InternalError": 500, "XAdminUserNotFound": 404,
	"NotImplemented": 501, "BadDigest": 400, "XAmzContentSHA256Mismatch": 400, "InvalidPart": 400,
}

func fail(w http.ResponseWriter, code string) {
	w.Header().Set("Content-Type", "application/xml")
	w.WriteHeader(codes[code])
	_, _ = fmt.Fprintf(w, "<Error><Code>%s</Code><Message>because of the test</Message></Error>", code)
}

func etag(data []byte) string {
	sum := md5.Sum(data)
	return `"` + hex.EncodeToString(sum[:]) + `"`
}
