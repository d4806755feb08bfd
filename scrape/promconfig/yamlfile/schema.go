// Package yamlfile says where in a YAML file something stands, and in words what
// may stand there, from the Go types that it is decoded into: a decoder's own
// errors name those types, which mean nothing to whoever writes the file. Whether
// a value may be shown is for its users to know.
package yamlfile

import (
	"reflect"
	"strconv"
	"strings"
)

// At returns the type of what stands at path, such as relay.upstreams[0].name, in
// a file that is decoded into root; nil where that has no such field. What is
// merged into a mapping, under <<, counts as its own.
func At(root reflect.Type, path string) reflect.Type {
	t := root
	for _, step := range strings.FieldsFunc(path, func(r rune) bool { return r == '.' || r == '[' }) {
		if t = pointed(t); t == nil {
			return nil
		}
		index, isIndex := strings.CutSuffix(step, "]")
		if _, err := strconv.Atoi(index); isIndex && err == nil {
			if t.Kind() != reflect.Slice {
				return nil
			}
			t = t.Elem()
		} else if step != "<<" {
			t = field(t, step)
		}
	}
	return t
}

// Fields lists the YAML names of the fields of a block; nil for anything else.
func Fields(t reflect.Type) []string {
	names, _, _ := fields(pointed(t))
	return names
}

// Expected says what to write where the decoder expected its goType. t is the
// type of what stands there, nil where that is not known.
func Expected(t reflect.Type, goType string) string {
	const block, list, text = "fields below it, each as name: value", "a list, such as [a, b]", "a text"
	switch {
	case strings.HasPrefix(goType, "int"), strings.HasPrefix(goType, "uint"):
		return "a whole number"
	case strings.HasPrefix(goType, "float"):
		return "a number"
	case goType == "bool":
		return "true or false"
	case goType == "string":
		return text
	case strings.HasPrefix(goType, "[]"):
		return list
	case strings.HasPrefix(goType, "map["), strings.HasPrefix(goType, "struct {"):
		return block
	}
	switch t = pointed(t); {
	case t == nil && strings.HasSuffix(goType, ".plain"), len(Fields(t)) > 0, t != nil && t.Kind() == reflect.Map:
		return block
	case t != nil && t.Kind() == reflect.Slice:
		return list
	}
	return text
}

// Found says what stands there instead: the value of a scalar, or without one
// only its kind, by its YAML tag.
func Found(tag, value string) string {
	kind := "text"
	switch tag {
	case "!!map":
		return "fields"
	case "!!seq":
		return "a list"
	case "!!null":
		return "nothing"
	case "!!int", "!!float":
		kind = "number"
	case "!!bool":
		kind = "boolean"
	case "!!timestamp":
		kind = "date"
	}
	if value == "" {
		return "a " + kind
	}
	return "the " + kind + " " + strconv.Quote(value)
}

func pointed(t reflect.Type) reflect.Type {
	for t != nil && t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	return t
}

// field returns the type of a mapping's field, or of a map's values.
func field(t reflect.Type, name string) reflect.Type {
	if t.Kind() == reflect.Map {
		return t.Elem()
	}
	names, types, rest := fields(t)
	for i := range names {
		if names[i] == name {
			return types[i]
		}
	}
	return rest
}

// fields lists the YAML fields of a struct, those of inlined ones included. rest
// is the type of what an inlined map takes under any other name; nil: nothing.
func fields(t reflect.Type) (names []string, types []reflect.Type, rest reflect.Type) {
	if t == nil || t.Kind() != reflect.Struct {
		return nil, nil, nil
	}
	for i := range t.NumField() {
		name, opts, _ := strings.Cut(t.Field(i).Tag.Get("yaml"), ",")
		of := t.Field(i).Type
		switch {
		case opts == "inline" && of.Kind() == reflect.Map:
			rest = of.Elem()
		case opts == "inline":
			n, ts, r := fields(pointed(of))
			names, types = append(names, n...), append(types, ts...)
			if r != nil {
				rest = r
			}
		case name != "" && name != "-":
			names, types = append(names, name), append(types, of)
		}
	}
	return names, types, rest
}
