// Package bucket reads and writes objects of S3, or of any service with its protocol. Credentials, region and endpoint
// are those that AWS's own tools take: environment (AWS_ACCESS_KEY_ID, AWS_REGION, AWS_ENDPOINT_URL, …), profiles,
// single sign-on, roles of containers and machines.
package bucket

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go"

	"github.com/phi3conv/phi3conv/internal/fetch"
)

// Scheme begins the name of an object.
const Scheme = "s3://"

// EnvStyle is the environment's variable that says where a bucket's name is in addresses: "path" or "virtual", in the
// host's name. Without it, it is in the path where there is an endpoint, and in the host's name at AWS.
const EnvStyle = "PHI3CONV_S3_ADDRESSING"

// Name is that of an object, or of all whose keys begin in the same way.
type Name struct{ Bucket, Key string }

// Parse takes s3://BUCKET/KEY.
func Parse(name string) (Name, error) {
	bucket, key, _ := strings.Cut(strings.TrimPrefix(name, Scheme), "/")
	if bucket == "" || !strings.HasPrefix(name, Scheme) {
		return Name{}, fmt.Errorf("%q, expected s3://BUCKET/KEY", name)
	}
	return Name{bucket, key}, nil
}

func (n Name) String() string { return Scheme + n.Bucket + "/" + n.Key }

// Object is an object in a bucket.
type Object struct {
	Key  string
	Size int64
	ETag string // with its quotes
}

// Client talks to one service.
type Client struct{ s3 *s3.Client }

// Open reads the configuration. It asks the service nothing.
func Open(ctx context.Context) (*Client, error) {
	conf, err := config.LoadDefaultConfig(ctx)
	if err != nil {
		return nil, fmt.Errorf("configuration of AWS: %w", err)
	}
	conf.Region = cmp.Or(conf.Region, "us-east-1")
	style := os.Getenv(EnvStyle)
	if !slices.Contains([]string{"", "path", "virtual"}, style) {
		return nil, fmt.Errorf("%s is %q, expected path or virtual", EnvStyle, style)
	}
	return &Client{s3.NewFromConfig(conf, func(o *s3.Options) {
		if o.BaseEndpoint != nil { // other services know AWS's latest checksums late
			o.RequestChecksumCalculation = aws.RequestChecksumCalculationWhenRequired
			o.ResponseChecksumValidation = aws.ResponseChecksumValidationWhenRequired
			o.UsePathStyle = style != "virtual"
		}
		o.UsePathStyle = o.UsePathStyle || style == "path"
	})}, nil
}

// Stat returns what a bucket says about an object; [fs.ErrNotExist] if there is none.
func (c *Client) Stat(ctx context.Context, n Name) (Object, error) {
	out, err := c.s3.HeadObject(ctx, &s3.HeadObjectInput{Bucket: &n.Bucket, Key: &n.Key})
	if err != nil {
		return Object{}, explain(n, err)
	}
	return Object{n.Key, aws.ToInt64(out.ContentLength), aws.ToString(out.ETag)}, nil
}

// HasBucket says what is wrong with the bucket of an object that is not there: answers about single objects have no
// text. A bucket that may not be listed is taken for one that is there.
func (c *Client) HasBucket(ctx context.Context, n Name) error {
	one := int32(1)
	_, err := c.s3.ListObjectsV2(ctx, &s3.ListObjectsV2Input{Bucket: &n.Bucket, MaxKeys: &one})
	var api smithy.APIError
	if errors.As(err, &api) && api.ErrorCode() == "AccessDenied" {
		return nil
	}
	return explain(n, err)
}

// List lists the objects whose keys begin with that of n, in the order of their keys.
func (c *Client) List(ctx context.Context, n Name) ([]Object, error) {
	var all []Object
	pages := s3.NewListObjectsV2Paginator(c.s3, &s3.ListObjectsV2Input{Bucket: &n.Bucket, Prefix: &n.Key})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, explain(n, err)
		}
		for _, o := range page.Contents {
			all = append(all, Object{aws.ToString(o.Key), aws.ToInt64(o.Size), aws.ToString(o.ETag)})
		}
	}
	return all, nil
}

// Range opens size bytes of an object from off on. One that has changed since it had the etag is refused.
func (c *Client) Range(ctx context.Context, n Name, etag string, off, size int64) (io.ReadCloser, error) {
	in := &s3.GetObjectInput{
		Bucket: &n.Bucket, Key: &n.Key, Range: aws.String(fmt.Sprintf("bytes=%d-%d", off, off+size-1)),
	}
	if etag != "" {
		in.IfMatch = &etag
	}
	out, err := c.s3.GetObject(ctx, in)
	if err != nil {
		return nil, explain(n, err)
	}
	return out.Body, nil
}

// status is the code of an answer, 0 for none.
func status(err error) int {
	var answer *awshttp.ResponseError
	if errors.As(err, &answer) {
		return answer.HTTPStatusCode()
	}
	return 0
}

// denied are the codes of errors about credentials, whatever the status. The last is versitygw's, with 404.
var denied = []string{
	"AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken", "XAdminUserNotFound",
}

// answered returns the code and the text of a service's answer, and the region that it names.
func answered(err error) (code, said, region string) {
	var api smithy.APIError
	if errors.As(err, &api) {
		code, said = api.ErrorCode(), api.ErrorMessage()
	}
	var answer *awshttp.ResponseError
	if errors.As(err, &answer) && answer.Response != nil {
		region = answer.Response.Header.Get("X-Amz-Bucket-Region")
	}
	return code, said, region
}

// explain names the object and what to do, and says of which kind an error is.
func explain(n Name, err error) error {
	if err == nil || errors.Is(err, context.Canceled) {
		return err
	}
	kind := fetch.ErrNetwork
	code, said, region := answered(err)
	switch status := status(err); {
	case slices.Contains(denied, code):
		kind = fetch.ErrAccess
	case code == "NoSuchBucket":
		return fmt.Errorf("%s: there is no bucket %s: %w", n, n.Bucket, fs.ErrNotExist)
	case code == "NoSuchKey" || code == "NotFound" || status == http.StatusNotFound:
		return fmt.Errorf("%s: %w", n, fs.ErrNotExist)
	case code == "PreconditionFailed" || status == http.StatusPreconditionFailed:
		return fmt.Errorf("%s: %w: it has changed since it was opened", n, fetch.ErrRefused)
	case status == http.StatusMovedPermanently || code == "AuthorizationHeaderMalformed" && region != "":
		return fmt.Errorf("%s: %w: the bucket is in another region: set AWS_REGION=%s", n, kind,
			cmp.Or(region, "REGION"))
	case status == http.StatusUnauthorized || status == http.StatusForbidden:
		kind = fetch.ErrAccess
	case status == 0 && strings.Contains(err.Error(), "get credentials"):
		return fmt.Errorf("%s: %w: there are no credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or "+
			"AWS_PROFILE", n, fetch.ErrAccess)
	}
	if code != "" {
		return fmt.Errorf("%s: %w: %s", n, kind, strings.TrimSuffix(strings.TrimSpace(code+" "+said), "."))
	}
	return fmt.Errorf("%s: %w: %w", n, kind, innermost(err))
}

// innermost leaves out what the library says around an error of the network.
func innermost(err error) error {
	var sent *smithy.OperationError
	for errors.As(err, &sent) {
		err = sent.Err
		sent = nil
	}
	return err
}
