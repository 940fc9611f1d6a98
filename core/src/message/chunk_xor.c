/* SPDX-License-Identifier: Apache-2.0 */
#include "message/chunk_xor.h"

#include <string.h>

#include "base/buffer.h"

void pra__xor_begin(struct pra__xor_encoder *e, uint8_t *room)
{
    *e = (struct pra__xor_encoder){.start = room, .value.leading = PRA__NO_WINDOW};
    e->w.p = room + PRA__CHUNK_HEAD_BYTES;
}

/* The first two samples have forms of their own. */
static void append_first(struct pra__xor_encoder *e, int64_t timestamp_ms, uint64_t bits)
{
    if (e->count == 0) {
        pra__put_varint_bits(&e->w, pra__zigzag64(timestamp_ms));
        pra__put_bits64(&e->w, bits);
        e->value.bits = bits;
    } else {
        e->delta = (uint64_t)timestamp_ms - (uint64_t)e->timestamp_ms;
        pra__put_varint_bits(&e->w, e->delta);
        pra__put_xor(&e->w, &e->value, bits);
    }
    e->timestamp_ms = timestamp_ms;
    e->count++;
}

/* A change of the interval, which is not 0. */
static void put_dod(struct pra__bit_writer *w, int64_t dod)
{
    if (pra__fits(dod, 14)) {
        pra__put_code(w, 2, 2, (uint64_t)dod, 14);
    } else if (pra__fits(dod, 17)) {
        pra__put_code(w, 6, 3, (uint64_t)dod, 17);
    } else if (pra__fits(dod, 20)) {
        pra__put_code(w, 14, 4, (uint64_t)dod, 20);
    } else {
        pra__put_bits(w, 15, 4);
        pra__put_bits64(w, (uint64_t)dod);
    }
}

/* Zeros of samples that change nothing, two bits each, are written together, a few with what comes
 * next. */
enum { MOST_PREFIX_ZEROS = 32 };

static void put_zeros(struct pra__bit_writer *w, size_t count)
{
    for (; count > 56; count -= 56)
        pra__put_bits(w, 0, 56);
    if (count)
        pra__put_bits(w, 0, (unsigned)count);
}

void pra__xor_append(struct pra__xor_encoder *e, const int64_t *timestamps_ms, const double *values,
                     size_t count)
{
    size_t i = 0;
    for (; i < count && e->count < 2; i++)
        append_first(e, timestamps_ms[i], pra__bits_of(&values[i]));
    struct pra__bit_writer w = e->w; /* in registers */
    struct pra__xor value = e->value;
    uint64_t before = (uint64_t)e->timestamp_ms, delta = e->delta;
    size_t zeros = 0;
    e->count += (uint32_t)(count - i);
    for (; i < count; i++) {
        uint64_t now = (uint64_t)timestamps_ms[i];
        uint64_t bits = pra__bits_of(&values[i]);
        uint64_t change = bits ^ value.bits;
        int64_t dod = (int64_t)(now - before - delta);
        delta = now - before;
        before = now;
        value.bits = bits;
        zeros += dod == 0;
        if ((change | (uint64_t)dod) == 0) {
            zeros++;
            continue;
        }
        if (dod) {
            put_zeros(&w, zeros);
            put_dod(&w, dod);
            zeros = 0;
        } else if (zeros > MOST_PREFIX_ZEROS) {
            put_zeros(&w, zeros - 1);
            zeros = 1;
        }
        if (change) {
            pra__put_xor_window(&w, &value, change, 1, (unsigned)zeros + 1);
            zeros = 0;
        } else {
            zeros = 1;
        }
    }
    put_zeros(&w, zeros);
    e->w = w;
    e->value = value;
    e->timestamp_ms = (int64_t)before;
    e->delta = delta;
}

size_t pra__xor_end(struct pra__xor_encoder *e)
{
    e->start[0] = (uint8_t)(e->count >> 8);
    e->start[1] = (uint8_t)e->count;
    return pra__bits_len(&e->w, e->start);
}

int pra_chunk_encode_samples(const int64_t *timestamps_ms, const double *values, size_t count,
                             pra_buffer *out)
{
    struct pra__xor_encoder e;
    if (!timestamps_ms || !values || !out || count == 0 || count > PRA__CHUNK_MOST_SAMPLES)
        return PRA_ERR_INVALID_ARG;
    if (pra__buffer_reserve(out, PRA__CHUNK_HEAD_BYTES + count * PRA__XOR_SAMPLE_BYTES +
                                     PRA__BITS_OVERRUN))
        return PRA_ERR_NOMEM;
    pra__xor_begin(&e, out->data + out->len);
    pra__xor_append(&e, timestamps_ms, values, count);
    out->len += pra__xor_end(&e);
    return PRA_OK;
}

/* ---- chunks of a series */

/* Prometheus cuts when the worst sample may not fit any more; a sample has 19 bytes there. */
enum { FULL_BYTES = PRA__XOR_CHUNK_BYTES - 19 };

void pra__xor_chunk_begin(struct pra__xor_chunk *chunk)
{
    pra__xor_begin(&chunk->encoder, chunk->data);
    chunk->min_ms = chunk->max_ms = 0;
}

/* Samples that can be appended before the length has to be looked at again. */
static size_t room_for(const struct pra__xor_chunk *chunk)
{
    const struct pra__xor_encoder *e = &chunk->encoder;
    size_t len = pra__bits_len(&e->w, e->start);
    if (e->count >= PRA__XOR_CHUNK_SAMPLES || len > FULL_BYTES)
        return 0;
    size_t by_bytes = (FULL_BYTES - len) / PRA__XOR_SAMPLE_BYTES + 1;
    size_t by_count = PRA__XOR_CHUNK_SAMPLES - e->count;
    return by_bytes < by_count ? by_bytes : by_count;
}

size_t pra__xor_chunk_append(struct pra__xor_chunk *chunk, const int64_t *timestamps_ms,
                             const double *values, size_t count)
{
    size_t taken = 0;
    if (count && chunk->encoder.count == 0)
        chunk->min_ms = timestamps_ms[0];
    for (size_t n; taken < count && (n = room_for(chunk)) > 0; taken += n) {
        n = n < count - taken ? n : count - taken;
        pra__xor_append(&chunk->encoder, timestamps_ms + taken, values + taken, n);
    }
    if (taken)
        chunk->max_ms = timestamps_ms[taken - 1];
    return taken;
}
