package wire

import (
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/prometheus/prometheus/model/labels"
	"google.golang.org/protobuf/encoding/protowire"
)

// Names is a sorted set of label names that Parse looks up in every series. Immutable.
type Names struct {
	sorted []string
	keys   []uint64 // of sorted
}

// NewNames returns the set of these names, without the empty one.
func NewNames(names ...string) *Names {
	n := &Names{sorted: slices.Clone(names)}
	slices.Sort(n.sorted)
	n.sorted = slices.DeleteFunc(slices.Compact(n.sorted), func(s string) bool { return s == "" })
	for _, name := range n.sorted {
		n.keys = append(n.keys, key([]byte(name)))
	}
	return n
}

func (n *Names) len() int { return len(n.sorted) }

func (n *Names) index(name string) (int, bool) { return slices.BinarySearch(n.sorted, name) }

// key returns the first 8 bytes of s as a number, as if zeros followed. Where the keys of two strings differ, they sort
// as the strings do.
func key(s []byte) uint64 {
	if len(s) >= 8 {
		return binary.BigEndian.Uint64(s)
	}
	var k uint64
	for i, c := range s {
		k |= uint64(c) << (56 - 8*i)
	}
	return k
}

// Edit is what becomes of the labels in a Names. Immutable. A nil Edit changes nothing.
type Edit struct {
	names *Names
	ops   []op // at most one for each name, in the order of names
}

// op adds a label where it is absent, or removes it where it is there.
type op struct {
	name   int // index in names
	remove bool
	label  label  // what is added
	key    []byte // the same as a part of AppendKey's result
}

// NewEdit returns the edit that adds labels where the series have none of that name, and removes those of the other
// names. A label in both is removed; one without a value is not added. It panics when a label is not in names.
func NewEdit(names *Names, add []labels.Label, remove []string) *Edit {
	e := &Edit{names: names}
	for _, name := range remove {
		e.set(op{remove: true}, name)
	}
	for _, l := range add {
		if l.Value == "" {
			continue
		}
		o := op{label: label{name: []byte(l.Name), value: []byte(l.Value)}}
		o.label.raw = appendLabel(nil, o.label)
		o.key = appendKey(nil, o.label)
		e.set(o, l.Name)
	}
	slices.SortFunc(e.ops, func(a, b op) int { return a.name - b.name })
	return e
}

// set takes o for the label of that name, unless there is an op for it already.
func (e *Edit) set(o op, name string) {
	i, ok := e.names.index(name)
	if !ok {
		panic(fmt.Sprintf("wire: edit of label %q, which is not looked up", name))
	}
	o.name = i
	if !slices.ContainsFunc(e.ops, func(other op) bool { return other.name == i }) {
		e.ops = append(e.ops, o)
	}
}

// list returns the ops; none for nil.
func (e *Edit) list() []op {
	if e == nil {
		return nil
	}
	return e.ops
}

// appendLabel appends the label as a field of a 1.0 series.
func appendLabel(dst []byte, l label) []byte {
	if l.raw != nil {
		return append(dst, l.raw...)
	}
	return appendLabelField(dst, l)
}

// appendLabelField appends the label as field 1 of a message.
func appendLabelField(dst []byte, l label) []byte {
	size := 2 + protowire.SizeBytes(len(l.name)) + protowire.SizeBytes(len(l.value))
	dst = protowire.AppendVarint(append(dst, tagLabel), uint64(size))
	dst = protowire.AppendBytes(append(dst, tagName), l.name)
	return protowire.AppendBytes(append(dst, tagValue), l.value)
}

// appendKey appends the label as Thanos hashes it.
func appendKey(dst []byte, l label) []byte {
	dst = append(append(dst, l.name...), 0xff)
	return append(append(dst, l.value...), 0xff)
}
