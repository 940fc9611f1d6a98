/* SPDX-License-Identifier: Apache-2.0 */
/* What the parts of one answer may still take together; several threads may take at the same time.
 */
#ifndef PRA_MESSAGE_READ_BUDGET_H
#define PRA_MESSAGE_READ_BUDGET_H

#include <stdatomic.h>

#include "pra.h"

typedef struct pra__read_budget {
    atomic_uint_fast64_t samples; /* of a sampled answer */
    atomic_uint_fast64_t bytes;   /* of what waits in sinks */
    atomic_uint_fast64_t list_bytes;
    uint64_t max_samples;
    uint64_t max_bytes;
    uint64_t max_list_bytes;
    uint64_t max_frame_bytes;     /* of a frame, not of all */
    int (*cancelled)(void *host); /* nobody waits for the answer any more; NULL: always somebody */
    void *host;
} pra__read_budget;

/* limits must be resolved; nothing cancels. */
void pra__read_budget_init(pra__read_budget *budget, const pra_limits *limits);

/* Takes n and returns 1, or nothing and returns 0. */
int pra__budget_take(atomic_uint_fast64_t *left, uint64_t n);
void pra__budget_give(atomic_uint_fast64_t *left, uint64_t n);

/* PRA_OK, or PRA_ERR_CANCELLED with err (may be NULL) set. */
int pra__budget_check_wanted(const pra__read_budget *budget, pra_error *err);

#endif
