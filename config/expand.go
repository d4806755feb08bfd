package config

import (
	"fmt"
	"regexp"
	"strings"
)

// quoting is the kind of YAML text that a byte is part of.
type quoting int

const (
	plain quoting = iota
	single
	double
	comment
)

var variable = regexp.MustCompile(`^\$\{([A-Za-z_][A-Za-z0-9_]*)\}`)

// expand replaces ${NAME} by the variable's value, and $$ by a dollar sign, in
// the text of a YAML file; comments stay as they are. Inside quotes the value
// is escaped as those quotes ask for, so that it arrives as it is. An error
// names the variable and its line, never a value.
func expand(text string, lookup func(string) (string, bool)) (string, error) {
	var out strings.Builder
	line, in := 1, plain
	for i := 0; i < len(text); {
		if in != comment && strings.HasPrefix(text[i:], "$$") {
			out.WriteByte('$')
			i += 2
			continue
		}
		if m := variable.FindStringSubmatch(text[i:]); m != nil && in != comment {
			value, ok := lookup(m[1])
			if !ok {
				return "", fmt.Errorf("%d: ${%s} is not set in the environment; set it, or write $${%[2]s} for the text itself", line, m[1])
			}
			quoted, err := in.quote(value)
			if err != nil {
				return "", fmt.Errorf("%d: ${%s}: %w", line, m[1], err)
			}
			out.WriteString(quoted)
			i += len(m[0])
			continue
		}
		next, n := in.advance(text, i)
		line += strings.Count(text[i:i+n], "\n")
		out.WriteString(text[i : i+n])
		in, i = next, i+n
	}
	return out.String(), nil
}

// advance reads one character, or an escape of two, at text[i], and tells what follows it.
func (q quoting) advance(text string, i int) (next quoting, n int) {
	c := text[i]
	switch {
	case q == double && c == '\\' && i+1 < len(text), q == single && strings.HasPrefix(text[i:], "''"):
		return q, 2
	case q == double && c == '"', q == single && c == '\'', q == comment && c == '\n':
		return plain, 1
	case q == plain && c == '#' && (i == 0 || strings.IndexByte(" \t\n", text[i-1]) >= 0):
		return comment, 1
	case q == plain && c == '"' && opensValue(text[:i]):
		return double, 1
	case q == plain && c == '\'' && opensValue(text[:i]):
		return single, 1
	}
	return q, 1
}

// opensValue tells whether a quote after before starts a quoted value: it is
// part of the text where it stands in the middle of a plain one (it's).
func opensValue(before string) bool {
	rest := strings.TrimRight(before, " \t")
	return rest == "" || strings.IndexByte("\n:,[{-?", rest[len(rest)-1]) >= 0
}

func (q quoting) quote(value string) (string, error) {
	switch {
	case q == double:
		return strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`, "\r", `\r`, "\t", `\t`).Replace(value), nil
	case strings.ContainsAny(value, "\n\r"):
		return "", fmt.Errorf("the value has more than one line; put it in double quotes: \"${…}\"")
	case q == single:
		return strings.ReplaceAll(value, "'", "''"), nil
	}
	return value, nil
}
