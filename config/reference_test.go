package config_test

import (
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/ringside-project/ringside/config"
)

const referenceFile = "../docs/configuration.md"

// row is one of the reference's table: | `field` | default | text |
var row = regexp.MustCompile("^\\| `([a-z0-9_.\\[\\]]+)` \\|([^|]*)\\|(.*)\\|$")

// documented returns, by field, the cell that holds its default.
func documented(t *testing.T) map[string]string {
	t.Helper()
	text, err := os.ReadFile(referenceFile)
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "## ringside.yml\n")
	section, _, _ := strings.Cut(rest, "\n## ")
	rows := map[string]string{}
	for line := range strings.Lines(section) {
		if m := row.FindStringSubmatch(strings.TrimSpace(line)); m != nil {
			if _, twice := rows[m[1]]; twice {
				t.Errorf("%s has two rows for %s", referenceFile, m[1])
			}
			if strings.TrimSpace(m[3]) == "" {
				t.Errorf("%s says nothing of %s", referenceFile, m[1])
			}
			rows[m[1]] = strings.TrimSpace(m[2])
		}
	}
	return rows
}

// fields calls leaf for every field of ringside.yml below v, whose blocks hold
// their defaults. Types of other modules are one field, however much is in them.
func fields(t *testing.T, path string, v reflect.Value, leaf func(path string, v reflect.Value)) {
	t.Helper()
	for i := range v.NumField() {
		if !v.Type().Field(i).IsExported() {
			continue
		}
		name, _, _ := strings.Cut(v.Type().Field(i).Tag.Get("yaml"), ",")
		if name == "" || name == "-" {
			t.Errorf("%s.%s has no name in YAML", v.Type(), v.Type().Field(i).Name)
			continue
		}
		f, name := v.Field(i), strings.TrimPrefix(path+"."+name, ".")
		of := f.Type()
		if of.Kind() == reflect.Slice {
			of = of.Elem()
		} else if of.Kind() == reflect.Pointer {
			of = of.Elem()
		}
		switch {
		case of.Kind() != reflect.Struct || !strings.Contains(of.PkgPath(), "/ringside/"):
			leaf(name, f)
		case f.Kind() == reflect.Struct:
			fields(t, name, f, leaf)
		case f.Kind() == reflect.Slice:
			fields(t, name+"[]", defaults(t, of), leaf)
		default:
			fields(t, name, defaults(t, of), leaf)
		}
	}
}

// defaults is what an empty block of that type means.
func defaults(t *testing.T, of reflect.Type) reflect.Value {
	t.Helper()
	v := reflect.New(of)
	if err := yaml.Unmarshal([]byte("{}"), v.Interface()); err != nil {
		t.Fatalf("defaults of %s: %v", of, err)
	}
	return v.Elem()
}

// TestReference compares docs/configuration.md with what is read: every field
// has a row, every row a field, and the default is the one in force.
func TestReference(t *testing.T) {
	rows := documented(t)
	fields(t, "", reflect.ValueOf(config.Default), func(path string, v reflect.Value) {
		cell, ok := rows[path]
		if !ok {
			t.Errorf("%s has no row for %s", referenceFile, path)
			return
		}
		delete(rows, path)
		value, isCode := strings.CutPrefix(cell, "`")
		value = strings.TrimSuffix(value, "`")
		switch text := written(t, v); {
		case isCode && value != text:
			t.Errorf("%s: the default of %s is %s; it says %s", referenceFile, path, text, value)
		case !isCode && text != "":
			t.Errorf("%s: the default of %s is %s; it says %q", referenceFile, path, text, cell)
		}
	})
	for path := range rows {
		t.Errorf("%s has a row for %s, which is no field", referenceFile, path)
	}
}

// written is a default as the user would write it; empty where there is none.
// What a block of another module holds is its own documentation's.
func written(t *testing.T, v reflect.Value) string {
	t.Helper()
	number := v.Kind() == reflect.Bool || v.CanInt()
	if v.Kind() == reflect.Struct || v.IsZero() && !number {
		return ""
	}
	out, err := yaml.Marshal(v.Interface())
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}
