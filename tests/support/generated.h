/* SPDX-License-Identifier: Apache-2.0 */
/* A storage whose data is computed as it is read, by select and fetch or by process_query: series
 * of any length that take no memory. */
#ifndef TESTS_SUPPORT_GENERATED_H
#define TESTS_SUPPORT_GENERATED_H

#include "pra.h"

/* Datum i is at first_ms + i * step_ms: a histogram where i + 1 is a multiple of histogram_every,
 * else a sample. Values are 1000 * id + i % 100. */
struct generated_series {
    pra_label labels[4];
    size_t label_count;
    int64_t first_ms;
    int64_t step_ms;
    size_t count;
    size_t histogram_every; /* 0: none */
};

struct generated {
    const struct generated_series *series;
    size_t series_count;
    size_t batch; /* data handed over in one call; 0 = 100 */

    /* misdeeds */
    int select_code; /* select and process_query return it */
    int fetch_code;  /* from call number fetch_fails on */
    size_t fetch_fails;
    int whole;            /* pushes everything, whatever from_ms is */
    int careless;         /* does not look at what the sink returns */
    int disorder;         /* the second datum comes first */
    int stray;            /* tries to begin and end series in fetch */
    pra_exchange *inside; /* tried to be used in fetch */

    /* what was seen */
    size_t selects;
    size_t fetches;
    size_t queries; /* process_query */
    size_t pushed;  /* data handed over */
};

/* Without destroy: the caller keeps g. */
extern const pra_storage_vtbl generated_fetched;
extern const pra_storage_vtbl generated_pushed;

#endif
