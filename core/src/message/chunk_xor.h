/* SPDX-License-Identifier: Apache-2.0 */
/* Chunks of float samples, type 1, bit by bit as Prometheus writes them. */
#ifndef PRA_MESSAGE_CHUNK_XOR_H
#define PRA_MESSAGE_CHUNK_XOR_H

#include "message/columns.h"
#include "pra.h"
#include "wire/bits.h"

enum {
    PRA__CHUNK_HEAD_BYTES = 2, /* the number of samples */
    PRA__CHUNK_MOST_SAMPLES = 0xFFFF,
    PRA__XOR_SAMPLE_BYTES = 20, /* at most: the second sample of a chunk */
    PRA__XOR_CHUNK_SAMPLES = 120,
    PRA__XOR_CHUNK_BYTES = 1024,
};

/* The state between two samples. */
struct pra__xor_encoder {
    struct pra__bit_writer w;
    uint8_t *start;
    uint32_t count; /* samples */
    int64_t timestamp_ms;
    uint64_t delta; /* of the last two timestamps */
    struct pra__xor value;
};

/* room: the head and PRA__XOR_SAMPLE_BYTES for each sample to come, PRA__BITS_OVERRUN behind them.
 */
void pra__xor_begin(struct pra__xor_encoder *e, uint8_t *room);
/* Any timestamps: differences are taken modulo 2^64. */
void pra__xor_append(struct pra__xor_encoder *e, const int64_t *timestamps_ms, const double *values,
                     size_t count);
/* Fills in the number of samples. Returns the bytes of the chunk; nothing may be appended then. */
size_t pra__xor_end(struct pra__xor_encoder *e);

/* A chunk as a series of an answer is cut into them, with its bytes: no memory is taken. */
struct pra__xor_chunk {
    struct pra__xor_encoder encoder;
    int64_t min_ms; /* of the samples in it */
    int64_t max_ms;
    uint8_t data[PRA__XOR_CHUNK_BYTES + PRA__XOR_SAMPLE_BYTES + PRA__BITS_OVERRUN];
};

void pra__xor_chunk_begin(struct pra__xor_chunk *chunk);
/* Takes samples, in increasing time, until the chunk is full: 120 of them, or as many bytes as
 * Prometheus puts into one. Returns how many were taken; fewer than count: the chunk is full. */
size_t pra__xor_chunk_append(struct pra__xor_chunk *chunk, const int64_t *timestamps_ms,
                             const double *values, size_t count);
static inline size_t pra__xor_chunk_count(const struct pra__xor_chunk *chunk)
{
    return chunk->encoder.count;
}
/* Returns the length of data. */
static inline size_t pra__xor_chunk_end(struct pra__xor_chunk *chunk)
{
    return pra__xor_end(&chunk->encoder);
}

#endif
