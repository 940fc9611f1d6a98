// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"os"
	"time"

	"github.com/prometheus/prometheus/tsdb/chunkenc"
)

const (
	benchChunks  = 1000
	benchSamples = 120
	iterations   = 20
)

type benchRow struct {
	Group   string    `json:"group"`
	Name    string    `json:"name"`
	Unit    string    `json:"unit"`
	Target  float64   `json:"target"`
	Samples []float64 `json:"samples"`
}

// The same as tests/bench/bench_chunks.c makes.
func benchData(kind int) [][]sample {
	state := uint64(1)
	next := func() uint64 {
		state = state*6364136223846793005 + 1442695040888963407
		return state >> 33
	}
	var out [][]sample
	for c := range benchChunks {
		var samples []sample
		v := float64(c * 1000)
		for i := range benchSamples {
			r, jitter := next(), int64(0)
			switch {
			case kind == 1:
				v += float64(r % 100)
			case kind > 1:
				v += (float64(r) - 1073741824) / 1073741824
			}
			if kind == 3 {
				jitter = int64(next()%7) - 3
			}
			samples = append(samples, sample{t: 1700000000000 + int64(i)*15000 + jitter, v: v})
		}
		out = append(out, samples)
	}
	return out
}

func timed(rounds int, work func()) []float64 {
	var out []float64
	work()
	for range rounds {
		start := time.Now()
		for range iterations {
			work()
		}
		out = append(out, float64(time.Since(start).Nanoseconds())/1000/iterations)
	}
	return out
}

// Prints rows like those of the benchmark programs.
func bench(rounds int) {
	encoder := json.NewEncoder(os.Stdout)
	for kind, name := range []string{"constant", "counter", "random walk", "random walk, jitter"} {
		data := benchData(kind)
		chunks := make([]*chunkenc.XORChunk, benchChunks)
		encode := timed(rounds, func() {
			for c, samples := range data {
				chunk := chunkenc.NewXORChunk()
				app, err := chunk.Appender()
				check(err)
				for _, s := range samples {
					app.Append(0, s.t, s.v)
				}
				chunks[c] = chunk
			}
		})
		sum := 0.0
		var it chunkenc.Iterator
		decode := timed(rounds, func() {
			for _, chunk := range chunks {
				it = chunk.Iterator(it)
				for it.Next() == chunkenc.ValFloat {
					t, v := it.At()
					sum += float64(t) + v
				}
			}
		})
		check(encoder.Encode(benchRow{"120,000 samples to XOR chunks, " + name, "Prometheus (Go)", "us", 0, encode}))
		check(encoder.Encode(benchRow{"120,000 samples from XOR chunks, " + name, "Prometheus (Go)", "us", 0, decode}))
	}
}
