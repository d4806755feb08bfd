package page

import (
	"fmt"
	"math"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// maxShown and maxTold are how many characters are shown of a name, and of what a person is told.
const (
	maxShown = 160
	maxTold  = 600
)

// shown makes text that others chose fit to be read: short, and with nothing in it that is not seen or that turns what
// stands around it about. The template escapes it.
func shown(text any) string { return readable(fmt.Sprint(text), maxShown) }

// told is shown for sentences.
func told(text string) string { return readable(text, maxTold) }

func readable(s string, most int) string {
	var b strings.Builder
	n := 0
	for i, r := range s {
		if n++; n > most {
			return b.String() + "…"
		}
		switch {
		case r == utf8.RuneError:
			if _, size := utf8.DecodeRuneInString(s[i:]); size == 1 {
				fmt.Fprintf(&b, `\x%02x`, s[i])
				continue
			}
			b.WriteRune(r)
		case r == ' ' || unicode.IsPrint(r):
			b.WriteRune(r)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	return b.String()
}

// number groups the digits of a whole number by three.
func number(v any) string {
	s := fmt.Sprint(v)
	start := 0
	if strings.HasPrefix(s, "-") {
		start = 1
	}
	for i := len(s) - 3; i > start; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// digestStart is as much of a digest as tells it from others.
func digestStart(hex string) string { return hex[:min(8, len(hex))] }

func hex(digest uint64) string {
	if digest == 0 {
		return ""
	}
	return fmt.Sprintf("%016x", digest)
}

// seconds is a duration for people: two figures at most.
func seconds(s float64) string {
	switch d := math.Abs(s); {
	case d < 10 && s != math.Trunc(s):
		return strconv.FormatFloat(s, 'f', 1, 64) + " s"
	case d < 120:
		return strconv.FormatFloat(s, 'f', 0, 64) + " s"
	case d < 2*3600:
		return strconv.FormatFloat(s/60, 'f', 0, 64) + " min"
	case d < 48*3600:
		return strconv.FormatFloat(s/3600, 'f', 0, 64) + " h"
	}
	return strconv.FormatFloat(s/86400, 'f', 0, 64) + " days"
}

func ago(now, t time.Time) string {
	if t.IsZero() {
		return "never"
	}
	if d := now.Sub(t); d >= time.Second {
		return seconds(math.Trunc(d.Seconds())) + " ago"
	}
	return "just now"
}

func size(n int64) string {
	v, unit := float64(n), 0
	for v >= 1000 && unit < 4 {
		v, unit = v/1000, unit+1
	}
	digits := 0
	if unit > 0 && v < 10 {
		digits = 1
	}
	return strconv.FormatFloat(v, 'f', digits, 64) + " " + []string{"B", "kB", "MB", "GB", "TB"}[unit]
}

// pageURL is the address of another member's page. What is not an IP address and a port is not made a link.
func pageURL(scheme, address string) string {
	to, err := netip.ParseAddrPort(address)
	if err != nil || to.Addr().IsUnspecified() || to.Addr().Zone() != "" || to.Port() == 0 {
		return ""
	}
	return (&url.URL{Scheme: scheme, Host: to.String(), Path: "/"}).String()
}

// several joins texts, the first few of many.
func several(texts []string, most int) string {
	if more := len(texts) - most; more > 0 {
		return fmt.Sprintf("%s and %d more", strings.Join(texts[:most], ", "), more)
	}
	return strings.Join(texts, ", ")
}

func plural(n int, one, many string) string {
	if n == 1 {
		return number(n) + " " + one
	}
	return number(n) + " " + many
}
