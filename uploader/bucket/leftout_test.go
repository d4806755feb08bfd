//go:build !full

package bucket_test

import (
	"strings"
	"testing"

	"github.com/ringside-project/ringside/uploader/bucket"
)

func TestValidateNamesTheTagOfAProviderLeftOut(t *testing.T) {
	err := (&bucket.Config{Type: "swift"}).Validate()
	if err == nil || !strings.Contains(err.Error(), "this build leaves out SWIFT; build with -tags full (make build-full)") {
		t.Error(err)
	}
}
