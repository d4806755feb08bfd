package bucket

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"go.yaml.in/yaml/v3"
)

// example is what to write into a file of which nothing can be used.
const example = "write type: S3 and below it config: {bucket: …, endpoint: …}"

// Read reads a Config from a file of its own. An error names the file, the line
// in it where there is one, and no part of any value.
func Read(path string) (*Config, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	c := &Config{}
	dec := yaml.NewDecoder(bytes.NewReader(raw))
	dec.KnownFields(true)
	err = dec.Decode(c)
	var typed *yaml.TypeError
	switch {
	case errors.Is(err, io.EOF):
		return nil, fmt.Errorf("%s: it is empty; %s", path, example)
	case errors.As(err, &typed):
		return nil, inFile(path, typed.Errors[0])
	case err != nil:
		return nil, inFile(path, strings.TrimPrefix(cut(err.Error()), "yaml: "))
	}
	return c, nil
}

// CheckFile is Read and Check: an error has the line of the field too.
func CheckFile(path string) error {
	c, err := Read(path)
	if err != nil {
		return err
	}
	if err = c.Check(); err == nil {
		return nil
	}
	raw, _ := os.ReadFile(path)
	lines := map[string]int{}
	var doc yaml.Node
	if yaml.Unmarshal(raw, &doc) == nil {
		walk(&doc, "", func(at string, key *yaml.Node) { lines[at] = key.Line })
	}
	return &placed{path: path, line: lineOf(lines, err.Error()), err: err}
}

// lineOf is the line of the field with whose path the text starts, or of the one
// around it; 0 where there is none.
func lineOf(lines map[string]int, text string) int {
	at, _, _ := strings.Cut(text, ": ")
	for at != "" && lines[at] == 0 {
		at = at[:max(0, strings.LastIndexAny(at, ".["))]
	}
	return lines[at]
}

// placed is an error with its place in a file; line 0 means that there is none.
type placed struct {
	path string
	line int
	err  error
}

func (p *placed) Error() string {
	if p.line == 0 {
		return fmt.Sprintf("%s: %v", p.path, p.err)
	}
	return fmt.Sprintf("%s:%d: %v", p.path, p.line, p.err)
}

func (p *placed) Unwrap() error { return p.err }

// inFile puts the file, and the line that the decoder names, before its words.
func inFile(path, text string) error {
	if m := unknownField.FindStringSubmatch(text); m != nil {
		return fmt.Errorf("%s:%s: %s: unknown field; known here: type, config, prefix", path, m[1], m[2])
	}
	if m := wrongType.FindStringSubmatch(text); m != nil {
		return fmt.Errorf("%s:%s: expected %s; %s", path, m[1], expected(m[3]), example)
	}
	if m := lineFirst.FindStringSubmatch(text); m != nil {
		return fmt.Errorf("%s:%s: not valid YAML: %s", path, m[1], cut(m[2]))
	}
	return fmt.Errorf("%s: not valid YAML: %s", path, cut(text))
}
