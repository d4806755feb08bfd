package uploader

import (
	"maps"
	"testing"
)

// FuzzShipped must not panic, and what it takes must come back the same.
func FuzzShipped(f *testing.F) {
	f.Add([]byte(`{"version": 1, "uploaded": ["01JZZZZZZZ0000000000000000"]}`))
	f.Add([]byte(`{"version": 1, "uploaded": null}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		ids, err := decodeShipped(raw)
		if err != nil {
			return
		}
		text, err := encodeShipped(ids)
		if err != nil {
			t.Fatal(err)
		}
		if again, err := decodeShipped(text); err != nil || !maps.Equal(again, ids) {
			t.Fatalf("%v: %v, want %v", err, again, ids)
		}
	})
}
