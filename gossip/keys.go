package gossip

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/fsnotify/fsnotify"
	"github.com/go-kit/log/level"
	"github.com/hashicorp/memberlist"
)

const (
	// keyPoll is how often the key file is compared without being told of a change: file watches miss some.
	keyPoll = 10 * time.Second
	// keySettle is how long a key file must have been left alone before it is read: writing one takes several steps.
	keySettle = 100 * time.Millisecond
	// maxKeyFile bounds the key file, in bytes.
	maxKeyFile = 1 << 16
)

// GenerateKey returns a new AES-256 key, as a line for Config.KeyFile.
func GenerateKey() (string, error) {
	key := make([]byte, 32)
	if _, err := rand.Read(key); err != nil {
		return "", fmt.Errorf("read random bytes: %w", err)
	}
	return base64.StdEncoding.EncodeToString(key), nil
}

// readKeys reads a key file. No error shows any of it.
func readKeys(path string) ([][]byte, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("cluster.key_file: %w: write the path of a file with a key from `ringside keygen`", err)
	}
	return parseKeys(path, content)
}

// parseKeys wants a base64 key of 16, 24 or 32 bytes on each line that is neither empty nor a # comment.
func parseKeys(path string, content []byte) ([][]byte, error) {
	if len(content) > maxKeyFile {
		return nil, fmt.Errorf("cluster.key_file %s has %d bytes: at most %d are read", path, len(content), maxKeyFile)
	}
	var keys [][]byte
	s := bufio.NewScanner(bytes.NewReader(content))
	s.Buffer(nil, maxKeyFile+1)
	for n := 1; s.Scan(); n++ {
		text := bytes.TrimSpace(s.Bytes())
		if len(text) == 0 || text[0] == '#' {
			continue
		}
		key, err := base64.StdEncoding.DecodeString(string(text))
		if err != nil {
			return nil, fmt.Errorf("%s:%d: not base64: write a key from `ringside keygen`", path, n)
		}
		if memberlist.ValidateKey(key) != nil {
			return nil, fmt.Errorf("%s:%d: a key of %d bytes: write one of 16, 24 or 32 bytes, from `ringside keygen`", path, n, len(key))
		}
		keys = append(keys, key)
	}
	if len(keys) == 0 {
		return nil, fmt.Errorf("cluster.key_file %s has no key: write one from `ringside keygen`", path)
	}
	return keys, s.Err()
}

// setKeys makes ring hold keys, in their order. Readers of the ring go through its slice without a lock, and RemoveKey moves the keys behind
// the one removed: so the unwanted are brought to the end first, where removing moves nothing.
func setKeys(ring *memberlist.Keyring, keys [][]byte) error {
	for _, key := range keys {
		if err := ring.AddKey(key); err != nil {
			return err
		}
	}
	for _, key := range slices.Backward(keys) {
		if err := ring.UseKey(key); err != nil {
			return err
		}
	}
	for _, old := range slices.Backward(ring.GetKeys()) {
		if slices.ContainsFunc(keys, func(key []byte) bool { return bytes.Equal(key, old) }) {
			return nil
		}
		if err := ring.RemoveKey(old); err != nil {
			return err
		}
	}
	return nil
}

// watchKeys reads the key file again whenever it has changed, until ctx ends. It watches the directory, since a mounted Secret changes by its
// directory's symlinks, and polls besides.
func (c *Cluster) watchKeys(ctx context.Context) {
	if c.cfg.KeyFile == "" {
		return
	}
	var events chan fsnotify.Event
	var errs chan error
	watcher, err := fsnotify.NewWatcher()
	if err == nil {
		defer func() { _ = watcher.Close() }()
		err = watcher.Add(filepath.Dir(c.cfg.KeyFile))
		events, errs = watcher.Events, watcher.Errors
	}
	if err != nil {
		level.Warn(c.logger).Log("msg", "cannot watch the key file, polling it instead", "file", c.cfg.KeyFile, "err", err)
	}
	poll := time.NewTicker(keyPoll)
	defer poll.Stop()
	settled := time.NewTimer(0)
	defer settled.Stop()
	last := c.keyFile
	for {
		select {
		case <-ctx.Done():
			return
		case <-events:
			settled.Reset(keySettle)
		case <-errs: // events may be missing
			settled.Reset(keySettle)
		case <-settled.C:
			last = c.rereadKeys(last)
		case <-poll.C:
			last = c.rereadKeys(last)
		}
	}
}

// rereadKeys puts the keys of a key file that differs from last into the ring. A file with an error leaves the ring alone.
func (c *Cluster) rereadKeys(last []byte) []byte {
	content, err := os.ReadFile(c.cfg.KeyFile)
	if err == nil && bytes.Equal(content, last) && !c.problems.has(keyFileProblem) {
		return last
	}
	var keys [][]byte
	if err == nil {
		keys, err = parseKeys(c.cfg.KeyFile, content)
	}
	if err == nil {
		err = setKeys(c.ring, keys)
	}
	if err != nil {
		c.metrics.keyReloads.WithLabelValues(outcomeError).Inc()
		if c.problem(keyFileProblem, fmt.Sprintf("the key file is not usable, the old keys stay in use: %v", err)) {
			level.Error(c.logger).Log("msg", "key file is not usable, the old keys stay in use", "err", err)
		}
		return last
	}
	c.metrics.keyReloads.WithLabelValues(outcomeOK).Inc()
	c.metrics.keys.Set(float64(len(c.ring.GetKeys())))
	c.problems.clear(keyFileProblem)
	c.changed.set()
	level.Info(c.logger).Log("msg", "key file read", "file", c.cfg.KeyFile, "keys", len(keys))
	return content
}
