// SPDX-License-Identifier: Apache-2.0

package differ

import (
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/gogo/protobuf/proto"
	"github.com/prometheus/prometheus/prompb"
	writev2 "github.com/prometheus/prometheus/prompb/io/prometheus/write/v2"
)

var (
	metadataLine    = regexp.MustCompile(`(?m)^metadata .*\n`)
	sampleStart     = regexp.MustCompile(`(?m)^(sample \S+ \S+) .*$`)
	histogramStart  = regexp.MustCompile(`(?m)^(histogram \S+) \S+`)
	decoders        = map[byte]func([]byte) (string, map[int]bool, error){1: decodeV1, 2: decodeV2}
	versionsToWrite = [][2]byte{{1, 1}, {2, 2}, {1, 2}, {2, 1}}
)

// kept is what a message of version from still says in version to: metadata finds another place, and
// 1.0 has no start timestamps.
func kept(text string, from, to byte) string {
	if from != to {
		text = metadataLine.ReplaceAllString(text, "")
	}
	if to == 1 {
		text = sampleStart.ReplaceAllString(text, "$1 0")
		text = histogramStart.ReplaceAllString(text, "$1 0")
	}
	return text
}

func TestEncode(t *testing.T) {
	for _, versions := range versionsToWrite {
		from, to := versions[0], versions[1]
		t.Run(fmt.Sprintf("v%d to v%d", from, to), func(t *testing.T) {
			o, r := startOurs(t), newRandom()
			g := &generator{r: r}
			compared := 0
			for range *cases {
				b := g.write(from == 2)
				want, wrong, err := decoders[from](b)
				if err != nil || len(wrong) > 0 {
					continue
				}
				encoded, failure := o.askOutcome('e', []byte{from, to}, b)
				if failure != "" {
					t.Fatalf("%x: %s", b, failure)
				}
				got, wrong, err := decoders[to](encoded)
				if err != nil || len(wrong) > 0 {
					t.Fatalf("%x\nencoded %x: %v %v", b, encoded, err, wrong)
				}
				if kept(got, from, to) != kept(want, from, to) {
					t.Fatalf("%x\nis\n%s\nencoded %x is\n%s", b, want, encoded, got)
				}
				if to == 2 {
					checkSymbols(t, encoded)
				}
				compared++
			}
			if compared < *cases/2 {
				t.Errorf("only %d messages", compared)
			}
		})
	}
}

// checkSymbols: the first symbol is empty, and none is there twice.
func checkSymbols(t *testing.T, b []byte) {
	var m writev2.Request
	if err := m.Unmarshal(b); err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for i, s := range m.Symbols {
		if seen[s] || (i == 0) != (s == "") {
			t.Fatalf("%x: symbols %q", b, m.Symbols)
		}
		seen[s] = true
	}
	if len(m.Symbols) == 0 {
		t.Fatalf("%x: no symbols", b)
	}
}

// ---- metadata between the versions

func TestMetadataBetweenVersions(t *testing.T) {
	o := startOurs(t)
	v1 := prompb.WriteRequest{Metadata: []prompb.MetricMetadata{
		{MetricFamilyName: "up", Type: prompb.MetricMetadata_GAUGE, Help: "Is up.", Unit: "bool"},
		{MetricFamilyName: "latency", Type: prompb.MetricMetadata_HISTOGRAM, Help: "How slow."}}}
	for _, name := range []string{"up", "latency_bucket", "latency_sum", "other"} {
		v1.Timeseries = append(v1.Timeseries, prompb.TimeSeries{
			Labels: []prompb.Label{{Name: "__name__", Value: name}}, Samples: []prompb.Sample{{Value: 1, Timestamp: 1}}})
	}
	b, _ := v1.Marshal()
	encoded, failure := o.askOutcome('e', []byte{1, 2}, b)
	var v2 writev2.Request
	if err := v2.Unmarshal(encoded); err != nil || failure != "" {
		t.Fatal(failure, err)
	}
	var got []string
	for _, ts := range v2.Timeseries {
		got = append(got, fmt.Sprintf("%v %s %s", ts.Metadata.Type, v2.Symbols[ts.Metadata.HelpRef], v2.Symbols[ts.Metadata.UnitRef]))
	}
	if s := strings.Join(got, "; "); s != "METRIC_TYPE_GAUGE Is up. bool; METRIC_TYPE_HISTOGRAM How slow. ; METRIC_TYPE_HISTOGRAM How slow. ; METRIC_TYPE_UNSPECIFIED  " {
		t.Error(s)
	}
}

// ---- read requests

func randomReadRequest(g *generator) *prompb.ReadRequest {
	r := g.r
	m := &prompb.ReadRequest{}
	for range r.IntN(4) {
		q := &prompb.Query{StartTimestampMs: int64(g.time()), EndTimestampMs: int64(g.time())}
		for range r.IntN(4) {
			q.Matchers = append(q.Matchers, &prompb.LabelMatcher{
				Type: prompb.LabelMatcher_Type(r.IntN(4)), Name: pick(r, "job", "__name__", "é"), Value: pick(r, "", "a", "a.*|b", "日本")})
		}
		if chance(r, 50) {
			q.Hints = &prompb.ReadHints{StepMs: r.Int64N(1000), Func: pick(r, "", "rate"), StartMs: int64(g.time()),
				EndMs: int64(g.time()), By: chance(r, 50), RangeMs: r.Int64N(1000)}
			for range r.IntN(3) {
				q.Hints.Grouping = append(q.Hints.Grouping, pick(r, "job", "le"))
			}
		}
		m.Queries = append(m.Queries, q)
	}
	for range r.IntN(3) {
		m.AcceptedResponseTypes = append(m.AcceptedResponseTypes, prompb.ReadRequest_ResponseType(r.IntN(3)))
	}
	return m
}

func TestReadRequest(t *testing.T) {
	o, r := startOurs(t), newRandom()
	g := &generator{r: r, faults: 10}
	var last []byte
	accepted, refused := 0, 0
	for range *cases {
		valid, err := randomReadRequest(g).Marshal()
		if err != nil {
			t.Fatal(err)
		}
		spoiled := mutate(r, valid, last)
		last = valid
		for _, b := range [][]byte{valid, spoiled} {
			var want, got prompb.ReadRequest
			wantErr := want.Unmarshal(b)
			encoded, failure := o.askOutcome('q', b)
			if (wantErr == nil) != (failure == "") {
				t.Fatalf("%x\nPrometheus: %v\nours: %s", b, wantErr, failure)
			}
			if wantErr != nil {
				refused++
				continue
			}
			accepted++
			forget(&want)
			if err := got.Unmarshal(encoded); err != nil || !proto.Equal(&want, &got) {
				t.Fatalf("%x: %v\nPrometheus: %s\nours: %s", b, err, want.String(), got.String())
			}
		}
	}
	if accepted < *cases || refused < *cases/10 {
		t.Errorf("messages that tell nothing: %d accepted, %d refused", accepted, refused)
	}
}

// forget drops unknown fields.
func forget(m *prompb.ReadRequest) {
	m.XXX_unrecognized = nil
	for _, q := range m.Queries {
		q.XXX_unrecognized = nil
		if q.Hints != nil {
			q.Hints.XXX_unrecognized = nil
		}
		for _, matcher := range q.Matchers {
			matcher.XXX_unrecognized = nil
		}
	}
}
