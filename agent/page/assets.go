package page

import (
	"crypto/sha256"
	_ "embed" // of the files
	"fmt"
	"path"
	"strings"
)

var (
	//go:embed page.css
	style []byte
	//go:embed page.js
	script []byte
	//go:embed icon.svg
	icon []byte
)

// asset is a file that the page refers to.
type asset struct {
	path string // relative to the page, so that a proxy may put it below any path
	kind string
	body []byte
}

var assets = map[string]asset{
	"page.css": newAsset("page.css", "text/css; charset=utf-8", style),
	"page.js":  newAsset("page.js", "text/javascript; charset=utf-8", script),
	"icon.svg": newAsset("icon.svg", "image/svg+xml", icon),
}

// newAsset puts a hash of the content into the path: browsers may keep it for ever.
func newAsset(name, kind string, body []byte) asset {
	sum := sha256.Sum256(body)
	stem, ext, _ := strings.Cut(name, ".")
	return asset{path: fmt.Sprintf("static/%s.%x.%s", stem, sum[:6], ext), kind: kind, body: body}
}

// Policy is the Content-Security-Policy under which the page works: its own style and script, and nothing from
// anywhere else, nor within the page.
const Policy = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; " +
	"form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

// Asset returns the file at the path below which it is served, such as static/page.0123456789ab.css, and its media type.
func Asset(name string) (body []byte, kind string, ok bool) {
	for _, a := range assets {
		if a.path == path.Clean(strings.TrimPrefix(name, "/")) {
			return a.body, a.kind, true
		}
	}
	return nil, "", false
}
