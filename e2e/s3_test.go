package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// s3Secret is the secret key of the S3 server.
const s3Secret = "e2e-very-secret"

// s3 starts an S3 server, which stores objects as files, and returns the
// configuration of an empty bucket in it as objstore reads it. It skips the test
// where there is no such server.
func (r *rig) s3() string {
	r.Helper()
	if os.Getenv("VERSITYGW") == "" {
		r.Skip("SKIP: this scenario needs a real S3 server: run make e2e, or set VERSITYGW= to the absolute path of versitygw")
	}
	ports, err := freePorts.take(1)
	if err != nil {
		r.Fatal(err)
	}
	env, err := exec.LookPath("env")
	if err != nil {
		r.Fatal(err)
	}
	dir, address := r.beside("s3"), fmt.Sprintf("127.0.0.1:%d", ports[0])
	// Each directory of the root is a bucket.
	if err := os.MkdirAll(filepath.Join(dir, "blocks"), 0o755); err != nil {
		r.Fatal(err)
	}
	u := &Unit{
		Name: "s3", URL: "http://" + address, driver: NewProcesses(),
		Command: Command{
			Path: env, Dir: dir, Log: dir + ".log",
			Args: []string{
				"ROOT_ACCESS_KEY_ID=e2e", "ROOT_SECRET_ACCESS_KEY=" + s3Secret,
				os.Getenv("VERSITYGW"), "--port=" + address, "--health=/-/ready", "--quiet", "posix", dir,
			},
		},
	}
	r.Cleanup(func() {
		u.Kill()
		if r.Failed() {
			r.Logf("%s, the last line of its log: %s", u.Name, u.lastLine())
		}
	})
	r.launch(u)
	return fmt.Sprintf(`type: S3
config:
  bucket: blocks
  endpoint: %s
  region: us-east-1
  access_key: e2e
  secret_key: %s
  insecure: true
`, address, s3Secret)
}
