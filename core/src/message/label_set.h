/* SPDX-License-Identifier: Apache-2.0 */
/* The labels of a series of an answer: an array of their own, strings of whoever gave them. */
#ifndef PRA_MESSAGE_LABEL_SET_H
#define PRA_MESSAGE_LABEL_SET_H

#include "pra.h"

struct pra__label_set {
    pra_label *items; /* sorted by name, none without a value */
    size_t count;
    size_t cap;
};

/* Replaces what was there by those of labels that have a value, and those of more whose names are
 * not among them, and checks them. Returns PRA_OK, PRA_ERR_LABELS, PRA_ERR_NOMEM. */
int pra__label_set_make(struct pra__label_set *set, const pra_alloc *alloc, const pra_label *labels,
                        size_t count, const pra_label *more, size_t more_count, pra_error *err);
void pra__label_set_fini(struct pra__label_set *set, const pra_alloc *alloc);

/* The order of series in a streamed answer: name then value, pair by pair, as bytes; what
 * another begins with comes before it. */
int pra__labels_compare(const pra_label *a, size_t a_count, const pra_label *b, size_t b_count);

/* Writes {name="value",…} to out, NUL-terminated, cut to size bytes; as a message may have it. */
void pra__labels_text(char *out, size_t size, const pra_label *labels, size_t count);

#endif
