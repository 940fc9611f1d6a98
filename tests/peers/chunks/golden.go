// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"math"
	"math/rand"
	"os"
	"path/filepath"

	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/prompb"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
)

// A golden line: name, chunk type, the chunk, and what is in it as a WriteRequest of one series; then
// the start timestamps, which that message does not have, if there are any.
func line(w *bufio.Writer, name string, chunk chunkenc.Chunk, samples []sample, histograms []prompb.Histogram) {
	series, err := (&prompb.TimeSeries{Histograms: histograms}).Marshal()
	check(err)
	starts, any := "", false
	for i, s := range samples { // the generated code drops -0
		message := binary.LittleEndian.AppendUint64([]byte{9}, math.Float64bits(s.v))
		message = binary.AppendUvarint(append(message, 16), uint64(s.t))
		series = append(append(series, 18, byte(len(message))), message...)
		starts += fmt.Sprintf("%c%d", " ,"[min(i, 1)], s.st)
		any = any || s.st != 0
	}
	if !any || chunk.Encoding() == chunkenc.EncXOR {
		starts = ""
	}
	request := append(binary.AppendUvarint([]byte{10}, uint64(len(series))), series...)
	fmt.Fprintf(w, "%s %d %x %x%s\n", name, chunk.Encoding(), chunk.Bytes(), request, starts)
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

type sample struct {
	st, t int64
	v     float64
}

func encode(encoding chunkenc.Encoding, samples []sample) chunkenc.Chunk {
	chunk, err := chunkenc.NewEmptyChunk(encoding)
	check(err)
	app, err := chunk.Appender()
	check(err)
	for _, s := range samples {
		app.Append(s.st, s.t, s.v)
	}
	return chunk
}

func bits(u uint64) float64 { return math.Float64frombits(u) }

func values(vs ...float64) []sample {
	var out []sample
	for i, v := range vs {
		out = append(out, sample{t: 1700000000000 + int64(i)*15000, v: v})
	}
	return out
}

func times(ts ...int64) []sample {
	var out []sample
	for i, t := range ts {
		out = append(out, sample{t: t, v: float64(i % 3)})
	}
	return out
}

// Timestamps whose third one changes the interval by dod, then back.
func change(dod int64) []sample { return times(1000, 2000, 3000+dod, 4000+dod, 5000+2*dod) }

// Every width of a change of the interval, at both ends and beyond.
func changes() map[string][]sample {
	out := map[string][]sample{}
	for _, n := range []int{12, 13, 14, 17, 19, 20, 33} {
		half := int64(1) << (n - 1)
		for _, d := range []int64{half - 1, half, half + 1, -half + 1, -half, -half - 1} {
			out[fmt.Sprintf("change_%d", d)] = change(d)
		}
	}
	return out
}

func random(r *rand.Rand, n int) []sample {
	var out []sample
	t, v := int64(1700000000000), 0.0
	mode := r.Intn(6)
	for range n {
		switch mode {
		case 0:
			t += 15000
		case 1:
			t += 14990 + int64(r.Intn(20))
		case 2:
			t += 1 + int64(r.Intn(1<<uint(1+r.Intn(40))))
		default:
			t += int64(r.Uint64() >> uint(r.Intn(64)))
		}
		switch r.Intn(4 + mode) {
		case 0:
		case 1:
			v += float64(r.Intn(100))
		case 2:
			v += r.NormFloat64()
		case 3:
			v = bits(r.Uint64())
		case 4:
			v = bits(value.StaleNaN)
		default:
			v = math.Floor(v)
		}
		out = append(out, sample{t: t, v: v})
	}
	return out
}

func floatCases() map[string][]sample {
	stale := bits(value.StaleNaN)
	cases := map[string][]sample{
		"one":         values(1),
		"two":         values(1, 1),
		"constant":    values(make([]float64, 120)...),
		"zeros":       values(0, math.Copysign(0, -1), 0, math.Copysign(0, -1)),
		"special":     values(math.Inf(1), math.Inf(-1), math.NaN(), stale, bits(0x7ff8000000000001), bits(0xfff0000000000001), bits(1), math.MaxFloat64),
		"stale":       values(1, stale, 1, stale, stale, 2),
		"windows":     values(1, 1.5, 1.25, 1, bits(0x8000000000000001), 0, 2, bits(1), 0, bits(1)),
		"wide_window": values(0, bits(0xffffffffffffffff), 0, bits(0x8000000000000001), bits(0xfffffffffffffffe)),
		"extreme":     times(math.MinInt64, 0, math.MaxInt64),
		"extreme_two": times(math.MinInt64, math.MaxInt64, math.MinInt64),
		"same_time":   times(5, 5, 5),
		"backwards":   times(1000, 900, 700, 400, 0, -500),
		"negative":    times(-1000, -999, -1, 0, 1),
	}
	for name, samples := range changes() {
		cases[name] = samples
	}
	r := rand.New(rand.NewSource(4))
	for i := range 40 {
		cases[fmt.Sprintf("random_%02d", i)] = random(r, 1+r.Intn(40))
	}
	return cases
}

// Start timestamps beside the samples of a case.
func started(samples []sample, starts ...int64) []sample {
	out := append([]sample(nil), samples...)
	for i := range out {
		if len(starts) > 0 {
			out[i].st = starts[min(i, len(starts)-1)]
		}
	}
	return out
}

func startedCases() map[string][]sample {
	cases := floatCases()
	long := values(make([]float64, 150)...)
	cases["long"] = long
	cases["start_first"] = started(long[:5], 1699999990000)
	cases["start_second"] = started(long[:5], 0, 1700000010000)
	cases["start_first_and_second"] = started(long[:5], 1699999990000, 1700000010000)
	cases["start_third"] = started(long[:6], 0, 0, 1700000010000, 1700000010000, 1700000040000)
	cases["start_late"] = started(long[:6], 5, 5, 5, 5, 1700000050000, 0)
	cases["start_never_long"] = long
	cases["start_same_long"] = started(long, 1699999990000)
	r := rand.New(rand.NewSource(5))
	for i := range 20 {
		samples := random(r, 1+r.Intn(150))
		for j := range samples {
			if r.Intn(3) == 0 {
				samples[j].st = samples[j].t - int64(r.Intn(1<<uint(1+r.Intn(20))))
			} else if j > 0 {
				samples[j].st = samples[j-1].st
			}
		}
		cases[fmt.Sprintf("start_random_%02d", i)] = samples
	}
	return cases
}

func golden(folder string) {
	writeFile(filepath.Join(folder, "xor.txt"), func(w *bufio.Writer) {
		cases := floatCases()
		for _, name := range sortedKeys(cases) {
			line(w, name, encode(chunkenc.EncXOR, cases[name]), cases[name], nil)
		}
	})
	writeFile(filepath.Join(folder, "xor2.txt"), func(w *bufio.Writer) {
		cases := startedCases()
		for _, name := range sortedKeys(cases) {
			line(w, name, encode(chunkenc.EncXOR2, cases[name]), cases[name], nil)
		}
	})
	writeFile(filepath.Join(folder, "histogram.txt"), goldenHistograms)
	writeFile(filepath.Join(folder, "frames.txt"), goldenFrames)
}
