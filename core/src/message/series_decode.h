/* SPDX-License-Identifier: Apache-2.0 */
/* What series of both versions of remote write have in common. */
#ifndef PRA_MESSAGE_SERIES_DECODE_H
#define PRA_MESSAGE_SERIES_DECODE_H

#include "message/decoder.h"

/* The value of a string field, as a place in the input. */
int pra__read_span(struct pra__decoder *d, uint32_t wire, pra_span *out);

/* Whether a label of the current series is within the limits, and whether their number is; start is
 * where the series begins. */
int pra__check_label(struct pra__decoder *d, const pra_label_span *label);
int pra__check_label_count(struct pra__decoder *d, const uint8_t *start, size_t count);

/* The low 7 bits of each of the low size bytes of v, side by side. */
static inline uint64_t pra__join_varint(uint64_t v, size_t size)
{
    v &= ~UINT64_C(0) >> (64 - 8 * size);
    v = (v & 0x007f007f007f007f) | (v & 0x7f007f007f007f00) >> 1;
    v = (v & 0x00003fff00003fff) | (v & 0x3fff00003fff0000) >> 2;
    return (v & 0x000000000fffffff) | (v & 0x0fffffff00000000) >> 4;
}

/* A varint of size bytes, 1 to 8, of which eight can be loaded. Returns 0 if it has another size.
 */
static inline int pra__varint_of_size(const uint8_t *p, size_t size, int64_t *out)
{
    const uint64_t raw = pra__load64(p);
    const uint64_t last = ~raw & UINT64_C(0x8080808080808080);
    if (size - 1 >= 8 || last == 0 || (size_t)__builtin_ctzll(last) != size * 8 - 1)
        return 0;
    *out = (int64_t)pra__join_varint(raw, size);
    return 1;
}

enum { PRA__SAMPLE_LOAD = 20 }; /* bytes that must be there to be loaded */

/* A sample in one of the usual shapes, 12 L 09 … 10 … and, if it is 0, 12 L 10 …, within the left
 * bytes at p. Returns its size, 0 if it has another shape. */
static inline size_t pra__plain_sample(const uint8_t *p, size_t left, int64_t *timestamp_ms,
                                       double *value)
{
    const size_t size = (size_t)p[1] + 2;
    if (p[0] != 0x12 || size > left)
        return 0;
    if (p[2] == 0x09 && p[11] == 0x10) {
        const uint64_t bits = pra__load64(p + 3);
        memcpy(value, &bits, sizeof(*value));
        return pra__varint_of_size(p + 12, size - 12, timestamp_ms) ? size : 0;
    }
    *value = 0;
    return p[2] == 0x10 && pra__varint_of_size(p + 3, size - 3, timestamp_ms) ? size : 0;
}

/* Takes samples in the usual shape, while there is room for them. */
void pra__take_plain_samples(struct pra__decoder *d);

/* One sample of any shape: the value of a field with this wire type. */
int pra__sample_decode(struct pra__decoder *d, uint32_t wire);

#endif
