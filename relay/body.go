package relay

import (
	"bytes"
	"errors"
	"fmt"
	"mime"
	"net/http"

	"github.com/klauspost/compress/s2"

	"github.com/ringside-project/ringside/relay/wire"
)

const (
	maxBody = 32 << 20 // bytes of a request, compressed, and again decoded

	// maxExpansion is more than snappy can do: 3 bytes copy up to 64
	// (https://github.com/google/snappy/blob/main/format_description.txt).
	maxExpansion = 22

	maxPooled = 4 << 20 // bytes of a buffer that is worth keeping
)

// request is what the parts of one request are kept in, to be used again.
type request struct {
	body    bytes.Buffer // as it came: snappy
	decoded []byte
	batch   wire.Batch // refers to decoded
}

// rejection is why a request is not accepted: the reason in the metrics, and
// the status and text of the answer. Text quotes no part of a body.
type rejection struct {
	status int
	reason string
	text   string
}

func malformed(err error) *rejection {
	return &rejection{http.StatusBadRequest, reasonMalformed, err.Error()}
}

var tooLarge = &rejection{
	http.StatusRequestEntityTooLarge, reasonTooLarge,
	fmt.Sprintf("a body may have %d bytes, compressed and decoded; send fewer samples at a time", maxBody),
}

// negotiate tells which message the request holds by its headers. Both must be
// there, as both specifications demand; no web page can send them unasked.
func negotiate(req *http.Request) (wire.Message, *rejection) {
	if req.Method != http.MethodPost {
		return "", &rejection{http.StatusMethodNotAllowed, reasonMethod, "remote_write is a POST"}
	}
	contentType := req.Header.Get("Content-Type")
	media, params, err := mime.ParseMediaType(contentType)
	msg := wire.V1
	if proto, ok := params["proto"]; ok {
		msg = wire.Message(proto)
	}
	if err != nil || media != "application/x-protobuf" || (msg != wire.V1 && msg != wire.V2) {
		return "", &rejection{
			http.StatusUnsupportedMediaType, reasonMediaType,
			fmt.Sprintf("Content-Type %.100q is not spoken here; send application/x-protobuf, with proto=%s or proto=%s", contentType, wire.V1, wire.V2),
		}
	}
	if encoding := req.Header.Get("Content-Encoding"); encoding != "snappy" {
		return "", &rejection{
			http.StatusUnsupportedMediaType, reasonMediaType,
			fmt.Sprintf("Content-Encoding %.100q is not spoken here; send snappy", encoding),
		}
	}
	return msg, nil
}

// readBody reads the body as it came. Its size is checked before memory is taken.
func (r *request) readBody(w http.ResponseWriter, req *http.Request) *rejection {
	if req.ContentLength > maxBody {
		return tooLarge
	}
	r.body.Reset()
	r.body.Grow(int(max(req.ContentLength, 0)) + bytes.MinRead)
	if _, err := r.body.ReadFrom(http.MaxBytesReader(w, req.Body, maxBody)); err != nil {
		if tooLong := new(http.MaxBytesError); errors.As(err, &tooLong) {
			return tooLarge
		}
		// The data is not to blame: 503 lets the sender try again.
		return &rejection{http.StatusServiceUnavailable, reasonRead, fmt.Sprintf("read the body: %v", err)}
	}
	return nil
}

// decodedSize is how many bytes decode will need.
func (r *request) decodedSize() (int, *rejection) {
	size, err := s2.DecodedLen(r.body.Bytes())
	switch {
	case err != nil:
		return 0, malformed(fmt.Errorf("decode snappy: %w", err))
	case size > maxBody:
		return 0, tooLarge
	case size > maxExpansion*r.body.Len():
		return 0, malformed(fmt.Errorf("decode snappy: %d bytes cannot hold the %d that they claim", r.body.Len(), size))
	}
	return size, nil
}

func (r *request) decode() *rejection {
	var err error
	if r.decoded, err = s2.Decode(r.decoded[:cap(r.decoded)], r.body.Bytes()); err != nil {
		return malformed(fmt.Errorf("decode snappy: %w", err))
	}
	return nil
}

func (r *Relay) release(req *request) {
	if req.body.Cap() <= maxPooled && cap(req.decoded) <= maxPooled && req.batch.Len()*indexSize <= maxPooled {
		r.requests.Put(req)
	}
}
