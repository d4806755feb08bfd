//go:build !full

package bucket

// linked are the providers of the default build. providers_full.go has all of
// them; Google's alone would bring an idle sidecar over its bound of 64 MiB of memory,
// even without gRPC.
func linked() map[string]provider { return common() }
