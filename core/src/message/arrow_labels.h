/* SPDX-License-Identifier: Apache-2.0 */
/* Labels as Arrow has them: numbers of strings in dictionaries, each string once. */
#ifndef PRA_MESSAGE_ARROW_LABELS_H
#define PRA_MESSAGE_ARROW_LABELS_H

#include "message/arrow_hold.h"
#include "message/columns.h"

/* Label sets of a request: row i has labels [offsets[i], offsets[i + 1]). */
struct pra__arrow_sets {
    size_t rows;
    const uint32_t *offsets;
    const pra_label_span *labels;
    const pra_symbol_refs *refs; /* NULL where there are none */
};

/* Fills an array of type labels with sets, and, if metric is not NULL (then sets are those of the
 * series), that one with the metric names. Returns PRA_OK, PRA_ERR_NOMEM, PRA_ERR_LABELS,
 * PRA_ERR_NOT_SUPPORTED. */
int pra__arrow_labels(struct pra__arrow_hold *hold, const pra_alloc *alloc, const pra_columns *c,
                      const struct pra__arrow_sets *sets, struct ArrowArray *labels,
                      struct ArrowArray *metric, pra_error *err);

/* PRA_ERR_NOT_SUPPORTED if Arrow's 32-bit offsets cannot reach count; what says of what. */
int pra__arrow_countable(uint64_t count, const char *what, pra_error *err);

#endif
