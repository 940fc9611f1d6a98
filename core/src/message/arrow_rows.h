/* SPDX-License-Identifier: Apache-2.0 */
/* Samples that come in any order, brought together by their labels. Rows stay where they came; a
 * series is a chain of runs of rows that stood side by side. */
#ifndef PRA_MESSAGE_ARROW_ROWS_H
#define PRA_MESSAGE_ARROW_ROWS_H

#include "message/label_set.h"
#include "pra.h"

/* A growable array. */
struct pra__array {
    void *data;
    size_t cap; /* elements, as len */
    size_t len;
};

struct pra__rows {
    pra_alloc alloc;
    size_t held;              /* bytes of all arrays */
    size_t budget;            /* bound of held */
    struct pra__array times;  /* int64_t, ms */
    struct pra__array values; /* double */
    struct pra__array runs, series, slots, text;
    struct pra__array labels; /* pra_label: of the series that is pushed */
    struct pra__label_set set;
};

void pra__rows_init(struct pra__rows *r, const pra_alloc *alloc, uint64_t budget);
void pra__rows_fini(struct pra__rows *r);

/* Room for extra elements of size bytes more. Returns PRA_OK, PRA_ERR_MEMORY_BUDGET, PRA_ERR_NOMEM,
 * with a message, as the next one. */
int pra__rows_room(struct pra__rows *r, struct pra__array *array, size_t size, size_t extra,
                   pra_error *err);

/* Row number row of times and values is of the series with these labels, in any order; rows come in
 * order, and all until the last are given to some series. Also PRA_ERR_LABELS. */
int pra__rows_begin_run(struct pra__rows *r, const pra_label *labels, size_t count, size_t row,
                        pra_error *err);

/* Pushes all series, in the order in which they first came, of rows rows. Returns also what the
 * sink does; all are pushed even where it has enough (PRA_DONE). */
int pra__rows_push(struct pra__rows *r, size_t rows, pra_series_sink *sink, pra_error *err);

#endif
