// Package e2e runs real Prometheus servers with Ringside beside them, breaks
// them on purpose, and measures what the targets saw.
//
// It has four parts. A Driver starts programs: Processes does so on this
// machine, one of the tests' in network namespaces that can be cut off. A Fleet
// is a number of pairs of Prometheus and Ringside, each in a directory of its
// own. A farm plays any number of targets and logs every scrape with its
// scraper. A scrapeLog answers what was missed, what was scraped
// twice and who scraped what.
//
// The package knows Ringside by its binary, its files and its HTTP API only. It
// is used by its own tests, which are the scenarios (make e2e), and by
// examples/demo.
package e2e
