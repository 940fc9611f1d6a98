// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"bytes"
	"fmt"
	"math"
	"net/http/httptest"
	"sync"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/storage/remote"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/tsdb/chunks"
	"github.com/prometheus/prometheus/util/annotations"
)

type goldenSample struct{ t int64 }

func (s goldenSample) T() int64                      { return s.t }
func (s goldenSample) ST() int64                     { return 0 }
func (s goldenSample) F() float64                    { return float64(s.t) / 600 }
func (s goldenSample) H() *histogram.Histogram       { return nil }
func (s goldenSample) FH() *histogram.FloatHistogram { return nil }
func (s goldenSample) Type() chunkenc.ValueType      { return chunkenc.ValFloat }
func (s goldenSample) Copy() chunks.Sample           { return s }

type seriesSet struct {
	series []storage.ChunkSeries
	at     int
}

func (s *seriesSet) Next() bool                        { s.at++; return s.at < len(s.series) }
func (s *seriesSet) At() storage.ChunkSeries           { return s.series[s.at] }
func (s *seriesSet) Err() error                        { return nil }
func (s *seriesSet) Warnings() annotations.Annotations { return nil }

// A golden line: the most bytes of a frame, the number of the query, the series as their numbers of
// samples, and the stream. Series i is {__name__="metric<i>", instance="a"}, with sample j at j
// minutes and of value 100 j.
func frames(w *bufio.Writer, most int, query int64, counts ...int) {
	set := &seriesSet{at: -1}
	for i, n := range counts {
		var samples []chunks.Sample
		for j := range n {
			samples = append(samples, goldenSample{int64(j) * 60000})
		}
		lset := labels.FromStrings("__name__", fmt.Sprintf("metric%d", i), "instance", "a")
		set.series = append(set.series, storage.NewSeriesToChunkEncoder(storage.NewListSeries(lset, samples)))
	}
	var out bytes.Buffer
	writer := remote.NewChunkedWriter(&out, httptest.NewRecorder())
	_, err := remote.StreamChunkedReadResponses(writer, query, set, nil, most, &sync.Pool{})
	check(err)
	fmt.Fprintf(w, "%d %d ", most, query)
	for i, n := range counts {
		fmt.Fprintf(w, "%s%d", ","[:min(i, 1)], n)
	}
	fmt.Fprintf(w, " %x\n", out.Bytes())
}

func goldenFrames(w *bufio.Writer) {
	frames(w, 1<<20, 0, 1)
	frames(w, 1<<20, 0, 120)
	frames(w, 1<<20, 1, 121, 0, 241)
	frames(w, 57+480, 0, 120, 121, 241)
	frames(w, 1, 300, 360, 2)
	for most := 264; most < 277; most++ { // about the budget of one chunk
		frames(w, most, 2, 241)
	}
	frames(w, math.MaxInt32, math.MaxInt64, 1300)
}
