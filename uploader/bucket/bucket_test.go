package bucket_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-kit/log"
	"github.com/thanos-io/objstore"

	"github.com/ringside-project/ringside/uploader/bucket"
)

func open(t *testing.T, c *bucket.Config) objstore.Bucket {
	t.Helper()
	b, err := bucket.Open(c, log.NewNopLogger())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	return b
}

func filesystem(dir string) *bucket.Config {
	return &bucket.Config{Type: "filesystem", Config: map[string]any{"directory": dir}}
}

// TestAcceptance is objstore's own.
func TestAcceptance(t *testing.T) {
	t.Run("filesystem", func(t *testing.T) { objstore.AcceptanceTest(t, open(t, filesystem(t.TempDir()))) })
	t.Run("prefix", func(t *testing.T) {
		c := filesystem(t.TempDir())
		c.Prefix = "a/b"
		objstore.AcceptanceTest(t, open(t, c))
	})
}

func TestValidate(t *testing.T) {
	for kind, want := range map[string]string{
		"S3": "", "s3": "", "FILESYSTEM": "", "AZURE": "",
		"":     `type: ""; give one of ALIYUNOSS, AZURE, `,
		"TAPE": `type: "TAPE"; give one of `,
	} {
		err := (&bucket.Config{Type: kind}).Validate()
		if (err != nil) != (want != "") || err != nil && !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%q: %v, want %q", kind, err, want)
		}
	}
}

// failing is a body that ends too early.
type failing struct{ rest io.Reader }

var errBody = errors.New("the disk is gone")

func (f failing) Read(p []byte) (int, error) {
	n, err := f.rest.Read(p)
	if err == io.EOF {
		err = errBody
	}
	return n, err
}

// TestFilesystemPutsWhole sees to it that an object is there whole, or as it was.
func TestFilesystemPutsWhole(t *testing.T) {
	dir := t.TempDir()
	b := open(t, filesystem(dir))
	put := func(r io.Reader) error { return b.Upload(t.Context(), "01X/chunks/000001", r) }
	if err := put(failing{bytes.NewReader(make([]byte, 100_000))}); !errors.Is(err, errBody) {
		t.Errorf("%v, want the body's own error", err)
	}
	if there, err := b.Exists(t.Context(), "01X/chunks/000001"); there || err != nil {
		t.Errorf("half of an object is there: %v %v", there, err)
	}
	if err := put(strings.NewReader("first")); err != nil {
		t.Fatal(err)
	}
	if err := put(failing{strings.NewReader("second")}); err == nil {
		t.Error("no error")
	}
	if got, err := os.ReadFile(filepath.Join(dir, "01X/chunks/000001")); string(got) != "first" || err != nil {
		t.Errorf("%q %v", got, err)
	}
	var names []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if !d.IsDir() {
			names = append(names, path)
		}
		return err
	})
	if err != nil || len(names) != 1 {
		t.Errorf("files: %q %v", names, err)
	}
}

// TestFilesystemCleans removes what a process that was killed left, but not what
// another one may be writing.
func TestFilesystemCleans(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, ".ringside"), 0o777); err != nil {
		t.Fatal(err)
	}
	for name, age := range map[string]time.Duration{"old": 25 * time.Hour, "new": time.Hour} {
		path := filepath.Join(dir, ".ringside", name)
		if err := errors.Join(os.WriteFile(path, nil, 0o666), os.Chtimes(path, time.Time{}, time.Now().Add(-age))); err != nil {
			t.Fatal(err)
		}
	}
	open(t, filesystem(dir))
	if left, err := filepath.Glob(filepath.Join(dir, ".ringside", "*")); err != nil || len(left) != 1 || filepath.Base(left[0]) != "new" {
		t.Errorf("%q %v", left, err)
	}
}

const (
	planted = "planted+secret/with=signs"
	access  = "PLANTEDACCESSKEY"
)

// s3 is a server that keeps the requests' headers, and refuses what it is told
// to, quoting what it should not.
type s3 struct {
	mu      sync.Mutex
	headers []http.Header
	refuse  bool
}

func (s *s3) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.headers = append(s.headers, r.Header.Clone())
	if s.refuse {
		w.WriteHeader(http.StatusForbidden)
		fmt.Fprintf(w, `<?xml version="1.0"?><Error><Code>AccessDenied</Code><Message>%s may not, nor may %s</Message></Error>`, access, planted)
		return
	}
	io.Copy(io.Discard, r.Body)
	w.Header().Set("ETag", `"d41d8cd98f00b204e9800998ecf8427e"`)
}

func (s *s3) bucket(t *testing.T, logger log.Logger, more map[string]any) objstore.Bucket {
	srv := httptest.NewServer(s)
	t.Cleanup(srv.Close)
	c := &bucket.Config{Type: "S3", Config: map[string]any{
		"bucket": "blocks", "endpoint": strings.TrimPrefix(srv.URL, "http://"), "insecure": true, "region": "eu",
		"access_key": access, "secret_key": planted, "max_retries": 1, "trace": map[string]any{"enable": true},
	}}
	for k, v := range more {
		c.Config[k] = v
	}
	b, err := bucket.Open(c, logger)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestS3SendsPartsInParallel: unless told to, the client does not hash each part
// first, for which it would have to read them one after the other.
func TestS3SendsPartsInParallel(t *testing.T) {
	for _, tc := range []struct {
		more map[string]any
		want bool
	}{{nil, false}, {map[string]any{"send_content_md5": true}, true}} {
		s := &s3{}
		b := s.bucket(t, log.NewNopLogger(), tc.more)
		if err := b.Upload(t.Context(), "x", strings.NewReader("body")); err != nil {
			t.Fatal(err)
		}
		if got := s.headers[len(s.headers)-1].Get("Content-Md5") != ""; got != tc.want {
			t.Errorf("%v: Content-MD5 sent: %v", tc.more, got)
		}
	}
}

// TestNoSecretShows looks at errors and log lines, from a server that quotes
// secrets and from a configuration that is refused.
func TestNoSecretShows(t *testing.T) {
	var logged bytes.Buffer
	s := &s3{refuse: true}
	b := s.bucket(t, log.NewLogfmtLogger(&logged), nil)
	err := b.Upload(t.Context(), "x", strings.NewReader("body"))
	if err == nil || !b.IsAccessDeniedErr(err) || !strings.Contains(err.Error(), "<secret> may not, nor may <secret>") {
		t.Errorf("%v; denied: %v", err, b.IsAccessDeniedErr(err))
	}
	if _, err := b.Get(t.Context(), "x"); err == nil || b.IsObjNotFoundErr(err) || !b.IsAccessDeniedErr(fmt.Errorf("get: %w", err)) {
		t.Errorf("%v", err)
	}
	for _, c := range []*bucket.Config{
		{Type: "S3", Config: map[string]any{"bucket": "blocks", "endpoint": "e", "secret_key": planted}},
		{Type: "S3", Config: map[string]any{"bucket": "blocks", "endpoint": "e", "access_key": []any{planted}}},
		{Type: "S3", Config: map[string]any{"bucket": "blocks", "endpoint": "e", "part_size": planted}},
		{Type: "GCS", Config: map[string]any{"bucket": "blocks", "service_account": `{"type": "` + planted + `"`}},
		{Type: "AZURE", Config: map[string]any{"container": "c", "storage_account": "a", "storage_account_key": planted}},
	} {
		if c.Validate() != nil {
			continue // left out of this build
		}
		_, err := bucket.Open(c, log.NewLogfmtLogger(&logged))
		if err == nil {
			t.Errorf("%v is opened", c.Config)
			continue
		}
		if !strings.HasPrefix(err.Error(), "config") {
			t.Error(err)
		}
		logged.WriteString(err.Error())
	}
	logged.WriteString(err.Error())
	for _, secret := range []string{planted, access, "planted%2Bsecret", "cGxhbnRlZCtzZWNyZXQ"} {
		if strings.Contains(logged.String(), secret) {
			t.Errorf("%s shows in\n%s", secret, &logged)
		}
	}
}

// TestThere tells a directory that is mistyped from one that is empty.
func TestThere(t *testing.T) {
	dir := t.TempDir()
	for place, there := range map[string]bool{dir: true, dir + "/mistyped": false} {
		c := filesystem(place)
		c.Prefix = "prefix"
		err := bucket.There(open(t, c))
		if (err == nil) != there || err != nil && !strings.Contains(err.Error(), place+": no such directory") {
			t.Errorf("%s: %v", place, err)
		}
	}
	if err := bucket.There((&s3{}).bucket(t, log.NewNopLogger(), nil)); err != nil {
		t.Error(err)
	}
}
