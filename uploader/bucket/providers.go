//go:build !full

package bucket

// linked are the providers of the default build. providers_full.go has all of
// them; the others would make the program larger than 75 MB.
func linked() map[string]provider { return common() }
