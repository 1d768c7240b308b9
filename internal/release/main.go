// Release makes what .ci/release cannot make with other tools, with the same bytes everywhere:
//
//	release archive OUT.tar.gz|OUT.zip DIR               # the files of a directory, under its name
//	release image OUT.tar PROGRAM ARCH VERSION REVISION  # an OCI image of the program and nothing else
//	release sign KEY.pem FILE                            # FILE.sig, as pack signs and cosign and openssl verify
//
// Files get the time of the environment variable SOURCE_DATE_EPOCH.
package main

import (
	"encoding/base64"
	"fmt"
	"log"
	"os"
	"strconv"
	"time"

	"github.com/phi3conv/phi3conv/internal/atomicfile"
	"github.com/phi3conv/phi3conv/internal/pack"
)

func main() {
	log.SetFlags(0)
	log.SetPrefix("release: ")
	if err := run(os.Args[1:]); err != nil {
		log.Fatal(err)
	}
}

func run(args []string) error {
	seconds, err := strconv.ParseInt(os.Getenv("SOURCE_DATE_EPOCH"), 10, 64)
	if err != nil {
		return fmt.Errorf("SOURCE_DATE_EPOCH: %w", err)
	}
	when := time.Unix(seconds, 0).UTC()
	switch {
	case len(args) == 3 && args[0] == "archive":
		return archive(args[1], args[2], when)
	case len(args) == 6 && args[0] == "image":
		return image(args[1], args[2], about{arch: args[3], version: args[4], revision: args[5], when: when})
	case len(args) == 3 && args[0] == "sign":
		return sign(args[1], args[2])
	}
	return fmt.Errorf("archive OUT DIR, image OUT PROGRAM ARCH VERSION REVISION or sign KEY FILE, got %q", args)
}

func sign(key, path string) error {
	signer, err := pack.ReadPrivateKey(key)
	if err != nil {
		return err
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	signature, err := pack.Signature(signer, text)
	if err != nil {
		return err
	}
	return atomicfile.WriteFile(path+".sig", []byte(base64.StdEncoding.EncodeToString(signature)+"\n"))
}
