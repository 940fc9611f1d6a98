// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/rand"
	"strings"
	"testing"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/prompb"
	writev2 "github.com/prometheus/prometheus/prompb/io/prometheus/write/v2"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/stretchr/testify/require"

	"github.com/prom-remote-api/peers/chunks/libpra"
)

const rounds = 20000

// What the library reads from a chunk.
func decoded(t *testing.T, chunk libpra.Chunk) writev2.TimeSeries {
	t.Helper()
	message, err := libpra.Decode(chunk)
	require.NoError(t, err)
	return seriesOf(t, message)
}

func seriesOf(t *testing.T, message []byte) writev2.TimeSeries {
	t.Helper()
	var request writev2.Request
	require.NoError(t, request.Unmarshal(message))
	require.Len(t, request.Timeseries, 1)
	return request.Timeseries[0]
}

func samplesText(samples []sample) string {
	var out strings.Builder
	for _, s := range samples {
		fmt.Fprintf(&out, "%d %d %x\n", s.st, s.t, math.Float64bits(s.v))
	}
	return out.String()
}

func fromSeries(series writev2.TimeSeries) []sample {
	var out []sample
	for _, s := range series.Samples {
		out = append(out, sample{st: s.StartTimestamp, t: s.Timestamp, v: s.Value})
	}
	return out
}

// What Prometheus reads from a chunk, and its error.
func goSamples(encoding chunkenc.Encoding, data []byte) ([]sample, error) {
	chunk, err := chunkenc.FromData(encoding, data)
	if err != nil {
		return nil, err
	}
	var out []sample
	it := chunk.Iterator(nil)
	for it.Next() == chunkenc.ValFloat {
		t, v := it.At()
		out = append(out, sample{st: it.AtST(), t: t, v: v})
	}
	return out, it.Err()
}

func TestSamplesAreTheSameBytes(t *testing.T) {
	r := rand.New(rand.NewSource(1))
	for range rounds {
		samples := random(r, 1+r.Intn(200))
		var times []int64
		var values []float64
		for _, s := range samples {
			times, values = append(times, s.t), append(values, s.v)
		}
		expected := encode(chunkenc.EncXOR, samples).Bytes()
		require.Equal(t, expected, libpra.EncodeSamples(times, values))
		found := fromSeries(decoded(t, libpra.Chunk{Type: 1, Data: expected}))
		require.Equal(t, samplesText(samples), samplesText(found))
	}
}

func TestXOR2(t *testing.T) {
	r := rand.New(rand.NewSource(2))
	for range rounds {
		samples := random(r, 1+r.Intn(200))
		mode := r.Intn(4)
		for i := range samples {
			switch {
			case mode == 0:
			case mode == 1 || i == 0:
				samples[i].st = samples[0].t - 5000
			case mode == 2 && r.Intn(3) > 0:
				samples[i].st = samples[i-1].st
			default:
				samples[i].st = samples[i-1].t + int64(r.Intn(3))
			}
		}
		chunk := encode(chunkenc.EncXOR2, samples)
		found := fromSeries(decoded(t, libpra.Chunk{Type: 4, Data: chunk.Bytes()}))
		require.Equal(t, samplesText(samples), samplesText(found))
	}
}

// Where the two differ about damaged chunks: Prometheus reads these, though no encoder writes them.
var stricter = []string{
	"a value of more than 64 bits",                   // leading zeros and bits of a window
	"a value that uses a window before there is one", // read as one of 64 bits
	"a varint of more than 64 bits",                  // XOR2 only: its reader drops the bits
	"unexpected end",                                 // a number that the end cuts off may be read as something
	"more samples than bits",                         // likewise, and then zeros without end
}

func TestDamagedSamples(t *testing.T) {
	r := rand.New(rand.NewSource(3))
	refused, differences := 0, map[string]int{}
	for range rounds {
		encoding := []chunkenc.Encoding{chunkenc.EncXOR, chunkenc.EncXOR2}[r.Intn(2)]
		data := append([]byte(nil), encode(encoding, random(r, 1+r.Intn(20))).Bytes()...)
		for range 1 + r.Intn(3) {
			data[r.Intn(len(data))] ^= 1 << r.Intn(8)
		}
		if r.Intn(3) == 0 {
			data = data[:3+r.Intn(len(data)-3)]
		}
		expected, goError := goSamples(encoding, data)
		message, err := libpra.Decode(libpra.Chunk{Type: int32(encoding), Data: data})
		if err == nil {
			require.NoError(t, goError, "%d %x", encoding, data)
			require.Equal(t, samplesText(expected), samplesText(fromSeries(seriesOf(t, message))), "%d %x", encoding, data)
			continue
		}
		refused++
		if goError != nil {
			continue
		}
		_, why, _ := strings.Cut(err.Error(), "): ")
		require.Contains(t, stricter, why, "%d %x", encoding, data)
		differences[why]++
	}
	require.Greater(t, refused, rounds/10)
	t.Log(refused, "of", rounds, "refused; by the library only:", differences)
}

// ---- histograms

func messageOf(points []point) []byte {
	series := prompb.TimeSeries{}
	for _, p := range points {
		series.Histograms = append(series.Histograms, message(p))
	}
	out, err := (&prompb.WriteRequest{Timeseries: []prompb.TimeSeries{series}}).Marshal()
	check(err)
	return out
}

func randomSpans(r *rand.Rand) []span {
	var out []span
	for i := range r.Intn(4) {
		s := span{Offset: int32(r.Intn(8)), Length: uint32(r.Intn(5))}
		if i == 0 {
			s.Offset -= 4
		}
		out = append(out, s)
	}
	return out
}

func randomShape(r *rand.Rand) shape {
	s := shape{schema: int32(r.Intn(13) - 4), positive: randomSpans(r), negative: randomSpans(r), float: r.Intn(2) == 0, gauge: r.Intn(4) == 0}
	switch r.Intn(4) {
	case 0:
		s.threshold = math.Ldexp(1, r.Intn(300)-260)
	case 1:
		s.threshold = r.Float64()
	}
	if r.Intn(4) == 0 {
		s.schema, s.threshold, s.negative = histogram.CustomBucketsSchema, 0, nil
		bound := -10.0
		for range buckets(s.positive) {
			bound += []float64{0.001, 0.5, 1000, r.Float64()}[r.Intn(4)]
			s.bounds = append(s.bounds, bound)
		}
	}
	return s
}

// A series with everything that can happen in one.
func randomSeries(r *rand.Rand) []point {
	var out []point
	last := int64(1700000000000)
	add := func(p point) {
		last += 1 + int64(r.Intn(20000))
		p.t = last
		out = append(out, p)
	}
	for range 1 + r.Intn(4) {
		s := randomShape(r)
		for range 1 + r.Intn(2) { // once more: it starts anew
			for i, p := range grow(r, s, 1+r.Intn(30)) {
				if i == 0 && r.Intn(4) == 0 && !s.gauge {
					if p.h != nil {
						p.h.CounterResetHint = histogram.CounterReset
					} else {
						p.fh.CounterResetHint = histogram.CounterReset
					}
				}
				add(p)
			}
			if r.Intn(3) == 0 {
				add(stale(0, s.float))
			}
		}
	}
	return out
}

// Without the hint, which is a matter of its own.
func plain(h prompb.Histogram) string {
	h.ResetHint = 0
	return h.String()
}

func staleSum(h prompb.Histogram) bool { return value.IsStaleNaN(h.Sum) }

// Prometheus reads what was put in, and is never told that a counter went on that did not.
func TestHistogramsAsPrometheusReadsThem(t *testing.T) {
	r := rand.New(rand.NewSource(4))
	kinds := map[histogram.CounterResetHint]int{}
	for range rounds / 4 {
		points := randomSeries(r)
		var found []prompb.Histogram
		for _, c := range libpra.EncodeHistograms(messageOf(points)) {
			chunk, err := chunkenc.FromData(chunkenc.Encoding(c.Type), c.Data)
			require.NoError(t, err)
			found = append(found, decodeHistograms(chunk)...)
			ours := decoded(t, c)
			require.Len(t, ours.Histograms, chunk.NumSamples())
		}
		require.Len(t, found, len(points))
		for i, p := range points {
			expected := message(p)
			require.Equal(t, plain(expected), plain(found[i]))
			if staleSum(expected) {
				continue
			}
			hint := histogram.CounterResetHint(found[i].ResetHint)
			kinds[hint]++
			require.Equal(t, expected.ResetHint == prompb.Histogram_GAUGE, hint == histogram.GaugeType)
			if hint == histogram.NotCounterReset {
				require.False(t, fell(points[i-1], p), "%d of %d", i, len(points))
			}
		}
	}
	t.Log("hints:", kinds)
}

// Whether a counter started anew, by Prometheus' own rule.
func fell(before, now point) bool {
	a, b := before.fh, now.fh
	if a == nil {
		a = before.h.ToFloat(nil)
	}
	if b == nil {
		b = now.h.ToFloat(nil)
	}
	if b.CounterResetHint == histogram.CounterReset {
		return true
	}
	a, b = a.Copy(), b.Copy()
	a.CounterResetHint, b.CounterResetHint = histogram.UnknownCounterReset, histogram.UnknownCounterReset
	return b.DetectReset(a)
}

// v2 histograms as those of 1.0.
func asV1(h writev2.Histogram) prompb.Histogram {
	if h.IsFloatHistogram() {
		return prompb.FromFloatHistogram(h.Timestamp, h.ToFloatHistogram())
	}
	return prompb.FromIntHistogram(h.Timestamp, h.ToIntHistogram())
}

// The library reads what Prometheus' appender makes, re-written chunks included.
func TestHistogramsOfPrometheus(t *testing.T) {
	r := rand.New(rand.NewSource(5))
	for range rounds / 4 {
		for _, chunk := range appended(randomSeries(r)) {
			expected := decodeHistograms(chunk)
			found := decoded(t, libpra.Chunk{Type: int32(chunk.Encoding()), Data: chunk.Bytes()})
			require.Len(t, found.Histograms, len(expected))
			for i := range expected {
				require.Equal(t, expected[i].String(), func() string { h := asV1(found.Histograms[i]); return h.String() }())
			}
		}
	}
}

// The chunks that Prometheus' appenders make of a series.
func appended(points []point) []chunkenc.Chunk {
	var out []chunkenc.Chunk
	var app chunkenc.Appender
	for _, p := range points {
		encoding := chunkenc.EncHistogram
		if p.fh != nil {
			encoding = chunkenc.EncFloatHistogram
		}
		prev := app
		if len(out) == 0 || out[len(out)-1].Encoding() != encoding {
			chunk, err := chunkenc.NewEmptyChunk(encoding)
			check(err)
			app, err = chunk.Appender()
			check(err)
			out = append(out, chunk)
		}
		var chunk chunkenc.Chunk
		var recoded bool
		var err error
		if p.fh != nil {
			chunk, recoded, app, err = app.AppendFloatHistogram(prev, 0, p.t, p.fh.Copy(), false)
		} else {
			chunk, recoded, app, err = app.AppendHistogram(prev, 0, p.t, p.h.Copy(), false)
		}
		check(err)
		if chunk != nil && recoded {
			out[len(out)-1] = chunk
		} else if chunk != nil {
			out = append(out, chunk)
		}
	}
	return out
}

// Whatever the library accepts of a damaged chunk, Prometheus accepts and reads alike.
func TestDamagedHistograms(t *testing.T) {
	r := rand.New(rand.NewSource(6))
	accepted := 0
	for range rounds {
		chunks := libpra.EncodeHistograms(messageOf(randomSeries(r)))
		c := chunks[r.Intn(len(chunks))]
		for range 1 + r.Intn(3) {
			c.Data[r.Intn(len(c.Data))] ^= 1 << r.Intn(8)
		}
		if binary.BigEndian.Uint16(c.Data) == 0 {
			continue
		}
		message, err := libpra.Decode(c)
		if err != nil {
			continue
		}
		accepted++
		chunk, err := chunkenc.FromData(chunkenc.Encoding(c.Type), c.Data)
		require.NoError(t, err)
		if strings.Contains(fmt.Sprint(seriesOf(t, message).Histograms), "NaN") {
			continue // what reduces its resolution may panic, and texts of NaN tell nothing
		}
		tooFine := false
		for _, h := range seriesOf(t, message).Histograms {
			tooFine = tooFine || h.Schema > 8 // Prometheus reduces them when it reads
		}
		if tooFine {
			continue
		}
		expected := decodeHistograms(chunk)
		found := seriesOf(t, message).Histograms
		require.Len(t, found, len(expected))
		for i := range expected {
			h := asV1(found[i])
			require.Equal(t, expected[i].String(), h.String(), "%d %x", c.Type, c.Data)
		}
	}
	require.Greater(t, accepted, rounds/20)
	t.Log(accepted, "of", rounds, "accepted")
}
