// SPDX-License-Identifier: Apache-2.0

package differ

import (
	"math"
	"math/rand/v2"
	"strings"
)

const (
	staleBits  = 0x7ff0000000000002
	baseTime   = 1_700_000_000_000
	customOnly = -53
)

func pick[T any](r *rand.Rand, from ...T) T { return from[r.IntN(len(from))] }

func chance(r *rand.Rand, percent int) bool { return r.IntN(100) < percent }

// generator makes random write requests: most of what it makes is valid, everything may go wrong.
type generator struct {
	r       *rand.Rand
	faults  int // percent of things that are spoiled
	symbols []string
	refs    map[string]uint64
}

func (g *generator) fault() bool { return chance(g.r, g.faults) }

// symbol is the number of s in the table of symbols.
func (g *generator) symbol(s string) uint64 {
	if g.fault() && g.fault() {
		return uint64(len(g.symbols)) + g.r.Uint64N(3)<<g.r.IntN(33)
	}
	if ref, found := g.refs[s]; found {
		return ref
	}
	g.refs[s] = uint64(len(g.symbols))
	g.symbols = append(g.symbols, s)
	return g.refs[s]
}

func (g *generator) text() string {
	if g.fault() {
		return pick(g.r, "", "\xff", "\xc0\x80", "\xed\xa0\x80", "\xf4\x90\x80\x80", "a\x00b", "\xef\xbf\xbf",
			"long "+strings.Repeat("é", g.r.IntN(200)))
	}
	return pick(g.r, "a", "b", "node-1", "日本語", "0", "x y", "\u00e9", "\U0001f389")
}

func (g *generator) labels() []string {
	labels := []string{"__name__", pick(g.r, "up", "requests_total", "latency_seconds", "a:b")}
	if g.fault() {
		labels = pick(g.r, nil, []string{"__name__", ""}, []string{"name", "up"}, []string{"__name__", g.text()})
	}
	for _, name := range []string{"instance", "job", "le", "zone", "é"} {
		if chance(g.r, 40) {
			if g.fault() {
				name = pick(g.r, "", "job", "__name__", g.text())
			}
			labels = append(labels, name, g.text())
		}
	}
	if chance(g.r, 20) { // pairs in any order
		for i := len(labels)/2 - 1; i > 0; i-- {
			j := g.r.IntN(i + 1)
			labels[2*i], labels[2*j] = labels[2*j], labels[2*i]
			labels[2*i+1], labels[2*j+1] = labels[2*j+1], labels[2*i+1]
		}
	}
	return labels
}

func (g *generator) float() uint64 {
	switch g.r.IntN(8) {
	case 0:
		return staleBits
	case 1:
		return pick(g.r, uint64(0x7ff8000000000001), 0x7ff0000000000001, 0xfff8000000000000, 0x7fffffffffffffff)
	case 2:
		return math.Float64bits(pick(g.r, math.Inf(1), math.Inf(-1), 0, math.Copysign(0, -1), 5e-324))
	case 3:
		return g.r.Uint64()
	}
	return math.Float64bits(math.Trunc(g.r.NormFloat64() * 1000))
}

func (g *generator) time() uint64 {
	if g.fault() {
		return pick(g.r, uint64(0), 1, math.MaxInt64, 1<<63, math.MaxUint64)
	}
	return baseTime + g.r.Uint64N(1_000_000)
}

// ---- histograms

// spans over count buckets, the first of which has an index of least or more.
func (g *generator) spans(number, count, least int) []field {
	var all []field
	for first := true; count > 0; first = false {
		length := 1 + g.r.IntN(count)
		offset := int64(g.r.IntN(4))
		if first {
			offset += int64(least)
		}
		if g.fault() {
			offset, length = pick(g.r, offset, -offset, 1<<30, math.MaxInt32, math.MinInt32), length+g.r.IntN(2)
		}
		all = append(all, sub(number, message{one(1, zigzag32(offset)), one(2, uint64(length))}))
		count -= length
	}
	if chance(g.r, 10) {
		all = append(all, sub(number, message{one(1, zigzag32(int64(g.r.IntN(3)))), one(2, 0)}))
	}
	return all
}

func zigzag32(v int64) uint64 { return uint64(uint32(zigzag(int64(int32(v))))) }

// buckets of one side: spans, then deltas or counts; their sum is added to *sum.
func (g *generator) buckets(spans, deltas, counts, least int, float bool, sum *float64) []field {
	n := g.r.IntN(8)
	fields := g.spans(spans, n, least)
	words, last := make([]uint64, n), int64(0)
	for i := range words {
		count := int64(g.r.IntN(20))
		if g.fault() {
			count = pick(g.r, -1, 1<<40, math.MaxInt64, count)
		}
		*sum += float64(count)
		words[i] = zigzag(count - last)
		last = count
		if float {
			words[i] = math.Float64bits(float64(count) / 2)
			if g.fault() {
				words[i] = g.float()
			}
		}
	}
	if n == 0 {
		return fields
	}
	if float != g.fault() {
		return append(fields, many(counts, fixed64s, words))
	}
	return append(fields, many(deltas, varints, words))
}

func (g *generator) histogram() message {
	float, custom := chance(g.r, 40), chance(g.r, 20)
	schema := int64(g.r.IntN(13) - 4)
	if custom {
		schema = customOnly
	} else if chance(g.r, 10) {
		schema = int64(9 + g.r.IntN(44))
	} else if g.fault() {
		schema = pick(g.r, int64(-5), -9, -52, -54, 53, 100, math.MaxInt32, math.MinInt32)
	}
	var count float64
	m := message{one(4, zigzag32(schema)), one(15, g.time())}
	least := -2 // index of a bucket
	if custom {
		least = 0
	}
	m = append(m, g.buckets(11, 12, 13, least, float, &count)...)
	if !custom || g.fault() {
		m = append(m, g.buckets(8, 9, 10, least, float, &count)...)
		zero := uint64(g.r.IntN(5))
		count += float64(zero)
		if float {
			m = append(m, fixed(7, math.Float64bits(float64(zero)/2)))
		} else if zero > 0 || chance(g.r, 50) {
			m = append(m, one(6, zero))
		}
		m = append(m, fixed(5, math.Float64bits(pick(g.r, 0, 1e-128, 0.001))))
	}
	if custom != g.fault() {
		m = append(m, g.bounds())
	}
	sum := math.Float64bits(math.Trunc(g.r.NormFloat64() * 100))
	if chance(g.r, 10) || g.fault() {
		sum = g.float()
	}
	m = append(m, fixed(3, sum))
	if g.fault() {
		count += pick(g.r, -1.0, 1)
	}
	if float {
		m = append(m, fixed(2, math.Float64bits(count/2)))
	} else if count != 0 || chance(g.r, 50) {
		m = append(m, one(1, uint64(int64(count))))
	}
	if chance(g.r, 30) {
		m = append(m, one(14, pick(g.r, uint64(0), 1, 2, 3, 4, math.MaxUint64)))
	}
	if chance(g.r, 20) {
		m = append(m, one(17, g.time()))
	}
	return m
}

func (g *generator) bounds() field {
	bounds, last := []uint64{}, -3.0
	for range 6 + g.r.IntN(20) {
		last += float64(g.r.IntN(1000)+1) / 1000
		if g.fault() && g.fault() {
			last = pick(g.r, math.Inf(1), math.NaN(), last-1, math.Inf(-1))
		}
		bounds = append(bounds, math.Float64bits(last))
	}
	return many(16, fixed64s, bounds)
}

// ---- write requests

func (g *generator) samples(number int, v2 bool) []field {
	var all []field
	for range g.r.IntN(4) {
		m := message{}
		if value := g.float(); value != 0 {
			m = append(m, fixed(1, value))
		}
		m = append(m, one(2, g.time()))
		if v2 && chance(g.r, 20) {
			m = append(m, one(3, g.time()))
		}
		all = append(all, sub(number, m))
	}
	return all
}

func (g *generator) exemplarLabels() []string {
	if g.fault() {
		return pick(g.r, nil, []string{"a", "1", "a", "2"}, []string{"z", "1", "a", "2"}, []string{"a", ""},
			[]string{"", "a"}, []string{"trace_id", g.text()}, []string{"trace_id", strings.Repeat("é", 110+g.r.IntN(20))})
	}
	return []string{"trace_id", pick(g.r, "abc", "def")}
}

func (g *generator) series(v2 bool) message {
	m := message{}
	if v2 {
		m = append(m, many(1, varints, g.references(g.labels())))
	} else {
		m = append(m, labelFields(g.labels())...)
	}
	if chance(g.r, 70) {
		m = append(m, g.samples(2, v2)...)
	}
	if chance(g.r, 40) {
		for range 1 + g.r.IntN(2) {
			m = append(m, sub(map[bool]int{false: 4, true: 3}[v2], g.histogram()))
		}
	}
	if chance(g.r, 30) {
		e := message{fixed(2, g.float()), one(3, g.time())}
		if v2 {
			e = append(e, many(1, varints, g.references(g.exemplarLabels())))
		} else {
			e = append(e, labelFields(g.exemplarLabels())...)
		}
		m = append(m, sub(map[bool]int{false: 3, true: 4}[v2], e))
	}
	if v2 && chance(g.r, 60) {
		m = append(m, sub(5, message{one(1, g.r.Uint64N(9)), one(3, g.symbol(g.text())), one(4, g.symbol(g.text()))}))
	}
	return m
}

func (g *generator) references(texts []string) []uint64 {
	refs := []uint64{}
	for _, s := range texts {
		refs = append(refs, g.symbol(s))
	}
	if g.fault() && g.fault() {
		refs = append(refs, 0)
	}
	return refs
}

func labelFields(texts []string) (all []field) {
	for i := 0; i+1 < len(texts); i += 2 {
		all = append(all, sub(1, message{str(1, texts[i]), str(2, texts[i+1])}))
	}
	return all
}

func (g *generator) writeV1() message {
	var m message
	for range g.r.IntN(4) {
		m = append(m, sub(1, g.series(false)))
	}
	for range g.r.IntN(2) {
		m = append(m, sub(3, message{one(1, g.r.Uint64N(9)), str(2, g.text()), str(4, g.text()), str(5, g.text())}))
	}
	return m
}

func (g *generator) writeV2() message {
	g.symbols, g.refs = []string{""}, map[string]uint64{"": 0}
	if g.fault() && g.fault() {
		g.symbols, g.refs = nil, map[string]uint64{}
	}
	var series message
	for range g.r.IntN(4) {
		series = append(series, sub(5, g.series(true)))
	}
	var m message
	for _, s := range g.symbols {
		m = append(m, str(4, s))
	}
	return append(m, series...)
}

// write is a random write request, encoded somehow. Symbols stay in their order.
func (g *generator) write(v2 bool) []byte {
	g.faults = pick(g.r, 0, 2, 10)
	s := randomStyle(g.r)
	if !v2 {
		return g.writeV1().encode(g.r, s)
	}
	m := g.writeV2()
	var before, after []byte
	for _, f := range m {
		if f.number == 4 {
			before = f.append(before, g.r, s)
		} else {
			after = f.append(after, g.r, s)
		}
	}
	if chance(g.r, 10) {
		return append(after, before...)
	}
	return append(before, after...)
}
