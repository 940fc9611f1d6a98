/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/limits.h"
#include "message/arrow_plan.h"
#include "message/arrow_rows.h"

struct importer {
    struct ArrowArrayStream *stream;
    pra_series_sink *sink;
    struct pra__arrow_plan plan;
    struct pra__rows rows;
    struct pra__array labels; /* pra_label: of a row */
    int enough;               /* the sink says so */
    pra_error *err;
};

/* ---- labels of a row */

static int add_label(struct importer *im, pra_str name, pra_str value)
{
    struct pra__array *labels = &im->labels;
    if (value.len == 0)
        return PRA_OK;
    int rc = pra__rows_room(&im->rows, labels, sizeof(pra_label), 1, im->err);
    if (rc == PRA_OK)
        ((pra_label *)labels->data)[labels->len++] = (pra_label){name, value};
    return rc;
}

static int gather_pairs(struct importer *im, int64_t row)
{
    struct pra__arrow_plan *p = &im->plan;
    int64_t start, count;
    int rc = pra__arrow_list_at(&p->pairs, row + p->offset, &start, &count, im->err);
    for (int64_t i = start + p->pair_offset; rc == PRA_OK && count > 0; count--, i++) {
        pra_str name, value;
        if (pra__arrow_is_null(p->pair_bitmap, i))
            continue;
        rc = pra__arrow_text_at(&p->pair_name, i, &name, im->err);
        if (rc == PRA_OK)
            rc = pra__arrow_text_at(&p->pair_value, i, &value, im->err);
        if (rc == PRA_OK)
            rc = add_label(im, name, value);
    }
    return rc;
}

static int gather(struct importer *im, int64_t row)
{
    const struct pra__arrow_plan *p = &im->plan;
    im->labels.len = 0;
    int rc = p->labels_kind == PRA__LABELS_LIST ? gather_pairs(im, row) : PRA_OK;
    for (size_t i = 0; rc == PRA_OK && i < p->column_count; i++) {
        const struct pra__arrow_label_column *column = &p->columns[i];
        const int64_t at = row + column->offset;
        pra_str value;
        if (pra__arrow_is_null(column->bitmap, at))
            continue;
        rc = pra__arrow_text_at(&column->text, at, &value, im->err);
        if (rc == PRA_OK)
            rc = add_label(im, column->name, value);
    }
    return rc;
}

/* Whether two rows surely have the same labels: then there is no need to gather them. */
static int same_pairs(const struct pra__arrow_plan *p, int64_t row, int64_t other)
{
    int64_t a, b, count, count_b;
    if (pra__arrow_list_at(&p->pairs, row + p->offset, &a, &count, NULL) ||
        pra__arrow_list_at(&p->pairs, other + p->offset, &b, &count_b, NULL) || count != count_b)
        return 0;
    int same = !p->pair_bitmap;
    for (a += p->pair_offset, b += p->pair_offset; same && count > 0; count--, a++, b++)
        same =
            pra__arrow_text_same(&p->pair_value, a, b) && pra__arrow_text_same(&p->pair_name, a, b);
    return same;
}

static int same_labels(const struct pra__arrow_plan *p, int64_t row, int64_t other)
{
    int same = p->labels_kind != PRA__LABELS_LIST || same_pairs(p, row, other);
    for (size_t i = 0; same && i < p->column_count; i++) {
        const struct pra__arrow_label_column *column = &p->columns[i];
        same = !column->bitmap &&
               pra__arrow_text_same(&column->text, row + column->offset, other + column->offset);
    }
    return same;
}

/* ---- samples */

/* Times from element time of their column on, and values likewise, behind those that are there. */
static int read_samples(struct importer *im, int64_t time, int64_t value, size_t n)
{
    struct pra__rows *r = &im->rows;
    const struct pra__arrow_plan *p = &im->plan;
    int rc = pra__rows_room(r, &r->times, sizeof(int64_t), n, im->err);
    if (rc == PRA_OK)
        rc = pra__rows_room(r, &r->values, sizeof(double), n, im->err);
    if (rc || n == 0)
        return rc;
    pra__arrow_values(&p->values, value, n, (double *)r->values.data + r->values.len);
    return pra__arrow_times(&p->times, time, n, (int64_t *)r->times.data + r->times.len, im->err);
}

/* Whether there is a sample: not where its value is null. */
static int has_sample(struct importer *im, int64_t time, int64_t value, int *out)
{
    const struct pra__arrow_plan *p = &im->plan;
    *out = !pra__arrow_is_null(p->values.bitmap, p->values.offset + value);
    if (*out && pra__arrow_is_null(p->times.bitmap, p->times.offset + time))
        return pra__arrow_broken(p->times.column, "a time is null where its value is not", im->err);
    return PRA_OK;
}

/* The sample that was read i places behind the last one that was kept is kept. */
static void keep_sample(struct pra__rows *r, size_t i)
{
    int64_t *time = (int64_t *)r->times.data + r->times.len++;
    double *value = (double *)r->values.data + r->values.len++;
    time[0] = time[i];
    memmove(value, value + i, sizeof(*value)); /* bits that say stale stay so */
}

/* ---- a row a sample */

static int take_rows(struct importer *im)
{
    struct pra__rows *r = &im->rows;
    const int64_t first = im->plan.offset;
    int64_t before = -1; /* the row whose labels the last run has */
    size_t dropped = 0;
    int rc = read_samples(im, first, first, (size_t)im->plan.rows);
    for (int64_t row = 0; rc == PRA_OK && row < im->plan.rows; row++) {
        int there;
        rc = has_sample(im, first + row, first + row, &there);
        if (rc || !there) {
            dropped++;
            continue;
        }
        if (before < 0 || !same_labels(&im->plan, row, before)) {
            rc = gather(im, row);
            if (rc == PRA_OK)
                rc = pra__rows_begin_run(r, im->labels.data, im->labels.len, r->times.len, im->err);
            before = row;
        }
        keep_sample(r, dropped);
    }
    return rc;
}

/* ---- a row a series */

static int push_row(struct importer *im, int64_t row)
{
    struct pra__rows *r = &im->rows;
    struct pra__arrow_plan *p = &im->plan;
    int64_t time, value, count, values;
    size_t dropped = 0;
    int rc = pra__arrow_list_at(&p->times_list, row + p->offset, &time, &count, im->err);
    if (rc == PRA_OK)
        rc = pra__arrow_list_at(&p->values_list, row + p->offset, &value, &values, im->err);
    if (rc == PRA_OK && count != values)
        return pra__error(im->err, PRA_ERR_INVALID_ARG, 0,
                          "column \"values\": a list has %lld elements, but that of timestamps "
                          "beside it %lld",
                          (long long)values, (long long)count);
    r->times.len = r->values.len = 0;
    if (rc == PRA_OK)
        rc = read_samples(im, time, value, (size_t)count);
    for (int64_t i = 0; rc == PRA_OK && i < count; i++) {
        int there;
        rc = has_sample(im, time + i, value + i, &there);
        if (rc == PRA_OK && there)
            keep_sample(r, dropped);
        dropped += !there;
    }
    if (rc == PRA_OK)
        rc = gather(im, row);
    if (rc)
        return rc;
    rc = pra_series_sink_add(im->sink, im->labels.data, im->labels.len, r->times.data,
                             r->values.data, r->times.len, im->err);
    if (rc >= 0)
        im->enough = rc == PRA_DONE; /* yet what is here goes on: it cannot be taken up again */
    return rc < 0 ? rc : PRA_OK;
}

static int push_rows(struct importer *im)
{
    int rc = PRA_OK;
    for (int64_t row = 0; rc == PRA_OK && row < im->plan.rows; row++)
        rc = push_row(im, row);
    return rc;
}

/* ---- the stream */

static int stream_failed(struct importer *im, int code)
{
    const char *why = im->stream->get_last_error(im->stream);
    if (code == ENOMEM)
        return pra__nomem(im->err);
    return pra__error(im->err, PRA_ERR_CALLBACK, 0, "the Arrow stream failed: %s",
                      why ? why : strerror(code));
}

/* One array; *more is 0 at the end. */
static int take_array(struct importer *im, int *more)
{
    struct ArrowArray array = {.release = NULL};
    int rc = im->stream->get_next(im->stream, &array);
    if (rc)
        return stream_failed(im, rc);
    *more = array.release != NULL;
    if (!*more)
        return PRA_OK;
    rc = pra__arrow_plan_bind(&im->plan, &array, im->err);
    if (rc == PRA_OK)
        rc = im->plan.wide ? push_rows(im) : take_rows(im);
    array.release(&array);
    return rc;
}

static int take_arrays(struct importer *im, const struct ArrowSchema *schema)
{
    int more = 1;
    int rc = pra__arrow_plan_make(&im->plan, &im->rows.alloc, schema, im->err);
    while (rc == PRA_OK && more)
        rc = take_array(im, &more);
    pra__arrow_plan_fini(&im->plan, &im->rows.alloc);
    if (rc == PRA_OK && !im->plan.wide)
        rc = pra__rows_push(&im->rows, im->rows.times.len, im->sink, im->err);
    return rc == PRA_OK && im->enough ? PRA_DONE : rc;
}

static int import(struct importer *im)
{
    struct ArrowSchema schema = {.release = NULL};
    int rc = im->stream->get_schema(im->stream, &schema);
    if (rc)
        return stream_failed(im, rc);
    rc = take_arrays(im, &schema);
    if (schema.release)
        schema.release(&schema);
    pra__free(&im->rows.alloc, im->labels.data, im->labels.cap * sizeof(pra_label));
    return rc;
}

static int push(struct ArrowArrayStream *stream, pra_series_sink *sink, const pra_alloc *alloc,
                const pra_limits *limits, pra_error *err)
{
    pra_limits l;
    int rc = sink ? pra__limits_resolve(limits, &l) : PRA_ERR_INVALID_ARG;
    if (rc)
        return pra_error_set_cstr(err, rc, "the sink is missing, or limits are not valid");
    const pra_alloc a = pra__alloc_copy(alloc);
    struct importer im = {.stream = stream, .sink = sink, .err = err};
    pra__rows_init(&im.rows, &a, l.max_memory_bytes);
    rc = import(&im);
    pra__rows_fini(&im.rows);
    if (rc < 0 && err && err->code != rc) /* a sink that was not to be used now says no more */
        pra_error_set_cstr(err, rc, pra_strerror(rc));
    return rc;
}

int pra_arrow_push(struct ArrowArrayStream *stream, pra_series_sink *sink, const pra_alloc *alloc,
                   const pra_limits *limits, pra_error *err)
{
    if (!stream || !stream->release)
        return pra_error_set_cstr(err, PRA_ERR_INVALID_ARG, "the Arrow stream is missing");
    int rc = push(stream, sink, alloc, limits, err);
    stream->release(stream);
    return rc;
}
