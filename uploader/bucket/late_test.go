package bucket_test

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-kit/log"

	"github.com/ringside-project/ringside/uploader/bucket"
)

// azure is a bucket there, behind the address.
func azure(address string, more map[string]any) *bucket.Config {
	c := &bucket.Config{Type: "AZURE", Config: map[string]any{
		"storage_account": "a", "container": "c",
		"storage_connection_string": "AccountName=a;AccountKey=a2V5;BlobEndpoint=http://" + address + "/a",
		"pipeline_config":           map[string]any{"retry_delay": "1ms", "max_retry_delay": "1ms"},
	}}
	for k, v := range more {
		c.Config[k] = v
	}
	return c
}

// TestOpenWithoutNetwork opens buckets that cannot be reached; they are there
// once they can.
func TestOpenWithoutNetwork(t *testing.T) {
	for name, more := range map[string]map[string]any{"as it is": nil, "to be made": {"storage_create_container": true}} {
		var down atomic.Bool
		down.Store(true)
		var made atomic.Int64
		srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			switch container := r.URL.Query().Get("restype") == "container"; {
			case down.Load():
				http.Error(w, "down", http.StatusForbidden) // which is not tried again
			case container && r.Method == http.MethodPut:
				made.Add(1)
				w.WriteHeader(http.StatusCreated)
			case container:
				w.Header().Set("x-ms-error-code", "ContainerNotFound")
				w.WriteHeader(http.StatusNotFound)
			default:
				w.Header().Set("x-ms-error-code", "BlobNotFound")
				w.WriteHeader(http.StatusNotFound)
			}
		}))
		srv.Start()
		defer srv.Close()
		b := open(t, azure(srv.Listener.Addr().String(), more))
		if b.Name() != "c" || b.Provider() != "AZURE" {
			t.Errorf("%s: %s %s", name, b.Name(), b.Provider())
		}
		if _, err := b.Exists(t.Context(), "x"); err == nil {
			t.Errorf("%s: no error of a bucket that is down", name)
		}
		down.Store(false)
		if there, err := b.Exists(t.Context(), "x"); err != nil || there {
			t.Errorf("%s: %v, %v", name, there, err)
		}
		if want := int64(len(more)); made.Load() != want {
			t.Errorf("%s: the container was made %d times; want %d", name, made.Load(), want)
		}
	}
}

// TestOpenLateEnds ends a request whose bucket is still being opened with its
// own context.
func TestOpenLateEnds(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0") // and never answers
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	b := open(t, azure(l.Addr().String(), map[string]any{"storage_create_container": true}))
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := b.Upload(ctx, "x", strings.NewReader("x")); ctx.Err() == nil || err == nil {
		t.Errorf("%v", err)
	}
}

// TestOpenLateRefuses a configuration that is wrong whatever the network.
func TestOpenLateRefuses(t *testing.T) {
	c := azure("127.0.0.1:1", map[string]any{"storage_create_container": true, "user_assigned_id": "u"})
	if _, err := bucket.Open(c, log.NewNopLogger()); err == nil || !strings.Contains(err.Error(), "user_assigned_id cannot be set") {
		t.Error(err)
	}
}
