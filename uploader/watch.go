package uploader

import (
	"path/filepath"

	"github.com/fsnotify/fsnotify"
	"github.com/go-kit/log"
	"github.com/go-kit/log/level"
	"github.com/oklog/ulid/v2"
)

// watch tells when something happens to a block in dir. Where that cannot be
// watched there is still the poll.
func watch(dir string, logger log.Logger) (events <-chan struct{}, stop func()) {
	w, err := fsnotify.NewWatcher()
	if err == nil {
		if err = w.Add(dir); err != nil {
			w.Close()
		}
	}
	if err != nil {
		level.Warn(logger).Log("msg", "new blocks are found by polling alone", "err", err)
		return nil, func() {}
	}
	news, ended := make(chan struct{}, 1), make(chan struct{})
	go func() {
		defer close(ended)
		for {
			select {
			case e, open := <-w.Events:
				if !open {
					return
				}
				if _, err := ulid.ParseStrict(filepath.Base(e.Name)); err != nil {
					continue
				}
				select {
				case news <- struct{}{}:
				default:
				}
			case _, open := <-w.Errors: // an overflow; the poll makes up for it
				if !open {
					return
				}
			}
		}
	}()
	return news, func() {
		w.Close()
		<-ended
	}
}
