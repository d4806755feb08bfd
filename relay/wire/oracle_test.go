package wire_test

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/prometheus/prompb"
	writev2 "github.com/prometheus/prometheus/prompb/io/prometheus/write/v2"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"
)

// The messages as the protobuf module reads them. Prometheus's own decoder is lax: it takes varints of more than 64 bits,
// field numbers of more than 32, packed values that end behind their field, and groups that end as another one. This one
// is lax too: it takes a known field of a wrong type for an unknown one. Parse accepts what both do.
var (
	strictV1 = strict("WriteRequest", (*prompb.WriteRequest)(nil), (*prompb.TimeSeries)(nil))
	strictV2 = strict("Request", (*writev2.Request)(nil))
)

type described interface{ Descriptor() ([]byte, []int) }

// strict returns a decoder of the message of that name, in the first of the files that describe these messages.
func strict(name protoreflect.Name, messages ...described) func(body []byte) error {
	var files descriptorpb.FileDescriptorSet
	for _, m := range slices.Backward(messages) {
		zipped, _ := m.Descriptor()
		r, err := gzip.NewReader(bytes.NewReader(zipped))
		if err != nil {
			panic(err)
		}
		raw, err := io.ReadAll(r)
		if err != nil {
			panic(err)
		}
		file := new(descriptorpb.FileDescriptorProto)
		if err := proto.Unmarshal(raw, file); err != nil {
			panic(err)
		}
		plain(file)
		files.File = append(files.File, file)
	}
	registry, err := protodesc.NewFiles(&files)
	if err != nil {
		panic(err)
	}
	file, err := registry.FindFileByPath(files.File[len(files.File)-1].GetName())
	if err != nil {
		panic(err)
	}
	desc := file.Messages().ByName(name)
	return func(body []byte) error { return proto.Unmarshal(body, dynamicpb.NewMessage(desc)) }
}

// plain takes out of a file what the module would have to know gogoproto for, and its check for UTF-8, which is for
// receivers to make.
func plain(file *descriptorpb.FileDescriptorProto) {
	file.Dependency = slices.DeleteFunc(file.Dependency, func(path string) bool { return strings.Contains(path, "gogo") })
	for _, m := range file.MessageType {
		for _, f := range m.Field {
			f.Options = nil
			if f.GetType() == descriptorpb.FieldDescriptorProto_TYPE_STRING {
				f.Type = descriptorpb.FieldDescriptorProto_TYPE_BYTES.Enum()
			}
		}
	}
}

// accept returns an error unless both decoders accept body and, of 2.0, its references are good.
func acceptV1(body []byte) (*prompb.WriteRequest, error) {
	req := new(prompb.WriteRequest)
	if err := req.Unmarshal(body); err != nil {
		return nil, err
	}
	return req, strictV1(body)
}

func acceptV2(body []byte) (*writev2.Request, error) {
	req := new(writev2.Request)
	if err := req.Unmarshal(body); err != nil {
		return nil, err
	}
	if len(req.Symbols)+len(req.Timeseries) > 0 && (len(req.Symbols) == 0 || req.Symbols[0] != "") {
		return nil, fmt.Errorf("the first symbol is not empty")
	}
	for _, ts := range req.Timeseries {
		lists := [][]uint32{ts.LabelsRefs, {ts.Metadata.HelpRef, ts.Metadata.UnitRef}}
		for _, e := range ts.Exemplars {
			lists = append(lists, e.LabelsRefs)
		}
		for _, refs := range lists {
			if len(refs)%2 != 0 || slices.ContainsFunc(refs, func(ref uint32) bool { return int(ref) >= len(req.Symbols) }) {
				return nil, fmt.Errorf("bad references")
			}
		}
	}
	return req, strictV2(body)
}

func TestStrict(t *testing.T) {
	for _, tc := range []struct {
		name   string
		decode func([]byte) error
		body   string
		ok     bool
	}{
		{"a series", strictV1, "\x0a\x08\x0a\x06\x0a\x01a\x12\x01b", true},
		{"a cut series", strictV1, "\x0a\x08\x0a\x06\x0a\x01a\x12\x01", false},
		{"not UTF-8", strictV1, "\x0a\x08\x0a\x06\x0a\x01a\x12\x01\xff", true},
		{"a symbol", strictV2, "\x22\x01a", true},
		{"a length of 65 bits", strictV2, "\x22\x81\x80\x80\x80\x80\x80\x80\x80\x80\x02a", false},
	} {
		if err := tc.decode([]byte(tc.body)); (err == nil) != tc.ok {
			t.Errorf("%s: %v", tc.name, err)
		}
	}
}
