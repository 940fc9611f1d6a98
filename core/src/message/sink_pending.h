/* SPDX-License-Identifier: Apache-2.0 */
/* The data of the series that a sink has begun, until its end. */
#ifndef PRA_MESSAGE_SINK_PENDING_H
#define PRA_MESSAGE_SINK_PENDING_H

#include "pra.h"

/* A histogram that waits. */
struct pra__held {
    int64_t timestamp_ms;
    size_t index; /* in held_columns, and the order of arrival */
};

struct pra__pending {
    int64_t *timestamps_ms;
    double *values;
    size_t count;
    size_t cap;
    int out_of_order; /* timestamps are not strictly increasing */

    pra_write_request *request; /* where histograms are kept; made when first needed */
    struct pra__held *held;
    size_t held_count;
    size_t held_cap;
    int held_out_of_order;
};

enum { PRA__POINT_BYTES = sizeof(int64_t) + sizeof(double) };

void pra__pending_fini(struct pra__pending *p, const pra_alloc *alloc);
void pra__pending_clear(struct pra__pending *p);
size_t pra__pending_memory(const struct pra__pending *p);

/* Room for extra samples behind count. Returns PRA_OK or PRA_ERR_NOMEM. */
int pra__pending_reserve(struct pra__pending *p, const pra_alloc *alloc, size_t extra);
/* Appends samples whose times increase; there is room. */
void pra__pending_add(struct pra__pending *p, const int64_t *timestamps_ms, const double *values,
                      size_t count);
/* Appends histogram number index of columns. Copies. Returns PRA_OK, PRA_ERR_NOMEM,
 * PRA_ERR_INVALID_ARG (its ranges), PRA_ERR_MEMORY_BUDGET (more than max_bytes). */
int pra__pending_hold(struct pra__pending *p, const pra_alloc *alloc, const pra_columns *columns,
                      size_t index, uint64_t max_bytes);

/* Sorts both by time; of equal ones the last stays, and a sample goes before a histogram. Returns
 * PRA_OK or PRA_ERR_NOMEM. */
int pra__pending_settle(struct pra__pending *p, const pra_alloc *alloc);
/* The columns that held[i].index is of; set out->size first. Only if there are any. */
void pra__pending_columns(const struct pra__pending *p, pra_columns *out);

#endif
