// SPDX-License-Identifier: Apache-2.0

package differ

import (
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/klauspost/compress/snappy"
	"github.com/prometheus/prometheus/prompb"
	writev2 "github.com/prometheus/prometheus/prompb/io/prometheus/write/v2"
)

// case_ is one request as both receivers have seen it.
type case_ struct {
	v2         bool
	body       []byte
	prometheus *answer
	ours       *answer
}

// difference is one way in which we differ from Prometheus on purpose. It says which data may be
// stored by one side alone, and between which statuses it may make the difference.
type difference struct {
	name, why      string
	onlyOurs       func(c *case_, datum string) bool
	onlyPrometheus func(c *case_, datum string) bool
	status         func(c *case_) bool
	used           int
}

var differences = []*difference{
	{
		name: "exemplars alone",
		why: "W-35, decision 2: Prometheus' own sender puts exemplars into series without samples, and its " +
			"receiver refuses them. We take them; strict mode does not.",
		onlyOurs: func(c *case_, datum string) bool {
			return c.v2 && isExemplar(datum) && strings.Contains(c.prometheus.message, "must contain at least one sample")
		},
		status: func(c *case_) bool {
			return c.prometheus.status == 400 && c.ours.status == 204 && promComplains(c, "must contain at least one sample")
		},
	},
	{
		name:           "exemplar labels",
		why:            "W-30: names that are empty or repeated and text that is not UTF-8 are refused in exemplars as in series.",
		onlyPrometheus: func(_ *case_, datum string) bool { return isExemplar(datum) && badLabels(exemplarTexts(datum)) },
		status:         func(c *case_) bool { return c.prometheus.status == 204 && c.ours.status == 400 && badExemplar(c) },
	},
	{
		name: "exemplar without a time",
		why:  "W-45: 2.0 says that an exemplar must have one. Prometheus keeps it with the time 0.",
		onlyPrometheus: func(c *case_, datum string) bool {
			return c.v2 && isExemplar(datum) && strings.Contains(datum, " | exemplar 0 ")
		},
		status: func(c *case_) bool { return c.prometheus.status == 204 && c.ours.status == 400 && oursComplains(c) },
	},
	{
		name: "long exemplars",
		why: "W-45: 128 characters are OpenMetrics' limit for what is exposed, not remote write's. Prometheus drops " +
			"what is longer with 204 (and a smaller count), which 2.0 forbids (W-21).",
		onlyOurs: func(_ *case_, datum string) bool { return isExemplar(datum) && exemplarLength(datum) > 128 },
	},
	{
		name: "the future",
		why: "W-22: Prometheus refuses what is later than its own clock by ten minutes, to protect its head. Which times " +
			"are kept is the storage's choice here; the library reads no clock.",
		onlyOurs: func(_ *case_, datum string) bool { return tooLate(datum) },
		status: func(c *case_) bool {
			return c.prometheus.status == 400 && c.ours.status == 204 &&
				promComplains(c, "too far in the future", "must contain at least one sample")
		},
	},
	{
		name: "partial writes in 1.0",
		why: "W-22: Prometheus takes back a whole 1.0 request for one bad histogram (or for a time in the future) and " +
			"answers 400, so that the sender drops good data. We keep the rest, as in 2.0.",
		onlyOurs: func(c *case_, _ string) bool { return !c.v2 && c.prometheus.status/100 != 2 },
		status: func(c *case_) bool {
			return !c.v2 && c.prometheus.status == 400 && c.ours.status == 204 && promComplains(c, "too far in the future")
		},
	},
	{
		name: "bad labels in 1.0",
		why:  "W-32: Prometheus leaves such a series out and answers 204 to 1.0; the specification says 400.",
		status: func(c *case_) bool {
			return !c.v2 && c.prometheus.status == 204 && c.ours.status == 400 && badSeriesV1(c)
		},
	},
	{
		name:     "stale histograms",
		why:      "W-43: nothing but the sum of a stale histogram means anything, so the rest is not checked either.",
		onlyOurs: func(_ *case_, datum string) bool { return strings.Contains(datum, " stale ") },
		status: func(c *case_) bool {
			return c.ours.status == 204 && slices.ContainsFunc(c.ours.difference(c.prometheus), func(datum string) bool {
				return strings.Contains(datum, " stale ")
			})
		},
	},
	{
		name: "bucket indexes beyond 32 bits",
		why: "W-48: to reduce a schema from 9 to 52, bucket indexes are added up. Prometheus lets them wrap around at 32 " +
			"bits and stores buckets that nobody has sent; we do not, and refuse what does not fit.",
		onlyOurs:       func(c *case_, datum string) bool { return isReduced(datum) && farOut(c) },
		onlyPrometheus: func(c *case_, datum string) bool { return isReduced(datum) && farOut(c) },
		status: func(c *case_) bool {
			return farOut(c) && c.prometheus.status != 500 && (oursComplains(c) || c.ours.status == 204)
		},
	},
}

func isReduced(datum string) bool {
	_, datum, _ = strings.Cut(datum, " | histogram ")
	f := strings.Fields(datum)
	return len(f) > 6 && f[6] == "8"
}

// farOut says whether a histogram is to be reduced and has indexes near the ends of 32 bits.
func farOut(c *case_) bool {
	for _, h := range histogramsOf(c) {
		for _, s := range slices.Concat(h.PositiveSpans, h.NegativeSpans) {
			if h.Schema > 8 && (s.Offset > 1<<29 || s.Offset < -1<<29) {
				return true
			}
		}
	}
	return false
}

func histogramsOf(c *case_) (all []*writev2.Histogram) {
	var v1 prompb.WriteRequest
	var v2 writev2.Request
	if c.v2 && v2.Unmarshal(c.body) == nil {
		for _, ts := range v2.Timeseries {
			for i := range ts.Histograms {
				all = append(all, &ts.Histograms[i])
			}
		}
	} else if !c.v2 && v1.Unmarshal(c.body) == nil {
		for _, ts := range v1.Timeseries {
			for _, h := range ts.Histograms {
				all = append(all, histogramV1(h))
			}
		}
	}
	return all
}

func isExemplar(datum string) bool { return strings.Contains(datum, " | exemplar ") }

func exemplarTexts(datum string) (texts []string) {
	_, datum, _ = strings.Cut(datum, " | ")
	for _, f := range strings.Fields(datum)[3:] {
		b, _ := hex.DecodeString(f[1:])
		texts = append(texts, string(b))
	}
	return texts
}

func exemplarLength(datum string) (n int) {
	for _, s := range exemplarTexts(datum) {
		n += utf8.RuneCountInString(s)
	}
	return n
}

// badLabels says whether pairs of name and value have a name that is empty or repeated, or text that
// is not UTF-8.
func badLabels(texts []string) bool {
	seen := map[string]bool{}
	for i, s := range texts {
		if !utf8.ValidString(s) || i%2 == 0 && (s == "" || seen[s]) {
			return true
		}
		seen[s] = seen[s] || i%2 == 0
	}
	return false
}

// badExemplar says whether an exemplar of the request has bad labels.
func badExemplar(c *case_) bool {
	var v1 prompb.WriteRequest
	var v2 writev2.Request
	if c.v2 && v2.Unmarshal(c.body) == nil {
		for _, ts := range v2.Timeseries {
			for _, e := range ts.Exemplars {
				texts := []string{}
				for _, ref := range e.LabelsRefs {
					texts = append(texts, v2.Symbols[min(int(ref), len(v2.Symbols)-1)])
				}
				if badLabels(texts) {
					return true
				}
			}
		}
	} else if !c.v2 && v1.Unmarshal(c.body) == nil {
		for _, ts := range v1.Timeseries {
			for _, e := range ts.Exemplars {
				if badLabels(labelTexts(e.Labels)) {
					return true
				}
			}
		}
	}
	return false
}

func labelTexts(labels []prompb.Label) (texts []string) {
	for _, l := range labels {
		texts = append(texts, l.Name, l.Value)
	}
	return texts
}

// promComplains says whether every line of Prometheus' complaint contains one of these.
func promComplains(c *case_, about ...string) bool {
	for line := range strings.Lines(c.prometheus.message) {
		if !slices.ContainsFunc(about, func(s string) bool { return strings.Contains(line, s) }) {
			return false
		}
	}
	return true
}

// oursComplains: what Prometheus has and we have not is all there is to complain about.
func oursComplains(c *case_) bool { return len(c.prometheus.difference(c.ours)) > 0 }

// badSeriesV1 says whether a series has labels that Prometheus passes over.
func badSeriesV1(c *case_) bool {
	var m prompb.WriteRequest
	if m.Unmarshal(c.body) != nil {
		return false
	}
	for _, ts := range m.Timeseries {
		named := slices.ContainsFunc(ts.Labels, func(l prompb.Label) bool { return l.Name == "__name__" && l.Value != "" })
		if !named || badLabels(labelTexts(ts.Labels)) {
			return true
		}
	}
	return false
}

// allowed finds the difference that explains something, and counts it.
func allowed(says func(*difference) bool) bool {
	for _, d := range differences {
		if says(d) {
			d.used++
			return true
		}
	}
	return false
}

// unlisted describes what is not explained by the table.
func (c *case_) unlisted() string {
	for _, datum := range c.ours.difference(c.prometheus) {
		if !allowed(func(d *difference) bool { return d.onlyOurs != nil && d.onlyOurs(c, datum) }) {
			return "only we store " + datum
		}
	}
	for _, datum := range c.prometheus.difference(c.ours) {
		if !allowed(func(d *difference) bool { return d.onlyPrometheus != nil && d.onlyPrometheus(c, datum) }) {
			return "only Prometheus stores " + datum
		}
	}
	if c.ours.status != c.prometheus.status &&
		!allowed(func(d *difference) bool { return d.status != nil && d.status(c) }) {
		return "the status differs"
	}
	want := ""
	if c.v2 {
		want = c.ours.storedCounts()
	}
	if c.ours.counts != want {
		return fmt.Sprintf("our headers count %q, stored are %q", c.ours.counts, want)
	}
	return ""
}

func TestWrite(t *testing.T) {
	for _, v2 := range []bool{false, true} {
		t.Run(fmt.Sprintf("v2=%v", v2), func(t *testing.T) {
			o, r := startOurs(t), newRandom()
			g := &generator{r: r}
			contentType := "application/x-protobuf"
			if v2 {
				contentType += ";proto=io.prometheus.write.v2.Request"
			}
			var last []byte
			statuses := map[int]int{}
			for range *cases {
				body := g.write(v2)
				if chance(r, 10) {
					body, last = mutate(r, body, last), body
				}
				q := writeRequest(contentType, snappy.Encode(nil, body))
				c := &case_{v2, body, prometheusReceives(q), o.receive(q)}
				if what := c.unlisted(); what != "" {
					t.Fatalf("%x\n%s\nPrometheus: %d %q, ours: %d %q\nonly Prometheus: %q\nonly ours: %q", body, what,
						c.prometheus.status, c.prometheus.message, c.ours.status, c.ours.message,
						c.prometheus.difference(c.ours), c.ours.difference(c.prometheus))
				}
				statuses[c.ours.status]++
			}
			t.Log("statuses: ", statuses)
		})
	}
	for _, d := range differences {
		t.Logf("%7d × %s: %s", d.used, d.name, d.why)
		if d.used == 0 {
			t.Errorf("the difference %q does not exist", d.name)
		}
	}
}
