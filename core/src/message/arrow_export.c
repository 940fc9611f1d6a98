/* SPDX-License-Identifier: Apache-2.0 */
#include "message/arrow_export.h"

#include <errno.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "message/arrow_labels.h"

/* ---- columns */

void *pra__arrow_fill(struct pra__arrow_export *e, struct ArrowArray *array, size_t n, size_t size)
{
    void *data = pra__arrow_buffer(e->hold, n, size);
    array->length = (int64_t)n;
    array->buffers[1] = data;
    return data;
}

int pra__arrow_series_numbers(struct pra__arrow_export *e, const uint32_t *offsets, size_t n,
                              struct ArrowArray *array)
{
    uint32_t *number = pra__arrow_fill(e, array, n, sizeof(*number));
    if (!number)
        return PRA_ERR_NOMEM;
    for (uint32_t series = 0; series < e->c.series_count; series++)
        for (uint32_t i = offsets[series]; i < offsets[series + 1]; i++)
            number[i] = series;
    return PRA_OK;
}

static int all_null(struct pra__arrow_export *e, struct ArrowArray *array, size_t n)
{
    if (n == 0)
        return PRA_OK;
    uint8_t *bits = pra__arrow_buffer(e->hold, n / 8 + 1, 1);
    if (!bits)
        return PRA_ERR_NOMEM;
    memset(bits, 0, n / 8 + 1);
    array->buffers[0] = bits;
    array->null_count = (int64_t)n;
    return PRA_OK;
}

int pra__arrow_validity(struct pra__arrow_export *e, struct ArrowArray *array, size_t n,
                        int (*is_set)(const pra_columns *c, size_t i))
{
    uint8_t *bits = NULL;
    if (!is_set)
        return all_null(e, array, n);
    for (size_t i = 0; i < n; i++) {
        if (is_set(&e->c, i))
            continue;
        if (!bits) {
            bits = pra__arrow_buffer(e->hold, n / 8 + 1, 1);
            if (!bits)
                return PRA_ERR_NOMEM;
            memset(bits, 0xff, n / 8 + 1);
        }
        bits[i / 8] &= (uint8_t) ~(1U << i % 8);
        array->null_count++;
    }
    array->buffers[0] = bits;
    return PRA_OK;
}

int pra__arrow_constants(struct pra__arrow_export *e, const char *const *texts, size_t count,
                         struct ArrowArray *array)
{
    struct ArrowArray *out = array->dictionary;
    size_t bytes = 0;
    for (size_t i = 0; i < count; i++)
        bytes += strlen(texts[i]);
    int32_t *offsets = pra__arrow_fill(e, out, count + 1, sizeof(*offsets));
    char *text = pra__arrow_buffer(e->hold, bytes, 1);
    if (!offsets || !text)
        return PRA_ERR_NOMEM;
    out->length = (int64_t)count;
    out->buffers[2] = text;
    offsets[0] = 0;
    for (size_t i = 0; i < count; i++) {
        const size_t len = strlen(texts[i]);
        memcpy(text + offsets[i], texts[i], len);
        offsets[i + 1] = offsets[i] + (int32_t)len;
    }
    return PRA_OK;
}

/* A column of the request as it is. */
static void borrow(struct ArrowArray *array, const void *data, size_t n)
{
    array->length = (int64_t)n;
    if (n)
        array->buffers[1] = data;
}

/* ---- tables */

static int has_start(const pra_columns *c, size_t i)
{
    return c->start_timestamps_ms[i] != 0;
}

static int export_samples(struct pra__arrow_export *e, struct ArrowArray *out)
{
    const pra_columns *c = &e->c;
    const size_t n = c->sample_count;
    const int64_t *starts = c->start_timestamps_ms;
    out->length = (int64_t)n;
    borrow(out->children[1], c->timestamps_ms, n);
    borrow(out->children[2], c->values, n);
    /* below nulls may stand anything */
    borrow(out->children[3], starts ? starts : c->timestamps_ms, n);
    int rc = pra__arrow_series_numbers(e, c->sample_offsets, n, out->children[0]);
    return rc ? rc : pra__arrow_validity(e, out->children[3], n, starts ? has_start : NULL);
}

static int export_series(struct pra__arrow_export *e, struct ArrowArray *out)
{
    const pra_columns *c = &e->c;
    const size_t n = c->series_count;
    const struct pra__arrow_sets sets = {n, c->label_offsets, c->labels, c->label_refs};
    uint32_t *number = pra__arrow_fill(e, out->children[0], n, sizeof(*number));
    uint64_t *fingerprint = pra__arrow_fill(e, out->children[1], n, sizeof(*fingerprint));
    if (!number || !fingerprint)
        return PRA_ERR_NOMEM;
    out->length = (int64_t)n;
    for (size_t i = 0; i < n; i++) {
        const uint32_t first = c->label_offsets[i];
        number[i] = (uint32_t)i;
        fingerprint[i] =
            pra_labels_fingerprint(c->base, c->labels + first, c->label_offsets[i + 1] - first);
    }
    return pra__arrow_labels(e->hold, e->alloc, c, &sets, out->children[3], out->children[2],
                             e->err);
}

static int export_exemplars(struct pra__arrow_export *e, struct ArrowArray *out)
{
    const pra_columns *c = &e->c;
    const size_t n = c->exemplar_count;
    const struct pra__arrow_sets sets = {n, c->exemplar_label_offsets, c->exemplar_labels, NULL};
    out->length = (int64_t)n;
    borrow(out->children[1], c->exemplar_timestamps_ms, n);
    borrow(out->children[2], c->exemplar_values, n);
    int rc = pra__arrow_series_numbers(e, c->exemplar_offsets, n, out->children[0]);
    return rc ? rc : pra__arrow_labels(e->hold, e->alloc, c, &sets, out->children[3], NULL, e->err);
}

static const struct table {
    int (*fill)(struct pra__arrow_export *e, struct ArrowArray *out);
    int borrows; /* columns of the request */
} tables[] = {
    [PRA_ARROW_SAMPLES] = {export_samples, 1},
    [PRA_ARROW_SERIES] = {export_series, 0},
    [PRA_ARROW_HISTOGRAMS] = {pra__arrow_export_histograms, 0},
    [PRA_ARROW_EXEMPLARS] = {export_exemplars, 1},
    [PRA_ARROW_METADATA] = {pra__arrow_export_metadata, 0},
};

/* ---- export */

static int fill(struct pra__arrow_export *e, int32_t table, struct ArrowArray *out)
{
    int rc = pra__arrow_make_array(e->hold, pra__arrow_table(table), out);
    if (rc == PRA_OK)
        rc = tables[table].fill(e, out);
    return rc == PRA_ERR_NOMEM ? pra__nomem(e->err) : rc;
}

static int export(const pra_write_request *req, int32_t table, const pra_alloc *alloc,
                  struct ArrowArray *out, pra_error *err)
{
    struct pra__arrow_export e = {.alloc = alloc, .c = {.size = sizeof(e.c)}, .err = err};
    pra_write_request *share = NULL;
    int rc = pra_write_request_columns(req, &e.c);
    if (rc == PRA_OK && tables[table].borrows && !(share = pra_write_request_share(req)))
        rc = PRA_ERR_BUSY;
    if (rc)
        return pra_error_set_cstr(err, rc, "the request is in use by a callback");
    if (pra__arrow_hold_new(alloc, &e.hold)) {
        pra_write_request_free(share);
        return pra__nomem(err);
    }
    pra__arrow_hold_request(e.hold, share);
    if (!e.c.base)
        e.c.base = ""; /* no text: every string is empty */
    rc = fill(&e, table, out);
    if (rc)
        pra__arrow_hold_free(e.hold);
    return rc;
}

int pra_arrow_export(const pra_write_request *req, int32_t table, const pra_alloc *alloc,
                     struct ArrowSchema *schema, struct ArrowArray *out, pra_error *err)
{
    struct ArrowArray array;
    if (!req || !out || !pra__arrow_table(table))
        return pra_error_set_cstr(err, PRA_ERR_INVALID_ARG,
                                  "request or out is missing, or there is no such table");
    int rc = export(req, table, alloc, &array, err);
    if (rc)
        return rc;
    if (schema && pra_arrow_schema(table, alloc, schema)) {
        array.release(&array);
        return pra__nomem(err);
    }
    *out = array;
    return PRA_OK;
}

/* ---- stream */

struct stream {
    pra_alloc alloc;
    int32_t table;
    struct ArrowArray array; /* moved out by the first call */
};

static int stream_schema(struct ArrowArrayStream *s, struct ArrowSchema *out)
{
    const struct stream *own = s->private_data;
    return pra_arrow_schema(own->table, &own->alloc, out) ? ENOMEM : 0;
}

static int stream_next(struct ArrowArrayStream *s, struct ArrowArray *out)
{
    struct stream *own = s->private_data;
    *out = own->array;
    own->array.release = NULL;
    return 0;
}

/* Of the calls above only one can fail, and only so. */
static const char *stream_last_error(struct ArrowArrayStream *s)
{
    (void)s;
    return pra_strerror(PRA_ERR_NOMEM);
}

static void stream_release(struct ArrowArrayStream *s)
{
    struct stream *own = s->private_data;
    const pra_alloc alloc = own->alloc;
    if (own->array.release)
        own->array.release(&own->array);
    pra__free(&alloc, own, sizeof(*own));
    s->release = NULL;
}

int pra_arrow_stream(const pra_write_request *req, int32_t table, const pra_alloc *alloc,
                     struct ArrowArrayStream *out, pra_error *err)
{
    const pra_alloc a = pra__alloc_copy(alloc);
    if (!out)
        return pra_error_set_cstr(err, PRA_ERR_INVALID_ARG, "out is missing");
    struct stream *own = pra__malloc(&a, sizeof(*own));
    if (!own)
        return pra__nomem(err);
    *own = (struct stream){.alloc = a, .table = table};
    int rc = pra_arrow_export(req, table, alloc, NULL, &own->array, err);
    if (rc) {
        pra__free(&a, own, sizeof(*own));
        return rc;
    }
    *out = (struct ArrowArrayStream){.get_schema = stream_schema,
                                     .get_next = stream_next,
                                     .get_last_error = stream_last_error,
                                     .release = stream_release,
                                     .private_data = own};
    return PRA_OK;
}
