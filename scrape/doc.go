// Package scrape decides what the Prometheus beside this sidecar scrapes.
//
// It reads the user's own prometheus.yml, runs the service discovery in it,
// resolves the targets as Prometheus does, finds the owners of each by
// rendezvous hashing over the members that may own it, and writes this
// member's share as file_sd files beside a generated prometheus.yml. It hands
// targets over so that nobody lets go before somebody holds.
//
// Who the members are is told to it (SetCluster), as is what Prometheus was
// seen to scrape (Observe); what it has to say of itself is read from Facts.
// How all that travels is left to others.
package scrape
