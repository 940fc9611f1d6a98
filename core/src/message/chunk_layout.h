/* SPDX-License-Identifier: Apache-2.0 */
/* What the chunks of integer and of float histograms share: the header, and the layout, which is
 * written once: zero threshold, schema, spans, bounds of custom buckets. */
#ifndef PRA_MESSAGE_CHUNK_LAYOUT_H
#define PRA_MESSAGE_CHUNK_LAYOUT_H

#include "pra.h"
#include "wire/bits.h"

enum {
    PRA__HISTOGRAM_HEAD_BYTES = 3, /* the number of histograms, and flags */
    PRA__SCHEMA_CUSTOM = -53,
    /* the flags */
    PRA__CHUNK_RESET_UNKNOWN = 0,
    PRA__CHUNK_NO_RESET = 0x40,
    PRA__CHUNK_RESET = 0x80,
    PRA__CHUNK_GAUGE = 0xC0,
};

/* A histogram with its arrays. */
struct pra__histogram_view {
    pra_histogram h;
    const pra_bucket_span *spans[2]; /* positive, negative */
    size_t span_count[2];
    const int64_t *deltas[2];
    const double *counts[2];
    size_t bucket_count[2]; /* of deltas or counts, by the flags of h */
    const double *bounds;
    size_t bound_count;
};

/* 1 for the schemas that Prometheus reads: -9 … 52 and custom buckets. */
int pra__schema_known(int64_t schema);

/* At most 18 bytes, 18 for each span and 9 for each of the counts and bounds. */
void pra__put_layout(struct pra__bit_writer *w, const struct pra__histogram_view *v);

double pra__get_zero_threshold(struct pra__bit_reader *r);
double pra__get_bound(struct pra__bit_reader *r);

#endif
