// SPDX-License-Identifier: Apache-2.0

package differ

import (
	"encoding/binary"
	"math/rand/v2"
)

// A message as fields, from which many encodings can be made.
type (
	message []field
	field   struct {
		number int
		kind   kind
		words  []uint64 // varints and 64-bit values
		bytes  []byte
		sub    message
	}
	kind int
)

const (
	varints kind = iota // one value, or a packed list of them
	fixed64s
	text
	submessage
)

func one(number int, value uint64) field { return field{number: number, words: []uint64{value}} }
func fixed(number int, value uint64) field {
	return field{number: number, kind: fixed64s, words: []uint64{value}}
}
func str(number int, s string) field  { return field{number: number, kind: text, bytes: []byte(s)} }
func sub(number int, m message) field { return field{number: number, kind: submessage, sub: m} }
func many(number int, k kind, words []uint64) field {
	return field{number: number, kind: k, words: words}
}

func zigzag(v int64) uint64 { return uint64(v<<1) ^ uint64(v>>63) }

// style says how oddly a message is encoded, while it still means the same to most decoders.
type style struct {
	shuffle, unpack, pad, unknown, split bool
}

func randomStyle(r *rand.Rand) style {
	rare := func() bool { return r.IntN(4) == 0 }
	return style{rare(), rare(), rare(), rare(), rare()}
}

func (m message) encode(r *rand.Rand, s style) []byte {
	order := make([]int, len(m))
	for i := range order {
		order[i] = i
	}
	if s.shuffle {
		r.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
	}
	var out []byte
	for _, i := range order {
		if s.unknown && r.IntN(8) == 0 {
			out = appendUnknown(out, r, s)
		}
		out = m[i].append(out, r, s)
	}
	return out
}

func (f field) append(out []byte, r *rand.Rand, s style) []byte {
	switch f.kind {
	case text:
		return appendBytes(out, f.number, f.bytes, r, s)
	case submessage:
		return appendBytes(out, f.number, f.sub.encode(r, s), r, s)
	}
	if len(f.words) == 1 || s.unpack {
		for _, word := range f.words {
			out = f.appendWord(appendTag(out, f.number, f.wireType(), r, s), word, r, s)
		}
		return out
	}
	lists := [][]uint64{f.words}
	if s.split {
		at := r.IntN(len(f.words) + 1)
		lists = [][]uint64{f.words[:at], f.words[at:]}
	}
	for _, list := range lists {
		var packed []byte
		for _, word := range list {
			packed = f.appendWord(packed, word, r, s)
		}
		out = appendBytes(out, f.number, packed, r, s)
	}
	return out
}

func (f field) wireType() int {
	if f.kind == fixed64s {
		return 1
	}
	return 0
}

func (f field) appendWord(out []byte, word uint64, r *rand.Rand, s style) []byte {
	if f.kind == fixed64s {
		return binary.LittleEndian.AppendUint64(out, word)
	}
	return appendVarint(out, word, r, s)
}

// A varint may have more bytes than it needs.
func appendVarint(out []byte, v uint64, r *rand.Rand, s style) []byte {
	start := len(out)
	out = binary.AppendUvarint(out, v)
	if s.pad && r.IntN(6) == 0 && len(out)-start < 9 {
		out[len(out)-1] |= 0x80
		out = append(out, 0)
	}
	return out
}

func appendTag(out []byte, number, wireType int, r *rand.Rand, s style) []byte {
	return appendVarint(out, uint64(number)<<3|uint64(wireType), r, s)
}

func appendBytes(out []byte, number int, b []byte, r *rand.Rand, s style) []byte {
	return append(appendVarint(appendTag(out, number, 2, r, s), uint64(len(b)), r, s), b...)
}

func appendUnknown(out []byte, r *rand.Rand, s style) []byte {
	number := 20 + r.IntN(2000)
	switch r.IntN(5) {
	case 0:
		return appendVarint(appendTag(out, number, 0, r, s), r.Uint64(), r, s)
	case 1:
		return append(appendTag(out, number, 1, r, s), "12345678"...)
	case 2:
		return appendBytes(out, number, []byte("unknown"), r, s)
	case 3:
		return append(appendTag(out, number, 5, r, s), "1234"...)
	default: // a group with something in it
		out = appendTag(out, number, 3, r, s)
		out = appendVarint(appendTag(out, 1, 0, r, s), 5, r, s)
		return appendTag(out, number, 4, r, s)
	}
}

// mutate spoils some bytes of b, or exchanges a part for one of other.
func mutate(r *rand.Rand, b, other []byte) []byte {
	b = append([]byte(nil), b...)
	for range 1 + r.IntN(3) {
		if len(b) == 0 {
			return b
		}
		at := r.IntN(len(b))
		switch r.IntN(7) {
		case 0:
			b[at] ^= 1 << r.IntN(8)
		case 1:
			b[at] = byte(r.Uint32())
		case 2:
			b = b[:at]
		case 3:
			b = append(b[:at], b[at+min(len(b)-at, 1+r.IntN(4)):]...)
		case 4:
			b = append(b[:at:at], append([]byte{byte(r.Uint32())}, b[at:]...)...)
		case 5:
			b[at] = []byte{0, 0x7f, 0x80, 0xff}[r.IntN(4)]
		default:
			if len(other) > 0 {
				from := r.IntN(len(other))
				b = append(b[:at:at], other[from:from+r.IntN(len(other)-from)]...)
			}
		}
	}
	return b
}
