/* SPDX-License-Identifier: Apache-2.0 */
/* A string is hashed once: in 2.0 its symbol remembers its number, in 1.0 the label at the same
 * place in the series before is looked at first, whose name is nearly always the same. */
#include "message/arrow_labels.h"

#include <string.h>

#include "base/error.h"
#include "base/str.h"
#include "message/metadata.h"
#include "message/strings.h"

enum { UNKNOWN = 0xffffffff };

struct dictionary {
    struct pra__columns cols; /* of the table; PRA__COL_STRING_REFS: number by symbol */
    struct pra__strings table;
    const pra_span *symbols; /* that numbers are remembered of */
    size_t symbol_count;
    int32_t *number; /* what is being filled: a number a label, or a metric name */
    int has_empty;   /* else string 0 of the table is not used */
};

int pra__arrow_countable(uint64_t count, const char *what, pra_error *err)
{
    return count <= INT32_MAX
               ? PRA_OK
               : pra__error(err, PRA_ERR_NOT_SUPPORTED, 0,
                            "%llu %s are more than an Arrow column counts; send smaller requests",
                            (unsigned long long)count, what);
}

/* Numbers for rows elements. */
static int begin(struct dictionary *d, struct pra__arrow_hold *hold, const pra_alloc *alloc,
                 const pra_columns *c, const pra_symbol_refs *refs, size_t rows)
{
    d->symbols = c->symbols;
    d->symbol_count = refs ? c->symbol_count : 0;
    pra__columns_init(&d->cols, alloc);
    d->number = pra__arrow_buffer(hold, rows, sizeof(*d->number));
    int rc = d->number ? pra__strings_begin(&d->table, &d->cols, c->base) : PRA_ERR_NOMEM;
    if (rc || d->symbol_count == 0)
        return rc;
    rc = pra__columns_room(&d->cols, PRA__COL_STRING_REFS, d->symbol_count);
    if (rc == PRA_OK)
        memset(d->cols.col[PRA__COL_STRING_REFS].data, 0xff, d->symbol_count * sizeof(uint32_t));
    return rc;
}

static int is_string(const struct dictionary *d, uint32_t number, pra_span span)
{
    const pra_span other = pra__strings_at(&d->table, number)->span;
    return other.len == span.len &&
           memcmp(d->table.base + other.off, d->table.base + span.off, span.len) == 0;
}

static int add(struct dictionary *d, pra_span span, uint32_t *out)
{
    int rc = pra__strings_add(&d->table, span, out);
    d->has_empty |= rc == PRA_OK && *out == 0;
    return rc;
}

/* Number of a string; symbol is its symbol, but for a wrong reference, which is the empty string
 * whatever symbol 0 is. */
static inline int number_symbol(struct dictionary *d, pra_span span, uint32_t symbol, int32_t *out)
{
    uint32_t *known = PRA__COLUMN(uint32_t, &d->cols, PRA__COL_STRING_REFS);
    if (symbol >= d->symbol_count || d->symbols[symbol].off != span.off ||
        d->symbols[symbol].len != span.len)
        return add(d, span, (uint32_t *)out);
    int rc = known[symbol] == UNKNOWN ? add(d, span, &known[symbol]) : PRA_OK;
    *out = (int32_t)known[symbol];
    return rc;
}

/* The same without symbols: it may well be string number before, if that is not UNKNOWN. */
static inline int number_alike(struct dictionary *d, pra_span span, uint32_t before, int32_t *out)
{
    if (before == UNKNOWN || !is_string(d, before, span))
        return add(d, span, (uint32_t *)out);
    *out = (int32_t)before;
    return PRA_OK;
}

/* ---- what has been numbered becomes an array */

static pra_str string_at(const struct dictionary *d, size_t i)
{
    const pra_span span = pra__strings_at(&d->table, (uint32_t)i)->span;
    return (pra_str){d->table.base + span.off, span.len};
}

static int check_strings(const struct dictionary *d, size_t *bytes, pra_error *err)
{
    const size_t count = pra__strings_count(&d->table);
    *bytes = 0;
    for (size_t i = 0; i < count; i++) {
        const pra_str s = string_at(d, i);
        if (!pra__utf8_valid(s))
            return pra_error_set_cstr(err, PRA_ERR_LABELS,
                                      "a label is not UTF-8; make the request canonical first");
        *bytes += s.len;
    }
    int rc = pra__arrow_countable(count, "strings", err);
    return rc ? rc : pra__arrow_countable(*bytes, "bytes of strings", err);
}

static int fill_strings(const struct dictionary *d, struct pra__arrow_hold *hold,
                        struct ArrowArray *out, pra_error *err)
{
    const size_t first = d->has_empty ? 0 : 1;
    const size_t count = pra__strings_count(&d->table);
    size_t bytes;
    int rc = check_strings(d, &bytes, err);
    if (rc)
        return rc;
    int32_t *offsets = pra__arrow_buffer(hold, count + 1, sizeof(*offsets));
    char *text = pra__arrow_buffer(hold, bytes, 1);
    if (!offsets || !text)
        return pra__nomem(err);
    int32_t end = 0;
    *offsets++ = 0;
    out->length = (int64_t)(count - first);
    out->buffers[1] = offsets - 1;
    out->buffers[2] = text;
    for (size_t i = first; i < count; i++) {
        const pra_str s = string_at(d, i);
        if (s.len)
            memcpy(text + end, s.ptr, s.len);
        end += (int32_t)s.len;
        *offsets++ = end;
    }
    return PRA_OK;
}

/* An array of dictionary type out of the numbers. */
static int end(struct dictionary *d, struct pra__arrow_hold *hold, size_t rows,
               struct ArrowArray *out, pra_error *err)
{
    int32_t *number = d->number;
    for (size_t i = 0; !d->has_empty && i < rows; i++)
        number[i]--;
    out->length = (int64_t)rows;
    out->buffers[1] = d->number;
    return fill_strings(d, hold, out->dictionary, err);
}

/* ---- label sets */

struct builder {
    const pra_columns *c;
    const struct pra__arrow_sets *sets;
    struct dictionary names, values, metrics;
};

/* In 2.0 labels need not be told apart by rows. */
static int add_symbols(struct builder *b)
{
    const struct pra__arrow_sets *s = b->sets;
    int rc = PRA_OK;
    for (size_t j = s->offsets[0]; rc == PRA_OK && j < s->offsets[s->rows]; j++)
        rc = number_symbol(&b->names, s->labels[j].name, s->refs[j].name, &b->names.number[j]);
    for (size_t j = s->offsets[0]; rc == PRA_OK && j < s->offsets[s->rows]; j++)
        rc = number_symbol(&b->values, s->labels[j].value, s->refs[j].value, &b->values.number[j]);
    return rc;
}

/* Labels of a row from first to last; the row before begins at before. */
static int add_set(struct builder *b, size_t first, size_t last, size_t before)
{
    const pra_label_span *labels = b->sets->labels;
    int32_t *name = b->names.number, *value = b->values.number;
    int rc = PRA_OK;
    for (size_t j = first; rc == PRA_OK && j < last; j++, before++) {
        const int any = before < first;
        rc = number_alike(&b->names, labels[j].name, any ? (uint32_t)name[before] : UNKNOWN,
                          &name[j]);
        if (rc == PRA_OK)
            rc = number_alike(&b->values, labels[j].value, any ? (uint32_t)value[before] : UNKNOWN,
                              &value[j]);
    }
    return rc;
}

static int add_sets(struct builder *b)
{
    const uint32_t *offsets = b->sets->offsets;
    int rc = PRA_OK;
    for (size_t i = 0; rc == PRA_OK && i < b->sets->rows; i++)
        rc = add_set(b, offsets[i], offsets[i + 1], offsets[i ? i - 1 : 0]);
    return rc;
}

static int add_metrics(struct builder *b)
{
    int rc = PRA_OK;
    int32_t *number = b->metrics.number;
    for (size_t i = 0; rc == PRA_OK && i < b->sets->rows; i++)
        rc = number_alike(&b->metrics, pra__metric_name(b->c, i),
                          i ? (uint32_t)number[i - 1] : UNKNOWN, &number[i]);
    return rc;
}

/* The map around its names and values. */
static int fill_map(struct builder *b, struct pra__arrow_hold *hold, struct ArrowArray *out)
{
    const struct pra__arrow_sets *s = b->sets;
    int32_t *offsets = pra__arrow_buffer(hold, s->rows + 1, sizeof(*offsets));
    if (!offsets)
        return PRA_ERR_NOMEM;
    memcpy(offsets, s->offsets, (s->rows + 1) * sizeof(*offsets));
    out->length = (int64_t)s->rows;
    out->buffers[1] = offsets;
    out->children[0]->length = (int64_t)s->offsets[s->rows];
    return PRA_OK;
}

static int build(struct builder *b, struct pra__arrow_hold *hold, const pra_alloc *alloc,
                 struct ArrowArray *labels, struct ArrowArray *metric, pra_error *err)
{
    const struct pra__arrow_sets *s = b->sets;
    const size_t count = s->offsets[s->rows];
    int rc = pra__arrow_countable(count, "labels", err);
    if (rc)
        return rc;
    rc = begin(&b->names, hold, alloc, b->c, s->refs, count);
    if (rc == PRA_OK)
        rc = begin(&b->values, hold, alloc, b->c, s->refs, count);
    if (rc == PRA_OK && metric)
        rc = begin(&b->metrics, hold, alloc, b->c, NULL, s->rows);
    if (rc == PRA_OK)
        rc = s->refs ? add_symbols(b) : add_sets(b);
    if (rc == PRA_OK && metric)
        rc = add_metrics(b);
    if (rc == PRA_OK)
        rc = fill_map(b, hold, labels);
    if (rc)
        return pra__nomem(err);
    struct ArrowArray *const *pair = labels->children[0]->children;
    rc = end(&b->names, hold, count, pair[0], err);
    if (rc == PRA_OK)
        rc = end(&b->values, hold, count, pair[1], err);
    return rc || !metric ? rc : end(&b->metrics, hold, s->rows, metric, err);
}

int pra__arrow_labels(struct pra__arrow_hold *hold, const pra_alloc *alloc, const pra_columns *c,
                      const struct pra__arrow_sets *sets, struct ArrowArray *labels,
                      struct ArrowArray *metric, pra_error *err)
{
    struct builder b = {.c = c, .sets = sets};
    int rc = build(&b, hold, alloc, labels, metric, err);
    pra__columns_fini(&b.names.cols);
    pra__columns_fini(&b.values.cols);
    pra__columns_fini(&b.metrics.cols);
    return rc;
}
