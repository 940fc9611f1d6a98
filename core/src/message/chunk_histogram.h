/* SPDX-License-Identifier: Apache-2.0 */
/* Chunks of histograms, types 2 and 3. Prometheus re-writes a chunk when a histogram with other
 * buckets comes; here such a histogram starts a new chunk, which every reader understands. */
#ifndef PRA_MESSAGE_CHUNK_HISTOGRAM_H
#define PRA_MESSAGE_CHUNK_HISTOGRAM_H

#include "base/buffer.h"
#include "message/chunk_layout.h"
#include "pra.h"
#include "wire/bits.h"

enum { PRA__HISTOGRAM_CHUNK_BYTES = 1024, PRA__HISTOGRAM_CHUNK_LEAST = 10 };

/* A number between two histograms: of integers the last one and how it changed, of floats
 * value. */
union pra__chunk_number {
    struct {
        uint64_t last;
        uint64_t delta;
    };
    struct pra__xor value;
};

/* The chunk of a series that is being filled, and what the last histogram was. */
struct pra__histogram_chunk {
    pra_buffer data; /* the bytes so far, without those that w holds */
    struct pra__bit_writer w;
    int32_t type;   /* PRA_CHUNK_HISTOGRAM or PRA_CHUNK_FLOAT_HISTOGRAM */
    uint32_t count; /* histograms in it; 0 = none is begun */
    uint8_t flags;  /* of its header */
    int64_t min_ms; /* of the histograms in it */
    int64_t max_ms;
    uint64_t delta_ms;
    union pra__chunk_number number;
    union pra__chunk_number zeros;
    struct pra__xor sum;
    int known; /* a histogram came before in this series, and the following tell which */
    int stale; /* it was stale */
    int32_t schema;
    double zero_threshold;
    size_t span_count[2];
    size_t bucket_count[2];
    size_t bound_count;
    pra_buffer layout;  /* spans of both sides, bounds */
    pra_buffer buckets; /* pra__chunk_number of both sides */
};

void pra__histogram_chunk_init(struct pra__histogram_chunk *chunk, const pra_alloc *alloc);
void pra__histogram_chunk_fini(struct pra__histogram_chunk *chunk);
/* Begins a series, or goes on with one after other samples: nothing is known of what came before.
 */
void pra__histogram_chunk_begin(struct pra__histogram_chunk *chunk);
/* Takes histograms [start, start + count) of columns, in increasing time, until the chunk is full
 * or the next one needs another. *taken says how many; fewer than count: take the chunk with
 * pra__histogram_chunk_end, then go on. Returns PRA_OK; with *taken before the histogram that is
 * meant PRA_ERR_NOMEM, or PRA_ERR_HISTOGRAM: its buckets are not those of its spans, its ranges not
 * of the columns, or its schema is unknown. The chunk stays as it was then. */
int pra__histogram_chunk_append(struct pra__histogram_chunk *chunk, const pra_columns *columns,
                                size_t start, size_t count, size_t *taken);
/* Ends the chunk: its bytes are in data until the next append. Returns their number. */
size_t pra__histogram_chunk_end(struct pra__histogram_chunk *chunk);
/* Bytes of memory it holds. */
size_t pra__histogram_chunk_memory(const struct pra__histogram_chunk *chunk);

#endif
