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
	"syscall"

	"github.com/cespare/xxhash/v2"
	"github.com/google/renameio/v2"
	"github.com/prometheus/common/model"
)

// entry is one target of a file_sd file: its address and its other labels as JSON.
type entry struct {
	address, labels string
}

// reader is what the rules of a job can read of a discovered target.
type reader struct {
	reads   func(label string) bool
	self    bool // this member's own labels
	restore bool // the discovered __meta_filepath, under another name
}

// entryOf gives t as the file has it: the labels that one of the readers can
// read, as they were discovered, before relabelling.
func entryOf(t target, readers []reader, self model.LabelSet) (entry, error) {
	discovered := t.group.Targets[t.index]
	kept := make(map[string]string, len(discovered)+len(t.group.Labels))
	for _, set := range []model.LabelSet{t.group.Labels, discovered} {
		for name, value := range set {
			if name != model.AddressLabel && slices.ContainsFunc(readers, func(r reader) bool { return r.reads(string(name)) }) {
				kept[string(name)] = string(value)
			}
		}
	}
	if slices.ContainsFunc(readers, func(r reader) bool { return r.self }) {
		for name, value := range self {
			kept[string(name)] = string(value)
		}
	}
	// Prometheus's own file_sd sets this label to the name of our file.
	if path, ok := kept[filepathLabel]; ok {
		delete(kept, filepathLabel)
		if slices.ContainsFunc(readers, func(r reader) bool { return r.restore }) {
			kept[ownFilepathLabel] = path
		}
	}
	text, err := json.Marshal(kept)
	return entry{t.discoveredAddress(), string(text)}, err
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

// readAddresses gives the addresses of the targets in a file that an earlier
// run wrote, and the whole of the file.
func readAddresses(path string) (map[string]bool, []byte, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, nil, err
	}
	var groups []struct {
		Targets []string `json:"targets"`
	}
	if err := json.Unmarshal(content, &groups); err != nil {
		return nil, content, fmt.Errorf("read targets %s: %w", path, err)
	}
	addresses := map[string]bool{}
	for _, g := range groups {
		for _, address := range g.Targets {
			addresses[address] = true
		}
	}
	return addresses, content, nil
}

// writeFile puts content at path whole or not at all, and so that it outlives
// a crash of the machine: Prometheus watches the directory, and must never
// find half a file nor none.
func writeFile(path string, content []byte, mode fs.FileMode) error {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("make directory %s: %w; the sidecar must be able to make it and to write there", dir, cause(err))
	}
	if err := renameio.WriteFile(path, content, mode, renameio.WithTempDir(dir), renameio.IgnoreUmask()); err != nil {
		return fmt.Errorf("write %s: %w", path, cause(err))
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

// cause is the system's own error, without the random name of a temporary
// file, which would make the same trouble look new every time.
func cause(err error) error {
	var errno syscall.Errno
	if errors.As(err, &errno) {
		return errno
	}
	return err
}

// targetFile is one job's file_sd file.
type targetFile struct {
	path    string
	written uint64 // hash of what the file holds, if known
	size    int64  // of it
	known   bool
}

// put writes content unless the file holds it already, and tells whether it
// had to.
func (f *targetFile) put(content []byte) (bool, error) {
	sum := xxhash.Sum64(content)
	if f.known && f.written == sum {
		return false, nil
	}
	if err := writeFile(f.path, content, writtenMode); err != nil {
		return false, err
	}
	f.written, f.size, f.known = sum, int64(len(content)), true
	return true, nil
}

// lost tells whether the file is not there any more, or not as we wrote it, as
// far as can be seen without reading it.
func (f *targetFile) lost() bool {
	info, err := os.Stat(f.path)
	return f.known && (err != nil || info.Size() != f.size)
}
