// SPDX-License-Identifier: Apache-2.0

package differ

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"maps"
	"math"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	remoteapi "github.com/prometheus/client_golang/exp/api/remote"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/prometheus/model/exemplar"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/metadata"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/storage/remote"
)

// answer is what a receiver has made of a request.
type answer struct {
	status  int
	counts  string // of the headers X-Prometheus-Remote-Write-*-Written; "" if there are none
	message string
	stored  map[string]int // datum, labels first → how often
}

func (a *answer) store(labels, datum string) { a.stored[labels+" | "+alikeNaN(datum)]++ }

var float64Word = regexp.MustCompile(`\b[7f]ff[0-9a-f]{13}\b`)

// alikeNaN makes all NaN of a histogram whose schema was reduced alike: of two that are added up, it
// is the processor's and the compiler's choice which one's bits remain.
func alikeNaN(datum string) string {
	if f := strings.Fields(datum); len(f) < 8 || f[0] != "histogram" || f[7] != "8" {
		return datum
	}
	return float64Word.ReplaceAllStringFunc(datum, func(word string) string {
		if u, _ := strconv.ParseUint(word, 16, 64); math.IsNaN(math.Float64frombits(u)) {
			return "NaN"
		}
		return word
	})
}

// difference returns the data of which a has more than b.
func (a *answer) difference(b *answer) []string {
	var more []string
	for datum, n := range a.stored {
		if n > b.stored[datum] {
			more = append(more, datum)
		}
	}
	slices.Sort(more)
	return more
}

var counted = []string{"Samples", "Histograms", "Exemplars"}

func countsOf(header func(string) string) string {
	var found []string
	for _, name := range counted {
		if n := header("X-Prometheus-Remote-Write-" + name + "-Written"); n != "" {
			found = append(found, n)
		}
	}
	return strings.Join(found, " ")
}

// storedCounts are the counts that are true.
func (a *answer) storedCounts() string {
	var n [3]int
	for datum, times := range a.stored {
		for i, kind := range counted {
			if strings.Contains(datum, " | "+strings.ToLower(kind[:len(kind)-1])+" ") {
				n[i] += times
			}
		}
	}
	return fmt.Sprintf("%d %d %d", n[0], n[1], n[2])
}

// request is what both receivers are sent.
type request struct {
	method  string
	headers http.Header
	body    []byte
}

func writeRequest(contentType string, body []byte) request {
	return request{"POST", http.Header{"Content-Type": {contentType}, "Content-Encoding": {"snappy"}}, body}
}

// ---- ours

func (o *ours) receive(q request) *answer {
	var parts [][]byte
	count := 0
	for name, values := range q.headers {
		for _, v := range values {
			parts = append(parts, part(name), part(v))
			count++
		}
	}
	parts = append([][]byte{{byte(count)}}, parts...)
	parts = append(parts, part(q.method), q.body)
	return parseAnswer(string(o.ask('w', parts...)))
}

func parseAnswer(text string) *answer {
	a := &answer{stored: map[string]int{}}
	headers := http.Header{}
	var series string
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		kind, rest, _ := strings.Cut(line, " ")
		switch kind {
		case "status":
			a.status, _ = strconv.Atoi(rest)
		case "header":
			name, value, _ := strings.Cut(rest, " ")
			headers.Add(name, value)
		case "reason":
			a.message = rest
		case "series":
			series = rest
		case "sample": // Prometheus' appender is not told start timestamps
			a.store(series, line[:strings.LastIndex(line, " ")])
		case "histogram":
			a.store(series, effective(rest))
		case "exemplar":
			a.store(series, line)
		}
	}
	a.counts = countsOf(headers.Get)
	return a
}

// effective reduces a line about a histogram to what a reader of it looks at.
func effective(line string) string {
	f := strings.Fields(line)
	float, zeroFloat := f[2] == "1", f[3] == "1"
	count, zero, sum, threshold, schema := f[4], f[5], f[6], f[7], f[8]
	hint, _ := strconv.Atoi(f[9])
	if zeroFloat != float {
		zero = "0"
	}
	if schema == "-53" { // custom buckets have no zero bucket, whatever a damaged chunk says
		zero, threshold = "0", "0"
	}
	positive, negative := f[12], f[13]
	if float {
		positive, negative = f[14], f[15]
	}
	if sum == strconv.FormatUint(staleBits, 16) {
		return fmt.Sprintf("histogram %s stale %v", f[0], float)
	}
	return strings.Join([]string{"histogram", f[0], strconv.FormatBool(float), count, zero, sum, threshold, schema,
		strconv.Itoa(int(byte(hint))), f[10], f[11], positive, negative, f[16]}, " ")
}

// ---- Prometheus: its handler over an appender that keeps what it gets

type recorder struct{ answer *answer }

func (r *recorder) Appender(context.Context) storage.Appender { return r }
func (r *recorder) SetOptions(*storage.AppendOptions)         {}
func (r *recorder) Commit() error                             { return nil }

func (r *recorder) Rollback() error {
	clear(r.answer.stored)
	return nil
}

func lsetWords(ls labels.Labels) string {
	var out strings.Builder
	ls.Range(func(l labels.Label) {
		if l.Value != "" { // as its head does
			out.WriteString(word(l.Name) + word(l.Value))
		}
	})
	return strings.TrimPrefix(out.String(), " ")
}

func (r *recorder) Append(_ storage.SeriesRef, ls labels.Labels, t int64, v float64) (storage.SeriesRef, error) {
	r.answer.store(lsetWords(ls), fmt.Sprintf("sample %d %x", t, bits(v)))
	return 1, nil
}

// As its head checks exemplars, but for their order in time and repetitions.
func (r *recorder) AppendExemplar(_ storage.SeriesRef, ls labels.Labels, e exemplar.Exemplar) (storage.SeriesRef, error) {
	length := 0
	e.Labels.Range(func(l labels.Label) {
		length += utf8.RuneCountInString(l.Name) + utf8.RuneCountInString(l.Value)
	})
	if length > exemplar.ExemplarMaxLabelSetLength {
		return 0, storage.ErrExemplarLabelLength
	}
	words := lsetWords(e.Labels)
	if words != "" {
		words = " " + words
	}
	r.answer.store(lsetWords(ls), fmt.Sprintf("exemplar %d %x%s", e.Ts, bits(e.Value), words))
	return 1, nil
}

func (r *recorder) AppendHistogram(_ storage.SeriesRef, ls labels.Labels, t int64, h *histogram.Histogram, fh *histogram.FloatHistogram) (storage.SeriesRef, error) {
	line, err := "", error(nil)
	if h != nil {
		line, err = histogramLine(t, h), h.Validate()
	} else {
		line, err = floatHistogramLine(t, fh), fh.Validate()
	}
	if err != nil {
		return 0, err
	}
	r.answer.store(lsetWords(ls), line)
	return 1, nil
}

func histogramSpans(spans []histogram.Span) string {
	var out strings.Builder
	for _, s := range spans {
		fmt.Fprintf(&out, "%d:%d,", s.Offset, s.Length)
	}
	return out.String() + ";"
}

func histogramLine(t int64, h *histogram.Histogram) string {
	if value.IsStaleNaN(h.Sum) {
		return fmt.Sprintf("histogram %d stale false", t)
	}
	return fmt.Sprintf("histogram %d false %x %x %x %x %d %d %s %s %s %s %s", t, h.Count, h.ZeroCount, bits(h.Sum),
		bits(h.ZeroThreshold), h.Schema, h.CounterResetHint, histogramSpans(h.PositiveSpans), histogramSpans(h.NegativeSpans),
		integerWords(h.PositiveBuckets), integerWords(h.NegativeBuckets), floatWords(h.CustomValues))
}

func floatHistogramLine(t int64, h *histogram.FloatHistogram) string {
	if value.IsStaleNaN(h.Sum) {
		return fmt.Sprintf("histogram %d stale true", t)
	}
	return fmt.Sprintf("histogram %d true %x %x %x %x %d %d %s %s %s %s %s", t, bits(h.Count), bits(h.ZeroCount), bits(h.Sum),
		bits(h.ZeroThreshold), h.Schema, h.CounterResetHint, histogramSpans(h.PositiveSpans), histogramSpans(h.NegativeSpans),
		floatWords(h.PositiveBuckets), floatWords(h.NegativeBuckets), floatWords(h.CustomValues))
}

func (r *recorder) UpdateMetadata(ref storage.SeriesRef, _ labels.Labels, _ metadata.Metadata) (storage.SeriesRef, error) {
	return ref, nil
}

func (r *recorder) AppendSTZeroSample(ref storage.SeriesRef, _ labels.Labels, _, _ int64) (storage.SeriesRef, error) {
	return ref, nil
}

func (r *recorder) AppendHistogramSTZeroSample(ref storage.SeriesRef, _ labels.Labels, _, _ int64, _ *histogram.Histogram, _ *histogram.FloatHistogram) (storage.SeriesRef, error) {
	return ref, nil
}

func prometheusReceives(q request) *answer {
	r := &recorder{&answer{stored: map[string]int{}}}
	handler := remote.NewWriteHandler(slog.New(slog.DiscardHandler), prometheus.NewRegistry(), r,
		remoteapi.MessageTypes{remoteapi.WriteV1MessageType, remoteapi.WriteV2MessageType}, false, false, false)
	request := httptest.NewRequest(q.method, "/api/v1/write", bytes.NewReader(q.body))
	request.Header = maps.Clone(q.headers)
	response := httptest.NewRecorder()
	handler.ServeHTTP(response, request)
	r.answer.status = response.Code
	r.answer.message = response.Body.String()
	r.answer.counts = countsOf(response.Header().Get)
	return r.answer
}

// tooLate is what Prometheus takes for a time in the future.
func tooLate(datum string) bool {
	_, rest, _ := strings.Cut(datum, " | ")
	t, _ := strconv.ParseInt(strings.Fields(rest)[1], 10, 64)
	return t > time.Now().Add(10*time.Minute).UnixMilli()
}
