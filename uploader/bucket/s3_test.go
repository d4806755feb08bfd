package bucket_test

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/thanos-io/objstore"

	"github.com/ringside-project/ringside/uploader/bucket"
)

// realS3 starts a real S3 server, which stores objects as files, and returns the
// configuration of an empty bucket in it.
func realS3(t testing.TB) *bucket.Config {
	t.Helper()
	path := os.Getenv("VERSITYGW")
	if path == "" {
		t.Skip("SKIP: VERSITYGW does not name an S3 server; make bin/versitygw builds one")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	l.Close()
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "blocks"), 0o755); err != nil {
		t.Fatal(err)
	}
	server := exec.Command(path, "--port="+address, "--health=/-/ready", "--quiet", "--keep-alive", "posix", dir)
	server.Env = append(os.Environ(), "ROOT_ACCESS_KEY_ID="+access, "ROOT_SECRET_ACCESS_KEY="+planted)
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		server.Process.Kill()
		server.Wait()
	})
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		resp, err := http.Get("http://" + address + "/-/ready")
		if err == nil {
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				break
			}
			err = fmt.Errorf("%s", resp.Status)
		}
		if time.Now().After(end) {
			t.Fatalf("the S3 server is not ready: %v", err)
		}
	}
	return &bucket.Config{Type: "S3", Config: map[string]any{
		"bucket": "blocks", "endpoint": address, "insecure": true, "region": "us-east-1", "access_key": access, "secret_key": planted,
	}}
}

// TestAcceptanceS3 is objstore's own, with a real server.
func TestAcceptanceS3(t *testing.T) {
	c := realS3(t)
	t.Run("S3", func(t *testing.T) { objstore.AcceptanceTest(t, open(t, c)) })
	c.Prefix = "a/b"
	t.Run("prefix", func(t *testing.T) { objstore.AcceptanceTest(t, open(t, c)) })
}
