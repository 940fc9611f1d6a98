// SPDX-License-Identifier: Apache-2.0

// Command target is a scrape target for the end-to-end tests: native histograms of every kind,
// which only the protobuf exposition format can carry, and exemplars. It listens on a port of the
// kernel's choice; /ticks says how many scrapes were answered. What a scrape shows depends on its
// number alone, but for the times of exemplars.
package main

import (
	"fmt"
	"log"
	"math"
	"net"
	"net/http"
	"sort"
	"sync"
	"time"

	dto "github.com/prometheus/client_model/go"
	"google.golang.org/protobuf/encoding/protodelim"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"
)

const contentType = "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited"

// Since when counters count.
var created = timestamppb.New(time.Unix(1_700_000_000, 0))

type server struct {
	mu    sync.Mutex
	ticks int
}

func (s *server) metrics(w http.ResponseWriter, _ *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	w.Header().Set("Content-Type", contentType)
	for _, family := range page(s.ticks, time.Now()) {
		if _, err := protodelim.MarshalTo(w, family); err != nil {
			return
		}
	}
	s.ticks++
}

func (s *server) count(w http.ResponseWriter, _ *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	fmt.Fprintln(w, s.ticks)
}

func main() {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	s := &server{}
	http.HandleFunc("/metrics", s.metrics)
	http.HandleFunc("/ticks", s.count)
	log.Fatal(http.Serve(listener, nil))
}

// ---- what a scrape shows

func page(tick int, now time.Time) []*dto.MetricFamily {
	families := []*dto.MetricFamily{
		family("peer_requests_total", dto.MetricType_COUNTER, requests(tick, now)...),
		family("peer_latency_seconds", dto.MetricType_HISTOGRAM, latencies(tick, now)...),
		family("peer_resets_seconds", dto.MetricType_HISTOGRAM,
			metric(integer(observed(tick%7, 2)), "kind", "resets")),
		family("peer_float_seconds", dto.MetricType_HISTOGRAM,
			metric(float(observed(tick, 3), 0.5), "kind", "half"),
			metric(float(observed(tick%5, 1), 0.1), "kind", "resets")),
		family("peer_queue", dto.MetricType_GAUGE_HISTOGRAM,
			metric(integer(observed((tick*7)%11, 1)), "kind", "integer"),
			metric(float(observed((tick*5)%13, 1), 0.25), "kind", "float")),
		family("peer_classic_seconds", dto.MetricType_HISTOGRAM, classics(tick, now)...),
		family("peer_empty_seconds", dto.MetricType_HISTOGRAM, metric(empty(), "kind", "empty")),
		mixed(tick),
	}
	if tick < 8 {
		families = append(families, family("peer_vanishing_seconds", dto.MetricType_HISTOGRAM,
			metric(integer(observed(tick, 1)), "reason", "one series goes"),
			metric(float(observed(tick, 1), 0.5), "reason", "another")))
	}
	if tick%8 < 4 {
		families = append(families, family("peer_flapping_seconds", dto.MetricType_HISTOGRAM,
			metric(integer(observed(tick, 2)), "kind", "flapping")))
	}
	return families
}

func requests(tick int, now time.Time) []*dto.Metric {
	var all []*dto.Metric
	for i, code := range []string{"200", "404", "500"} {
		value := float64(tick * (i + 1))
		all = append(all, &dto.Metric{Label: labels("code", code), Counter: &dto.Counter{
			Value:            &value,
			Exemplar:         exemplar(tick, value, now),
			CreatedTimestamp: created,
		}})
	}
	return all
}

// Integer histograms of many shapes: schemas, negative buckets, buckets that appear later, wide
// gaps, a zero bucket of another width, a sum that is not a number.
func latencies(tick int, now time.Time) []*dto.Metric {
	var all []*dto.Metric
	for _, schema := range []int32{-4, -1, 0, 3, 8} {
		h := integer(observed(tick, 3))
		h.Schema = &schema
		h.CreatedTimestamp = created
		h.Exemplars = []*dto.Exemplar{exemplar(tick, float64(schema), now)}
		all = append(all, metric(h, "schema", fmt.Sprint(schema), "kind", "plain"))
	}
	wide := buckets{positive: map[int]int64{}, negative: map[int]int64{}, zero: int64(tick)}
	for i := range 160 {
		wide.positive[i*(1+i%3)] = int64(tick * (i + 1))
	}
	sparse := observed(tick, 1)
	sparse.positive[1000] = int64(tick)
	sparse.positive[-1000] = int64(2 * tick)
	negative := observed(tick, 1)
	for i, n := range observed(tick, 4).positive {
		negative.negative[i-3] = n
	}
	threshold := integer(observed(tick, 2))
	threshold.ZeroThreshold = proto.Float64(1.0 / 3)
	// Prometheus pads the histograms of a chunk with empty buckets, on which its histogram_quantile of
	// a NaN sum depends: these buckets never change.
	fixed := buckets{positive: map[int]int64{0: 1, 1: int64(tick) + 1, 2: 2}, zero: int64(tick)}
	nan := integer(fixed)
	nan.SampleSum = proto.Float64(math.NaN())
	return append(all, metric(integer(wide), "kind", "wide"), metric(integer(sparse), "kind", "sparse"),
		metric(integer(negative), "kind", "negative"), metric(threshold, "kind", "threshold"),
		metric(nan, "kind", "nan"))
}

// Histograms without native buckets, which the scraper may convert.
func classics(tick int, now time.Time) []*dto.Metric {
	var all []*dto.Metric
	for i, bounds := range [][]float64{{0.1, 1, 10}, {-1, 0, 0.25, 1e6, math.Inf(1)}, {1.0 / 3}} {
		h := &dto.Histogram{SampleSum: proto.Float64(float64(tick) * 2.5)}
		count := uint64(0)
		for j, bound := range bounds {
			count = uint64(tick * (j + 1) * (i + 1))
			h.Bucket = append(h.Bucket, &dto.Bucket{UpperBound: proto.Float64(bound),
				CumulativeCount: proto.Uint64(count), Exemplar: exemplar(tick, bound/2, now)})
		}
		h.SampleCount = proto.Uint64(count + uint64(tick))
		if math.IsInf(bounds[len(bounds)-1], 1) {
			h.SampleCount = proto.Uint64(count)
		}
		all = append(all, metric(h, "bounds", fmt.Sprint(i)))
	}
	return all
}

// A name that is a float at some scrapes and a histogram at others.
func mixed(tick int) *dto.MetricFamily {
	if tick%6 >= 3 {
		return family("peer_mixed", dto.MetricType_HISTOGRAM, metric(integer(observed(tick, 2))))
	}
	return family("peer_mixed", dto.MetricType_GAUGE,
		&dto.Metric{Gauge: &dto.Gauge{Value: proto.Float64(float64(tick))}})
}

// ---- histograms

type buckets struct {
	positive, negative map[int]int64
	zero               int64
}

// What tick rounds of observations have left behind: more buckets with time.
func observed(tick, spread int) buckets {
	b := buckets{positive: map[int]int64{}, negative: map[int]int64{}}
	for t := 1; t <= tick; t++ {
		b.positive[t*spread%23-5] += int64(t)
		b.positive[t%4] += 3
		if t%3 == 0 {
			b.zero++
		}
	}
	return b
}

func (b buckets) count() int64 {
	sum := b.zero
	for _, n := range b.positive {
		sum += n
	}
	for _, n := range b.negative {
		sum += n
	}
	return sum
}

// Spans over the buckets in use, and the counts of their buckets.
func spans(used map[int]int64) (out []*dto.BucketSpan, counts []int64) {
	var indexes []int
	for i := range used {
		indexes = append(indexes, i)
	}
	sort.Ints(indexes)
	next := 0
	for n, i := range indexes {
		if n == 0 || i != next {
			out = append(out, &dto.BucketSpan{Offset: proto.Int32(int32(i - next)), Length: proto.Uint32(0)})
		}
		last := out[len(out)-1]
		last.Length = proto.Uint32(last.GetLength() + 1)
		counts = append(counts, used[i])
		next = i + 1
	}
	return out, counts
}

func deltas(counts []int64) []int64 {
	var out []int64
	last := int64(0)
	for _, n := range counts {
		out = append(out, n-last)
		last = n
	}
	return out
}

func scaled(counts []int64, factor float64) []float64 {
	var out []float64
	for _, n := range counts {
		out = append(out, float64(n)*factor)
	}
	return out
}

func integer(b buckets) *dto.Histogram {
	h := bare()
	var counts []int64
	h.PositiveSpan, counts = spans(b.positive)
	h.PositiveDelta = deltas(counts)
	h.NegativeSpan, counts = spans(b.negative)
	h.NegativeDelta = deltas(counts)
	h.ZeroCount = proto.Uint64(uint64(b.zero))
	h.SampleCount = proto.Uint64(uint64(b.count()))
	h.SampleSum = proto.Float64(float64(b.count()) * 1.5)
	return markEmpty(h)
}

func float(b buckets, factor float64) *dto.Histogram {
	h := &dto.Histogram{Schema: proto.Int32(1), ZeroThreshold: proto.Float64(0.001)}
	var counts []int64
	h.PositiveSpan, counts = spans(b.positive)
	h.PositiveCount = scaled(counts, factor)
	h.NegativeSpan, counts = spans(b.negative)
	h.NegativeCount = scaled(counts, factor)
	h.ZeroCountFloat = proto.Float64(float64(b.zero) * factor)
	h.SampleCountFloat = proto.Float64(float64(b.count()) * factor)
	h.SampleSum = proto.Float64(float64(b.count()) * factor * 1.5)
	return markEmpty(h)
}

func bare() *dto.Histogram {
	return &dto.Histogram{Schema: proto.Int32(0), ZeroThreshold: proto.Float64(math.Ldexp(1, -128)),
		ZeroCount: proto.Uint64(0), SampleCount: proto.Uint64(0), SampleSum: proto.Float64(0)}
}

func empty() *dto.Histogram { return markEmpty(bare()) }

// An empty span says that a histogram without buckets is a native one.
func markEmpty(h *dto.Histogram) *dto.Histogram {
	if len(h.PositiveSpan) == 0 && len(h.NegativeSpan) == 0 {
		h.PositiveSpan = []*dto.BucketSpan{{Offset: proto.Int32(0), Length: proto.Uint32(0)}}
	}
	return h
}

// ---- families

func family(name string, kind dto.MetricType, metrics ...*dto.Metric) *dto.MetricFamily {
	return &dto.MetricFamily{Name: &name, Type: &kind, Help: proto.String("Of the tests."), Metric: metrics}
}

func metric(h *dto.Histogram, pairs ...string) *dto.Metric {
	return &dto.Metric{Label: labels(pairs...), Histogram: h}
}

func labels(pairs ...string) []*dto.LabelPair {
	var out []*dto.LabelPair
	for i := 0; i < len(pairs); i += 2 {
		out = append(out, &dto.LabelPair{Name: &pairs[i], Value: &pairs[i+1]})
	}
	return out
}

func exemplar(tick int, value float64, now time.Time) *dto.Exemplar {
	return &dto.Exemplar{Label: labels("trace_id", fmt.Sprintf("%08x", tick)), Value: &value,
		Timestamp: timestamppb.New(now)}
}
