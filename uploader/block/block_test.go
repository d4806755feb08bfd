package block_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/tsdb/tombstones"
	"github.com/prometheus/prometheus/tsdb/tsdbutil"
	"go.uber.org/goleak"

	"github.com/ringside-project/ringside/uploader/block"
)

var update = flag.Bool("update", false, "write the golden files")

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// made writes a block of floats and histograms of both kinds with tsdb.
func made(t *testing.T, change func(*tsdb.Options)) *block.Block {
	t.Helper()
	dir := t.TempDir()
	o := tsdb.DefaultOptions()
	o.MinBlockDuration, o.MaxBlockDuration = 7_200_000, 7_200_000
	if change != nil {
		change(o)
	}
	db, err := tsdb.Open(dir, nil, nil, o, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	app := db.Appender(t.Context())
	for i := range int64(400) {
		var errs []error
		add := func(_ storage.SeriesRef, err error) { errs = append(errs, err) }
		add(app.Append(0, labels.FromStrings("__name__", "float"), i*15_000, float64(i)))
		add(app.AppendHistogram(0, labels.FromStrings("__name__", "histogram"), i*15_000, tsdbutil.GenerateTestHistogram(i), nil))
		add(app.AppendHistogram(0, labels.FromStrings("__name__", "gauge"), i*15_000, nil, tsdbutil.GenerateTestGaugeFloatHistogram(i)))
		if err := errors.Join(errs...); err != nil {
			t.Fatal(err)
		}
	}
	if err := app.Commit(); err != nil {
		t.Fatal(err)
	}
	if err := db.CompactHead(tsdb.NewRangeHead(db.Head(), 0, 7_199_999)); err != nil {
		t.Fatal(err)
	}
	b, err := block.Read(db.Blocks()[0].Dir())
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestCheckGood(t *testing.T) {
	b := made(t, nil)
	if err := block.Check(t.Context(), b, false); err != nil {
		t.Error(err)
	}
	if b.Meta.Stats.NumHistogramSamples != 800 || b.Bytes == 0 || len(b.Origins()) > 0 || len(b.Replaces()) > 0 {
		t.Errorf("%+v", b)
	}
}

// TestCheckEncodings tells chunks that released versions of Thanos cannot decode.
func TestCheckEncodings(t *testing.T) {
	for what, tc := range map[string]struct {
		change func(*tsdb.Options)
		want   string
	}{
		"xor2":       {func(o *tsdb.Options) { o.FloatChunkEncoding = chunkenc.EncXOR2 }, "4 of encoding XOR2"},
		"st-storage": {func(o *tsdb.Options) { o.EnableSTStorage, o.FloatChunkEncoding = true, chunkenc.EncXOR2 }, "4 of encoding XOR2"},
	} {
		t.Run(what, func(t *testing.T) {
			b := made(t, tc.change)
			err := block.Check(t.Context(), b, false)
			if unfit := (*block.Unfit)(nil); !errors.As(err, &unfit) || !strings.Contains(err.Error(), tc.want) || !strings.Contains(err.Error(), "uploader.allow_unreadable_chunks") {
				t.Errorf("%v", err)
			}
			if err := block.Check(t.Context(), b, true); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestCheckCorrupt damages a block in many ways. None may pass, and none may be
// taken for one that can be read later.
func TestCheckCorrupt(t *testing.T) {
	change := func(name string, edit func([]byte) []byte) func(*testing.T, *block.Block) {
		return func(t *testing.T, b *block.Block) {
			path := filepath.Join(b.Dir, name)
			raw, err := os.ReadFile(path)
			if err == nil {
				err = os.WriteFile(path, edit(raw), 0o666)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	half := func(raw []byte) []byte { return raw[:len(raw)/2] }
	none := func([]byte) []byte { return nil }
	flip := func(at int) func([]byte) []byte {
		return func(raw []byte) []byte { raw[(at+len(raw))%len(raw)] ^= 0x40; return raw }
	}
	for what, damage := range map[string]func(*testing.T, *block.Block){
		"half an index":         change("index", half),
		"an empty index":        change("index", none),
		"the index's magic":     change("index", flip(0)),
		"its table of contents": change("index", flip(-10)),
		"half of the chunks":    change("chunks/000001", half),
		"no chunks":             change("chunks/000001", none),
		"the chunks' magic":     change("chunks/000001", flip(0)),
		"a chunk":               change("chunks/000001", flip(100)),
		"the last chunk":        change("chunks/000001", flip(-10)),
		"a tombstone file":      change("tombstones", flip(0)),
		"no index": func(t *testing.T, b *block.Block) {
			if err := os.Remove(filepath.Join(b.Dir, "index")); err != nil {
				t.Fatal(err)
			}
		},
		"no segment": func(t *testing.T, b *block.Block) {
			if err := os.Remove(filepath.Join(b.Dir, "chunks/000001")); err != nil {
				t.Fatal(err)
			}
		},
		"other samples":         func(_ *testing.T, b *block.Block) { b.Meta.Stats.NumSamples++ },
		"other series":          func(_ *testing.T, b *block.Block) { b.Meta.Stats.NumSeries-- },
		"samples before it":     func(_ *testing.T, b *block.Block) { b.Meta.MinTime = 1 },
		"samples at its end":    func(_ *testing.T, b *block.Block) { b.Meta.MaxTime = 399 * 15_000 },
		"samples later than it": func(_ *testing.T, b *block.Block) { b.Meta.MaxTime = 60_000 },
	} {
		t.Run(what, func(t *testing.T) {
			b := made(t, nil)
			damage(t, b)
			err := block.Check(t.Context(), b, false)
			if unfit := (*block.Unfit)(nil); !errors.As(err, &unfit) || !strings.HasPrefix(err.Error(), "the block is corrupt: ") {
				t.Errorf("%v", err)
			}
		})
	}
}

func TestRead(t *testing.T) {
	dir := t.TempDir()
	id := ulid.MustNew(7, bytes.NewReader(make([]byte, 16))).String()
	good := fmt.Sprintf(`{"ulid":%q,"version":1,"minTime":1,"maxTime":2}`, id)
	for _, tc := range []struct{ name, meta, want string }{
		{id, good, ""},
		{id, "", "no such file"},
		{id, "{", "not a block's meta.json"},
		{id, strings.Replace(good, `"version":1`, `"version":2`, 1), "version 2 of meta.json"},
		{id, strings.Replace(good, `"maxTime":2`, `"maxTime":1`, 1), "minTime 1 is not before maxTime 1"},
		{id, strings.Replace(good, `}`, `,"thanos":{"version":2}}`, 1), "version 2 of Thanos's section"},
		{strings.Replace(id, "7", "8", 1), good, "it is of block " + id},
	} {
		path := filepath.Join(dir, tc.name)
		if err := errors.Join(os.RemoveAll(path), os.MkdirAll(filepath.Join(path, "chunks"), 0o777), os.WriteFile(filepath.Join(path, "index"), []byte("12345"), 0o666)); err != nil {
			t.Fatal(err)
		}
		if tc.meta != "" {
			if err := os.WriteFile(filepath.Join(path, "meta.json"), []byte(tc.meta), 0o666); err != nil {
				t.Fatal(err)
			}
		}
		b, err := block.Read(path)
		if (err != nil) != (tc.want != "") || err != nil && !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v, want %q", tc.meta, err, tc.want)
		}
		if err == nil && b.Bytes != 5 {
			t.Errorf("%d bytes", b.Bytes)
		}
		if tc.meta == "" && !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%v is not fs.ErrNotExist", err)
		}
	}
}

// fixed is a block whose files and meta.json never change.
func fixed(t *testing.T) *block.Block {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "01JZZZZZZZ0000000000000000")
	for name, body := range map[string]string{"chunks/000001": "one", "chunks/000002": "the second", "index": "an index", "meta.json": "{}"} {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o777), os.WriteFile(path, []byte(body), 0o666)); err != nil {
			t.Fatal(err)
		}
	}
	b := &block.Block{Dir: dir}
	b.Meta.BlockMeta = tsdb.BlockMeta{
		Version: 1, ULID: ulid.MustParse("01JZZZZZZZ0000000000000000"), MinTime: 1_700_000_000_000, MaxTime: 1_700_007_200_000,
		Stats:      tsdb.BlockStats{NumSamples: 10, NumFloatSamples: 7, NumHistogramSamples: 3, NumSeries: 2, NumChunks: 3},
		Compaction: tsdb.BlockMetaCompaction{Level: 1, Sources: []ulid.ULID{ulid.MustParse("01JZZZZZZZ0000000000000000")}},
	}
	return b
}

func TestGoldenMeta(t *testing.T) {
	b := fixed(t)
	m, err := block.Describe(b, map[string]string{"prometheus_replica": "prometheus-0", "cluster": "a<b"})
	if err != nil {
		t.Fatal(err)
	}
	for i := range m.Thanos.Files[:len(m.Thanos.Files)-1] { // the last is meta.json
		f := &m.Thanos.Files[i]
		if err := f.TakeHash(t.Context(), filepath.Join(b.Dir, f.RelPath)); err != nil {
			t.Fatal(err)
		}
	}
	m.Thanos.UploadTime = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	got, err := m.Encode()
	if err != nil {
		t.Fatal(err)
	}
	golden := filepath.Join("testdata", "meta.json")
	if *update {
		if err := os.WriteFile(golden, got, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("%v\n%s", err, got)
	}
	again, err := block.Decode(got)
	if err != nil {
		t.Fatal(err)
	}
	if twice, err := again.Encode(); err != nil || !bytes.Equal(twice, got) {
		t.Errorf("read and written again: %v\n%s", err, twice)
	}
	b.Meta = *again
	kept, err := block.Describe(b, m.Thanos.Labels)
	if err != nil || !reflect.DeepEqual(kept.Thanos.Files, m.Thanos.Files) {
		t.Errorf("described again: %v\n%+v\nwant the hashes of %+v", err, kept, m.Thanos.Files)
	}
	if err := os.WriteFile(filepath.Join(b.Dir, "index"), []byte("another"), 0o666); err != nil {
		t.Fatal(err)
	}
	kept, err = block.Describe(b, m.Thanos.Labels)
	if err != nil || kept.Thanos.Files[2].RelPath != "index" || kept.Thanos.Files[2].Hash != nil {
		t.Errorf("described with another index: %v\n%+v", err, kept)
	}
}

// thanosMeta is what Thanos 0.42 reads, by its documentation of meta.json.
type thanosMeta struct {
	Version    int       `json:"version"`
	ULID       ulid.ULID `json:"ulid"`
	MinTime    int64     `json:"minTime"`
	MaxTime    int64     `json:"maxTime"`
	Stats      tsdb.BlockStats
	Compaction tsdb.BlockMetaCompaction
	Thanos     struct {
		Version    int               `json:"version"`
		Labels     map[string]string `json:"labels"`
		Downsample struct {
			Resolution int64 `json:"resolution"`
		} `json:"downsample"`
		Source       string   `json:"source"`
		SegmentFiles []string `json:"segment_files"`
		Files        []struct {
			RelPath   string `json:"rel_path"`
			SizeBytes int64  `json:"size_bytes"`
			Hash      *struct {
				Func  string `json:"hashFunc"`
				Value string `json:"value"`
			} `json:"hash"`
		} `json:"files"`
		UploadTime time.Time `json:"upload_time"`
	} `json:"thanos"`
}

func TestThanosReadsMeta(t *testing.T) {
	raw, err := os.ReadFile(filepath.Join("testdata", "meta.json"))
	if err != nil {
		t.Fatal(err)
	}
	var m thanosMeta
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&m); err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, f := range m.Thanos.Files {
		names = append(names, f.RelPath)
		if (f.Hash == nil || f.SizeBytes == 0) != (f.RelPath == "meta.json") {
			t.Errorf("%+v", f)
		}
	}
	if want := []string{"chunks/000001", "chunks/000002", "index", "meta.json"}; !slices.Equal(names, want) {
		t.Errorf("files %q, want %q", names, want)
	}
	if want := []string{"000001", "000002"}; !slices.Equal(m.Thanos.SegmentFiles, want) {
		t.Errorf("segment files %q, want %q", m.Thanos.SegmentFiles, want)
	}
	if m.Thanos.Version != 1 || m.Thanos.Source != "sidecar" || m.Thanos.Labels["cluster"] != "a<b" || m.Stats.NumSamples != 10 {
		t.Errorf("%+v", m)
	}
}

// TestLink makes a copy that goes its own way, deletions included.
func TestLink(t *testing.T) {
	b := made(t, nil)
	stones := tombstones.NewMemTombstones()
	stones.AddInterval(1, tombstones.Interval{Mint: 0, Maxt: 100})
	if _, err := tombstones.WriteFile(slog.New(slog.DiscardHandler), b.Dir, stones); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), filepath.Base(b.Dir))
	linked, err := b.Link(dir, map[string]string{"cluster": "a"})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(b.Dir); err != nil {
		t.Fatal(err)
	}
	again, err := block.Read(dir)
	if err != nil {
		t.Fatal(err)
	}
	if again.Meta.Thanos.Labels["cluster"] != "a" || linked.Bytes != again.Bytes || again.Bytes != b.Bytes {
		t.Errorf("%+v", again)
	}
	if err := block.Check(t.Context(), again, false); err != nil {
		t.Error(err)
	}
	if deleted, err := again.Tombstones(); !deleted || err != nil {
		t.Errorf("%v %v", deleted, err)
	}
}

// TestExtensions reads what Ringside has put there, and whatever others have.
func TestExtensions(t *testing.T) {
	const made = "01JZZZZZZZ0000000000000000"
	for text, want := range map[string]int{
		`{"ringside_made_of": ["` + made + `"], "theirs": 1}`: 1,
		`"theirs"`: 0, `[1]`: 0, `{"ringside_made_of": 1}`: 0, `null`: 0,
	} {
		raw := `{"version": 1, "minTime": 1, "maxTime": 2, "thanos": {"source": "sidecar", "extensions": ` + text + `}}`
		m, err := block.Decode([]byte(raw))
		if err != nil || len(m.Thanos.Extensions.MadeOf) != want {
			t.Errorf("%s: %+v %v", text, m, err)
			continue
		}
		joined, err := block.Decode([]byte(strings.Replace(raw, "sidecar", "compactor", 1)))
		if err != nil || len(joined.Thanos.Extensions.MadeOf) > 0 {
			t.Errorf("of a compactor's block: %+v %v", joined, err)
		}
		if raw, err := m.Encode(); err != nil || strings.Contains(string(raw), "extensions") != (want > 0) {
			t.Errorf("%s: %s %v", text, raw, err)
		}
	}
}

// FuzzDecode must not panic, and what it takes must be rendered and read again.
func FuzzDecode(f *testing.F) {
	raw, err := os.ReadFile(filepath.Join("testdata", "meta.json"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(raw)
	f.Add([]byte(`{"version":1,"maxTime":1}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		m, err := block.Decode(raw)
		if err != nil {
			return
		}
		text, err := m.Encode()
		if err != nil {
			t.Skip(err) // a year that JSON does not have
		}
		if _, err := block.Decode(text); err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
	})
}
