/* SPDX-License-Identifier: Apache-2.0 */
#include "message/decoder.h"

#include <inttypes.h>

#include "base/error.h"
#include "wire/snappy.h"

static size_t clamp(uint64_t v)
{
    return v < SIZE_MAX ? (size_t)v : SIZE_MAX;
}

static int explain(const struct pra__decoder *d, int rc)
{
    size_t offset = (size_t)(d->in.pos - d->base);
    if (rc == PRA_ERR_PROTO)
        return pra__error(d->err, rc, offset,
                          "malformed protocol buffer: %s at byte %zu (series %zu)", d->in.why,
                          offset, d->cols->series);
    if (rc == PRA_ERR_MEMORY_BUDGET)
        return pra__error(d->err, rc, offset,
                          "series %zu: %s takes more than max_memory_bytes "
                          "(%" PRIu64 "; raise it with --limit.request-memory)",
                          d->cols->series, d->budget_of ? d->budget_of : "the decoded request",
                          d->limits->max_memory_bytes);
    return rc == PRA_ERR_NOMEM ? pra__nomem(d->err) : rc;
}

/* Finds the message: the input itself, or what it holds. */
static int open_input(struct pra__decoder *d, const struct pra__input *input)
{
    struct pra__columns *c = d->cols;
    size_t len = input->len;
    d->base = d->in.pos = input->data ? input->data : (const uint8_t *)"";
    c->budget = clamp(d->limits->max_memory_bytes);
    if (input->snappy) {
        int rc = pra__snappy_length(d->base, input->len, d->limits, &len, d->err);
        if (rc)
            return rc;
        rc = pra__columns_reserve(c, PRA__COL_TEXT, PRA__COL_TEXT, len);
        if (rc)
            return rc;
        c->col[PRA__COL_TEXT].len = len;
        rc = pra__snappy_uncompress(d->base, input->len, c->col[PRA__COL_TEXT].data, len, d->err);
        if (rc)
            return rc;
        d->base = d->in.pos = len ? c->col[PRA__COL_TEXT].data : (const uint8_t *)"";
    } else {
        int rc = pra__check_decoded(len, d->limits, d->err);
        if (rc)
            return rc;
        if (len > c->budget)
            return PRA_ERR_MEMORY_BUDGET;
        c->budget -= len;
    }
    d->in.end = d->stop = d->base + len;
    c->base = (const char *)d->base;
    c->base_len = len;
    return PRA_OK;
}

static int attempt(struct pra__columns *cols, pra__decode_fn *decode,
                   const struct pra__input *input, const pra_limits *limits, pra_error *err)
{
    struct pra__decoder d = {.cols = cols, .limits = limits, .err = err};
    int rc = open_input(&d, input);
    if (rc == PRA_OK)
        rc = decode(&d);
    return rc ? explain(&d, rc) : PRA_OK;
}

/* A handle that holds much from an earlier message of another shape must not refuse what a fresh
 * one would take: over budget, it lets go of everything and tries once more. */
int pra__decode(struct pra__columns *cols, pra__decode_fn *decode, const struct pra__input *input,
                const pra_limits *limits, pra_error *err)
{
    size_t keep = clamp(limits->retain_bytes < limits->max_memory_bytes ? limits->retain_bytes
                                                                        : limits->max_memory_bytes);
    pra__columns_reset(cols, keep);
    size_t held = cols->held;
    pra_error before = err ? *err : (pra_error){0};
    int rc = attempt(cols, decode, input, limits, err);
    if (rc == PRA_ERR_MEMORY_BUDGET && held) {
        pra__columns_reset(cols, 0);
        if (err)
            *err = before;
        rc = attempt(cols, decode, input, limits, err);
    }
    if (rc)
        pra__columns_reset(cols, keep);
    return rc;
}
