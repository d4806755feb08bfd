package e2e

import (
	"bytes"
	"context"
	"fmt"
	"image"
	"image/draw"
	"image/png"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	cdplog "github.com/chromedp/cdproto/log"
	cdppage "github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// browser is a page of a headless Chromium, which notes what no page of ours may
// cause: dialogs, uncaught errors, and breaches of the Content-Security-Policy.
type browser struct {
	*testing.T
	ctx context.Context

	mtx        sync.Mutex
	complaints []string
}

// chromium returns the path of a Chromium, or skips the test.
func chromium(t *testing.T) string {
	t.Helper()
	names := []string{"chromium", "chromium-browser", "google-chrome", "chrome"}
	if path := os.Getenv("CHROMIUM"); path != "" {
		names = []string{path}
	}
	for _, name := range names {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	t.Skip("SKIP: the status page is looked at in a real browser: apt-get install chromium, or set CHROMIUM= to the path of one")
	return ""
}

// newBrowser starts a Chromium that ends with the test.
func newBrowser(t *testing.T) *browser {
	t.Helper()
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(chromium(t)), chromedp.Flag("force-color-profile", "srgb"))
	if os.Getuid() == 0 {
		options = append(options, chromedp.NoSandbox)
	}
	alloc, endAlloc := chromedp.NewExecAllocator(context.Background(), options...)
	ctx, end := chromedp.NewContext(alloc)
	b := &browser{T: t, ctx: ctx}
	t.Cleanup(func() {
		end()
		endAlloc()
		b.mtx.Lock()
		defer b.mtx.Unlock()
		for _, c := range b.complaints {
			t.Errorf("the browser complains: %s", c)
		}
	})
	if err := chromedp.Listen(ctx, b.listen); err != nil {
		t.Fatalf("start the browser: %v", err)
	}
	call(b, cdplog.Enable, cdp.Empty{})
	call(b, runtime.Enable, cdp.Empty{})
	b.window(1240, 900)
	return b
}

// call sends the browser a command that has no action of its own.
func call[P, R any](b *browser, command cdp.Command[P, R], params P) {
	b.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, time.Minute)
	defer cancel()
	if _, err := chromedp.Call(ctx, command, params); err != nil {
		b.Fatalf("browser: %s: %v", command.Method, err)
	}
}

func (b *browser) listen(event any) {
	switch e := event.(type) {
	case *cdppage.EventJavascriptDialogOpening:
		b.complain("a dialog opens: %s", e.Message)
		go chromedp.Call(b.ctx, cdppage.HandleJavaScriptDialog, cdppage.HandleJavaScriptDialogParams{Accept: true})
	case *runtime.EventExceptionThrown:
		b.complain("%s %+v", e.ExceptionDetails.Text, e.ExceptionDetails.Exception)
	case *cdplog.EventEntryAdded:
		if e.Entry.Source == cdplog.EntrySourceSecurity || strings.Contains(e.Entry.Text, "Content Security Policy") {
			b.complain("%s", e.Entry.Text)
		}
	}
}

func (b *browser) complain(format string, args ...any) {
	b.mtx.Lock()
	defer b.mtx.Unlock()
	b.complaints = append(b.complaints, fmt.Sprintf(format, args...))
}

// run fails the test when one of the steps does, or takes too long.
func (b *browser) run(steps ...chromedp.Action[chromedp.Void]) {
	b.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, time.Minute)
	defer cancel()
	if err := chromedp.Do(ctx, steps...); err != nil {
		b.Fatalf("browser: %v", err)
	}
}

// open goes to a page and waits until it is there.
func (b *browser) open(url string) {
	b.Helper()
	b.run(chromedp.Navigate(url), chromedp.WaitReady(chromedp.CSS("footer")))
}

func (b *browser) click(selector string) {
	b.Helper()
	b.run(chromedp.Click(chromedp.CSS(selector)))
}

// enter types text into a field.
func (b *browser) enter(selector, text string) {
	b.Helper()
	b.run(chromedp.SendKeys(chromedp.CSS(selector), text))
}

// window sets the size that pages have.
func (b *browser) window(width, height int64, options ...chromedp.EmulateViewportOption) {
	b.Helper()
	b.run(chromedp.EmulateViewport(width, height, options...))
}

// eval returns what a JavaScript expression is.
func eval[T any](b *browser, expression string) T {
	b.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, time.Minute)
	defer cancel()
	out, err := chromedp.Run(ctx, chromedp.Evaluate[T](expression))
	if err != nil {
		b.Fatalf("browser: %s: %v", expression, err)
	}
	return out
}

// text returns what stands in the element, as it is rendered.
func (b *browser) text(selector string) string {
	b.Helper()
	return eval[string](b, fmt.Sprintf(`document.querySelector(%q)?.innerText ?? ""`, selector))
}

// shows waits until the element has all of want in it, without a reload.
func (b *browser) shows(within time.Duration, selector string, want ...string) string {
	b.Helper()
	ctx, cancel := context.WithTimeoutCause(b.ctx, within, fmt.Errorf("%s does not show %q within %s", selector, want, within))
	defer cancel()
	text := ""
	err := poll(ctx, func() error {
		text = b.text(selector)
		for _, w := range want {
			if !strings.Contains(text, w) {
				return fmt.Errorf("no %q in %q", w, text)
			}
		}
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
	return text
}

// scripts switches JavaScript on or off for pages opened from now on.
func (b *browser) scripts(on bool) {
	b.Helper()
	call(b, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: !on})
}

// scheme sets the colours that the reader prefers: light or dark.
func (b *browser) scheme(name string) {
	b.Helper()
	call(b, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
		Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: name}},
	})
}

// fits fails the test when the page is wider than the window.
func (b *browser) fits() {
	b.Helper()
	if wide := eval[[]int64](b, `[document.scrollingElement.scrollWidth, innerWidth]`); wide[0] > wide[1] {
		b.Errorf("the page is %d pixels wide in a window of %d", wide[0], wide[1])
	}
}

// whole fails the test when something in the page is cut off, to be scrolled to.
func (b *browser) whole() {
	b.Helper()
	cut := eval[[]string](b, `[...document.querySelectorAll(".scroll")].filter((e) => e.scrollWidth > e.clientWidth).map((e) => e.getAttribute("aria-label"))`)
	if len(cut) > 0 {
		b.Errorf("cut off in a window of %d pixels: %q", eval[int64](b, "innerWidth"), cut)
	}
}

// shoot writes a picture of the page from one element to another, where one is
// asked for.
func (b *browser) shoot(name, from, to string) {
	b.Helper()
	dir := os.Getenv("RINGSIDE_SCREENSHOTS")
	if dir == "" {
		return
	}
	edge := func(selector, side string) int {
		return int(eval[float64](b, fmt.Sprintf(`document.querySelector(%q).getBoundingClientRect().%s + scrollY`, selector, side)))
	}
	top, bottom := edge(from, "top")-16, edge(to, "bottom")+16
	ctx, cancel := context.WithTimeout(b.ctx, time.Minute)
	defer cancel()
	shot, err := chromedp.Run(ctx, chromedp.FullScreenshot(100))
	if err != nil {
		b.Fatalf("browser: %v", err)
	}
	whole, err := png.Decode(bytes.NewReader(shot))
	if err != nil {
		b.Fatal(err)
	}
	bounds := whole.Bounds()
	bounds.Min.Y, bounds.Max.Y = max(bounds.Min.Y, top), min(bounds.Max.Y, bottom)
	cut := image.NewNRGBA(bounds)
	draw.Draw(cut, bounds, whole, bounds.Min, draw.Src)
	var out bytes.Buffer
	if err := (&png.Encoder{CompressionLevel: png.BestCompression}).Encode(&out, cut); err != nil {
		b.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, name+".png"), out.Bytes(), 0o644); err != nil {
		b.Fatal(err)
	}
	b.Logf("%s.png: %d bytes", name, out.Len())
}
