package uploader

import "time"

// Status is what /api/v1/status/uploads answers. Its slices are never nil.
type Status struct {
	Bucket     *BucketStatus     `json:"bucket"` // nil: no bucket is configured
	Labels     map[string]string `json:"labels"`
	LagSeconds float64           `json:"lag_seconds"`    // age of the oldest block that is complete and not yet up; 0 when there is none
	Held       string            `json:"held,omitempty"` // why nothing may be uploaded, where that lasts
	// OverdueSeconds is for how long the oldest block has been due: unlike the lag, it does not count
	// the time in which out-of-order samples were waited for. 0 when none is.
	OverdueSeconds float64       `json:"overdue_seconds"`
	Warnings       []string      `json:"warnings"`
	Flush          FlushStatus   `json:"flush"`
	Blocks         []BlockStatus `json:"blocks"` // oldest first
}

// BucketStatus tells how the bucket answered last.
type BucketStatus struct {
	Type      string `json:"type"`
	Name      string `json:"name"`
	Reachable bool   `json:"reachable"`
	Error     string `json:"error,omitempty"`
}

// FlushStatus tells what became of the head.
type FlushStatus struct {
	State   string   `json:"state"` // idle, running, done, failed
	Samples int64    `json:"samples"`
	Blocks  []string `json:"blocks"`
	Error   string   `json:"error,omitempty"`
}

// BlockStatus is one block of the data directory, or one that is staged.
type BlockStatus struct {
	ULID          string    `json:"ulid"`
	MinTime       time.Time `json:"min_time"`
	MaxTime       time.Time `json:"max_time"`
	Samples       uint64    `json:"samples"`
	Series        uint64    `json:"series"`
	Bytes         int64     `json:"bytes"` // of index and chunks
	Level         int       `json:"level"`
	Sources       []string  `json:"sources"`
	State         string    `json:"state"`            // waiting, uploading, uploaded, covered, merged, refused, failed
	Reason        string    `json:"reason,omitempty"` // of an upload: what comes before the first byte
	UploadedBytes int64     `json:"uploaded_bytes"`
	Attempts      int       `json:"attempts"`
	NextTry       time.Time `json:"next_try,omitzero"`
}
