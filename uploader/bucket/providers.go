//go:build !full

package bucket

// linked are the providers of the default build. providers_full.go has all of
// them; Google's alone would add 19 MB to the 68 of the program.
func linked() map[string]provider { return common() }
