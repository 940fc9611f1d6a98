/* SPDX-License-Identifier: Apache-2.0 */
#include <pra_proto/remote.pb.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/limits.h"
#include "message/decoder.h"
#include "message/write_v1.h"

struct pra_read_response {
    struct pra__columns cols;
};

int pra_read_response_new(const pra_alloc *alloc, pra_read_response **out)
{
    if (!out)
        return PRA_ERR_INVALID_ARG;
    pra_alloc a = pra__alloc_copy(alloc);
    pra_read_response *resp = pra__calloc(&a, sizeof(*resp));
    if (!resp)
        return PRA_ERR_NOMEM;
    pra__columns_init(&resp->cols, &a);
    *out = resp;
    return PRA_OK;
}

void pra_read_response_free(pra_read_response *resp)
{
    if (!resp)
        return;
    pra_alloc alloc = resp->cols.alloc;
    pra__columns_fini(&resp->cols);
    pra__free(&alloc, resp, sizeof(*resp));
}

/* ---- decode */

static int read_result_field(struct pra__decoder *d)
{
    struct pra__field field;
    int rc = pra__read_field(&d->in, &field);
    if (rc)
        return rc;
    if (field.number == prom_QueryResult_timeseries_tag)
        return pra__time_series_decode(d, field.wire);
    return pra__skip_field(&d->in, field.wire);
}

/* The offset column has an element more than there are results. */
static int read_result(struct pra__decoder *d, uint32_t wire)
{
    struct pra__columns *c = d->cols;
    struct pra__column *offsets = &c->col[PRA__COL_RESULT_OFFSETS];
    const uint8_t *outer;
    int rc = pra__columns_room(c, PRA__COL_RESULT_OFFSETS, 2);
    if (rc == PRA_OK)
        rc = pra__enter(&d->in, wire, &outer);
    if (rc)
        return rc;
    ((uint32_t *)offsets->data)[offsets->len++] = (uint32_t)c->series;
    while (rc == PRA_OK && d->in.pos < d->in.end)
        rc = read_result_field(d);
    if (rc)
        return rc;
    pra__leave(&d->in, outer);
    ((uint32_t *)offsets->data)[offsets->len] = (uint32_t)c->series;
    return PRA_OK;
}

static int read_response(struct pra__decoder *d)
{
    struct pra__field field;
    int rc = PRA_OK;
    while (rc == PRA_OK && d->in.pos < d->in.end) {
        rc = pra__read_field(&d->in, &field);
        if (rc)
            break;
        if (field.number == prom_ReadResponse_results_tag)
            rc = read_result(d, field.wire);
        else
            rc = pra__skip_field(&d->in, field.wire);
    }
    return rc ? rc : pra__columns_mark_series(d->cols);
}

static int decode(pra_read_response *resp, const struct pra__input *input, const pra_limits *limits,
                  pra_error *err)
{
    pra_limits l;
    if (!resp || (!input->data && input->len))
        return pra_error_set_cstr(err, PRA_ERR_INVALID_ARG, "response or data is missing");
    int rc = pra__limits_resolve(limits, &l);
    if (rc)
        return pra_error_set_cstr(err, rc, "limits are not valid");
    return pra__decode(&resp->cols, read_response, input, &l, err);
}

int pra_read_response_decode(pra_read_response *resp, const void *data, size_t len,
                             const pra_limits *limits, pra_error *err)
{
    struct pra__input input = {data, len, 0};
    return decode(resp, &input, limits, err);
}

int pra_read_response_decode_snappy(pra_read_response *resp, const void *data, size_t len,
                                    const pra_limits *limits, pra_error *err)
{
    struct pra__input input = {data, len, 1};
    return decode(resp, &input, limits, err);
}

/* ---- look */

int pra_read_response_columns(const pra_read_response *resp, pra_columns *out)
{
    if (!resp || !out)
        return PRA_ERR_INVALID_ARG;
    return pra__columns_view(&resp->cols, out);
}

size_t pra_read_response_results(const pra_read_response *resp, const uint32_t **offsets)
{
    static const uint32_t none[1] = {0};
    const struct pra__column *col = &resp->cols.col[PRA__COL_RESULT_OFFSETS];
    *offsets = col->len ? col->data : none;
    return col->len;
}
