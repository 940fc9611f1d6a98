// SPDX-License-Identifier: Apache-2.0

package differ

import (
	"fmt"
	"math"
	"strings"

	"github.com/prometheus/prometheus/prompb"
	writev2 "github.com/prometheus/prometheus/prompb/io/prometheus/write/v2"
)

// Decoded messages in the same lines of text that dump.c makes.

type lines struct{ strings.Builder }

func (l *lines) line(format string, args ...any) { fmt.Fprintf(l, format+"\n", args...) }

func word(s string) string { return fmt.Sprintf(" :%x", s) }

func bits(f float64) uint64 { return math.Float64bits(f) }

func labelWords(labels []prompb.Label) string {
	var out strings.Builder
	for _, l := range labels {
		out.WriteString(word(l.Name) + word(l.Value))
	}
	return out.String()
}

// The labels that refs stand for; false if one is wrong.
func refWords(refs []uint32, symbols []string) (string, bool) {
	var out strings.Builder
	for _, ref := range refs {
		if int(ref) >= len(symbols) {
			return "", false
		}
		out.WriteString(word(symbols[ref]))
	}
	return out.String(), len(refs)%2 == 0
}

func floatWords(values []float64) string {
	var out strings.Builder
	for _, v := range values {
		fmt.Fprintf(&out, "%x,", bits(v))
	}
	return out.String() + ";"
}

func integerWords(values []int64) string {
	var out strings.Builder
	for _, v := range values {
		fmt.Fprintf(&out, "%d,", v)
	}
	return out.String() + ";"
}

func spanWords(spans []writev2.BucketSpan) string {
	var out strings.Builder
	for _, s := range spans {
		fmt.Fprintf(&out, "%d:%d,", s.Offset, s.Length)
	}
	return out.String() + ";"
}

func flag01(on bool) int {
	if on {
		return 1
	}
	return 0
}

func (l *lines) histogram(h *writev2.Histogram) {
	count, zero := h.GetCountInt(), h.GetZeroCountInt()
	_, zeroFloat := h.ZeroCount.(*writev2.Histogram_ZeroCountFloat)
	if h.IsFloatHistogram() {
		count = bits(h.GetCountFloat())
	}
	if zeroFloat {
		zero = bits(h.GetZeroCountFloat())
	}
	l.line("histogram %d %d %d %d %x %x %x %x %d %d %s %s %s %s %s %s %s", h.Timestamp, h.StartTimestamp,
		flag01(h.IsFloatHistogram()), flag01(zeroFloat), count, zero, bits(h.Sum), bits(h.ZeroThreshold),
		h.Schema, h.ResetHint, spanWords(h.PositiveSpans), spanWords(h.NegativeSpans),
		integerWords(h.PositiveDeltas), integerWords(h.NegativeDeltas), floatWords(h.PositiveCounts),
		floatWords(h.NegativeCounts), floatWords(h.CustomValues))
}

// The two versions' histograms differ in field 17 alone. (Marshal would lose the sign of a zero.)
func histogramV1(h prompb.Histogram) *writev2.Histogram {
	out := &writev2.Histogram{
		Sum: h.Sum, Schema: h.Schema, ZeroThreshold: h.ZeroThreshold, Timestamp: h.Timestamp,
		ResetHint:      writev2.Histogram_ResetHint(h.ResetHint),
		PositiveSpans:  spansV1(h.PositiveSpans),
		NegativeSpans:  spansV1(h.NegativeSpans),
		PositiveDeltas: h.PositiveDeltas, NegativeDeltas: h.NegativeDeltas,
		PositiveCounts: h.PositiveCounts, NegativeCounts: h.NegativeCounts,
		CustomValues: h.CustomValues,
	}
	switch count := h.Count.(type) {
	case *prompb.Histogram_CountInt:
		out.Count = &writev2.Histogram_CountInt{CountInt: count.CountInt}
	case *prompb.Histogram_CountFloat:
		out.Count = &writev2.Histogram_CountFloat{CountFloat: count.CountFloat}
	}
	switch zero := h.ZeroCount.(type) {
	case *prompb.Histogram_ZeroCountInt:
		out.ZeroCount = &writev2.Histogram_ZeroCountInt{ZeroCountInt: zero.ZeroCountInt}
	case *prompb.Histogram_ZeroCountFloat:
		out.ZeroCount = &writev2.Histogram_ZeroCountFloat{ZeroCountFloat: zero.ZeroCountFloat}
	}
	return out
}

func spansV1(spans []prompb.BucketSpan) (out []writev2.BucketSpan) {
	for _, s := range spans {
		out = append(out, writev2.BucketSpan{Offset: s.Offset, Length: s.Length})
	}
	return out
}

func linesV1(m *prompb.WriteRequest) string {
	var l lines
	for _, ts := range m.Timeseries {
		l.line("series%s", labelWords(ts.Labels))
		for _, s := range ts.Samples {
			l.line("sample %d %x 0", s.Timestamp, bits(s.Value))
		}
		for _, h := range ts.Histograms {
			l.histogram(histogramV1(h))
		}
		for _, e := range ts.Exemplars {
			l.line("exemplar %d %x%s", e.Timestamp, bits(e.Value), labelWords(e.Labels))
		}
	}
	for _, m := range m.Metadata {
		l.line("metadata %d -1%s%s%s", m.Type, word(m.MetricFamilyName), word(m.Help), word(m.Unit))
	}
	return l.String()
}

// linesV2 also says which series have a reference that is wrong; their lines mean nothing.
func linesV2(m *writev2.Request) (string, map[int]bool) {
	var l lines
	wrong := map[int]bool{}
	symbol := func(i int, ref uint32) string {
		if int(ref) >= len(m.Symbols) {
			wrong[i] = true
			return ""
		}
		return m.Symbols[ref]
	}
	labels := func(i int, refs []uint32) string {
		words, ok := refWords(refs, m.Symbols)
		if !ok {
			wrong[i] = true
		}
		return words
	}
	for i, ts := range m.Timeseries {
		l.line("series%s", labels(i, ts.LabelsRefs))
		for _, s := range ts.Samples {
			l.line("sample %d %x %d", s.Timestamp, bits(s.Value), s.StartTimestamp)
		}
		for _, h := range ts.Histograms {
			l.histogram(&h)
		}
		for _, e := range ts.Exemplars {
			l.line("exemplar %d %x%s", e.Timestamp, bits(e.Value), labels(i, e.LabelsRefs))
		}
	}
	for i, ts := range m.Timeseries {
		help, unit := symbol(i, ts.Metadata.HelpRef), symbol(i, ts.Metadata.UnitRef)
		if !wrong[i] && (ts.Metadata.Type != 0 || help != "" || unit != "") {
			l.line("metadata %d %d :%s%s", ts.Metadata.Type, i, word(help), word(unit))
		}
	}
	return l.String(), wrong
}

// without leaves out the lines of series (by number) and their metadata.
func without(text string, series map[int]bool) string {
	var out strings.Builder
	at := -1
	for line := range strings.Lines(text) {
		skip := false
		if strings.HasPrefix(line, "series") {
			at++
		}
		if strings.HasPrefix(line, "metadata") {
			var kind, of int
			fmt.Sscanf(line, "metadata %d %d", &kind, &of)
			skip = series[of]
		} else {
			skip = series[at]
		}
		if !skip {
			out.WriteString(line)
		}
	}
	return out.String()
}
