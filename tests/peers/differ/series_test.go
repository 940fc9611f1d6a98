// SPDX-License-Identifier: Apache-2.0

package differ

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/value"
	writev2 "github.com/prometheus/prometheus/prompb/io/prometheus/write/v2"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
)

// A sample is a float, an integer histogram or a float histogram.
type sample struct {
	t  int64
	v  float64
	h  *histogram.Histogram
	fh *histogram.FloatHistogram
}

func (s sample) line() string {
	switch {
	case s.h != nil:
		return histogramLine(s.t, s.h)
	case s.fh != nil:
		return floatHistogramLine(s.t, s.fh)
	}
	return fmt.Sprintf("sample %d %x", s.t, bits(s.v))
}

func sampleLines(samples []sample) string {
	var out strings.Builder
	for _, s := range samples {
		out.WriteString(s.line() + "\n")
	}
	return out.String()
}

// ---- random series

func times(r *rand.Rand, n int) []int64 {
	all, t := make([]int64, n), int64(baseTime)
	step := pick(r, int64(1), 15_000, 1000, 1<<33)
	for i := range all {
		all[i] = t
		t += step
		if chance(r, 20) {
			t += r.Int64N(1 << r.IntN(35))
		}
	}
	return all
}

func randomFloats(r *rand.Rand, n int) []sample {
	g := &generator{r: r}
	kind, v := r.IntN(4), 0.0
	all := make([]sample, n)
	for i, t := range times(r, n) {
		switch kind {
		case 0: // counter
			v += float64(r.IntN(100))
		case 1: // walk
			v += r.NormFloat64()
		case 2:
			v = math.Float64frombits(g.float())
		}
		all[i] = sample{t: t, v: v}
	}
	return all
}

// randomHistograms makes a series whose buckets, schema and kind change now and then; what is not
// alike from one to the next comes from what a real series goes through.
func randomHistograms(r *rand.Rand, n int, float bool) []sample {
	var all []sample
	h := randomLayout(r)
	gauge := chance(r, 20)
	for _, t := range times(r, n) {
		switch r.IntN(25) {
		case 0:
			h = randomLayout(r)
		case 1: // reset
			clear(h.PositiveBuckets)
			clear(h.NegativeBuckets)
			h.ZeroCount = 0
		case 2: // one bucket more
			h.PositiveSpans[len(h.PositiveSpans)-1].Length++
			h.PositiveBuckets = append(h.PositiveBuckets, 1)
		}
		grow(r, h, gauge)
		next := h.Copy()
		next.CounterResetHint = histogram.UnknownCounterReset
		if gauge {
			next.CounterResetHint = histogram.GaugeType
		} else if chance(r, 10) {
			next.CounterResetHint = pick(r, histogram.CounterReset, histogram.NotCounterReset)
		}
		if chance(r, 4) {
			next = &histogram.Histogram{Sum: math.Float64frombits(value.StaleNaN)}
		}
		if float {
			all = append(all, sample{t: t, fh: next.ToFloat(nil)})
		} else {
			all = append(all, sample{t: t, h: next})
		}
	}
	return all
}

func randomLayout(r *rand.Rand) *histogram.Histogram {
	h := &histogram.Histogram{Schema: int32(r.IntN(13) - 4), ZeroThreshold: pick(r, 0, 1e-128, 0.001, 0.5, math.Ldexp(1, -128))}
	h.PositiveSpans, h.PositiveBuckets = randomBuckets(r, r.IntN(3)-1)
	if chance(r, 50) {
		h.NegativeSpans, h.NegativeBuckets = randomBuckets(r, r.IntN(3)-1)
	}
	if chance(r, 20) {
		h = &histogram.Histogram{Schema: histogram.CustomBucketsSchema}
		h.PositiveSpans, h.PositiveBuckets = randomBuckets(r, 0)
		for i := range 64 {
			h.CustomValues = append(h.CustomValues, pick(r, 0.001, 1, 1000, 1.0/3)+float64(i)*1000)
		}
	}
	return h
}

func randomBuckets(r *rand.Rand, offset int) (spans []histogram.Span, buckets []int64) {
	for range 1 + r.IntN(3) {
		spans = append(spans, histogram.Span{Offset: int32(offset), Length: uint32(1 + r.IntN(6))})
		offset = 1 + r.IntN(3)
		buckets = append(buckets, make([]int64, spans[len(spans)-1].Length)...)
	}
	return spans, buckets
}

// grow adds observations (for a gauge: puts others in their place), and makes count and sum fit.
func grow(r *rand.Rand, h *histogram.Histogram, gauge bool) {
	h.Count = 0
	for _, deltas := range [][]int64{h.PositiveBuckets, h.NegativeBuckets} {
		var was, is int64
		for i := range deltas {
			was += deltas[i]
			count := was + r.Int64N(1<<r.IntN(20))
			if gauge {
				count = r.Int64N(50)
			}
			deltas[i] = count - is
			is = count
			h.Count += uint64(count)
		}
	}
	if h.Schema != histogram.CustomBucketsSchema {
		h.ZeroCount += uint64(r.IntN(3))
		h.Count += h.ZeroCount
	}
	h.Sum = pick(r, float64(h.Count)*1.5, r.NormFloat64()*1e6)
}

// writeSeries is a 2.0 message with one series of these samples.
func writeSeries(samples []sample, labels ...string) []byte {
	return writeAll([]series{{labels, samples}})
}

type series struct {
	labels  []string
	samples []sample
}

// writeAll makes a 2.0 message. (Marshal of Prometheus' types would lose the sign of a zero.)
func writeAll(all []series) []byte {
	m := message{str(4, "")}
	var refs uint64
	for _, s := range all {
		words := []uint64{}
		for _, text := range s.labels {
			refs++
			m = append(m, str(4, text))
			words = append(words, refs)
		}
		fields := message{many(1, varints, words)}
		for _, one := range s.samples {
			fields = append(fields, one.field())
		}
		m = append(m, sub(5, fields))
	}
	return m.encode(nil, style{})
}

func (s sample) field() field {
	var h writev2.Histogram
	switch {
	case s.h != nil:
		h = writev2.FromIntHistogram(0, s.t, s.h)
	case s.fh != nil:
		h = writev2.FromFloatHistogram(0, s.t, s.fh)
	default:
		return sub(2, message{fixed(1, bits(s.v)), one(2, uint64(s.t))})
	}
	b, err := h.Marshal()
	if err != nil {
		panic(err)
	}
	return str(3, string(b))
}

// ---- chunks as Prometheus makes and reads them

type chunk struct {
	encoding chunkenc.Encoding
	data     []byte
}

func promChunks(encoding chunkenc.Encoding, samples []sample) (all []chunk) {
	var (
		c   chunkenc.Chunk
		app chunkenc.Appender
	)
	open := func() {
		c, _ = chunkenc.NewEmptyChunk(encoding)
		app, _ = c.Appender()
	}
	flush := func() {
		if c != nil && c.NumSamples() > 0 {
			all = append(all, chunk{encoding, c.Bytes()})
		}
	}
	open()
	for i, s := range samples {
		var next chunkenc.Chunk
		var recoded bool
		var err error
		var prev chunkenc.Appender
		if i > 0 && i%120 == 0 {
			flush()
			prev = app
			open()
		}
		switch {
		case s.h != nil:
			next, recoded, app, err = app.AppendHistogram(prev, 0, s.t, s.h, false)
		case s.fh != nil:
			next, recoded, app, err = app.AppendFloatHistogram(prev, 0, s.t, s.fh, false)
		default:
			app.Append(0, s.t, s.v)
		}
		if err != nil {
			panic(err)
		}
		if next != nil {
			if !recoded {
				flush()
			}
			c = next
		}
	}
	flush()
	return all
}

// ourLines are the lines of the data in our dump, as histogramLine and the like make them.
func ourLines(dump []byte) string {
	var out strings.Builder
	for line := range strings.Lines(string(dump)) {
		line = strings.TrimSuffix(line, "\n")
		kind, rest, _ := strings.Cut(line, " ")
		switch kind {
		case "sample":
			out.WriteString(line[:strings.LastIndex(line, " ")] + "\n")
		case "histogram":
			out.WriteString(effective(rest) + "\n")
		}
	}
	return out.String()
}

// compareSamples compares all but what a chunk says of resets; there, a gauge must stay one, and
// what a reset is must not be denied.
func compareSamples(t *testing.T, want, got []sample) {
	t.Helper()
	if len(want) != len(got) {
		t.Fatalf("%d samples instead of %d", len(got), len(want))
	}
	for i := range want {
		a, b := want[i], got[i]
		if a.hint() == histogram.GaugeType != (b.hint() == histogram.GaugeType) ||
			a.hint() == histogram.CounterReset && b.hint() == histogram.NotCounterReset {
			t.Fatalf("number %d: hint %d became %d\n%s\n%s", i, a.hint(), b.hint(), a.line(), b.line())
		}
		if a, b := a.hintless().line(), b.hintless().line(); a != b {
			t.Fatalf("number %d:\nwant %s\ngot  %s", i, a, b)
		}
	}
}

func (s sample) hint() histogram.CounterResetHint {
	switch {
	case s.h != nil && !value.IsStaleNaN(s.h.Sum):
		return s.h.CounterResetHint
	case s.fh != nil && !value.IsStaleNaN(s.fh.Sum):
		return s.fh.CounterResetHint
	}
	return histogram.UnknownCounterReset
}

func (s sample) hintless() sample {
	if s.h != nil {
		s.h = s.h.Copy()
		s.h.CounterResetHint = 0
	}
	if s.fh != nil {
		s.fh = s.fh.Copy()
		s.fh.CounterResetHint = 0
	}
	return s
}
