package pack

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/phi3conv/phi3conv/formats"
)

// Signatures are those of cosign (https://github.com/sigstore/cosign/blob/main/specs/SIGNATURE_SPEC.md):
// a manifest under a tag made of the signed digest, whose layers are the signed texts.
const (
	signaturePayload    = "application/vnd.dev.cosign.simplesigning.v1+json"
	signatureAnnotation = "dev.cosignproject.cosign/signature"
	signatureType       = "cosign container image signature"
)

// signatureTag is where the signature of a manifest is looked for.
func signatureTag(d digest.Digest) string {
	return d.Algorithm().String() + "-" + d.Encoded() + ".sig"
}

// simpleSigning is the text that is signed.
type simpleSigning struct {
	Critical struct {
		Identity struct {
			DockerReference string `json:"docker-reference"`
		} `json:"identity"`
		Image struct {
			DockerManifestDigest string `json:"docker-manifest-digest"`
		} `json:"image"`
		Type string `json:"type"`
	} `json:"critical"`
	Optional map[string]any `json:"optional"`
}

// readPEM reads the first block of a PEM file.
func readPEM(path string) (*pem.Block, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(data)
	if block == nil {
		return nil, formats.FileErrorf(path, -1, "not a PEM file")
	}
	return block, nil
}

// ReadPrivateKey reads a key to sign with: ECDSA on P-256 or Ed25519, in PKCS #8 or SEC 1, without a password.
func ReadPrivateKey(path string) (crypto.Signer, error) {
	block, err := readPEM(path)
	if err != nil {
		return nil, err
	}
	bad := func(what string, err error) error {
		return formats.WrapFile(err, path, what)
	}
	var key any
	switch {
	case strings.HasPrefix(block.Type, "ENCRYPTED"), block.Headers["DEK-Info"] != "":
		return nil, formats.FileErrorf(path, -1,
			"%q is locked with a password; expected a PRIVATE KEY without one, such as openssl genpkey makes",
			block.Type)
	case block.Type == "PRIVATE KEY":
		key, err = x509.ParsePKCS8PrivateKey(block.Bytes)
	case block.Type == "EC PRIVATE KEY":
		key, err = x509.ParseECPrivateKey(block.Bytes)
	default:
		return nil, bad(fmt.Sprintf("%q, expected a PRIVATE KEY", block.Type), nil)
	}
	if err != nil {
		return nil, bad("private key", err)
	}
	signer, ok := key.(crypto.Signer)
	if !ok || !supported(signer.Public()) {
		return nil, bad(fmt.Sprintf("key of type %T, expected ECDSA on the curve P-256, or Ed25519", key), nil)
	}
	return signer, nil
}

// ReadPublicKey reads a key to verify with, as cosign and openssl write it.
func ReadPublicKey(path string) (crypto.PublicKey, error) {
	block, err := readPEM(path)
	if err != nil {
		return nil, err
	}
	if block.Type != "PUBLIC KEY" {
		return nil, formats.FileErrorf(path, -1, "%q, expected a PUBLIC KEY", block.Type)
	}
	key, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		return nil, formats.WrapFile(err, path, "public key")
	}
	if !supported(key) {
		return nil, formats.FileErrorf(path, -1, "key of type %T, expected ECDSA on the curve P-256, or Ed25519", key)
	}
	return key, nil
}

func supported(key crypto.PublicKey) bool {
	switch k := key.(type) {
	case *ecdsa.PublicKey:
		return k.Curve == elliptic.P256()
	case ed25519.PublicKey:
		return true
	}
	return false
}

// Sign adds a signature to those that the artifact has. reference is the repository that is signed for, or "". ECDSA
// takes its random number from key and text (RFC 6979): the same artifact and key give the same signature.
func (im *Image) Sign(ctx context.Context, key crypto.Signer, reference string) error {
	var text simpleSigning
	text.Critical.Identity.DockerReference = reference
	if reference == "" {
		text.Critical.Identity.DockerReference = im.signedName()
	}
	text.Critical.Image.DockerManifestDigest = im.Desc.Digest.String()
	text.Critical.Type = signatureType
	payload, err := json.Marshal(text)
	if err != nil {
		return err
	}
	signature, err := Signature(key, payload)
	if err != nil {
		return err
	}
	s := localStore{}
	layer := s.add(signaturePayload, payload)
	layer.Annotations = map[string]string{signatureAnnotation: base64.StdEncoding.EncodeToString(signature)}
	im.Signature, err = signatureImage(ctx, s, []ocispec.Descriptor{layer}, im.Signature)
	return err
}

// Signature signs a text with a key of [ReadPrivateKey]: with ECDSA its SHA-256, with Ed25519 itself.
func Signature(key crypto.Signer, text []byte) ([]byte, error) {
	if _, ok := key.(ed25519.PrivateKey); ok {
		return key.Sign(nil, text, crypto.Hash(0))
	}
	sum := sha256.Sum256(text)
	return key.Sign(nil, sum[:], crypto.SHA256)
}

// signedName is the name in a signature for no registry.
func (im *Image) signedName() string {
	if im.name != "" {
		return im.name
	}
	return slug(im.Manifest.Annotations[ocispec.AnnotationTitle], "model")
}

// signatureImage makes the manifest of signatures: those of old, if any, and layers.
func signatureImage(ctx context.Context, s localStore, layers []ocispec.Descriptor, old *Image) (*Image, error) {
	if old != nil {
		var before []ocispec.Descriptor
		for _, d := range old.Manifest.Layers {
			if d.MediaType != signaturePayload {
				continue
			}
			data, err := readBlob(ctx, old.store, d)
			if err != nil {
				return nil, err
			}
			s.add(d.MediaType, data)
			if !slices.ContainsFunc(layers, func(l ocispec.Descriptor) bool {
				return l.Digest == d.Digest && l.Annotations[signatureAnnotation] == d.Annotations[signatureAnnotation]
			}) {
				before = append(before, d)
			}
		}
		layers = append(before, layers...)
	}
	config := map[string]any{
		"architecture": "", "os": "", "config": map[string]any{},
		"rootfs": map[string]any{"type": "layers", "diff_ids": digests(layers)},
	}
	m := ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest, Layers: layers,
	}
	var err error
	if m.Config, err = s.addJSON(ocispec.MediaTypeImageConfig, config); err != nil {
		return nil, err
	}
	return newImage(s, m, "")
}

// Verify looks for a signature of the manifest by the key. It refuses an artifact without one.
func (im *Image) Verify(ctx context.Context, key crypto.PublicKey) error {
	if im.Signature == nil {
		return refusef("%s has no signature", im.Desc.Digest)
	}
	problems := []error{}
	for _, d := range im.Signature.Manifest.Layers {
		if d.MediaType != signaturePayload {
			continue
		}
		payload, err := readBlob(ctx, im.Signature.store, d)
		if err == nil {
			err = im.verifyOne(key, payload, d.Annotations[signatureAnnotation])
		}
		if err == nil {
			return nil
		}
		if !errors.Is(err, ErrRefused) {
			return err
		}
		problems = append(problems, err)
	}
	if len(problems) == 0 {
		return refusef("%s has no signature", im.Desc.Digest)
	}
	return errors.Join(problems...)
}

func (im *Image) verifyOne(key crypto.PublicKey, payload []byte, encoded string) error {
	signature, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil {
		return refusef("signature %.80q is not base64", encoded)
	}
	ok := false
	switch k := key.(type) {
	case *ecdsa.PublicKey:
		sum := sha256.Sum256(payload)
		ok = ecdsa.VerifyASN1(k, sum[:], signature)
	case ed25519.PublicKey:
		ok = ed25519.Verify(k, payload, signature)
	}
	if !ok {
		return refusef("the signature of %s is not by this key", im.Desc.Digest)
	}
	var text simpleSigning
	if err := json.Unmarshal(payload, &text); err != nil {
		return refusef("the signed text is no JSON: %w", err)
	}
	if text.Critical.Type != signatureType {
		return refusef("the signed text is of type %.80q, expected %q", text.Critical.Type, signatureType)
	}
	if got := text.Critical.Image.DockerManifestDigest; got != im.Desc.Digest.String() {
		return refusef("the signature is one of %.80q, not of %s", got, im.Desc.Digest)
	}
	return nil
}
