// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"fmt"
	"math"
	"math/rand"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/prompb"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
)

type span = histogram.Span

// A histogram, integer or float, at a time.
type point struct {
	t  int64
	h  *histogram.Histogram
	fh *histogram.FloatHistogram
}

func message(p point) prompb.Histogram {
	if p.fh != nil {
		return prompb.FromFloatHistogram(p.t, p.fh)
	}
	return prompb.FromIntHistogram(p.t, p.h)
}

// Appends points to one chunk with Prometheus' appender; nil if it would start another.
func encodeHistograms(points []point) chunkenc.Chunk {
	encoding := chunkenc.EncHistogram
	if points[0].fh != nil {
		encoding = chunkenc.EncFloatHistogram
	}
	chunk, err := chunkenc.NewEmptyChunk(encoding)
	check(err)
	app, err := chunk.Appender()
	check(err)
	for _, p := range points {
		var another chunkenc.Chunk
		if p.fh != nil {
			another, _, _, err = app.AppendFloatHistogram(nil, 0, p.t, p.fh.Copy(), false)
		} else {
			another, _, _, err = app.AppendHistogram(nil, 0, p.t, p.h.Copy(), false)
		}
		check(err)
		if another != nil {
			return nil
		}
	}
	return chunk
}

// What Prometheus reads from a chunk.
func decodeHistograms(chunk chunkenc.Chunk) []prompb.Histogram {
	var out []prompb.Histogram
	it := chunk.Iterator(nil)
	for kind := it.Next(); kind != chunkenc.ValNone; kind = it.Next() {
		if kind == chunkenc.ValFloatHistogram {
			t, h := it.AtFloatHistogram(nil)
			out = append(out, prompb.FromFloatHistogram(t, h))
		} else {
			t, h := it.AtHistogram(nil)
			out = append(out, prompb.FromIntHistogram(t, h))
		}
	}
	check(it.Err())
	return out
}

// A shape that a series of histograms keeps.
type shape struct {
	schema             int32
	threshold          float64
	positive, negative []span
	bounds             []float64
	float, gauge       bool
}

func buckets(spans []span) int {
	n := 0
	for _, s := range spans {
		n += int(s.Length)
	}
	return n
}

// Counts that grow (or, of gauges, jump) from histogram to histogram.
func grow(r *rand.Rand, s shape, n int) []point {
	var out []point
	counts := make([]int64, buckets(s.positive)+buckets(s.negative)+1)
	sum, t := 0.0, int64(1700000000000)
	step := int64(1) << uint(r.Intn(20))
	scale := 1 + 0.25*float64(r.Intn(2)) // not only whole numbers
	for range n {
		t += 15000 + int64(r.Intn(3)) - 1
		total := int64(0)
		for i := range counts {
			if s.gauge {
				counts[i] = r.Int63n(step)
			} else if r.Intn(3) > 0 {
				counts[i] += r.Int63n(step)
			}
			total += counts[i]
		}
		sum += r.Float64() * 10
		h := &histogram.Histogram{
			Schema: s.schema, ZeroThreshold: s.threshold, ZeroCount: uint64(counts[0]), Count: uint64(total), Sum: sum,
			PositiveSpans: s.positive, NegativeSpans: s.negative, CustomValues: s.bounds,
		}
		if s.gauge {
			h.CounterResetHint = histogram.GaugeType
		}
		last := int64(0)
		for i, c := range counts[1:] {
			if i == buckets(s.positive) {
				last = 0
			}
			if i < buckets(s.positive) {
				h.PositiveBuckets = append(h.PositiveBuckets, c-last)
			} else {
				h.NegativeBuckets = append(h.NegativeBuckets, c-last)
			}
			last = c
		}
		if s.schema == histogram.CustomBucketsSchema {
			h.ZeroCount = 0
		}
		p := point{t: t, h: h}
		if s.float {
			p = point{t: t, fh: h.ToFloat(nil)}
			for i := range p.fh.PositiveBuckets {
				p.fh.PositiveBuckets[i] *= scale
			}
		}
		out = append(out, p)
	}
	return out
}

func stale(t int64, float bool) point {
	if float {
		return point{t: t, fh: &histogram.FloatHistogram{Sum: math.Float64frombits(value.StaleNaN)}}
	}
	return point{t: t, h: &histogram.Histogram{Sum: math.Float64frombits(value.StaleNaN)}}
}

func shapes() map[string]shape {
	two := []span{{Offset: 0, Length: 2}, {Offset: 3, Length: 1}}
	return map[string]shape{
		"empty":       {schema: 0},
		"positive":    {schema: 3, threshold: math.Ldexp(1, -128), positive: two},
		"both":        {schema: -4, threshold: 1e-9, positive: two, negative: []span{{Offset: -5, Length: 3}}},
		"negative":    {schema: 8, threshold: 1024, negative: []span{{Offset: 1000000, Length: 1}, {Offset: 0, Length: 0}, {Offset: 2, Length: 2}}},
		"threshold_1": {schema: 1, threshold: math.Ldexp(1, -243), positive: two},
		"threshold_2": {schema: 1, threshold: math.Ldexp(1, -244), positive: two},
		"threshold_3": {schema: 1, threshold: 2048, positive: two},
		"threshold_4": {schema: 1, threshold: -0.5, positive: two},
		"threshold_5": {schema: 1, threshold: 5e-324, positive: two},
		"custom": {schema: histogram.CustomBucketsSchema, positive: []span{{Offset: 0, Length: 4}},
			bounds: []float64{-1, 0, 0.001, 0.005, 0.1, 0.12345, 1, 100, 33554.430, 33554.431, 1e9}},
		"custom_none": {schema: histogram.CustomBucketsSchema, positive: []span{{Offset: 0, Length: 1}}},
		"wide":        {schema: 2, threshold: 0.001, positive: []span{{Offset: -20, Length: 40}}},
	}
}

func goldenHistograms(w *bufio.Writer) {
	r := rand.New(rand.NewSource(6))
	all := shapes()
	for _, name := range sortedKeys(all) {
		for kind := range 4 {
			s := all[name]
			s.float, s.gauge = kind&1 != 0, kind&2 != 0
			points := grow(r, s, 1+r.Intn(8))
			last := points[len(points)-1].t
			switch r.Intn(4) {
			case 0:
				points = append(points, stale(last+15000, s.float))
			case 1:
				points = append(points, stale(last+15000, s.float), stale(last+30001, s.float))
			}
			chunk := encodeHistograms(points)
			if chunk == nil { // a counter that started anew
				continue
			}
			line(w, fmt.Sprintf("%s_%d", name, kind), chunk, nil, decodeHistograms(chunk))
		}
	}
	for _, float := range []bool{false, true} {
		chunk := encodeHistograms([]point{stale(1000, float), stale(2000, float)})
		line(w, fmt.Sprintf("stale_%v", float), chunk, nil, decodeHistograms(chunk))
	}
}
