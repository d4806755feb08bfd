package main

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"unicode/utf8"

	"golang.org/x/term"
)

// terminal is a screen that shows one view in place, on the terminal's second
// page, so that what was there before comes back in the end.
type terminal struct {
	in, out *os.File
	before  *term.State
	pressed chan byte
	plain   bool // no colours
}

const (
	enter = "\x1b[?1049h\x1b[?25l\x1b[2J" // second page, no cursor, clear
	leave = "\x1b[?25h\x1b[?1049l"
)

// openTerminal takes over the terminal. Its keys are read for as long as the
// program runs: a read cannot be called off.
func openTerminal(in, out *os.File) (*terminal, error) {
	before, err := term.MakeRaw(int(in.Fd()))
	if err != nil {
		return nil, fmt.Errorf("switch the terminal to single keys: %w", err)
	}
	t := &terminal{in: in, out: out, before: before, pressed: make(chan byte), plain: os.Getenv("NO_COLOR") != ""}
	go func() {
		defer close(t.pressed)
		key := make([]byte, 1)
		for {
			if _, err := in.Read(key); err != nil {
				return
			}
			t.pressed <- key[0]
		}
	}()
	out.WriteString(enter)
	return t, nil
}

func (t *terminal) keys() <-chan byte { return t.pressed }

func (t *terminal) close() {
	t.out.WriteString(leave)
	term.Restore(int(t.in.Fd()), t.before)
	fmt.Fprintln(t.out, "Ending everything that the demo started.")
}

var colour = regexp.MustCompile("\x1b\\[[0-9]*m")

// draw writes the view over the last one, in one piece and without clearing, so
// that nothing flickers.
func (t *terminal) draw(v view) {
	width, height, err := term.GetSize(int(t.out.Fd()))
	if err != nil {
		width, height = 80, 24
	}
	lines := v.frame(height)
	lines = lines[:min(len(lines), height)]
	var out strings.Builder
	out.WriteString("\x1b[H")
	for i, line := range lines {
		if t.plain {
			line = colour.ReplaceAllString(line, "")
		}
		if i > 0 {
			out.WriteString("\r\n")
		}
		out.WriteString(cut(line, width) + "\x1b[K")
	}
	out.WriteString("\x1b[J")
	t.out.WriteString(out.String())
}

// cut shortens line to width columns; colours take none.
func cut(line string, width int) string {
	var out strings.Builder
	for columns := 0; line != ""; {
		size := 0
		if at := colour.FindStringIndex(line); at != nil && at[0] == 0 {
			size = at[1]
		} else if _, size = utf8.DecodeRuneInString(line); columns == width {
			line = line[size:] // colours after it still count
			continue
		} else {
			columns++
		}
		out.WriteString(line[:size])
		line = line[size:]
	}
	return out.String()
}
