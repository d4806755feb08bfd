package faulty_test

import (
	"testing"

	"github.com/thanos-io/objstore"

	"github.com/ringside-project/ringside/uploader/faulty"
)

// TestAcceptance is objstore's own: without a fault the bucket is one like any.
func TestAcceptance(t *testing.T) {
	objstore.AcceptanceTest(t, &faulty.Bucket{Bucket: objstore.NewInMemBucket()})
}
