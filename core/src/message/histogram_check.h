/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PRA_MESSAGE_HISTOGRAM_CHECK_H
#define PRA_MESSAGE_HISTOGRAM_CHECK_H

#include "pra.h"

enum {
    PRA__SCHEMA_MIN = -4,
    PRA__SCHEMA_MAX = 8,
    PRA__SCHEMA_MAX_REDUCIBLE = 52,
    PRA__SCHEMA_CUSTOM = -53
};

/* The buckets on one side of zero, of the kind that the histogram is. */
struct pra__buckets {
    const char *name; /* "positive side", "negative side" */
    const pra_bucket_span *spans;
    size_t span_count;
    const int64_t *deltas; /* integer histograms */
    const double *counts;  /* float histograms */
    size_t count;
};

void pra__histogram_sides(const pra_columns *columns, const pra_histogram *h,
                          struct pra__buckets *positive, struct pra__buckets *negative);

/* Spans go up and have as many buckets as there are. Returns PRA_OK or PRA_ERR_HISTOGRAM with the
 * reason in why (may be NULL). */
int pra__spans_check(const struct pra__buckets *side, pra_error *why);

/* All rules [W-48] [W-49], for a histogram whose ranges lie inside the columns. Returns likewise.
 */
int pra__histogram_check(const pra_columns *columns, const pra_histogram *h, pra_error *why);

#endif
