package upstream

import (
	"bytes"
	"io"
	"net/http"
	"sync"
	"sync/atomic"

	"github.com/klauspost/compress/s2"

	"github.com/ringside-project/ringside/relay/wire"
)

// Buffers are kept for the next request up to these sizes, in bytes.
const (
	maxScratch = 8 << 20
	maxBody    = 1 << 20
)

// scratch is what a body is made in. It is free again before the body is sent:
// waiting for an endpoint holds no more than the compressed bytes.
type scratch struct {
	rendered   []byte
	compressed []byte
}

// bodies makes and recycles the bodies of requests.
type bodies struct {
	scratches sync.Pool // of *scratch
	bodies    sync.Pool // of *body
}

// body is a compressed request, which several may read at once. Its memory is
// used again after release, and once every reader is closed.
type body struct {
	message wire.Message
	bytes   []byte
	users   atomic.Int32
	pool    *sync.Pool
}

// render returns the body of the given rows of a batch, for one user.
func (p *bodies) render(b *wire.Batch, msg wire.Message, e *wire.Edit, rows []wire.Row) *body {
	s, _ := p.scratches.Get().(*scratch)
	if s == nil {
		s = new(scratch)
	}
	s.rendered = b.Render(s.rendered[:0], msg, e, rows)
	// Not compress/snappy's Encode, which takes three times as long for a better ratio.
	s.compressed = s2.EncodeSnappy(s.compressed[:cap(s.compressed)], s.rendered)

	x, _ := p.bodies.Get().(*body)
	if x == nil {
		x = &body{pool: &p.bodies}
	}
	x.message = msg
	x.bytes = append(x.bytes[:0], s.compressed...)
	x.users.Store(1)
	if cap(s.rendered) <= maxScratch {
		p.scratches.Put(s)
	}
	return x
}

func (x *body) release() {
	if x.users.Add(-1) == 0 && cap(x.bytes) <= maxBody {
		x.pool.Put(x)
	}
}

// attach makes req carry the body.
func (x *body) attach(req *http.Request) {
	req.ContentLength = int64(len(x.bytes))
	req.Body = x.reader()
	req.GetBody = func() (io.ReadCloser, error) { return x.reader(), nil }
}

func (x *body) reader() io.ReadCloser {
	x.users.Add(1)
	r := &bodyReader{body: x}
	r.rest.Reset(x.bytes)
	return r
}

// bodyReader reads a body once. A transport may close it, even while it reads
// it, long after the request has ended: only then is the body free.
type bodyReader struct {
	mu   sync.Mutex
	body *body // nil: closed
	rest bytes.Reader
}

func (r *bodyReader) Read(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.body == nil {
		return 0, http.ErrBodyReadAfterClose
	}
	return r.rest.Read(p)
}

func (r *bodyReader) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.body != nil {
		r.body.release()
		r.body = nil
		r.rest.Reset(nil)
	}
	return nil
}
