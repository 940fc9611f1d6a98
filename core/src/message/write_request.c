/* SPDX-License-Identifier: Apache-2.0 */
#include "message/write_request.h"

#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/limits.h"
#include "message/decoder.h"
#include "message/histogram_decode.h"
#include "message/write_v1.h"
#include "message/write_v2.h"

int pra_write_request_new(const pra_alloc *alloc, pra_write_request **out)
{
    if (!out)
        return PRA_ERR_INVALID_ARG;
    pra_alloc a = pra__alloc_copy(alloc);
    pra_write_request *req = pra__calloc(&a, sizeof(*req));
    pra_limits limits;
    if (!req)
        return PRA_ERR_NOMEM;
    (void)pra__limits_resolve(NULL, &limits);
    pra__columns_init(&req->cols, &a);
    pra__arena_init(&req->scratch, &a, 0);
    req->retain = (size_t)limits.retain_bytes;
    atomic_init(&req->owners, 1);
    *out = req;
    return PRA_OK;
}

pra_write_request *pra_write_request_share(const pra_write_request *req)
{
    /* const is what a storage sees; the count is not what it looks at. */
    pra_write_request *own = (pra_write_request *)(uintptr_t)req;
    if (!req || req->busy)
        return NULL;
    atomic_fetch_add_explicit(&own->owners, 1, memory_order_relaxed);
    return own;
}

void pra_write_request_free(pra_write_request *req)
{
    if (!req || atomic_fetch_sub_explicit(&req->owners, 1, memory_order_acq_rel) > 1)
        return;
    pra_alloc alloc = req->cols.alloc;
    pra__columns_fini(&req->cols);
    pra__arena_fini(&req->scratch);
    pra__free(&alloc, req, sizeof(*req));
}

void pra_write_request_reset(pra_write_request *req)
{
    if (!req || pra__write_request_check_own(req))
        return;
    pra__columns_reset(&req->cols, req->retain);
    req->version = 0;
    req->state = PRA__REQUEST_EMPTY;
}

static int unknown_version(int32_t version, pra_error *err)
{
    return pra__error(err, PRA_ERR_NOT_SUPPORTED, 0,
                      "remote write message version %d is not supported", (int)version);
}

/* ---- decode */

static int decode(pra_write_request *req, int32_t version, const struct pra__input *input,
                  const pra_limits *limits, pra_error *err)
{
    pra_limits l;
    if (!req || (!input->data && input->len))
        return pra_error_set_cstr(err, PRA_ERR_INVALID_ARG, "request or data is missing");
    int rc = pra__write_request_check_own(req);
    if (rc)
        return pra_error_set_cstr(err, rc, "the request is in use by a callback or shared");
    rc = pra__limits_resolve(limits, &l);
    if (rc)
        return pra_error_set_cstr(err, rc, "limits are not valid");
    req->retain = l.retain_bytes < SIZE_MAX ? (size_t)l.retain_bytes : SIZE_MAX;
    pra_write_request_reset(req);
    if (version != PRA_WRITE_V1 && version != PRA_WRITE_V2)
        return unknown_version(version, err);
    rc = pra__decode(&req->cols,
                     version == PRA_WRITE_V1 ? pra__write_v1_decode : pra__write_v2_decode, input,
                     &l, err);
    if (rc)
        return rc;
    req->version = version;
    req->state = PRA__REQUEST_DECODED;
    return PRA_OK;
}

int pra_write_request_decode(pra_write_request *req, int32_t version, const void *data, size_t len,
                             const pra_limits *limits, pra_error *err)
{
    struct pra__input input = {data, len, 0};
    return decode(req, version, &input, limits, err);
}

int pra_write_request_decode_snappy(pra_write_request *req, int32_t version, const void *data,
                                    size_t len, const pra_limits *limits, pra_error *err)
{
    struct pra__input input = {data, len, 1};
    return decode(req, version, &input, limits, err);
}

/* ---- look */

int pra_write_request_columns(const pra_write_request *req, pra_columns *out)
{
    if (!req || !out)
        return PRA_ERR_INVALID_ARG;
    return req->busy ? PRA_ERR_BUSY : pra__columns_view(&req->cols, out);
}

int32_t pra_write_request_version(const pra_write_request *req)
{
    return req->version;
}

size_t pra_write_request_memory(const pra_write_request *req)
{
    return sizeof(*req) + req->cols.held + pra__arena_held(&req->scratch);
}

/* ---- build */

int pra__write_request_open(pra_write_request *req)
{
    if (!req)
        return PRA_ERR_INVALID_ARG;
    if (pra__write_request_check_own(req))
        return PRA_ERR_BUSY;
    if (req->state == PRA__REQUEST_DECODED)
        return PRA_ERR_STATE;
    if (req->state != PRA__REQUEST_BUILT)
        req->cols.budget = SIZE_MAX; /* whoever builds may set another one then */
    req->state = PRA__REQUEST_BUILT;
    return PRA_OK;
}

/* The current series is complete at every moment: its end offsets follow each addition. */
int pra__write_request_open_series(pra_write_request *req)
{
    int rc = pra__write_request_open(req);
    if (rc == PRA_OK && req->cols.series == 0)
        rc = PRA_ERR_STATE;
    return rc;
}

pra_span pra__write_add_text(struct pra__columns *c, pra_str s)
{
    struct pra__column *text = &c->col[PRA__COL_TEXT];
    pra_span span = {(uint32_t)text->len, (uint32_t)s.len};
    if (s.len)
        memcpy((char *)text->data + text->len, s.ptr, s.len);
    text->len += s.len;
    c->base = text->data;
    c->base_len = text->len;
    return span;
}

int pra__write_room_for_text(struct pra__columns *c, size_t bytes)
{
    if (bytes > UINT32_MAX - c->col[PRA__COL_TEXT].len)
        return PRA_ERR_MEMORY_BUDGET;
    int rc = pra__columns_room(c, PRA__COL_TEXT, bytes);
    c->base = c->col[PRA__COL_TEXT].data; /* it may have moved, and what comes next fail */
    return rc;
}

/* The same for functions of the header, which have no budget. */
static int room_for_text(struct pra__columns *c, size_t bytes)
{
    int rc = pra__write_room_for_text(c, bytes);
    return rc == PRA_ERR_MEMORY_BUDGET ? PRA_ERR_INVALID_ARG : rc;
}

static int add_bytes(size_t *total, pra_str s)
{
    if ((!s.ptr && s.len) || s.len > UINT32_MAX - *total)
        return PRA_ERR_INVALID_ARG;
    *total += s.len;
    return PRA_OK;
}

static int room_for_labels(struct pra__columns *c, enum pra__column_id id, const pra_label *labels,
                           size_t count)
{
    size_t bytes = 0;
    if ((!labels && count) || count > UINT32_MAX - c->col[id].len)
        return PRA_ERR_INVALID_ARG;
    for (size_t i = 0; i < count; i++)
        if (add_bytes(&bytes, labels[i].name) || add_bytes(&bytes, labels[i].value))
            return PRA_ERR_INVALID_ARG;
    int rc = room_for_text(c, bytes);
    return rc ? rc : pra__columns_room(c, id, count);
}

static void add_labels(struct pra__columns *c, enum pra__column_id id, const pra_label *labels,
                       size_t count)
{
    struct pra__column *col = &c->col[id];
    for (size_t i = 0; i < count; i++) {
        pra_label_span *out = (pra_label_span *)col->data + col->len++;
        out->name = pra__write_add_text(c, labels[i].name);
        out->value = pra__write_add_text(c, labels[i].value);
    }
}

int pra_write_request_add_series(pra_write_request *req, const pra_label *labels, size_t count)
{
    int rc = pra__write_request_open(req);
    if (rc)
        return rc;
    struct pra__columns *c = &req->cols;
    rc = pra__columns_reserve(c, PRA__COL_LABEL_OFFSETS, PRA__COL_HISTOGRAM_OFFSETS, c->series + 2);
    if (rc == PRA_OK)
        rc = room_for_labels(c, PRA__COL_LABELS, labels, count);
    if (rc)
        return rc;
    (void)pra__columns_mark_series(c);
    add_labels(c, PRA__COL_LABELS, labels, count);
    c->series++;
    return pra__columns_mark_series(c);
}

static int any_set(const int64_t *values, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (values[i])
            return 1;
    return 0;
}

/* Room for count samples behind len, and for their start timestamps if there are such. */
static int room_for_samples(struct pra__columns *c, size_t len, size_t count, int with_starts)
{
    int rc = pra__columns_reserve(c, PRA__COL_TIMESTAMPS, PRA__COL_VALUES, len + count);
    if (rc == PRA_OK && with_starts)
        rc = pra__columns_reserve(c, PRA__COL_START_TIMESTAMPS, PRA__COL_START_TIMESTAMPS,
                                  len + count);
    return rc;
}

int pra_write_request_add_samples(pra_write_request *req, const int64_t *timestamps_ms,
                                  const double *values, const int64_t *start_timestamps_ms,
                                  size_t count)
{
    int rc = pra__write_request_open_series(req);
    if (rc)
        return rc;
    struct pra__columns *c = &req->cols;
    size_t len = c->col[PRA__COL_TIMESTAMPS].len;
    if (count == 0)
        return PRA_OK;
    if (!timestamps_ms || !values || count > UINT32_MAX - len)
        return PRA_ERR_INVALID_ARG;
    const int starts = start_timestamps_ms && any_set(start_timestamps_ms, count);
    const int with_starts = starts || c->col[PRA__COL_START_TIMESTAMPS].len;
    rc = room_for_samples(c, len, count, with_starts);
    if (rc)
        return rc;
    memcpy(PRA__COLUMN(int64_t, c, PRA__COL_TIMESTAMPS) + len, timestamps_ms, count * 8);
    memcpy(PRA__COLUMN(double, c, PRA__COL_VALUES) + len, values, count * 8);
    c->col[PRA__COL_TIMESTAMPS].len += count;
    if (with_starts)
        (void)pra__columns_fill_starts(c, len + count); /* there is room */
    if (starts)
        memcpy(PRA__COLUMN(int64_t, c, PRA__COL_START_TIMESTAMPS) + len, start_timestamps_ms,
               count * 8);
    return pra__columns_mark_series(c);
}

int pra_write_request_add_exemplar(pra_write_request *req, const pra_label *labels, size_t count,
                                   int64_t timestamp_ms, double value)
{
    int rc = pra__write_request_open_series(req);
    if (rc)
        return rc;
    struct pra__columns *c = &req->cols;
    rc = pra__exemplar_begin(c);
    if (rc == PRA_OK)
        rc = room_for_labels(c, PRA__COL_EXEMPLAR_LABELS, labels, count);
    if (rc)
        return rc;
    add_labels(c, PRA__COL_EXEMPLAR_LABELS, labels, count);
    pra__exemplar_end(c, timestamp_ms, &value);
    return pra__columns_mark_series(c);
}

int pra_write_request_add_histogram(pra_write_request *req, const pra_columns *columns,
                                    size_t index)
{
    int rc = pra__write_request_open_series(req);
    if (rc)
        return rc;
    if (!columns || columns->size < sizeof(*columns) || index >= columns->histogram_count)
        return PRA_ERR_INVALID_ARG;
    struct pra__columns *c = &req->cols;
    pra_histogram from = columns->histograms[index];
    pra_histogram to;
    rc = pra__check_bucket_ranges(columns, &from);
    if (rc == PRA_OK)
        rc = pra__histogram_begin(c, &to);
    for (int i = 0; rc == PRA_OK && i < PRA__BUCKET_COLUMNS; i++)
        rc = pra__columns_room(c, pra__bucket_columns[i], pra__bucket_range(&from, i)->count);
    if (rc)
        return rc;
    for (int i = 0; i < PRA__BUCKET_COLUMNS; i++) {
        pra_range *range = pra__bucket_range(&from, i);
        pra__columns_append(c, pra__bucket_columns[i], pra__bucket_source(columns, i), range->start,
                            range->count);
        *range = *pra__bucket_range(&to, i);
    }
    pra__histogram_end(c, &from);
    return pra__columns_mark_series(c);
}

static int explain_histogram(const struct pra__decoder *d, int rc, pra_error *err)
{
    const size_t offset = (size_t)(d->in.pos - d->base);
    if (rc == PRA_ERR_PROTO)
        return pra__error(err, rc, offset, "malformed histogram: %s at byte %zu", d->in.why,
                          offset);
    return rc ? pra__nomem(err) : PRA_OK;
}

int pra_write_request_add_histogram_encoded(pra_write_request *req, const void *data, size_t len,
                                            pra_error *err)
{
    size_t before[PRA__BUCKET_COLUMNS];
    int rc = pra__write_request_open_series(req);
    if (rc == PRA_OK && !data && len)
        rc = PRA_ERR_INVALID_ARG;
    if (rc)
        return pra_error_set_cstr(err, rc, "no histogram can be added");
    struct pra__columns *c = &req->cols;
    const uint8_t *bytes = data ? data : (const uint8_t *)"";
    struct pra__decoder d = {.in = {.pos = bytes, .end = bytes + len},
                             .cols = c,
                             .base = bytes,
                             .stop = bytes + len,
                             .v2 = 1};
    for (int i = 0; i < PRA__BUCKET_COLUMNS; i++)
        before[i] = c->col[pra__bucket_columns[i]].len;
    rc = pra__histogram_decode_bare(&d);
    for (int i = 0; rc && i < PRA__BUCKET_COLUMNS; i++)
        c->col[pra__bucket_columns[i]].len = before[i];
    if (rc)
        return explain_histogram(&d, rc, err);
    return pra__columns_mark_series(c);
}

int pra_write_request_add_metadata(pra_write_request *req, int32_t type, pra_str family,
                                   pra_str help, pra_str unit)
{
    size_t bytes = 0;
    const int of_series = family.len == 0;
    int rc = of_series ? pra__write_request_open_series(req) : pra__write_request_open(req);
    if (rc)
        return rc;
    struct pra__columns *c = &req->cols;
    if (add_bytes(&bytes, family) || add_bytes(&bytes, help) || add_bytes(&bytes, unit))
        return PRA_ERR_INVALID_ARG;
    rc = room_for_text(c, bytes);
    if (rc == PRA_OK)
        rc = pra__columns_room(c, PRA__COL_METADATA, 1);
    if (rc)
        return rc;
    pra_metadata entry = {.type = type, .series = UINT32_MAX};
    if (of_series)
        entry.series = (uint32_t)c->series - 1;
    entry.family = pra__write_add_text(c, family);
    entry.help = pra__write_add_text(c, help);
    entry.unit = pra__write_add_text(c, unit);
    PRA__COLUMN(pra_metadata, c, PRA__COL_METADATA)[c->col[PRA__COL_METADATA].len++] = entry;
    return PRA_OK;
}

/* ---- encode */

/* const is what the caller sees; the spare memory of a handle with one owner may change. Of several
 * each uses memory of its own. */
static int encode(const pra_write_request *req, int32_t version, const pra_columns *c,
                  pra_buffer *out)
{
    const struct pra__columns *cols = &req->cols;
    const int shared = pra__write_request_is_shared(req);
    struct pra__columns own;
    struct pra__columns *scratch = shared ? &own : (struct pra__columns *)cols;
    pra__columns_init(&own, &cols->alloc);
    own.budget = cols->budget > cols->held ? cols->budget - cols->held : 0;
    int rc = version == PRA_WRITE_V1 ? pra__write_v1_encode(scratch, c, out)
                                     : pra__write_v2_encode(scratch, c, out);
    pra__columns_fini(&own);
    return rc;
}

int pra_write_request_encode(const pra_write_request *req, int32_t version, pra_buffer *out,
                             pra_error *err)
{
    if (!req || !out)
        return pra_error_set_cstr(err, PRA_ERR_INVALID_ARG, "request or out is missing");
    if (req->busy)
        return pra_error_set_cstr(err, PRA_ERR_BUSY, "the request is in use by a callback");
    if (version != PRA_WRITE_V1 && version != PRA_WRITE_V2)
        return unknown_version(version, err);
    pra_columns c = {.size = sizeof(c)};
    (void)pra__columns_view(&req->cols, &c);
    if (!c.base)
        c.base = ""; /* no text: every string is empty */
    int rc = encode(req, version, &c, out);
    if (rc == PRA_ERR_MEMORY_BUDGET)
        return pra_error_set_cstr(err, rc, "encoding takes more than max_memory_bytes");
    return rc ? pra__nomem(err) : PRA_OK;
}
