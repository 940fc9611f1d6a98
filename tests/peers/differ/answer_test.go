// SPDX-License-Identifier: Apache-2.0

package differ

import (
	"bytes"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/prometheus/prometheus/prompb"
	"github.com/prometheus/prometheus/storage/remote"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
)

func prompbLabels(texts []string) (all []prompb.Label) {
	for i := 0; i < len(texts); i += 2 {
		all = append(all, prompb.Label{Name: texts[i], Value: texts[i+1]})
	}
	return all
}

// TestSampledAnswer: what Prometheus encodes, we decode. (A zero's sign is lost in its encoding.)
func TestSampledAnswer(t *testing.T) {
	o, r := startOurs(t), newRandom()
	for range *cases / 4 {
		var want lines
		result := &prompb.QueryResult{}
		for _, s := range randomStored(r) {
			ts := &prompb.TimeSeries{Labels: prompbLabels(s.labels)}
			for _, one := range s.samples {
				switch {
				case one.h != nil:
					ts.Histograms = append(ts.Histograms, prompb.FromIntHistogram(one.t, one.h))
				case one.fh != nil:
					ts.Histograms = append(ts.Histograms, prompb.FromFloatHistogram(one.t, one.fh))
				default:
					ts.Samples = append(ts.Samples, prompb.Sample{Timestamp: one.t, Value: one.v + 0})
				}
			}
			result.Timeseries = append(result.Timeseries, ts)
		}
		b, err := (&prompb.ReadResponse{Results: []*prompb.QueryResult{result}}).Marshal()
		if err != nil {
			t.Fatal(err)
		}
		var decoded prompb.ReadResponse
		if err := decoded.Unmarshal(b); err != nil {
			t.Fatal(err)
		}
		m := prompb.WriteRequest{}
		for _, ts := range decoded.Results[0].Timeseries {
			m.Timeseries = append(m.Timeseries, *ts)
		}
		want.WriteString(linesV1(&m))
		got, failure := o.askOutcome('a', b)
		if failure != "" || string(got) != want.String() {
			t.Fatalf("%x: %s\nPrometheus:\n%s\nours:\n%s", b, failure, want.String(), got)
		}
	}
}

// TestStreamedAnswer: frames that Prometheus writes, in pieces of any size, we read.
func TestStreamedAnswer(t *testing.T) {
	o, r := startOurs(t), newRandom()
	for range *cases / 4 {
		all := randomStored(r)
		response := httptest.NewRecorder()
		w := remote.NewChunkedWriter(response, response)
		var want lines
		for _, s := range all {
			series := &prompb.ChunkedSeries{Labels: prompbLabels(s.labels)}
			for _, c := range chunksOf(s.samples) {
				// Not the samples as they went in: a chunk of histograms has empty buckets put into it.
				read, err := chunkenc.FromData(c.encoding, c.data)
				if err != nil {
					t.Fatal(err)
				}
				for _, one := range samplesOf(t, read.Iterator(nil)) {
					want.line("%s | %s", strings.TrimPrefix(labelWords(series.Labels), " "), one.line())
				}
				series.Chunks = append(series.Chunks, prompb.Chunk{Type: prompb.Chunk_Encoding(c.encoding), Data: c.data})
				if chance(r, 30) {
					writeFrame(t, w, series)
					series.Chunks = nil
				}
			}
			if len(series.Chunks) > 0 {
				writeFrame(t, w, series)
			}
		}
		got, failure := o.askOutcome('s', []byte{byte(1 + r.IntN(255))}, response.Body.Bytes())
		if failure != "" {
			t.Fatal(failure)
		}
		compareDump(t, want.String(), string(got))
	}
}

func writeFrame(t *testing.T, w *remote.ChunkedWriter, series *prompb.ChunkedSeries) {
	b, err := (&prompb.ChunkedReadResponse{ChunkedSeries: []*prompb.ChunkedSeries{series}}).Marshal()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(b); err != nil {
		t.Fatal(err)
	}
}

// chunksOf encodes samples of any kinds.
func chunksOf(samples []sample) (all []chunk) {
	encoding := func(s sample) chunkenc.Encoding {
		switch {
		case s.h != nil:
			return chunkenc.EncHistogram
		case s.fh != nil:
			return chunkenc.EncFloatHistogram
		}
		return chunkenc.EncXOR
	}
	for start := 0; start < len(samples); {
		end := start
		for end < len(samples) && encoding(samples[end]) == encoding(samples[start]) {
			end++
		}
		all = append(all, promChunks(encoding(samples[start]), samples[start:end])...)
		start = end
	}
	return all
}

// compareDump compares lines of labels and data with what was read frame by frame.
func compareDump(t *testing.T, want, dump string) {
	t.Helper()
	var got lines
	var of string
	for line := range strings.Lines(dump) {
		kind, rest, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		switch kind {
		case "series":
			of = rest
		case "sample":
			got.line("%s | sample %s", of, rest[:strings.LastIndex(rest, " ")])
		case "histogram":
			got.line("%s | %s", of, effective(rest))
		}
	}
	if want != got.String() {
		w, g := bytes.Split([]byte(want), []byte("\n")), bytes.Split([]byte(got.String()), []byte("\n"))
		for i := range min(len(w), len(g)) {
			if !bytes.Equal(w[i], g[i]) {
				t.Fatalf("number %d\nwant %s\ngot  %s", i, w[i], g[i])
			}
		}
		t.Fatalf("%d samples instead of %d", len(g), len(w))
	}
}
