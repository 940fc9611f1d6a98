/* SPDX-License-Identifier: Apache-2.0 */
/* Streams of bits, most significant first, as chunks have them, and the codes of Prometheus that
 * lie in them: varbit integers, and floats as the XOR with the one before. */
#ifndef PRA_WIRE_BITS_H
#define PRA_WIRE_BITS_H

#include <stdint.h>
#include <string.h>

#include "wire/tlv.h"

static inline uint64_t pra__swap_be64(uint64_t v)
{
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    return v;
#else
    return __builtin_bswap64(v);
#endif
}

static inline uint64_t pra__bits_of(const double *value)
{
    uint64_t bits;
    memcpy(&bits, value, sizeof(bits));
    return bits;
}

static inline double pra__double_of(uint64_t bits)
{
    double value;
    memcpy(&value, &bits, sizeof(value));
    return value;
}

/* ---- writing: the caller has made room for what is written and PRA__BITS_OVERRUN bytes more */

enum { PRA__BITS_OVERRUN = 8 };

/* Whole bytes lie before p; the 0 … 7 bits behind them at the top of acc, and in *p as well. */
struct pra__bit_writer {
    uint8_t *p;
    uint64_t acc;
    unsigned used;
};

/* The low count (1 … 56) bits of v; those above them are zero. */
static inline void pra__put_bits(struct pra__bit_writer *w, uint64_t v, unsigned count)
{
    uint64_t acc = w->acc | v << (64 - count) >> w->used;
    uint64_t word = pra__swap_be64(acc);
    unsigned used = w->used + count;
    memcpy(w->p, &word, sizeof(word));
    w->p += used >> 3;
    w->acc = acc << (used & 0x38);
    w->used = used & 7;
}

static inline void pra__put_bits64(struct pra__bit_writer *w, uint64_t v)
{
    pra__put_bits(w, v >> 32, 32);
    pra__put_bits(w, v & UINT32_MAX, 32);
}

/* As pra__put_bits, count up to 64. */
static inline void pra__put_many_bits(struct pra__bit_writer *w, uint64_t v, unsigned count)
{
    if (count <= 56) {
        pra__put_bits(w, v, count);
        return;
    }
    pra__put_bits(w, v >> 32, count - 32);
    pra__put_bits(w, v & UINT32_MAX, 32);
}

/* A code of prefix_bits, then the low count bits of v; together at most 56. */
static inline void pra__put_code(struct pra__bit_writer *w, uint64_t prefix, unsigned prefix_bits,
                                 uint64_t v, unsigned count)
{
    v &= (UINT64_C(1) << count) - 1;
    pra__put_bits(w, prefix << count | v, prefix_bits + count);
}

/* A varint of protocol buffers, its bytes anywhere in the stream. */
static inline void pra__put_varint_bits(struct pra__bit_writer *w, uint64_t v)
{
    for (; v >= 0x80; v >>= 7)
        pra__put_bits(w, (v & 0x7F) | 0x80, 8);
    pra__put_bits(w, v, 8);
}

/* Bytes from start on, the last one filled up with zeros. */
static inline size_t pra__bits_len(const struct pra__bit_writer *w, const uint8_t *start)
{
    return (size_t)(w->p - start) + (w->used > 0);
}

/* Integers of -(2^(bits-1) - 1) … 2^(bits-1), which is what the codes hold: the number of all ones
 * is 2^bits - 1, and only the half is shared out otherwise than in two's complement. */
static inline int pra__fits(int64_t v, unsigned bits)
{
    return v >= -((INT64_C(1) << (bits - 1)) - 1) && v <= INT64_C(1) << (bits - 1);
}

/* At most 9 bytes. */
void pra__put_varbit(struct pra__bit_writer *w, int64_t v);
void pra__put_varbit_unsigned(struct pra__bit_writer *w, uint64_t v);

/* A float that is written as the XOR with its predecessor: the bits of the last one, and the window
 * of bits in which they differed. */
struct pra__xor {
    uint64_t bits;
    uint8_t leading; /* PRA__NO_WINDOW: there was none yet */
    uint8_t trailing;
};

enum { PRA__NO_WINDOW = 0xFF };

/* The part behind the first bit, which says that there is a difference; at most 76 bits. The codes
 * of a window used again (0) and of a new one (1) are written with prefix before them. */
static inline void pra__put_xor_window(struct pra__bit_writer *w, struct pra__xor *x,
                                       uint64_t delta, uint64_t prefix, unsigned prefix_bits)
{
    unsigned leading = (unsigned)__builtin_clzll(delta);
    unsigned trailing = (unsigned)__builtin_ctzll(delta);
    leading = leading > 31 ? 31 : leading; /* five bits */
    if (leading >= x->leading && trailing >= x->trailing) {
        unsigned count = 64 - x->leading - (unsigned)x->trailing;
        delta >>= x->trailing;
        if (count + prefix_bits + 1 <= 56) {
            pra__put_bits(w, prefix << 1 << count | delta, prefix_bits + 1 + count);
            return;
        }
        pra__put_bits(w, prefix << 1, prefix_bits + 1);
        pra__put_many_bits(w, delta, count);
        return;
    }
    unsigned count = 64 - leading - trailing;
    x->leading = (uint8_t)leading;
    x->trailing = (uint8_t)trailing;
    pra__put_bits(w, (prefix << 1 | 1) << 11 | leading << 6 | (count & 63), prefix_bits + 12);
    pra__put_many_bits(w, delta >> trailing, count);
}

/* At most 77 bits. */
static inline void pra__put_xor(struct pra__bit_writer *w, struct pra__xor *x, uint64_t bits)
{
    uint64_t delta = bits ^ x->bits;
    x->bits = bits;
    if (delta == 0)
        pra__put_bits(w, 0, 1);
    else
        pra__put_xor_window(w, x, delta, 1, 1);
}

/* ---- reading: beyond the end there are zeros, and why says so; it is looked at once in a while */

struct pra__bit_reader {
    const uint8_t *data;
    uint64_t pos;    /* bits */
    uint64_t end;    /* bits */
    const char *why; /* static text of what is malformed; NULL = nothing */
};

static inline void pra__bit_reader_init(struct pra__bit_reader *r, const uint8_t *data, size_t len)
{
    *r = (struct pra__bit_reader){.data = data, .end = (uint64_t)len * 8};
}

/* Keeps the first reason; nothing is left to read. */
static inline uint64_t pra__bits_malformed(struct pra__bit_reader *r, const char *why)
{
    r->why = r->why ? r->why : why;
    r->pos = r->end;
    return 0;
}

static inline uint64_t pra__bits_left(const struct pra__bit_reader *r)
{
    return r->end - r->pos;
}

/* The next bits at the top, at least 57 of them, zeros behind the end. */
static inline uint64_t pra__peek_bits(const struct pra__bit_reader *r)
{
    const uint8_t *p = r->data + (r->pos >> 3);
    size_t left = (size_t)((r->end - r->pos + 7) >> 3);
    uint64_t word = 0;
    if (left >= sizeof(word))
        memcpy(&word, p, sizeof(word));
    else if (left)
        memcpy(&word, p, left);
    return pra__swap_be64(word) << (r->pos & 7);
}

/* The next count (1 … 56) bits. */
static inline uint64_t pra__get_bits(struct pra__bit_reader *r, unsigned count)
{
    if (count > r->end - r->pos)
        return pra__bits_malformed(r, "unexpected end");
    uint64_t v = pra__peek_bits(r) >> (64 - count);
    r->pos += count;
    return v;
}

/* As pra__get_bits, count up to 64. */
static inline uint64_t pra__get_many_bits(struct pra__bit_reader *r, unsigned count)
{
    if (count <= 56)
        return pra__get_bits(r, count);
    uint64_t high = pra__get_bits(r, count - 32);
    return high << 32 | pra__get_bits(r, 32);
}

/* Ones before the next zero; most of them need no zero behind them. */
static inline unsigned pra__get_ones(struct pra__bit_reader *r, unsigned most)
{
    uint64_t word = ~pra__peek_bits(r);
    unsigned ones = word ? (unsigned)__builtin_clzll(word) : 64;
    unsigned count = ones < most ? ones + 1 : most;
    if (count > r->end - r->pos)
        return (unsigned)pra__bits_malformed(r, "unexpected end");
    r->pos += count;
    return ones < most ? ones : most;
}

/* A number of count (2 … 56) bits that was found to be pra__fits. */
static inline int64_t pra__get_fitted(struct pra__bit_reader *r, unsigned count)
{
    int64_t v = (int64_t)pra__get_bits(r, count);
    return v > INT64_C(1) << (count - 1) ? v - (INT64_C(1) << count) : v;
}

uint64_t pra__get_varint_bits(struct pra__bit_reader *r);
int64_t pra__get_varbit(struct pra__bit_reader *r);
uint64_t pra__get_varbit_unsigned(struct pra__bit_reader *r);

/* The bits of a window that is used again, or, with fresh, of a new one. */
static inline void pra__get_xor_window(struct pra__bit_reader *r, struct pra__xor *x, int fresh)
{
    if (fresh) {
        unsigned head = (unsigned)pra__get_bits(r, 11);
        unsigned leading = head >> 6;
        unsigned count = (head & 63) ? head & 63 : 64;
        if (leading + count > 64) {
            pra__bits_malformed(r, "a value of more than 64 bits");
            return;
        }
        x->leading = (uint8_t)leading;
        x->trailing = (uint8_t)(64 - leading - count);
    } else if (x->leading == PRA__NO_WINDOW) {
        pra__bits_malformed(r, "a value that uses a window before there is one");
        return;
    }
    x->bits ^= pra__get_many_bits(r, 64 - x->leading - (unsigned)x->trailing) << x->trailing;
}

static inline void pra__get_xor(struct pra__bit_reader *r, struct pra__xor *x)
{
    unsigned ones = pra__get_ones(r, 2);
    if (ones)
        pra__get_xor_window(r, x, ones == 2);
}

#endif
