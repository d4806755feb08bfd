package upstream

import (
	"net/http"
	"regexp"
	"strconv"
	"strings"

	"github.com/ringside-project/ringside/relay/wire"
)

// leftOut is all that Thanos Receive says when it has written a request but for
// what it names: "writing locally: 2 errors: add 3 samples: out of order
// sample; add 1 series: …" (pkg/receive/writer_errors.go of Thanos 0.42).
// A router, which sums up what others said, says it in other words.
var leftOut = regexp.MustCompile(`^(?:writing locally: )?(?:\d+ errors: )?add \d+ (?:samples|series|exemplars): [^;]+(?:; add \d+ (?:samples|series|exemplars): [^;]+)*$`)

var leftOutPart = regexp.MustCompile(`add (\d+) (samples|series|exemplars): `)

// partlyWritten makes the answer one to a partial write if these words are
// Thanos Receive's for it. Were the request sent again in halves, a series that
// is in it more than once would be refused but for its newest sample, since all
// of it is there already. A series counts as one sample, which is what
// Prometheus puts into one.
func (a *answer) partlyWritten(words string, sent wire.Counts) {
	words = strings.TrimSpace(words)
	if a.class != suspect || a.status != http.StatusConflict || !leftOut.MatchString(words) {
		return
	}
	a.class, a.written = partial, sent
	for _, part := range leftOutPart.FindAllStringSubmatch(words, -1) {
		n, err := strconv.Atoi(part[1])
		if err != nil {
			n = sent.Samples
		}
		if part[2] == "exemplars" {
			a.written.Exemplars -= min(n, a.written.Exemplars)
			continue
		}
		fromSamples := min(n, a.written.Samples) // histograms are among them
		a.written.Samples -= fromSamples
		a.written.Histograms -= min(n-fromSamples, a.written.Histograms)
	}
}
