/* SPDX-License-Identifier: Apache-2.0 */
/* Labels of a series or an exemplar in canonical form: sorted by name, no name twice or empty, no
 * value empty, all of them UTF-8 [W-30] [W-31] [W-32]. */
#ifndef PRA_MESSAGE_CANONICAL_LABELS_H
#define PRA_MESSAGE_CANONICAL_LABELS_H

#include "message/columns.h"

struct pra__long_symbol;

/* What is known about the strings of one message. */
struct pra__texts {
    const char *base;
    size_t base_len;
    const pra_span *symbols; /* 2.0 only */
    size_t symbol_count;
    int all_utf8; /* every symbol is */
    const struct pra__columns *columns;
    struct pra__long_symbol *longs; /* see canonical_labels.c */
    size_t long_count;
    size_t long_cap;
    int longs_tried;
};

/* Labels that stand side by side in a column. */
struct pra__label_set {
    pra_label_span *labels;
    pra_symbol_refs *refs; /* of the labels, or NULL */
    size_t count;
    int needs_metric_name;
};

void pra__texts_init(struct pra__texts *t, const struct pra__columns *c, const pra_columns *view);
void pra__texts_fini(struct pra__texts *t);

/* 1 if nothing is to be done for these labels. Changes nothing but what is known. */
int pra__labels_are_canonical(struct pra__texts *t, const pra_label_span *labels, size_t count,
                              int needs_metric_name);

/* Makes it so in place. strict: what would be changed is refused. Returns PRA_OK with set->count as
 * it is then, or PRA_ERR_LABELS with the reason in why (may be NULL), count as it was, and the
 * labels in any order. */
int pra__labels_make_canonical(struct pra__texts *t, struct pra__label_set *set, int strict,
                               pra_error *why);

#endif
