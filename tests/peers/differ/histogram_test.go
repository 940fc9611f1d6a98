// SPDX-License-Identifier: Apache-2.0

package differ

import (
	"strings"
	"testing"

	writev2 "github.com/prometheus/prometheus/prompb/io/prometheus/write/v2"
)

func validate(h *writev2.Histogram) error {
	if h.IsFloatHistogram() {
		return h.ToFloatHistogram().Validate()
	}
	return h.ToIntHistogram().Validate()
}

func TestValidate(t *testing.T) {
	o, r := startOurs(t), newRandom()
	g := &generator{r: r, refs: map[string]uint64{}}
	valid, reasons := 0, map[string]int{}
	for range *cases {
		g.faults = pick(r, 0, 2, 10)
		series := message{}
		for range 10 {
			series = append(series, sub(3, g.histogram()))
		}
		body := message{sub(5, series)}.encode(r, style{})
		var m writev2.Request
		if err := m.Unmarshal(body); err != nil {
			t.Fatal(err)
		}
		reply, failure := o.askOutcome('h', body)
		verdicts := strings.Split(string(reply), "\n")
		if failure != "" || len(verdicts) != len(m.Timeseries[0].Histograms)+1 {
			t.Fatalf("%x: %s", body, failure)
		}
		for i, h := range m.Timeseries[0].Histograms {
			err := validate(&h)
			if (err == nil) != (verdicts[i] == "valid") {
				t.Fatalf("%v\nPrometheus: %v\nours: %s", &h, err, verdicts[i])
			}
			if err == nil {
				valid++
			} else {
				reasons[verdicts[i]]++
			}
		}
	}
	if valid < 3**cases || len(reasons) < 10 {
		t.Errorf("histograms that tell nothing: %d valid, %v", valid, reasons)
	}
}
