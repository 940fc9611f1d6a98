/* SPDX-License-Identifier: Apache-2.0 */
/* The growable arrays behind every decoded message with series, and their byte budget. */
#ifndef PRA_MESSAGE_COLUMNS_H
#define PRA_MESSAGE_COLUMNS_H

#include "pra.h"

/* Columns that grow together stand together; each has its own capacity. */
enum pra__column_id {
    PRA__COL_TEXT, /* bytes: the base buffer, where the handle owns it */
    PRA__COL_LABEL_OFFSETS,
    PRA__COL_SAMPLE_OFFSETS,
    PRA__COL_EXEMPLAR_OFFSETS,
    PRA__COL_HISTOGRAM_OFFSETS,
    PRA__COL_LABELS,
    PRA__COL_LABEL_REFS, /* 2.0: beside PRA__COL_LABELS, else empty */
    PRA__COL_TIMESTAMPS,
    PRA__COL_VALUES,
    PRA__COL_START_TIMESTAMPS, /* empty, or beside PRA__COL_TIMESTAMPS */
    PRA__COL_EXEMPLAR_TIMESTAMPS,
    PRA__COL_EXEMPLAR_VALUES,
    PRA__COL_EXEMPLAR_LABEL_OFFSETS,
    PRA__COL_EXEMPLAR_LABELS,
    PRA__COL_HISTOGRAMS,
    PRA__COL_POSITIVE_SPANS,
    PRA__COL_NEGATIVE_SPANS,
    PRA__COL_POSITIVE_DELTAS,
    PRA__COL_NEGATIVE_DELTAS,
    PRA__COL_POSITIVE_COUNTS,
    PRA__COL_NEGATIVE_COUNTS,
    PRA__COL_CUSTOM_VALUES,
    PRA__COL_METADATA,       /* those of series in the order of the series */
    PRA__COL_SYMBOLS,        /* 2.0 only */
    PRA__COL_FAULTS,         /* 2.0 only */
    PRA__COL_RESULT_OFFSETS, /* read response only */
    PRA__COL_STRING_SLOTS,   /* these three while encoding only: struct pra__strings */
    PRA__COL_STRINGS,
    PRA__COL_STRING_REFS,
    PRA__COL_COUNT
};

struct pra__column {
    void *data;
    size_t cap; /* elements */
    size_t len; /* elements in use */
};

/* What is wrong with one series or one exemplar of a message that is well-formed as a whole: a
 * reference that names no symbol [W-33]. Its string is empty in the columns; canonicalizing takes
 * it out. A series has at most one that concerns all of it, an exemplar at most one. */
enum {
    PRA__FAULT_REF = 0,      /* of a label: beyond the symbols */
    PRA__FAULT_ODD_REFS = 1, /* a label name without a value; ref is the number of references */
    PRA__FAULT_HELP_REF = 2,
    PRA__FAULT_UNIT_REF = 3
};

struct pra__fault {
    uint32_t series;
    uint32_t datum; /* index in the exemplar columns; UINT32_MAX: the whole series */
    int32_t kind;   /* PRA_DATUM_SERIES or PRA_DATUM_EXEMPLAR */
    int32_t what;   /* PRA__FAULT_… */
    uint32_t ref;
};

/* One string of a table of different ones (struct pra__strings). */
struct pra__string {
    pra_span span;
    uint32_t hash;
    uint32_t number; /* free for the user of the table, 0 at first; as the next */
    uint32_t metadata;
};

/* The len of the first column of a group stands for the group. series is the number of complete
 * series; the offset columns have room for one element more. */
struct pra__columns {
    pra_alloc alloc;
    struct pra__column col[PRA__COL_COUNT];
    size_t held;   /* bytes of all columns */
    size_t budget; /* bound of held, also while a column moves */
    const char *base;
    size_t base_len;
    size_t series;
};

void pra__columns_init(struct pra__columns *c, const pra_alloc *alloc);
void pra__columns_fini(struct pra__columns *c);

/* Empties, and gives memory back, largest columns first, until at most retain bytes are held. */
void pra__columns_reset(struct pra__columns *c, size_t retain);

/* Room for need elements in all columns from first to last, growing by doubling within the budget.
 * Returns PRA_OK, PRA_ERR_MEMORY_BUDGET or PRA_ERR_NOMEM. */
int pra__columns_reserve(struct pra__columns *c, enum pra__column_id first,
                         enum pra__column_id last, size_t need);

/* The same as a guess beforehand: exact, only from nothing, and not if it takes a large part of
 * the budget. Cannot fail. */
void pra__columns_expect(struct pra__columns *c, enum pra__column_id first,
                         enum pra__column_id last, size_t count);

/* Elements for which all columns from first to last have room. */
static inline size_t pra__columns_cap(const struct pra__columns *c, enum pra__column_id first,
                                      enum pra__column_id last)
{
    size_t cap = c->col[first].cap;
    for (enum pra__column_id id = first + 1; id <= last; id++)
        cap = c->col[id].cap < cap ? c->col[id].cap : cap;
    return cap;
}

/* Room for extra elements more in one column. */
static inline int pra__columns_room(struct pra__columns *c, enum pra__column_id id, size_t extra)
{
    struct pra__column *col = &c->col[id];
    return extra <= col->cap - col->len ? PRA_OK
                                        : pra__columns_reserve(c, id, id, col->len + extra);
}

/* Appends elements [start, start + count) of an array; room has been made. */
void pra__columns_append(struct pra__columns *c, enum pra__column_id id, const void *array,
                         size_t start, size_t count);

/* Moves elements [start, start + count) down to element to. */
void pra__columns_move(struct pra__columns *c, enum pra__column_id id, size_t to, size_t start,
                       size_t count);

/* Stores where the next series begins, or, after the last one, where it ends. */
int pra__columns_mark_series(struct pra__columns *c);

/* Makes the start timestamps count elements long; 0 stands where none is set. */
int pra__columns_fill_starts(struct pra__columns *c, size_t count);

/* One exemplar: begin, its labels into PRA__COL_EXEMPLAR_LABELS, end. Only begin can fail. */
int pra__exemplar_begin(struct pra__columns *c);
void pra__exemplar_end(struct pra__columns *c, int64_t timestamp_ms, const double *value);

/* One histogram: begin zeroes *h and notes where its buckets start, then buckets go into their
 * columns, end counts them and stores *h. Only begin can fail. */
int pra__histogram_begin(struct pra__columns *c, pra_histogram *h);
void pra__histogram_end(struct pra__columns *c, pra_histogram *h);

/* The ranges of a histogram and the columns they are of, in this order. */
enum { PRA__BUCKET_COLUMNS = 7 };
extern const enum pra__column_id pra__bucket_columns[PRA__BUCKET_COLUMNS];
pra_range *pra__bucket_range(pra_histogram *h, int i);

/* The array of columns that range number i of a histogram is of. */
const void *pra__bucket_source(const pra_columns *columns, int i);

/* PRA_ERR_INVALID_ARG if a range is outside of its array. */
int pra__check_bucket_ranges(const pra_columns *columns, const pra_histogram *h);

/* Fills what a caller sees. out->size is set. */
int pra__columns_view(const struct pra__columns *c, pra_columns *out);

#define PRA__COLUMN(type, c, id) ((type *)(c)->col[id].data)

#endif
