/* SPDX-License-Identifier: Apache-2.0 */
/* What the columns of a table that is taken in mean: found from its type, then bound to each of its
 * arrays. */
#ifndef PRA_MESSAGE_ARROW_PLAN_H
#define PRA_MESSAGE_ARROW_PLAN_H

#include "message/arrow_read.h"

/* A column of labels with one name: of the table, or of the struct "labels". */
struct pra__arrow_label_column {
    pra_str name;
    int64_t child;         /* its number there */
    int of_labels;         /* it is in the struct */
    int64_t offset;        /* of the table, and of the struct */
    const uint8_t *bitmap; /* of the struct, whose nulls have no labels */
    struct pra__arrow_text text;
};

enum { PRA__LABELS_NONE = 0, PRA__LABELS_LIST = 1, PRA__LABELS_STRUCT = 2 };

struct pra__arrow_plan {
    int wide;     /* a row a series, else a row a sample */
    int64_t time; /* numbers of columns */
    int64_t value;
    int64_t labels;
    int labels_kind;                         /* PRA__LABELS_… */
    struct pra__arrow_label_column *columns; /* on pra_alloc */
    size_t column_room;
    size_t column_count;

    /* bound: rows [0, rows) of the table are elements [offset, offset + rows) of its columns */
    int64_t rows;
    int64_t offset;
    struct pra__arrow_list times_list, values_list; /* of wide tables */
    struct pra__arrow_numbers times, values;        /* of wide tables: of all lists */
    struct pra__arrow_list pairs;                   /* lists of labels; a pair may be null */
    const uint8_t *pair_bitmap;
    int64_t pair_offset;
    struct pra__arrow_text pair_name, pair_value;
};

/* Returns PRA_OK, PRA_ERR_INVALID_ARG, PRA_ERR_NOMEM. schema lives longer than the plan. */
int pra__arrow_plan_make(struct pra__arrow_plan *plan, const pra_alloc *alloc,
                         const struct ArrowSchema *schema, pra_error *err);
void pra__arrow_plan_fini(struct pra__arrow_plan *plan, const pra_alloc *alloc);

/* Returns PRA_OK, PRA_ERR_INVALID_ARG. array lives until the next one is bound. */
int pra__arrow_plan_bind(struct pra__arrow_plan *plan, const struct ArrowArray *array,
                         pra_error *err);

#endif
