package main

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/ringside-project/ringside/config"
)

// source returns all Go code but tests, with the generated files' text.
func source(t *testing.T) string {
	t.Helper()
	var all strings.Builder
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		text, err := os.ReadFile(path)
		all.Write(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	// Long texts are parted in the code, and quotes in them escaped.
	joined := regexp.MustCompile("\"\\s*\\+\\s*\"").ReplaceAllString(all.String(), "")
	return strings.ReplaceAll(joined, `\"`, `"`)
}

func documents(t *testing.T) map[string]string {
	t.Helper()
	texts := map[string]string{}
	for _, pattern := range []string{"*.md", "docs/*.md", "examples/*/*.md"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			texts[file] = string(text)
		}
	}
	return texts
}

// TestDocumentedMetrics wants every metric that a document names to be one in the code.
func TestDocumentedMetrics(t *testing.T) {
	code := source(t)
	// The relay's two ways in share their metrics: see relay's newIntakeMetrics.
	intake := regexp.MustCompile(`^ringside_(relay|feedback)(_requests_total|_rejected_requests_total|_request_duration_seconds)$`)
	// Made by prometheus/common and, under a prefix, by prometheus/discovery.
	library := regexp.MustCompile(`^ringside_(build_info|prometheus_sd_[a-z_]+)$`)
	found := 0
	for file, text := range documents(t) {
		for _, name := range regexp.MustCompile(`\bringside_[a-z_]+[a-z]\b`).FindAllString(text, -1) {
			base := regexp.MustCompile(`_(bucket|sum|count)$`).ReplaceAllString(name, "")
			m := intake.FindStringSubmatch(base)
			if !library.MatchString(base) && !strings.Contains(code, `"`+base+`"`) && (m == nil || !strings.Contains(code, `"`+m[2]+`"`)) {
				t.Errorf("%s: no metric %s", file, name)
			}
			found++
		}
	}
	if found < 20 {
		t.Errorf("only %d metrics in all documents: are they found?", found)
	}
}

// TestTroubleshooting wants whatever the first column of its tables quotes to
// be said by the program, word for word.
func TestTroubleshooting(t *testing.T) {
	code, found := source(t), 0
	text, err := os.ReadFile("docs/troubleshooting.md")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		first, _, _ := strings.Cut(strings.TrimPrefix(line, "| "), " | ")
		if !strings.HasPrefix(line, "| ") {
			continue
		}
		for _, m := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(first, -1) {
			quoted := strings.TrimSuffix(strings.TrimPrefix(m[1], `msg="`), `"`)
			for _, part := range strings.Split(quoted, "…") {
				part = strings.Trim(part, ` ,;:"()`)
				if part != "" && part != "ringside explain" && !regexp.MustCompile(`^ringside_|^[a-z]+="`).MatchString(part) && !strings.Contains(code, part) {
					t.Errorf("docs/troubleshooting.md quotes %q; nothing in the code says %q", quoted, part)
				}
				found++
			}
		}
	}
	if found < 40 {
		t.Errorf("only %d quotations found", found)
	}
}

// TestLinks wants every relative link of a document to lead to a file, and to a heading if it names one.
func TestLinks(t *testing.T) {
	for file, text := range documents(t) {
		for _, m := range regexp.MustCompile(`\]\(([^)#\s]*)(#[^)\s]*)?\)`).FindAllStringSubmatch(text, -1) {
			to, anchor := m[1], strings.TrimPrefix(m[2], "#")
			if strings.Contains(to, "://") {
				continue
			}
			path := filepath.Join(filepath.Dir(file), to)
			if to == "" {
				path = file
			}
			content, err := os.ReadFile(path)
			if info, statErr := os.Stat(path); statErr != nil {
				t.Errorf("%s links to %s, which is not there", file, to)
			} else if anchor != "" && !info.IsDir() && (err != nil || !hasHeading(string(content), anchor)) {
				t.Errorf("%s links to %s#%s, and there is no such heading", file, to, anchor)
			}
		}
	}
}

// hasHeading tells whether one of the document's headings has that anchor, as GitHub makes them.
func hasHeading(text, anchor string) bool {
	for line := range strings.Lines(text) {
		if title, ok := strings.CutPrefix(strings.TrimLeft(line, "#"), " "); ok && strings.HasPrefix(line, "#") {
			slug := regexp.MustCompile(`[^\p{L}\p{N} _-]`).ReplaceAllString(strings.ToLower(strings.TrimSpace(title)), "")
			if strings.ReplaceAll(slug, " ", "-") == anchor {
				return true
			}
		}
	}
	return false
}

// TestDocumentedConfiguration wants every part of a ringside.yml that a document
// shows to be one that loads.
func TestDocumentedConfiguration(t *testing.T) {
	const frame = "cluster: {name: prod, insecure: true}\nprometheus: {config_file: prometheus.yml, generated_config_file: run/prometheus.yml}\n"
	sections := regexp.MustCompile(`(?m)^(cluster|prometheus|replica_label|scrape|relay|uploader|tracing):`)
	found := 0
	for file, text := range documents(t) {
		for _, m := range regexp.MustCompile("(?ms)^```yaml\n(.*?)^```$").FindAllStringSubmatch(text, -1) {
			part := m[1]
			if first := sections.FindStringIndex(part); first == nil || regexp.MustCompile(`(?m)^[a-z]`).FindStringIndex(part)[0] != first[0] {
				continue // of another file, or of a part of a section
			}
			for line := range strings.Lines(frame) {
				if section, _, _ := strings.Cut(line, ":"); !regexp.MustCompile(`(?m)^` + section + `:`).MatchString(part) {
					part += "\n" + line
				}
			}
			dir := t.TempDir()
			for name, content := range map[string]string{"ringside.yml": part, "gossip.key": strings.Repeat("A", 43) + "=\n"} {
				if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := config.Load(filepath.Join(dir, "ringside.yml"), false); err != nil {
				t.Errorf("%s: %v\n%s", file, err, part)
			}
			found++
		}
	}
	if found < 5 {
		t.Errorf("only %d parts found", found)
	}
}
