package e2e

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/go-kit/log"
	"github.com/oklog/ulid/v2"
	"github.com/thanos-io/objstore"
	"github.com/thanos-io/objstore/providers/s3"
)

// s3Secret is the secret key of the S3 server.
const s3Secret = "e2e-very-secret"

// s3Server is an S3 server, which stores objects as files. Its one bucket is blocks.
type s3Server struct {
	*Unit
	address string // host:port
}

// s3 starts an S3 server, and returns the configuration of an empty bucket in it
// as objstore reads it.
func (r *rig) s3() string {
	r.Helper()
	return s3Config(r.s3Server().address)
}

// s3Server starts an S3 server. It skips the test where there is none.
func (r *rig) s3Server() *s3Server {
	r.Helper()
	if os.Getenv("VERSITYGW") == "" {
		r.Skip("SKIP: this scenario needs a real S3 server: run make e2e, or set VERSITYGW= to the absolute path of versitygw")
	}
	ports, err := freePorts.take(1)
	if err != nil {
		r.Fatal(err)
	}
	dir, address := r.beside("s3"), fmt.Sprintf("127.0.0.1:%d", ports[0])
	// Each directory of the root is a bucket.
	if err := os.MkdirAll(filepath.Join(dir, "blocks"), 0o755); err != nil {
		r.Fatal(err)
	}
	s := &s3Server{
		Unit:    &Unit{Name: "s3", URL: "http://" + address, driver: NewProcesses(), Command: Command{Dir: dir, Log: dir + ".log"}},
		address: address,
	}
	s.takes(r, s3Secret)
	r.Cleanup(func() {
		s.Kill()
		if r.Failed() {
			r.Logf("%s, the last line of its log: %s", s.Name, s.lastLine())
		}
	})
	r.launch(s.Unit)
	return s
}

// takes sets the secret that the server takes from its next start on.
func (s *s3Server) takes(r *rig, secret string) {
	r.Helper()
	env, err := exec.LookPath("env")
	if err != nil {
		r.Fatal(err)
	}
	s.Command.Path = env
	s.Command.Args = []string{
		"ROOT_ACCESS_KEY_ID=e2e", "ROOT_SECRET_ACCESS_KEY=" + secret,
		os.Getenv("VERSITYGW"), "--port=" + s.address, "--health=/-/ready", "--quiet", "--keep-alive", "posix", s.Command.Dir,
	}
}

// s3Config is the configuration of the bucket behind an address, with more lines
// of its config block.
func s3Config(address string, more ...string) string {
	config := fmt.Sprintf(`type: S3
config:
  bucket: blocks
  endpoint: %s
  region: us-east-1
  access_key: e2e
  secret_key: %s
  insecure: true
`, address, s3Secret)
	for _, line := range more {
		config += "  " + line + "\n"
	}
	return config
}

// direct is a client of the bucket that goes through nothing.
func (s *s3Server) direct(r *rig) objstore.Bucket {
	r.Helper()
	config := s3.DefaultConfig
	config.Bucket, config.Endpoint, config.Region, config.Insecure = "blocks", s.address, "us-east-1", true
	config.AccessKey, config.SecretKey = "e2e", s3Secret
	b, err := s3.NewBucketWithConfig(log.NewNopLogger(), config, "e2e", nil)
	if err != nil {
		r.Fatal(err)
	}
	return b
}

// visible returns the blocks in dir of a bucket that have a meta.json, dir being
// empty or with a slash at its end. A visible one that is not whole, by sizes and
// hashes, is an error.
func visible(ctx context.Context, bkt objstore.Bucket, dir string) ([]string, error) {
	var ids []string
	err := bkt.Iter(ctx, dir, func(name string) error {
		id := strings.TrimSuffix(strings.TrimPrefix(name, dir), "/")
		if _, err := ulid.ParseStrict(id); err != nil {
			return nil
		}
		meta, err := object(ctx, bkt, name+"meta.json")
		if bkt.IsObjNotFoundErr(err) {
			return nil
		}
		if err != nil {
			return err
		}
		ids = append(ids, id)
		return wholeBlock(ctx, bkt, name, meta)
	})
	return ids, err
}

// wholeBlock compares a block's objects with what its meta.json says of them.
func wholeBlock(ctx context.Context, bkt objstore.Bucket, dir string, meta []byte) error {
	var m struct {
		Thanos struct {
			Files []struct {
				RelPath string `json:"rel_path"`
				Size    int    `json:"size_bytes"`
				Hash    struct{ Value string }
			}
		}
	}
	if err := json.Unmarshal(meta, &m); err != nil {
		return final(fmt.Errorf("%smeta.json is visible: %w", dir, err))
	}
	if len(m.Thanos.Files) < 2 {
		return final(fmt.Errorf("%smeta.json names no files: %s", dir, meta))
	}
	for _, f := range m.Thanos.Files {
		if f.RelPath == "meta.json" {
			continue
		}
		body, err := object(ctx, bkt, dir+f.RelPath)
		if bkt.IsObjNotFoundErr(err) {
			return final(fmt.Errorf("%smeta.json is visible, and %s is not there", dir, f.RelPath))
		}
		if err != nil {
			return err
		}
		if hash := sha256.Sum256(body); len(body) != f.Size || hex.EncodeToString(hash[:]) != f.Hash.Value {
			return final(fmt.Errorf("%smeta.json is visible, and %s has %d bytes of %d, or others", dir, f.RelPath, len(body), f.Size))
		}
	}
	return nil
}

func object(ctx context.Context, bkt objstore.Bucket, name string) ([]byte, error) {
	r, err := bkt.Get(ctx, name)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(r)
}
