package uploader

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/oklog/ulid/v2"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/tsdb/fileutil"

	"github.com/ringside-project/ringside/uploader/block"
)

// staging is the part of the data directory that is the uploader's own. It
// holds a copy of each block that is not up yet, its files hard links, so that
// neither retention nor compaction can take it away.
type staging struct {
	dataDir string
	own     string
	upload  string // a directory for each staged block
	work    string // for merges under way; of no use to the next run
}

func newStaging(dataDir string) *staging {
	own := filepath.Join(dataDir, "ringside")
	return &staging{dataDir: dataDir, own: own, upload: filepath.Join(own, "upload"), work: filepath.Join(own, "merge")}
}

// lock keeps others of this program out until the program ends, or release is
// called. Where no file can be locked, or there is no room for one, it locks nothing.
func (s *staging) lock() (release func(), err error) {
	err = os.MkdirAll(s.own, 0o777)
	var held fileutil.Releaser
	if err == nil {
		held, _, err = fileutil.Flock(filepath.Join(s.own, "lock"))
	}
	switch {
	case err == nil:
		return func() { held.Release() }, nil // its end releases it too
	case errors.Is(err, syscall.EWOULDBLOCK):
		return nil, fmt.Errorf("%s is in use: another ringside, the sidecar or a ringside flush, uploads from this data directory; end that one first", s.own)
	case full(err), errors.Is(err, syscall.ENOTSUP), errors.Is(err, syscall.ENOLCK), errors.Is(err, syscall.ENOSYS):
		return func() {}, nil
	}
	return nil, err
}

// full tells whether there was no room.
func full(err error) bool { return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) }

// halfway ends the name of a directory that is not whole yet.
const halfway = ".tmp"

// clean removes what a run that was killed left half done.
func (s *staging) clean() error {
	if err := os.RemoveAll(s.work); err != nil {
		return err
	}
	left, err := filepath.Glob(filepath.Join(s.upload, "*"+halfway))
	if err != nil {
		return err
	}
	for _, dir := range left {
		if err := os.RemoveAll(dir); err != nil {
			return err
		}
	}
	return nil
}

// add stages a block under the labels, if they are known. An fs.ErrNotExist
// says that Prometheus has just removed it.
func (s *staging) add(b *block.Block, external labels.Labels) error {
	dir := filepath.Join(s.upload, b.Meta.ULID.String())
	tmp := dir + halfway
	if err := os.RemoveAll(tmp); err != nil {
		return err
	}
	_, err := b.Link(tmp, external.Map())
	if err == nil {
		err = os.Rename(tmp, dir)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("stage block %s: %w", b.Meta.ULID, explain(err)), os.RemoveAll(tmp))
	}
	return nil
}

// explain says what to do about a link that is not permitted.
func explain(err error) error {
	if errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("%w; run the sidecar as the user that Prometheus runs as", err)
	}
	return err
}

// adopt stages a block that was made in the work directory.
func (s *staging) adopt(b *block.Block, external map[string]string) error {
	b.Meta.Thanos.Version, b.Meta.Thanos.Labels = 1, external
	if err := b.WriteMeta(); err != nil {
		return err
	}
	return os.Rename(b.Dir, filepath.Join(s.upload, b.Meta.ULID.String()))
}

// remove ends the staging of a block.
func (s *staging) remove(id ulid.ULID) error {
	dir := filepath.Join(s.upload, id.String())
	if err := os.Rename(dir, dir+halfway); err != nil {
		return err
	}
	return os.RemoveAll(dir + halfway)
}

// workspace makes an empty directory for one merge, and copies of its parts.
func (s *staging) workspace(parts []*block.Block) (dir string, copies []*block.Block, err error) {
	dir = filepath.Join(s.work, parts[0].Meta.ULID.String())
	if err := os.RemoveAll(dir); err != nil {
		return "", nil, err
	}
	for _, p := range parts {
		c, err := p.Link(filepath.Join(dir, "parts", p.Meta.ULID.String()), nil)
		if err != nil {
			return "", nil, errors.Join(err, os.RemoveAll(dir))
		}
		copies = append(copies, c)
	}
	return dir, copies, nil
}

// tidy removes the directory of a merge that has ended.
func (s *staging) tidy(dir string) { os.RemoveAll(dir) } // the next run removes what is left
