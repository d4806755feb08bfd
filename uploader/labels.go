package uploader

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/google/renameio/v2"
	"github.com/prometheus/prometheus/model/labels"
)

func labelsFile(dataDir string) string { return filepath.Join(newStaging(dataDir).own, "labels.json") }

// KeptLabels are those under which blocks of the data directory could last be
// uploaded; empty: it was never so. An error names the file.
func KeptLabels(dataDir string) (labels.Labels, error) {
	path := labelsFile(dataDir)
	raw, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return labels.EmptyLabels(), nil
	}
	if err != nil {
		return labels.EmptyLabels(), err
	}
	kept := map[string]string{}
	if err := json.Unmarshal(raw, &kept); err != nil {
		return labels.EmptyLabels(), fmt.Errorf("%s: %w; remove it if it cannot be mended", path, err)
	}
	return labels.FromMap(kept), nil
}

// keepLabels notes those under which blocks may be uploaded now, for whoever finds
// the data directory elsewhere.
func (e *engine) keepLabels() {
	if e.held != "" || labels.Equal(e.external, e.kept) {
		return
	}
	if err := keepLabels(e.opts.DataDir, e.external); err != nil {
		e.fail("labels", fmt.Errorf("note the external labels: %w", err))
		return
	}
	e.kept = e.external
	delete(e.troubles, "labels")
}

func keepLabels(dataDir string, external labels.Labels) error {
	raw, err := json.MarshalIndent(external.Map(), "", "\t")
	if err != nil {
		return err
	}
	return renameio.WriteFile(labelsFile(dataDir), append(raw, '\n'), 0o666)
}
