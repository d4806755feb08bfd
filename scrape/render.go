package scrape

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/cespare/xxhash/v2"
	"github.com/google/renameio/v2"
	"github.com/prometheus/common/model"

	"github.com/ringside-project/ringside/scrape/promconfig"
)

// fileGroup is one target group of a file_sd file, as Prometheus reads it.
type fileGroup struct {
	Targets []string          `json:"targets"`
	Labels  map[string]string `json:"labels,omitempty"`
}

// entry is one target of a file_sd file: its address and its other labels as JSON.
type entry struct {
	address, labels string
}

// entryOf gives t as the file has it: the labels that the job's rules, or the
// scrape itself, can read, as they were discovered, before relabelling.
func entryOf(t target, job promconfig.Job, self model.LabelSet) (entry, error) {
	discovered := t.group.Targets[t.index]
	kept := make(map[string]string, len(discovered)+len(t.group.Labels))
	for _, set := range []model.LabelSet{t.group.Labels, discovered} {
		for name, value := range set {
			if name != model.AddressLabel && job.ReadsLabel(string(name)) {
				kept[string(name)] = string(value)
			}
		}
	}
	if job.ReadsSelf {
		for name, value := range self {
			kept[string(name)] = string(value)
		}
	}
	// Prometheus's own file_sd sets this label to the name of our file.
	if path, ok := kept[filepathLabel]; ok {
		delete(kept, filepathLabel)
		if job.RestoreFilepath {
			kept[ownFilepathLabel] = path
		}
	}
	address := discovered[model.AddressLabel]
	if address == "" {
		address = t.group.Labels[model.AddressLabel]
	}
	text, err := json.Marshal(kept)
	return entry{string(address), string(text)}, err
}

// render gives the file_sd file with the entries: one target group a line,
// sorted, so that equal targets make equal bytes.
func render(entries []entry) []byte {
	slices.SortFunc(entries, func(a, b entry) int {
		if c := strings.Compare(a.labels, b.labels); c != 0 {
			return c
		}
		return strings.Compare(a.address, b.address)
	})
	entries = slices.Compact(entries)
	var out bytes.Buffer
	out.WriteString("[")
	for i := 0; i < len(entries); {
		if i > 0 {
			out.WriteString(",")
		}
		out.WriteString("\n{\"targets\":[")
		first := i
		for ; i < len(entries) && entries[i].labels == entries[first].labels; i++ {
			if i > first {
				out.WriteString(",")
			}
			address, _ := json.Marshal(entries[i].address) // a string always marshals
			out.Write(address)
		}
		out.WriteString("],\"labels\":")
		out.WriteString(entries[first].labels)
		out.WriteString("}")
	}
	if len(entries) > 0 {
		out.WriteString("\n")
	}
	out.WriteString("]\n")
	return out.Bytes()
}

// readEntries reads a file that render wrote, in this run or an earlier one.
func readEntries(path string) (map[entry]bool, []byte, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, nil, err
	}
	var groups []fileGroup
	if err := json.Unmarshal(content, &groups); err != nil {
		return nil, content, fmt.Errorf("read targets %s: %w", path, err)
	}
	entries := map[entry]bool{}
	for _, g := range groups {
		if g.Labels == nil {
			g.Labels = map[string]string{}
		}
		text, err := json.Marshal(g.Labels)
		if err != nil {
			return nil, content, fmt.Errorf("read targets %s: %w", path, err)
		}
		for _, address := range g.Targets {
			entries[entry{address, string(text)}] = true
		}
	}
	return entries, content, nil
}

// writeFile puts content at path whole or not at all, and so that it outlives
// a crash of the machine: Prometheus watches the directory, and must never
// find half a file nor none.
func writeFile(path string, content []byte, mode fs.FileMode) error {
	dir := filepath.Dir(path)
	if err := renameio.WriteFile(path, content, mode, renameio.WithTempDir(dir), renameio.IgnoreUmask()); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	if err := errors.Join(d.Sync(), d.Close()); err != nil {
		return fmt.Errorf("write %s: sync its directory: %w", path, err)
	}
	return nil
}

// targetFile is one job's file_sd file.
type targetFile struct {
	path    string
	written uint64 // hash of what the file holds, as far as we know
	known   bool
}

// put writes content unless the file holds it already, and tells whether it
// had to.
func (f *targetFile) put(content []byte) (bool, error) {
	sum := xxhash.Sum64(content)
	if f.known && f.written == sum {
		return false, nil
	}
	if err := writeFile(f.path, content, 0o644); err != nil {
		return false, err
	}
	f.written, f.known = sum, true
	return true, nil
}
